"""Refresh tokens are exchanged at the door: agents see neither them nor what is got for them. F-119."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
from door_stage import Inside, entered, inside
from egress_stage import status

from nanoclawd.egress.secrets import OAuth, Sealed
from nanoclawd.gateway.door import tokens
from nanoclawd.gateway.door.kept_tokens import KeptTokens
from nanoclawd.gateway.door.tokens import AccessTokens

FIRST = "refresh-token-that-was-entered"


@dataclass
class Town:
    """One server that is the token server (``/token``) and the host (everything else).

    Attributes:
        forms: what the token server was sent.
        heard: the authorization of each request to the host.
        accepted: the access tokens that the host takes.
        given: what the token server says next; by default, tokens with numbers.
    """

    forms: list[dict[str, str]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    given: dict[str, object] = field(default_factory=dict)
    status: int = 200
    raw: bytes | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    echoes: bool = False

    def __post_init__(self) -> None:
        self.release.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if head.startswith("POST /token "):
            code, answer = await self._token(body.decode())
        else:
            self.heard.append(head.partition("Authorization: ")[2].partition("\r\n")[0])
            self.bodies.append(body)
            token = self.heard[-1].removeprefix("Bearer ")
            code = 200 if token in self.accepted else 401
            answer = head.encode() if self.echoes else b"fine"
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (code, len(answer)) + answer)
        await writer.drain()

    async def _token(self, body: str) -> tuple[int, bytes]:
        self.forms.append({name: value[0] for name, value in parse_qs(body).items()})
        self.asked.set()
        await self.release.wait()
        if self.raw is not None:
            return self.status, self.raw
        number = len(self.forms)
        access = f"access-token-number-{number}"
        self.accepted.add(access)
        return self.status, msgspec.json.encode({"access_token": access, "expires_in": 3600, **self.given})


@asynccontextmanager
async def town(place: Path, value: str = FIRST, **oauth: str) -> AsyncIterator[tuple[Inside, Town]]:
    def seal(port: int) -> dict[str, Sealed]:
        more = OAuth(f"https://tokens.test:{port}/token", "the-client", **oauth)
        return {"key": entered(port, value, oauth=more)}

    async with inside(place, seal) as door:
        found = Town()
        door.host.serving = found.serve
        yield door, found


async def test_a_token_is_got_once_and_used_until_its_end(place: Path):
    async with town(place, client_secret="client-secret", scope="a b") as (door, found):
        for _ in range(3):
            assert status(await door.fetch()) == 200
        assert found.heard == ["Bearer access-token-number-1"] * 3
        assert found.forms == [
            {
                "grant_type": "refresh_token",
                "refresh_token": FIRST,
                "client_id": "the-client",
                "client_secret": "client-secret",
                "scope": "a b",
            }
        ]


async def test_who_asks_at_once_waits_for_one_answer(place: Path):
    async with town(place) as (door, found):
        found.release.clear()
        asking = [asyncio.create_task(door.fetch()) for _ in range(5)]
        await asyncio.wait_for(found.asked.wait(), 5)
        asking.pop().cancel()  # one that leaves takes nothing with it
        found.release.set()
        assert [status(answer) for answer in await asyncio.gather(*asking)] == [200] * 4
        assert len(found.forms) == 1


async def test_a_token_is_renewed_shortly_before_its_end(place: Path, monkeypatch: pytest.MonkeyPatch):
    async with town(place) as (door, found):
        now = 1000.0
        monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
        assert status(await door.fetch()) == 200
        now += 3600 - 61
        assert status(await door.fetch()) == 200
        assert len(found.forms) == 1
        now += 2
        assert status(await door.fetch()) == 200
        assert len(found.forms) == 2


async def test_a_token_that_the_host_takes_no_more_is_renewed_once(place: Path, monkeypatch: pytest.MonkeyPatch):
    """A request without a body is asked again; one with a body tells its client, whose next one works."""
    async with town(place) as (door, found):
        assert status(await door.fetch()) == 200
        found.accepted.clear()
        assert status(await door.fetch()) == 200
        assert found.heard[-2:] == ["Bearer access-token-number-1", "Bearer access-token-number-2"]
        found.accepted.clear()
        assert status(await door.fetch()) == 401, "a host that refuses everything causes no more questions"
        assert len(found.forms) == 2
        now = tokens.time.monotonic() + 61
        monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
        posted = ("/", "Content-Length: 4\r\n", "POST", b"body")
        assert status(await door.fetch(*posted)) == 401
        assert status(await door.fetch(*posted)) == 200
        assert found.bodies[-2:] == [b"body", b"body"]


async def test_a_token_that_one_request_was_refused_with_is_not_lost_to_others(place: Path):
    """Agents can have hosts refuse what they like, also while the token server is away."""
    async with town(place) as (door, found):
        assert status(await door.fetch()) == 200
        found.accepted.clear()
        found.status, found.raw = 503, b"away"
        assert status(await door.fetch()) == 401
        found.accepted.add("access-token-number-1")
        assert status(await door.fetch()) == 200
        assert len(found.forms) == 2


async def test_a_token_of_an_account_that_is_void_is_used_no_more(place: Path):
    async with town(place) as (door, found):
        assert status(await door.fetch()) == 200
        found.accepted.clear()
        found.status, found.raw = 400, b'{"error": "invalid_grant"}'
        answer = await door.fetch()
        assert status(answer) == 502
        assert b"has to be entered anew" in answer


async def test_a_new_refresh_token_is_sealed_before_it_counts_and_outlives_the_gateway(place: Path):
    async with town(place) as (door, found):
        found.given["refresh_token"] = "second-refresh-token"
        assert status(await door.fetch()) == 200
        kept = place / "state" / "tokens" / "key.token"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert b"second" not in kept.read_bytes()
        assert b"second" not in bytes.fromhex(kept.read_text())
    async with town(place) as (door, found):
        assert status(await door.fetch()) == 200
        assert found.forms[0]["refresh_token"] == "second-refresh-token"
    async with town(place, "entered-anew-by-the-owner") as (door, found):
        assert status(await door.fetch()) == 200
        assert found.forms[0]["refresh_token"] == "entered-anew-by-the-owner"


async def test_a_token_that_is_asked_for_when_the_gateway_stops_is_kept(place: Path):
    """Whoever asked is gone; what the server gives is the only good token from then on."""
    async with town(place) as (door, found):
        found.given["refresh_token"] = "refresh-token-number-2"
        found.release.clear()
        asking = asyncio.create_task(door.fetch())
        await asyncio.wait_for(found.asked.wait(), 5)
        asking.cancel()
        settling = asyncio.create_task(door.gateway.door.injection.settle(5))
        await asyncio.sleep(0)
        found.release.set()
        await settling
        kept = KeptTokens(place / "state" / "tokens")
        assert kept.load("key", FIRST) == "refresh-token-number-2"


async def test_a_file_that_was_changed_counts_for_nothing(place: Path):
    (place / "state" / "tokens").mkdir(parents=True)
    (place / "state" / "tokens" / "key.token").write_text("00" * 60)
    async with town(place) as (door, found):
        assert status(await door.fetch()) == 200
        assert found.forms[0]["refresh_token"] == FIRST


@pytest.mark.parametrize(
    ("code", "raw", "words"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "canary"}', "answers 400 invalid_grant. It has to be"),
        (400, b'{"error": "canary"}', "answers 400"),
        (500, b"canary", "answers 500"),
        (200, b"canary", "without an access token"),
        (200, b'{"access_token": "a b"}', "without an access token"),
        (200, b'{"access_token": ["x"]}', "without an access token"),
        (200, b'{"access_token": "x", "refresh_token": "a\\nb"}', "refresh token that is none"),
        (200, b"[" * 60_000, "without an access token"),
        (200, b" " * 70_000, "closed the connection"),
    ],
    ids=range(9),
)
async def test_a_failure_is_told_in_our_words(
    place: Path, caplog: pytest.LogCaptureFixture, code: int, raw: bytes, words: str
):
    """To the agent and once in the journal; what the server has said is in neither."""
    caplog.set_level(logging.WARNING)
    async with town(place) as (door, found):
        found.status, found.raw = code, raw
        for _ in range(2):
            answer = await door.fetch()
            assert status(answer) == 502
            assert words.encode() in answer
            assert b"secret key could not be renewed" in answer
            assert b"canary" not in answer
        assert len(found.forms) == 1, "a failure is not asked for again at once"
        assert not found.heard
    told = [record for record in caplog.records if "could not be renewed" in record.getMessage()]
    assert len(told) == 1
    assert "canary" not in caplog.text
    assert FIRST not in caplog.text


async def test_a_token_server_that_cannot_be_verified_gets_nothing(place: Path):
    def seal(port: int) -> dict[str, Sealed]:
        return {"key": entered(port, FIRST, oauth=OAuth(f"https://wrong.test:{port}/token", "the-client"))}

    async with inside(place, seal) as door:
        answer = await door.fetch()
        assert status(answer) == 502
        assert b"cannot be verified" in answer
        assert not door.host.heard


async def test_what_a_host_repeats_of_tokens_is_cut_out(place: Path):
    """Of the one at hand and of those before it."""
    async with town(place) as (door, found):
        found.echoes = True
        assert b"access-token-number-1" not in await door.fetch()
        found.accepted.clear()
        await door.fetch()
        answer = await door.fetch("/?x=access-token-number-1&y=" + FIRST)
        assert b"access-token" not in answer
        assert FIRST.encode() not in answer
        assert b"Bearer ***" in answer


async def test_former_tokens_and_the_clients_secret_are_cut_out_too(place: Path, monkeypatch: pytest.MonkeyPatch):
    """Those that were given up by time, or in exchange, may be good for something yet."""
    async with town(place, client_secret="secret-of-the-client") as (door, found):
        now = 1000.0
        monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
        for word in ("second", "third"):
            found.given["refresh_token"] = f"{word}-refresh-token"
            assert status(await door.fetch()) == 200
            now += 3600
        found.given.clear()
        found.echoes = True
        answer = await door.fetch("/?a=access-token-number-1&b=second-refresh-token&c=secret-of-the-client&d=plain")
        assert status(answer) == 200
        assert b"&d=plain" in answer
        for former in (b"access-token-number-1", b"second-refresh-token", b"secret-of-the-client"):
            assert former not in answer


async def test_who_leaves_in_the_middle_of_an_exchange_loses_nothing(tmp_path: Path):
    """The server has given a new refresh token by then, and takes the old one no more."""
    asked, release, forms = asyncio.Event(), asyncio.Event(), []

    async def ask(_url: str, form: bytes) -> tuple[int, bytes]:
        forms.append(form)
        asked.set()
        await release.wait()
        return 200, b'{"access_token": "an-access-token"}'

    found = AccessTokens(ask, KeptTokens(tmp_path))
    sealed = entered(443, FIRST, oauth=OAuth("https://tokens.test/token", "the-client"))
    first = asyncio.create_task(found.access("key", sealed))
    await asked.wait()
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(found.access("key", sealed))
    release.set()
    assert await second == "an-access-token"
    assert len(forms) == 1


@pytest.mark.parametrize("told", [None, "1800", "soon", 0, -5, 1e300, "NaN"])
async def test_odd_lives_are_taken_for_an_hour(place: Path, told: object):
    async with town(place) as (door, found):
        found.given["expires_in"] = told
        for _ in range(2):
            assert status(await door.fetch()) == 200
        assert len(found.forms) == 1
