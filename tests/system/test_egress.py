"""The way out of a container, with the tools that people use: where the owner allows it, and our words where not.

F-106: what an agent's programs need to get out is there at the first start of a new group's container. W-69: nothing
else leads out.
"""

import base64
import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from system import appliance, npm, sites
from system.appliance import ControlError, Person
from system.hosting import running
from system.npm import NPM
from system.sites import HELLO, NAME, Site

CANARY: Final = f"canary-{secrets.token_hex(8)}"
PROBE: Final = Path(__file__).with_name("hostile") / "ways_out.py"


@dataclass
class Stage:
    """An agent, its site by TLS and its site without."""

    person: Person
    secure: Site
    plain: Site
    workspace: Path

    @property
    def group(self) -> str:
        return self.person.group

    def ncl(self, *words: str) -> Any:
        return json.loads(appliance.run("ncl", "--json", "egress", *words))

    def allow(self, *words: str) -> int:
        rule: int = self.ncl("allow", self.group, *words)["rule"]["id"]
        return rule


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("sites")
    ca, pem = sites.certificate(place)
    with (
        appliance.group() as name,
        sites.named(f"127.0.0.1 {NAME}", "127.0.0.1 other.egress.test", "10.1.2.3 inner.egress.test"),
        Person(name) as person,
    ):
        workspace = appliance.STATE / "groups" / name
        (workspace / "ca.pem").write_text(ca.read_text())
        (workspace / "ca.pem").chmod(0o644)
        sites.publish(person, workspace)
        with running(Site(workspace, pem)) as secure, running(Site(workspace)) as plain:
            yield Stage(person, secure, plain, workspace)


@pytest.fixture
def allowed(stage: Stage) -> Iterator[Stage]:
    """The sites are allowed for the length of a test."""
    rules = [stage.allow(f"{NAME}:{site.port}", "--private") for site in (stage.secure, stage.plain)]
    yield stage
    for rule in rules:
        with contextlib.suppress(AssertionError):
            appliance.run("ncl", "egress", "remove", str(rule))


_PYTHON: Final = "python3 -c \"import httpx, ssl, urllib.request; context = ssl.create_default_context(cafile='ca.pem')"
# Each is given the site's address, and prints the second word where it worked.
TOOLS: Final = {
    "curl": ("curl -sS --cacert ca.pem {url}/hello", HELLO),
    "npm view": (f"{NPM} view tiny version --cafile ca.pem --registry {{url}}", npm.VERSION),
    "npm install": (
        f"{NPM} install --cafile ca.pem --registry {{url}} --prefix a tiny && cat a/node_modules/tiny/index.js",
        npm.CONTENT.strip(),
    ),
    "curl by SOCKS": ("curl -sS --cacert ca.pem --proxy socks5h://${{HTTPS_PROXY#http://}} {url}/hello", HELLO),
    "git": ("rm -rf got; GIT_SSL_CAINFO=$PWD/ca.pem git clone -q {url}/repo.git got && cat got/file", "words"),
    "pip": (
        # Not --cert: of requests, which pip brings along, the variable that is set already wins over a session's own.
        "rm -rf got; REQUESTS_CA_BUNDLE=ca.pem pip download -q --no-deps -i {url}/simple -d got tiny && ls got",
        "tiny-1.0-py3-none-any.whl",
    ),
    "requests": (
        "python3 -c \"import requests; print(requests.get('{url}/hello', verify='ca.pem', timeout=20).text)\"",
        HELLO,
    ),
    "httpx": (f"{_PYTHON}; print(httpx.get('{{url}}/hello', verify=context, timeout=20).text)\"", HELLO),
    "urllib": (
        f"{_PYTHON}; print(urllib.request.urlopen('{{url}}/hello', context=context, timeout=20).read().decode())\"",
        HELLO,
    ),
}
# What each prints where the owner has not allowed it. Git, httpx and SOCKS show a status or a code only.
REFUSED: Final = {
    "curl": "403",
    "npm view": "the owner can: ncl egress allow",
    "npm install": "the owner can: ncl egress allow",
    "curl by SOCKS": "(2)",
    "git": "403",
    "pip": "the owner can: ncl egress allow",
    "requests": "the owner can: ncl egress allow",
    "httpx": "403",
    "urllib": "the owner can: ncl egress allow",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_works_where_the_owner_allows_it(allowed: Stage, tool: str) -> None:
    command, wanted = TOOLS[tool]
    assert wanted in allowed.person.runs(command.format(url=f"https://{NAME}:{allowed.secure.port}"))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_hears_our_words_where_not(stage: Stage, tool: str) -> None:
    command, _ = TOOLS[tool]
    before = len(stage.secure.asked)
    said = stage.person.runs(command.format(url=f"https://{NAME}:{stage.secure.port}"))
    assert REFUSED[tool] in said
    assert len(stage.secure.asked) == before


def test_plain_http_says_why_in_its_body(stage: Stage) -> None:
    url = f"http://{NAME}:{stage.plain.port}/hello"
    said = stage.person.runs(f"curl -sS {url}")
    assert said.startswith(
        f"nanoclaw: agent group {stage.group} may not reach {NAME}:{stage.plain.port}: no rule allows"
    )
    assert f"ncl egress allow {stage.group} {NAME}:{stage.plain.port}" in said
    assert (
        json.loads(stage.person.runs(f"curl -sS -H 'Accept: application/json' {url}"))["error"]["type"]
        == "egress_denied"
    )


def test_plain_http_works_where_allowed(allowed: Stage) -> None:
    url = f"http://{NAME}:{allowed.plain.port}"
    assert allowed.person.runs(f"curl -sS {url}/hello") == HELLO
    assert allowed.person.runs(f"head -c 3000000 /dev/zero | curl -sS --data-binary @- {url}/post | wc -c") == "3000000"
    assert "code 302" in allowed.person.runs(f"curl -sS -o /dev/null -w 'code %{{http_code}}' {url}/redirect")
    followed = allowed.person.runs(f"curl -sS -L {url}/redirect")
    assert "may not reach 169.254.169.254:80" in followed


def test_a_name_of_this_machine_needs_the_owners_special_word(stage: Stage) -> None:
    """A rule for a name is no rule for whatever address the name has: rebinding leads nowhere."""
    rules = [stage.allow(f"{name}:{stage.plain.port}") for name in ("other.egress.test", "inner.egress.test")]
    said = stage.person.runs(f"curl -sS http://other.egress.test:{stage.plain.port}/hello")
    assert "other.egress.test is the machine itself" in said
    assert "--private" in said
    assert "a private address" in stage.person.runs(f"curl -sS http://inner.egress.test:{stage.plain.port}/")
    for rule in rules:
        stage.ncl("remove", str(rule))


def test_a_rule_ends_by_itself_and_what_it_allowed_with_it(stage: Stage) -> None:
    stage.allow(f"{NAME}:{stage.plain.port}", "--private", "--for", "3s")
    began = time.time()
    command = f"curl -sS http://{NAME}:{stage.plain.port}/hello"
    assert stage.person.runs(command) == HELLO
    time.sleep(max(0.0, began + 3.5 - time.time()))  # its time passes
    assert "may not reach" in stage.person.runs(command)


def test_ncl_explains_and_agents_may_ask_but_not_allow(stage: Stage) -> None:
    rule = stage.allow("*.example.org")
    try:
        told = appliance.run("ncl", "egress", "test", stage.group, "https://a.example.org/x")
        assert f"is allowed: rule {rule} (allow *.example.org) allows it" in told
        assert "is denied: no rule allows it" in appliance.run("ncl", "egress", "test", stage.group, "example.org")
        inside = stage.person.ask(f"!ncl egress test {stage.group} a.example.org").text
        assert f"rule {rule}" in inside
        assert "*.example.org" in stage.person.ask("!ncl egress list").text
        for words in (f"allow {stage.group} example.com", f"deny {stage.group} example.com", f"remove {rule}"):
            assert "is for operators" in stage.person.ask(f"!ncl egress {words}").text
        assert "example.com" not in appliance.run("ncl", "egress", "list")
        with appliance.group() as other:
            assert f"no group '{other}'" in stage.person.ask(f"!ncl egress test {other} a.example.org").text
    finally:
        stage.ncl("remove", str(rule))


def test_the_audit_tells_each_request_and_no_secret(allowed: Stage) -> None:
    since = time.time()
    url = f"http://{NAME}:{allowed.plain.port}/hello?token={CANARY}"
    assert allowed.person.runs(f"curl -sS -H 'Authorization: Bearer {CANARY}' {url}") == HELLO
    assert allowed.person.runs(f"curl -sS --proxytunnel -H 'Authorization: Bearer {CANARY}' {url}") == HELLO
    allowed.person.runs(f"curl -sS -u someone:{CANARY} http://denied.example/path?token={CANARY}")
    allowed.person.runs(f"curl -sS -x http://{CANARY}:{CANARY}@${{HTTP_PROXY#http://}} http://denied.example/again")
    log = appliance.run("ncl", "--json", "egress", "log", "--group", allowed.group, "--lines", "20")
    records = [json.loads(line) for line in log.splitlines()]
    fresh = [one for one in records if int(one["__REALTIME_TIMESTAMP"]) >= since * 1e6]
    found = [
        (one["NANOCLAW_EGRESS_HOST"], one["NANOCLAW_EGRESS_PATH"], one["NANOCLAW_EGRESS_OUTCOME"]) for one in fresh
    ]
    assert found == [
        (NAME, "/hello", "answered"),
        (NAME, "", "closed"),
        ("denied.example", "/path", "refused"),
        ("denied.example", "/again", "refused"),
    ]
    assert {one["NANOCLAW_SESSION"] for one in fresh} == {appliance.session_of(allowed.group).id}
    assert fresh[0]["NANOCLAW_EGRESS_RECEIVED"] == str(len(HELLO))
    assert f"GET {NAME}:{allowed.plain.port}/hello, answered 200" in appliance.run("ncl", "egress", "log")
    assert CANARY not in appliance.journal("_SYSTEMD_UNIT=nanoclaw-gateway.service", since=since)
    assert CANARY not in log


def test_the_message_path_is_not_in_the_way(stage: Stage) -> None:
    """A change of a rule is in the gateway's file when the command returns, and no container is touched for it."""
    runner = appliance.runner(appliance.session_of(stage.group))
    rule = stage.allow("example.org")
    published = json.loads(Path("/run/nanoclaw-agents/agents.json").read_text())
    assert [one["host"] for one in published["egress"] if one["id"] == rule] == ["example.org"]
    stage.ncl("remove", str(rule))
    assert runner == appliance.runner(appliance.session_of(stage.group))


@pytest.fixture(scope="module")
def ways(stage: Stage) -> dict[str, str]:
    """What came of every way out that we could think of, tried with the container's own tools."""
    with appliance.group() as neighbour, Person(neighbour) as other:
        other.ask("hello")
        given = {"neighbour": neighbour, "port": stage.plain.port, "group": stage.group}
        script = base64.b64encode(PROBE.read_bytes()).decode()
        command = f"echo {script} | base64 -d > /tmp/p.py && python3 /tmp/p.py '{json.dumps(given)}'"
        found: dict[str, str] = json.loads(stage.person.runs(command, 120))
        return found


def test_there_were_many_attempts(ways: dict[str, str]) -> None:
    assert len(ways) >= 40


def test_no_way_leads_out(ways: dict[str, str], stage: Stage) -> None:
    """W-69. What got somewhere begins with ``out``."""
    assert {name: words for name, words in ways.items() if words.startswith("out")} == {}
    assert not any(path.startswith("/ways-out") for path, _ in stage.plain.asked)


def test_rules_go_with_their_group(stage: Stage) -> None:
    del stage
    with appliance.group() as name:
        appliance.run("ncl", "egress", "allow", name, "example.org")
        assert name in appliance.run("ncl", "egress", "list")
    assert name not in appliance.run("ncl", "egress", "list")
    with pytest.raises(ControlError):
        appliance.call("Egress.Test", group=name, url="example.org")
