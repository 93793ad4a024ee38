"""An OAuth account at the door of a booted appliance: its tokens are got, renewed, kept and refused there.

F-119: the agent works with the account and has none of its tokens. W-46: nobody has to sign in for a request.
"""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, override
from urllib.parse import parse_qs

import pytest

from eventually import wait_until
from system import appliance, sites
from system.appliance import Person
from system.hosting import Answering, Host, running
from system.sites import HELLO, NAME, Site

SECRET: Final = "account"
CLIENT_SECRET: Final = f"canary-client-{secrets.token_hex(8)}"
KEPT: Final = Path("/var/lib/nanoclaw-gateway/tokens") / f"{SECRET}.token"
_OK: Final = 200


class TokenServer(Host):
    """Gives an access token and the next refresh token for the refresh token that is good, and takes that one once.

    Attributes:
        good: the refresh token that it takes.
        life: seconds that access tokens are good for.
        forms: what it was sent.
        given: every token that it gave.
    """

    def __init__(self, certificate: Path) -> None:
        super().__init__(_Granting, certificate)
        self.good = ""
        self.life = 3600
        self.forms: list[dict[str, str]] = []
        self.given: list[str] = []

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}/token"

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        self.forms.append(form)
        if form.get("refresh_token") != self.good:
            return 400, {"error": "invalid_grant", "error_description": f"{form.get('refresh_token')} is void"}
        access = f"canary-access-{len(self.forms)}-{secrets.token_hex(8)}"
        self.good = f"canary-refresh-{len(self.forms)}-{secrets.token_hex(8)}"
        self.given += [access, self.good]
        return _OK, {"access_token": access, "expires_in": self.life, "refresh_token": self.good}


class _Granting(Answering):
    server: TokenServer

    @override
    def do_POST(self) -> None:
        form = parse_qs(self.body().decode())
        status, told = self.server.answer({name: value[0] for name, value in form.items()})
        self.say(status, json.dumps(told).encode())


@dataclass
class Stage:
    """An agent and a site that takes an account's access tokens."""

    person: Person
    site: Site
    certificate: Path

    def fetch(self) -> str:
        """Ask for something with the agent's own tool."""
        return self.person.runs(f"curl -sS https://{NAME}:{self.site.port}/hello")

    def heard(self) -> list[str]:
        """Return the authorization of each request to the site."""
        return [headers.get("Authorization", "") for _, headers in self.site.asked]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("oauth")
    ca, pem = sites.certificate(place)
    with (
        appliance.group() as name,
        sites.named(f"127.0.0.1 {NAME}"),
        sites.trusted(ca),
        Person(name) as person,
        running(Site(place, pem)) as site,
    ):
        appliance.run("ncl", "egress", "allow", name, f"{NAME}:{site.port}", "--private")
        yield Stage(person, site, pem)


@pytest.fixture
def server(stage: Stage) -> Iterator[TokenServer]:
    """A token server, and an account there that the owner has just entered."""
    stage.site.asked.clear()
    with running(TokenServer(stage.certificate)) as made:
        enter(stage, made)
        try:
            yield made
        finally:
            appliance.run("ncl", "secret", "remove", SECRET)


def enter(stage: Stage, server: TokenServer) -> str:
    """Enter an account the way an owner does; return its refresh token."""
    server.good = f"canary-entered-{secrets.token_hex(8)}"
    where = ["--host", f"{NAME}:{stage.site.port}", "--group", stage.person.group]
    how = ["--token-url", server.url, "--client-id", "the-client", "--scope", "read write", "--ask-client-secret"]
    lines = f"{server.good}\n{CLIENT_SECRET}\n".encode()
    subprocess.run(["ncl", "secret", "set", SECRET, *where, *how], input=lines, check=True, timeout=60)
    restart_gateway()
    return server.good


def restart_gateway() -> None:
    """Have the gateway take what was stored, now."""
    appliance.run("systemctl", "restart", "nanoclaw-gateway.service")


def test_an_access_token_is_got_and_put_in_and_the_agent_has_none(stage: Stage, server: TokenServer) -> None:
    entered = server.good
    said = [stage.fetch() for _ in range(3)]
    assert said == [HELLO] * 3
    assert server.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": entered,
            "client_id": "the-client",
            "client_secret": CLIENT_SECRET,
            "scope": "read write",
        }
    ]
    assert stage.heard() == [f"Bearer {server.given[0]}"] * 3


def test_a_token_that_has_ended_is_got_anew(stage: Stage, server: TokenServer) -> None:
    """By the refresh token that came with the one before: this server takes each of them once."""
    server.life = 2
    assert stage.fetch() == HELLO

    def renewed() -> bool:
        assert stage.fetch() == HELLO
        return len(server.forms) == 2

    wait_until(renewed, "another access token")
    assert server.forms[1]["refresh_token"] == server.given[1]
    assert stage.heard()[-1] == f"Bearer {server.given[2]}"


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_rotated_refresh_token_outlives_the_gateway(stage: Stage, server: TokenServer, how: str) -> None:
    assert stage.fetch() == HELLO
    rotated = server.good
    assert rotated.encode() not in KEPT.read_bytes()
    assert KEPT.stat().st_mode & 0o777 == 0o600
    if how == "restart":
        restart_gateway()
    else:
        appliance.run("systemctl", "kill", "--signal=KILL", "nanoclaw-gateway.service")
    assert stage.fetch() == HELLO
    assert server.forms[-1]["refresh_token"] == rotated
    assert stage.heard()[-1] == f"Bearer {server.given[-2]}"


def test_a_refresh_token_that_is_refused_is_told_in_words(stage: Stage, server: TokenServer) -> None:
    """To the agent and in the journal, and neither has a token; what the owner enters anew is used."""
    since = time.time()
    server.good = "of another account"
    said = stage.fetch()
    where = server.url.removeprefix("https://").removesuffix("/token")
    assert f"the secret {SECRET} could not be renewed: {where} answers 400 invalid_grant" in said
    assert f"It has to be entered anew: ncl secret set {SECRET}" in said
    assert "canary" not in said
    assert stage.heard() == []
    told = appliance.journal("_SYSTEMD_UNIT=nanoclaw-gateway.service", since=since)
    assert told.count(f"the secret {SECRET} could not be renewed") == 1
    enter(stage, server)
    assert stage.fetch() == HELLO
    everything = appliance.journal(since=since)
    assert all(token not in everything for token in (CLIENT_SECRET, *server.given, server.forms[0]["refresh_token"]))
