"""An agent's requests by way of OneCLI, through the whole gateway: the rules stay ours, the secrets are OneCLI's.

F-106, F-107, F-130; W-45. Reference: 8.9.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from door_stage import NAME, VALUE, Inside, Issuer
from egress_stage import Host, Names, answers, status
from gateway_stage import FIRST_UID, Upstream, running
from onecli_stage import GROUP_ID, PAUSE, Person, onecli, settings, until

from nanoclawd.config import Config, Gateway
from nanoclawd.egress.secrets import Place, Sealed
from nanoclawd.gateway.credentials import Credentials
from nanoclawd.gateway.door.inside import Door
from nanoclawd.gateway.onecli import service
from nanoclawd.gateway.policy import AgentDirectory, SubordinateRange
from nanoclawd.gateway.reaching import Reaching
from onecli_api.server import OneCli

SECRET = "Bearer of-onecli-alone"
OK = "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close"
AGENT: dict[str, object] = {"uid": 1, "group": "tests", "endpoints": [], "id": GROUP_ID, "name": "Tests"}


@dataclass
class Stage(Inside):
    """A gateway with a door, and a OneCLI behind it.

    Attributes:
        api: the OneCLI.
        service: our side of it.
    """

    api: OneCli
    service: service.Service

    def rules(self, *rules: dict[str, object], secrets: tuple[dict[str, object], ...] = ()) -> None:
        self.gateway.publish([AGENT], list(rules) or [self.rule()], list(secrets))

    async def ready(self) -> None:
        await until(self.service.link.states(), lambda state: state.state == "ready")

    async def get(self, path: str = "/", *, headers: str = "", port: int | None = None) -> bytes:
        """A request by TLS, as a program in a container makes it."""
        return await self.say(
            f"GET {path} HTTP/1.1\r\nHost: {NAME}:{self.host.port}\r\n{headers}Connection: close\r\n\r\n".encode()
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(staged(tmp_path))


@asynccontextmanager
async def staged(place: Path, daemon_uid: int = -1) -> AsyncIterator[Stage]:
    issuer, host, names = Issuer(), Host(), Names()
    bundle = issuer.bundle(place)
    os.environ["SSL_CERT_FILE"] = str(bundle)
    names.known[NAME] = ["127.0.0.1"]
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0, ssl=issuer.server(place, NAME, "127.0.0.1"))
    host.port = server.sockets[0].getsockname()[1]
    try:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(onecli(place / "onecli", upstream_ca=bundle))
            api.names = {NAME: "127.0.0.1"}
            config = Config(gateway=Gateway(max_connections=4, max_egress=8, egress_idle=5.0, onecli=settings(api)))
            ranges = [SubordinateRange(os.getuid(), 1), SubordinateRange(FIRST_UID, 65_536)]
            reaching = Reaching(names.look_up, names.connect)
            outside: list[service.Service] = []

            @asynccontextmanager
            async def link(agents: AgentDirectory, door: Door) -> AsyncIterator[service.Service]:
                credentials = Credentials({"onecli": api.world.key})
                async with service.serving(
                    settings(api), credentials, agents, Person(), door.trust_outside, pause=PAUSE, stands_after=PAUSE
                ) as served:
                    outside.append(served)
                    yield served

            sealed = {"own": Sealed(value=VALUE, places=(Place(NAME, host.port),))}
            at_work = running(config, ranges, Upstream(), place, reaching, sealed, link, daemon_uid)
            gateway = await stack.enter_async_context(at_work)
            made = Stage(gateway, host, names, place, issuer, api, outside[0])
            made.rules()
            await made.ready()
            yield made
    finally:
        os.environ.pop("SSL_CERT_FILE", None)
        server.close()


async def test_a_request_gets_the_secret_that_only_onecli_knows(stage: Stage):
    heard: list[bytes] = []
    stage.host.serving = answers(OK, b"hello", heard)
    await stage.get()
    agent = stage.api.world.agents[GROUP_ID]
    stage.api.world.secrets[NAME], agent.mode = SECRET, "all"
    assert (await stage.get()).endswith(b"hello")
    assert stage.api.world.carried[-2:] == [f"{NAME}:{stage.host.port}"] * 2
    assert SECRET.encode() not in heard[0]
    assert f"authorization: {SECRET}".encode() in heard[1].lower().replace(SECRET.lower().encode(), SECRET.encode())
    assert agent.token.encode() not in b"".join(heard)


async def test_what_no_rule_allows_does_not_get_as_far(stage: Stage):
    stage.rules({"id": 1, "action": "deny", "host": "*"})
    reader, writer = await stage.open()
    writer.write(f"CONNECT {NAME}:{stage.host.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403")
    writer.close()
    assert not [one for one in stage.api.world.carried if NAME in one]


async def test_an_address_that_is_not_on_the_internet_does_not_either(stage: Stage):
    stage.rules(stage.rule(private=False))
    reader, writer = await stage.open()
    writer.write(f"CONNECT {NAME}:{stage.host.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b"--private" in await reader.readuntil(b"\r\n")
    writer.close()
    assert not [one for one in stage.api.world.carried if NAME in one]


async def test_a_narrow_rule_looks_inside_and_goes_on_through_onecli(stage: Stage):
    """Our door stands before OneCLI's: it trusts OneCLI's authority there, and only there."""
    stage.rules(stage.rule(path="/allowed"))
    stage.api.world.secrets[NAME] = SECRET
    stage.api.world.agents[GROUP_ID].mode = "all"
    heard: list[bytes] = []
    stage.host.serving = answers(OK, b"hello", heard)
    assert status(await stage.get("/allowed")) == 200
    assert SECRET.encode() in heard[0]
    assert status(await stage.get("/other")) == 403
    assert len(heard) == 1


async def test_a_secret_of_our_own_is_not_shown_to_onecli(stage: Stage):
    stage.rules(secrets=({"name": "own", "places": [stage.place_of()], "style": "bearer"},))
    stage.api.world.secrets[NAME] = SECRET
    stage.api.world.agents[GROUP_ID].mode = "all"
    heard: list[bytes] = []
    stage.host.serving = answers(OK, b"hello", heard)
    assert status(await stage.get()) == 200
    assert f"Bearer {VALUE}".encode() in heard[0]
    assert SECRET.encode() not in heard[0]
    assert not [one for one in stage.api.world.carried if NAME in one]


async def test_plain_http_goes_in_absolute_form_with_a_token_that_nobody_else_sees(stage: Stage):
    plain = Host()
    heard: list[bytes] = []
    plain.serving = answers(OK, b"plain", heard)
    async with await asyncio.start_server(plain.serve, "127.0.0.1", 0) as server:
        plain.port = server.sockets[0].getsockname()[1]
        stage.rules({"id": 1, "action": "allow", "host": "127.0.0.1", "port": plain.port, "private": True})
        stage.api.world.secrets["127.0.0.1"] = SECRET
        agent = stage.api.world.agents[GROUP_ID]
        agent.mode = "all"
        request = f"GET http://127.0.0.1:{plain.port}/path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        answer = await stage.ask(request)
        assert answer.endswith(b"plain")
        assert heard[0].startswith(b"GET /path HTTP/1.1\r\n")
        assert SECRET.encode() in heard[0]
        assert b"proxy-authorization" not in heard[0].lower()
        # A token that was changed there: said once, and the next request has the new one.
        agent.token = "aoc_regenerated"
        refused = await stage.ask(request)
        assert (status(refused), b"407" in refused, b"Proxy-Authenticate" in refused) == (502, False, False)
        assert (await stage.ask(request)).endswith(b"plain")


async def test_while_it_is_away_an_agent_is_told_to_come_again(stage: Stage):
    """F-107: a turn that is under way hears why, and that it may pass."""
    await stage.api.stop()
    await until(stage.service.link.states(), lambda state: state.state == "away")
    reader, writer = await stage.open()
    writer.write(f"CONNECT {NAME}:{stage.host.port} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n".encode())
    answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 10" in head
    assert json.loads(body)["error"]["type"] == "onecli_away"
    writer.close()
    await stage.api.start()
    await stage.ready()
    stage.host.serving = answers(OK, b"hello")
    assert (await stage.get()).endswith(b"hello")


async def test_a_connection_of_ours_trusts_no_certificate_of_onecli(stage: Stage):
    """Its authority is for what it answers: on our own connections it vouches for nobody."""
    stage.host.serving = answers(OK, b"hello")
    trust = stage.gateway.door._trust
    direct, through = await trust.client(), await trust.client(is_outside=True)
    known = [{frozenset(one["subject"]) for one in context.get_ca_certs()} for context in (direct, through)]
    (extra,) = known[1] - known[0]
    assert "OneCLI" in str(extra)
    assert direct.verify_mode is through.verify_mode is ssl.CERT_REQUIRED


async def test_the_daemon_alone_is_told_how_it_stands(stage: Stage, tmp_path_factory: pytest.TempPathFactory):
    """An agent that asks for the same path gets what it gets for any endpoint that is none."""
    asking = b"GET /-/outside HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    refused = await stage.ask(asking)
    assert (status(refused), b"ready" in refused) == (400, False)
    async with staged(tmp_path_factory.mktemp("daemon"), os.getuid()) as other:
        reader, writer = await other.open()
        writer.write(asking)
        async with asyncio.timeout(10):
            assert b'"state":"ready"' in await reader.readuntil(b"}\n\r\n")
            await other.api.stop()
            assert b'"state":"away","reason":"OneCLI' in await reader.readuntil(b"}\n\r\n")
        writer.close()
