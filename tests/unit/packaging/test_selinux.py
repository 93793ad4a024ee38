"""The module for SELinux, compiled as `make rpm` does and looked at with setools (F-208).

There is no Fedora here. ``fedora_policy.cil`` stands in for its policy: the names that the module needs, and the rules
that matter beside it.
"""

import re
import subprocess
from pathlib import Path

import pytest

from nanoclawd.paths import GATEWAY_DIRECTORY, SHARE, StatePaths

SOURCES = Path(__file__).parents[3] / "packaging" / "selinux"
BASE = Path(__file__).parent / "fedora_policy.cil"
STATE = StatePaths(Path("/var/lib/nanoclaw"))


def run(*argv: str | Path, **options: object) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `before` and `after`: the stand-in's policy without and with the module, and `contexts`."""
    place = tmp_path_factory.mktemp("selinux")
    run("checkmodule", "-M", "-m", "-o", place / "nanoclawd.mod", SOURCES / "nanoclawd.te")
    package = place / "nanoclawd.pp"
    run("semodule_package", "-o", package, "-m", place / "nanoclawd.mod", "-f", SOURCES / "nanoclawd.fc")
    (place / "module.cil").write_text(run("/usr/libexec/selinux/hll/pp", package))
    run("secilc", "-o", place / "before", "-f", "/dev/null", BASE)
    run("secilc", "-o", place / "after", "-f", place / "contexts", BASE, place / "module.cil")
    return place


def rules(policy: Path, *query: str) -> set[str]:
    return {line.strip() for line in run("sesearch", *query, policy).splitlines() if line.strip()}


def types(policy: Path) -> set[str]:
    return {line.strip() for line in run("seinfo", policy, "-t").splitlines() if line.strip().endswith("_t")}


def test_it_adds_these_rules_and_no_other(build: Path):
    added = rules(build / "after", "-A") - rules(build / "before", "-A")
    assert added == {
        "allow container_t nanoclaw_gateway_runtime_t:sock_file { getattr write };",
        "allow container_t unconfined_service_t:unix_stream_socket connectto;",
    }
    assert types(build / "after") - types(build / "before") == {"nanoclaw_gateway_runtime_t", "nanoclaw_state_t"}


def test_a_container_reaches_the_gateway_and_not_the_state(build: Path):
    policy = build / "after"
    assert rules(policy, "-A", "-s", "container_t", "-t", "nanoclaw_gateway_runtime_t", "-c", "dir", "-p", "search")
    reached = " ".join(rules(policy, "-A", "-s", "container_t", "-t", "nanoclaw_state_t"))
    assert ":file" not in reached
    for permission in ("read", "write", "add_name", "create"):
        assert not re.search(rf"\b{permission}\b", reached), reached
    assert not rules(policy, "-A", "-s", "container_t", "-t", "var_run_t", "-c", "sock_file")


def label(contexts: Path, path: Path) -> str:
    """The type of a path, as libselinux chooses it: of the lines that match, that of the most exact one."""
    lines = [line.split() for line in contexts.read_text().splitlines()]
    matching = [line for line in lines if re.fullmatch(line[0], str(path))]
    assert matching, path
    return max(matching, key=lambda line: len(line[0]))[-1].split(":")[2]


def test_what_is_mounted_into_containers_is_labelled_for_them(build: Path):
    contexts = build / "contexts"
    session = STATE.session("main", "k3v9")
    for path in (
        *(session.inbound_db, session.outbound, session.home, STATE.workspace("main"), STATE.agent_json("main")),
        *(STATE.runner_trees / "abc", STATE.skills / "own", STATE.group_image("main") / "context"),
    ):
        assert label(contexts, path) == "container_file_t", path
    for path in (SHARE / "skills" / "welcome" / "SKILL.md", SHARE / "model" / "serve.py"):
        assert label(contexts, path) == "container_ro_file_t", path
    for path in (STATE.root, STATE.central_db, STATE.channels / "terminal", STATE.staging, STATE.quadlets):
        assert label(contexts, path) == "nanoclaw_state_t", path
    assert label(contexts, GATEWAY_DIRECTORY / "gateway.sock") == "nanoclaw_gateway_runtime_t"


def test_the_quadlets_mount_nothing_of_the_state_that_has_another_label(build: Path):
    """A new mount of a template would be refused on Fedora only: it must be noticed here."""
    templates = Path(__file__).parents[3] / "quadlets"
    known = {"state": str(STATE.root), "share": str(SHARE)}
    for template in (*templates.glob("*.container"), *templates.glob("*.build")):
        for source, options in re.findall(r"^Volume=([^:\n]+):[^:\n]+:(\S+)$", template.read_text(), re.MULTILINE):
            path = re.sub(r"\$\{(state|share)\}", lambda found: known[found[1]], source)
            if path.startswith("/"):
                path = re.sub(r"\$\{\w+\}|%i", "x", path)
                assert label(build / "contexts", Path(path)).startswith(("container_", "nanoclaw_gateway_"))
            else:
                # the user manager's own directory, or one that the operator has named or the daemon keeps in images/
                assert "z" in options.split(",") or path in {"${wheels}", "${packages}"}, path


def test_directories_made_by_the_daemon_are_labelled_from_the_start(build: Path):
    """Whatever the file contexts say, only a transition labels what a running program makes."""
    made = rules(build / "after", "-T", "-s", "unconfined_service_t", "-t", "nanoclaw_state_t", "-c", "dir")
    names = {re.search(r'container_file_t "?(\w+)"?;', rule)[1] for rule in made}
    labelled = re.findall(r"^/var/lib/nanoclaw/(\w+)\(", (SOURCES / "nanoclawd.fc").read_text(), re.MULTILINE)
    assert names == set(labelled)
