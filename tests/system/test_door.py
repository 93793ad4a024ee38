"""A secret at the door of a booted appliance: the tools of a container work with it and never have it.

F-119: it is entered outside of the agent. F-106: what a container is to trust is there at its first start.
"""

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from eventually import wait_until
from system import appliance, sites
from system.appliance import Person
from system.hosting import running
from system.sites import HELLO, NAME, TRUST, Site

CANARY: Final = f"canary{secrets.token_hex(12)}"
SECRET: Final = "door-test"
STATE: Final = Path("/var/lib/nanoclaw-gateway")


@dataclass
class Stage:
    """An agent, a site that the machine trusts, and a secret for it."""

    person: Person
    site: Site

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.site.port}"

    def authorization(self) -> str:
        """What the site was told last."""
        return self.site.asked[-1][1].get("Authorization", "")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("door")
    ca, pem = sites.certificate(place)
    with appliance.group() as name, sites.named(f"127.0.0.1 {NAME}"), sites.trusted(ca), Person(name) as person:
        workspace = appliance.STATE / "groups" / name
        sites.publish(person, workspace)
        with running(Site(workspace, pem)) as site:
            appliance.run("ncl", "egress", "allow", name, f"{NAME}:{site.port}", "--private")
            where = ["--host", f"{NAME}:{site.port}", "--group", name]
            subprocess.run(["ncl", "secret", "set", SECRET, *where], input=CANARY.encode(), check=True, timeout=60)
            wait_until(lambda: NAME in sites.vouched_for(), "the authority vouches for the site")
            try:
                yield Stage(person, site)
            finally:
                appliance.run("ncl", "secret", "remove", SECRET)


TOOLS: Final = {
    "curl": "curl -sS {url}/hello",
    "curl by HTTP/2": "curl -sS --http2 -w ' %{{http_version}}' {url}/hello | grep '2$'",
    "curl by SOCKS": "curl -sS --proxy socks5h://${{HTTPS_PROXY#http://}} {url}/hello",
    "git": f"rm -rf got; git clone -q {{url}}/repo.git got && cat got/file && echo {HELLO}",
    "pip": (
        "rm -rf wheels; python3 -m pip download -q --no-deps -i {url}/simple -d wheels tiny"
        " && python3 -m zipfile -e wheels/tiny-1.0-py3-none-any.whl wheels && cat wheels/tiny.py"
    ),
    "requests": "python3 -c \"import requests; print(requests.get('{url}/hello', timeout=20).text)\"",
    "httpx": "python3 -c \"import httpx; print(httpx.get('{url}/hello', timeout=20).text)\"",
    "urllib": "python3 -c \"import urllib.request as u; print(u.urlopen('{url}/hello', timeout=20).read().decode())\"",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_gets_the_secret_put_in_and_trusts_the_gateway(stage: Stage, tool: str):
    said = stage.person.runs(TOOLS[tool].format(url=stage.url))
    assert HELLO in said
    assert stage.authorization() == f"Bearer {CANARY}"
    assert CANARY not in said


def test_what_the_agent_writes_in_its_place_is_replaced(stage: Stage):
    stage.person.runs(f"curl -sS -H 'Authorization: Bearer mine' {stage.url}/hello")
    assert stage.authorization() == f"Bearer {CANARY}"
    said = stage.person.runs(f"curl -sS -H 'X-Other: nanoclaw-secret-of-somebody' {stage.url}/hello")
    assert "has no secret of-somebody" in said


def test_an_upload_and_its_echo_are_streamed(stage: Stage):
    sent = f"head -c 20000000 /dev/zero | curl -sS --data-binary @- {stage.url}/post | wc -c"
    assert stage.person.runs(sent).strip() == "20000000"


def test_narrow_rules_hold_for_what_is_inside(stage: Stage):
    group = stage.person.group
    told = appliance.run(
        *("ncl", "--json", "egress", "deny", group, f"{stage.url}/forbidden/"),
    )
    rule = json.loads(told)["rule"]["id"]
    try:
        assert HELLO in stage.person.runs(f"curl -sS {stage.url}/hello")
        before = len(stage.site.asked)
        assert "may not reach" in stage.person.runs(f"curl -sS {stage.url}/forbidden/x")
        assert "may not reach" in stage.person.runs(f"curl -sS --path-as-is {stage.url}/hello/../forbidden/x")
        assert len(stage.site.asked) == before
    finally:
        appliance.run("ncl", "egress", "remove", str(rule))


def test_the_journal_has_each_request_and_no_secret(stage: Stage):
    stage.person.runs(f"curl -sS '{stage.url}/hello?query=shown-to-nobody'")
    told = appliance.run("ncl", "egress", "log", "--group", stage.person.group, "--json")
    assert '"/hello"' in told
    assert "shown-to-nobody" not in told
    everything = subprocess.run(["journalctl", "-o", "export", "--no-pager"], check=True, capture_output=True).stdout
    assert NAME.encode() in everything
    assert CANARY.encode() not in everything


def test_the_key_is_the_gateways_alone_and_outlives_it(stage: Stage):
    key, owner = STATE / "authority.key", STATE.stat()
    assert STATE.stat().st_mode & 0o777 == 0o700
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_uid == owner.st_uid != 0
    before = key.read_bytes()
    subprocess.run(["systemctl", "restart", "nanoclaw-gateway.service"], check=True)
    assert HELLO in stage.person.runs(f"curl -sS {stage.url}/hello")
    assert stage.authorization() == f"Bearer {CANARY}"
    assert key.read_bytes() == before
    assert {one.name for one in TRUST.iterdir()} == {"ca.pem", "bundle.pem"}
    seen = stage.person.runs(f"ls {STATE} 2>&1; touch {TRUST}/x 2>&1")
    assert "No such file" in seen
    assert "Read-only file system" in seen
    assert not (TRUST / "x").exists()


def test_the_authority_vouches_for_this_host_and_no_other(stage: Stage):
    assert sites.vouched_for().count("DNS:") == 1
    assert NAME in sites.vouched_for()
    assert TRUST.joinpath("bundle.pem").read_text().count("BEGIN CERTIFICATE") > 1
    assert HELLO in stage.person.runs(f"curl -sS {stage.url}/hello")
