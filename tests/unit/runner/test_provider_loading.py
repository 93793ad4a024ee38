"""How providers get into a runner: the worked example of the documentation, and what is not imported."""

import re
from pathlib import Path

import pytest
from runner_stage import Host
from tool_stage import Stage

ROOT = Path(__file__).parents[3]


def test_the_documented_provider_works(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A third provider is one module and an entry point, as docs/providers.md says."""
    text = (ROOT / "docs" / "providers.md").read_text()
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (group, entry) = re.findall(r'entry-points\."(.*?)"\]\n(.*?)\n', text)[0]
    name, _, target = entry.replace('"', "").partition(" = ")
    packages = tmp_path / "packages"
    (packages / "nanoclaw_parrot-1.0.dist-info").mkdir(parents=True)
    (packages / "nanoclaw_parrot.py").write_text(module)
    metadata = packages / "nanoclaw_parrot-1.0.dist-info"
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoclaw-parrot\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    start = host.start
    path = f"{ROOT / 'runner'}:{packages}"
    monkeypatch.setattr(host, "start", lambda **environment: start(**environment, PYTHONPATH=path))
    stage = Stage(host, provider=name)
    for number, words in enumerate(("hello", "again"), start=1):
        host.insert(words)
        stage.ring()
        assert re.fullmatch(rf"{words}! \(at .*\)", stage.answered(number))


def test_a_provider_that_cannot_be_loaded_is_told(host: Host):
    stage = Stage(host, provider="parrot")
    host.insert("hello")
    stage.ring()
    assert stage.answered() == "Error: there is no provider 'parrot'; the providers are claude, openai, scripted"


def test_a_scripted_runner_imports_no_providers_library(host: Host, monkeypatch: pytest.MonkeyPatch):
    """Imports are lazy, in a real runner's process after a turn with a tool."""
    watched = ("openai", "httpx", "httpx2", "pydantic", "claude_agent_sdk", "mcp", "anyio", "aiohttp")
    report = host.places.workspace / "imported"
    (host.root / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        f"atexit.register(lambda: open({str(report)!r}, 'w').write(' '.join(sorted(sys.modules))))\n"
    )
    start = host.start
    path = f"{host.root}:{ROOT / 'runner'}"
    monkeypatch.setattr(host, "start", lambda **environment: start(**environment, PYTHONPATH=path))
    stage = Stage(host)
    stage.calls(("current_time", {}))
    stage.answered()
    (process,) = host.processes
    process.terminate()
    process.wait()
    imported = set(report.read_text().split())
    assert "nanoclaw_runner.providers.scripted" in imported
    assert imported.isdisjoint(watched)
    # Nor what only scripts of tasks and other providers need, and each container's start would pay for.
    assert imported.isdisjoint({"tempfile", "shutil", "random", "bz2", "lzma"})
