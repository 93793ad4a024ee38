"""Secrets at the door: set by their owner, put into requests by the gateway, and found nowhere else.

F-119: a value is entered outside of the agent and is in no database, prompt or log. W-46: a group's first request is
signed in, without anybody's further word. F-120: where there is nothing to type at, it is read from standard input.
"""

import contextlib
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from eventually import wait_until
from system import appliance, npm, sites
from system.appliance import Person
from system.canaries import Canary, memory_of
from system.claude_stage import Api, ask, somebody
from system.echoing import FORMS, Echo
from system.hosting import running
from system.npm import NPM
from system.sites import HELLO, NAME, Site

BUNDLE: Final = "/run/nanoclaw-gateway/trust/bundle.pem"
SCRIPT: Final = Path(__file__).with_name("hostile") / "asks_much.py"
STYLES: Final = {
    "bearer": "bearer",
    "basic": "basic:me",
    "header": "header:X-Api-Key",
    "query": "query:key",
    "cookie": "cookie:session",
    "mark": "placeholder",
}
LEAST: Final = 500
MARK: Final = "nanoclaw-secret-mark"
"""A placeholder that is found wherever one looks: in the script, and where that has put it."""


def ncl(*words: str, value: str | None = None, code: int = 0) -> str:
    """Run ``ncl secret``; return what it prints."""
    given = "" if value is None else value
    done = subprocess.run(
        ["ncl", "secret", *words], input=given, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == code, done
    return done.stdout + done.stderr


def restart_gateway() -> None:
    """Have the gateway take what was stored, now: it would, as soon as running answers have ended."""
    appliance.run("systemctl", "restart", "nanoclaw-gateway.service")


@contextlib.contextmanager
def bound(name: str, value: str, *words: str) -> Iterator[None]:
    """Have a secret for a while."""
    ncl("set", name, *words, value=value)
    restart_gateway()
    try:
        yield
    finally:
        ncl("remove", name)


@contextlib.contextmanager
def allowed(group: str, *words: str) -> Iterator[None]:
    rule = json.loads(appliance.run("ncl", "--json", "egress", "allow", group, *words))["rule"]["id"]
    try:
        yield
    finally:
        appliance.run("ncl", "egress", "remove", str(rule))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site's certificate, of an authority that this machine trusts for as long as these tests run."""
    ca, pem = sites.certificate(tmp_path_factory.mktemp("authority"))
    with sites.trusted(ca), sites.named(f"127.0.0.1 {NAME}"):
        yield pem


@dataclass
class Stage:
    """An agent and its site."""

    person: Person
    site: Site
    workspace: Path

    @property
    def group(self) -> str:
        return self.person.group

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.site.port}"


@pytest.fixture(scope="module")
def stage(certificate: Path) -> Iterator[Stage]:
    appliance.run("systemctl", "start", "nanoclaw-gateway.service")
    with appliance.group() as name, Person(name) as person:
        workspace = appliance.STATE / "groups" / name
        sites.publish(person, workspace)
        with running(Site(workspace, certificate)) as site:
            yield Stage(person, site, workspace)


# Each is given the site's address, and prints the second word where it worked. Nobody tells it whom to trust.
TOOLS: Final = {
    "curl": ("curl -sS {url}/hello", HELLO),
    "curl by HTTP/2": ("curl -sS --http2 -w ' by %{{http_version}}' {url}/hello", f"{HELLO} by 2"),
    "git": ("rm -rf got; git clone -q {url}/repo.git got && cat got/file", "words"),
    "pip": (
        "rm -rf wheels; pip download -q --no-deps -i {url}/simple -d wheels tiny && ls wheels",
        "tiny-1.0-py3-none",
    ),
    "npm view": (f"{NPM} view tiny version --registry {{url}}", npm.VERSION),
    "npm install": (
        f"{NPM} install --registry {{url}} --prefix installed tiny && cat installed/node_modules/tiny/index.js",
        npm.CONTENT.strip(),
    ),
    "requests": ("python3 -c \"import requests; print(requests.get('{url}/hello', timeout=20).text)\"", HELLO),
    "httpx": ("python3 -c \"import httpx; print(httpx.get('{url}/hello', timeout=20).text)\"", HELLO),
    "urllib": (
        "python3 -c \"import urllib.request as r; print(r.urlopen('{url}/hello', timeout=20).read().decode())\"",
        HELLO,
    ),
}
REFUSED: Final = {
    **dict.fromkeys(TOOLS, "403"),
    **dict.fromkeys(("npm view", "npm install", "pip", "requests", "urllib"), "the owner can: ncl egress allow"),
}


@pytest.fixture(scope="module")
def token() -> str:
    return f"canary-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def signed_in(stage: Stage, token: str) -> Iterator[Stage]:
    with bound("site", token, "--host", f"{NAME}:{stage.site.port}", "--group", stage.group):
        yield stage


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_works_as_it_is_and_is_signed_in(signed_in: Stage, token: str, tool: str) -> None:
    """It trusts what the gateway signs, and sends nothing that it could have known."""
    command, wanted = TOOLS[tool]
    signed_in.site.asked.clear()
    with allowed(signed_in.group, f"{NAME}:{signed_in.site.port}", "--private"):
        said = signed_in.person.runs(command.format(url=signed_in.url))
    assert wanted in said
    assert signed_in.site.asked
    for path, headers in signed_in.site.asked:
        assert headers.get("Authorization") == f"Bearer {token}", path
    assert token not in said


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_hears_our_words_where_the_owner_has_not_allowed_the_host(signed_in: Stage, tool: str) -> None:
    command, _ = TOOLS[tool]
    signed_in.site.asked.clear()
    assert REFUSED[tool] in signed_in.person.runs(command.format(url=signed_in.url))
    assert signed_in.site.asked == []


def test_claudes_client_and_its_bash_are_signed_in(certificate: Path, api: Api, tmp_path: Path) -> None:
    """The real client, whose every program has the same environment."""
    value = f"canary-{secrets.token_hex(16)}"
    with somebody() as person, running(Site(tmp_path, certificate)) as site:
        command = f"curl -sS https://{NAME}:{site.port}/hello; echo; echo $NODE_EXTRA_CA_CERTS"
        line = f"@tool Bash {json.dumps({'command': command})}"
        with bound("claudes", value, "--host", f"{NAME}:{site.port}", "--group", person.group):
            assert "403" in ask(person, line)
            with allowed(person.group, f"{NAME}:{site.port}", "--private"):
                said = ask(person, line)
        assert HELLO in said
        assert BUNDLE in said
        assert [headers.get("Authorization") for _, headers in site.asked] == [f"Bearer {value}"]
        assert value not in api.body()
        assert "Never ask for a key, a password or a token in a chat" in api.body()


def test_apt_trusts_it_too(stage: Stage) -> None:
    assert f'Acquire::https::CaInfo "{BUNDLE}";' in stage.person.runs("apt-config dump")


@pytest.fixture
def fresh(stage: Stage, certificate: Path) -> Iterator[Stage]:
    """The agent with a site that nothing is bound to."""
    with running(Site(stage.workspace, certificate)) as site:
        yield Stage(stage.person, site, stage.workspace)


def test_what_is_not_bound_passes_through_as_it_was(fresh: Stage) -> None:
    """The host's own certificate reaches the client, until there is a secret for it."""
    stage, port = fresh, fresh.site.port
    with allowed(stage.group, f"{NAME}:{port}", "--private"):
        said = stage.person.runs(f"curl -sSv https://{NAME}:{port}/hello 2>&1")
        assert "issuer: CN=tests" in said
        assert HELLO in said
        with bound("once", "canary-0123456789", "--host", f"{NAME}:{port}", "--group", stage.group):
            assert "issuer: CN=tests" not in stage.person.runs(f"curl -sSv https://{NAME}:{port}/hello 2>&1")


def test_set_rotate_and_remove_hold_by_themselves(fresh: Stage) -> None:
    """The gateway takes what is stored without anybody's help, and forgets what is removed."""
    stage = fresh
    where = f"{NAME}:{stage.site.port}"
    command = f"curl -sS -m 20 {stage.url}/hello"

    def sent(wanted: str | None) -> Callable[[], bool]:
        def look() -> bool:
            stage.site.asked.clear()
            stage.person.runs(command)
            return [headers.get("Authorization") for _, headers in stage.site.asked] == [wanted]

        return look

    with allowed(stage.group, where, "--private"):
        said = ncl("set", "turns", "--host", where, "--group", stage.group, value="first-value-1")
        assert f"turns is stored, and goes to https://{where} (bearer), in requests of: {stage.group}" in said
        wait_until(sent("Bearer first-value-1"), "a request with the first value", 60)
        ncl("rotate", "turns", value="second-value-2")
        wait_until(sent("Bearer second-value-2"), "a request with the second value", 60)
        assert "stored" in ncl("test", "turns", f"{stage.url}/hello")
        ncl("remove", "turns")
        wait_until(sent(None), "a request without it", 60)
    assert "turns" not in ncl("list")


def test_an_agent_sees_what_it_may_use_and_can_bind_nothing(stage: Stage) -> None:
    """F-146: it is told what to tell its owner."""
    words = ("--host", "http://house.lan:8123/api", "--group", stage.group, "--as", "placeholder")
    with bound("house", "canary-9876543210", *words):
        inside = stage.person.ask("!ncl secret list").text
        assert "http://house.lan:8123/api" in inside
        assert "nanoclaw-secret-house" in inside
        assert "terminal:" not in inside
        for command in ("secret set x --host a.example --group all", "secret rotate house", "secret remove house"):
            assert "is for operators" in stage.person.ask(f"!ncl {command}").text
        told = (appliance.STATE / "agents" / stage.group / "AGENTS.md").read_text()
        assert "write `nanoclaw-secret-house` where the secret belongs" in told
        assert f"ncl secret set NAME --host HOST --group {stage.group}" in told
        assert "canary-9876543210" not in told + inside
    assert "house.lan" not in stage.person.ask("!ncl secret list").text


def test_rights_go_with_their_group() -> None:
    with appliance.group() as name:
        ncl("set", "gone", "--host", "a.example", "--group", name, value="canary-1111111111")
        assert name in ncl("list")
    listed = {one["name"]: one for one in json.loads(ncl("list", "--json"))}
    assert listed["gone"]["groups"] == []
    published = json.loads(Path("/run/nanoclaw-agents/agents.json").read_text())
    assert [one["groups"] for one in published["secrets"] if one["name"] == "gone"] == [[]]
    ncl("remove", "gone")


def test_doctor_names_what_is_missing() -> None:
    def found() -> dict[str, Any]:
        done = subprocess.run(["ncl", "doctor", "--json"], capture_output=True, check=False, timeout=90)
        return {one["id"]: one for one in json.loads(done.stdout)}

    ncl("set", "half", "--host", "a.example", "--group", "all", value="canary-2222222222")
    assert (found()["secrets"]["severity"], found()["gateway-trust"]["severity"]) == ("ok", "ok")
    appliance.run("ncl", "credentials", "delete", "nanoclaw-gateway.secret-half")
    assert found()["secrets"]["fix"] == "ncl secret rotate half"
    assert "half has no value" in ncl("list")
    ncl("remove", "half")
    assert "half" not in ncl("list")


@dataclass
class Asked:
    """What came of the many requests, while the container that made them still has all that it heard."""

    canary: Canary
    arrived: dict[str, int]
    strayed: dict[str, int]
    report: dict[str, Any]
    answers: bytes
    seen: dict[str, bool]
    places: dict[str, list[str]]


@pytest.fixture(scope="module")
def asked(certificate: Path) -> Iterator[Asked]:
    """Five hundred requests and more with planted secrets, and a look everywhere before the container ends."""
    began = time.time()
    canary = Canary(f"{secrets.token_hex(20)}")
    values = {name: f"{name}+{canary.core}/{name}=&%~" for name in STYLES}
    with contextlib.ExitStack() as ending:
        name = ending.enter_context(appliance.group())
        person = ending.enter_context(Person(name))
        host = ending.enter_context(running(Echo(certificate, values)))
        for style, how in STYLES.items():
            where = ("--host", f"{NAME}:{host.port}/{style}/", "--group", name, "--as", how)
            ncl("set", style, *where, value=values[style])
            ending.callback(ncl, "remove", style)
        restart_gateway()
        ending.enter_context(allowed(name, f"{NAME}:{host.port}", "--private"))
        workspace = appliance.STATE / "groups" / name
        (workspace / "asks.py").write_text(SCRIPT.read_text())
        (workspace / "asks.py").chmod(0o644)
        words = (f"https://{NAME}:{host.port}", ",".join(STYLES), ",".join(FORMS), str(LEAST))
        said: list[str] = []
        asking = threading.Thread(target=lambda: said.append(person.runs(f"python3 asks.py {' '.join(words)}", 400)))
        asking.start()
        try:
            wait_until(lambda: (workspace / "asked").exists() or not asking.is_alive(), "all answers", 400)
            assert (workspace / "asked").exists(), said
            report = json.loads((workspace / "asked").read_text())
            seen, places = _looked(canary, name, began)
            answers = (workspace / "answers.bin").read_bytes()
        finally:
            (workspace / "go").touch()
            asking.join(60)
        seen["what the agent was told"] = any("counts" in text for text in said)
        places["what the agent was told"] = [text for text in said if canary.is_in(text.encode())]
        yield Asked(canary, dict(host.arrived), dict(host.strayed), report, answers, seen, places)


def _looked(canary: Canary, group: str, began: float) -> tuple[dict[str, bool], dict[str, list[str]]]:
    """Return by place whether the look sees what is known to be there, and where the canary is."""
    inside = [process for process in appliance.processes(group) if process.container is not None]
    seen = [process for process in inside if memory_of(process.pid, lambda data: MARK.encode() in data)]
    appliance.run("journalctl", "--sync")
    export = ["journalctl", "-o", "export", f"--since=@{began:.3f}"]
    journal = subprocess.run(export, capture_output=True, check=True).stdout
    trees = [
        *(Path("/var/lib/nanoclaw"), Path("/var/lib/nanoclaw-gateway"), Path("/etc/credstore.encrypted")),
        *(Path("/run/nanoclaw-agents"), Path("/run/nanoclaw-gateway"), Path("/run/nanoclawd"), Path("/var/log")),
        *(Path("/var/lib/systemd/coredump"), Path("/tmp"), Path("/var/tmp")),
    ]
    mark = Canary(MARK)
    roots = [
        Path(f"/proc/{process.pid}/root/{name}") for process in inside for name in ("tmp", "run", "var/tmp", "home")
    ]
    shown = {
        "memory": bool(seen),
        "environment": any(b"HTTPS_PROXY=" in Path(f"/proc/{one.pid}/environ").read_bytes() for one in inside),
        "arguments": any(b"asks.py" in Path(f"/proc/{one.pid}/cmdline").read_bytes() for one in inside),
        "files": bool(mark.files([Path("/var/lib/nanoclaw/groups") / group])),
        "container's files": bool(mark.files(roots)),
        "journal": b"NANOCLAW_EGRESS_HOST" in journal,
    }
    found = {
        "memory": [" ".join(one.argv)[:200] for one in inside if memory_of(one.pid, canary.is_in)],
        "environment": [str(one.pid) for one in inside if canary.is_in(Path(f"/proc/{one.pid}/environ").read_bytes())],
        "arguments": [str(one.pid) for one in inside if canary.is_in(Path(f"/proc/{one.pid}/cmdline").read_bytes())],
        "files": canary.files(trees),
        "container's files": canary.files(roots),
        "journal": ["journal"] if canary.is_in(journal) else [],
    }
    return shown, found


def test_every_request_had_its_secret_and_none_another_ones(asked: Asked) -> None:
    """What is not found anywhere was there to be found: the host has seen each of them."""
    counts: dict[str, int] = asked.report["counts"]
    assert sum(counts.values()) >= LEAST
    assert {"library", "kept", "h2", "compressed", "websocket"} <= counts.keys()
    assert asked.strayed == {}
    assert set(asked.arrived) == set(STYLES)
    # What follows a redirect, or is asked again, arrives without one or once more.
    assert sum(asked.arrived.values()) >= 0.97 * sum(counts.values()), asked.report
    assert min(asked.arrived.values()) >= LEAST / len(STYLES) * 0.9
    assert len(asked.report["odd"]) <= 0.03 * sum(counts.values()), asked.report["odd"]


def test_the_answers_came_in_with_stars_in_their_place(asked: Asked) -> None:
    assert asked.report["bytes"] > 50_000
    assert asked.answers.count(b"*" * 40) > LEAST / 2
    assert asked.canary.around(asked.answers) == []


@pytest.mark.parametrize(
    "place",
    ["memory", "environment", "arguments", "files", "container's files", "journal", "what the agent was told"],
)
def test_the_canary_is_nowhere(asked: Asked, place: str) -> None:
    """F-119: not in a process of the container, a file, a database, a log, a card or a core dump."""
    assert asked.seen[place], "the look sees nothing at all"
    assert asked.places[place] == []


def test_the_gateway_leaves_no_core(asked: Asked) -> None:
    """It can't be dumped: the kernel gives the files of such a process to root."""
    del asked
    pid = int(appliance.unit("nanoclaw-gateway.service", system=True)["MainPID"])
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert any(line.split()[4:6] == ["0", "0"] for line in limits.splitlines() if line.startswith("Max core file size"))
