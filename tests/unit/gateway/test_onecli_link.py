"""The link with OneCLI: what it makes there, what it says of its state, and connections through the proxy.

F-106, F-107, F-130; W-45: a OneCLI that is away is waited for, and found again without anybody's help. W-46: an agent
that is new there has no secrets, and that is said.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h11
import msgspec
import pytest
from gateway_stage import Running
from onecli_stage import AGENT, GROUP_ID, OTHER, PAUSE, Person, onecli, settings, until

from eventually import eventually
from nanoclawd.config import OneCli as Settings
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.credentials import Credentials
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.onecli import approving
from nanoclawd.gateway.onecli.client import OneCliClient, OneCliError
from nanoclawd.gateway.onecli.messages import ApprovalAgent, ApprovalRequest
from nanoclawd.gateway.onecli.service import Service, serving
from nanoclawd.gateway.policy import Agent, AgentDirectory, SubordinateRange
from nanoclawd.gateway.wire import Wire
from onecli_api.server import OneCli
from onecli_api.world import Approval

MAIN = msgspec.convert(AGENT, Agent)


@dataclass
class Stage:
    api: OneCli
    service: Service
    person: Person
    trusted: list[str]
    published: Running

    async def ready(self) -> None:
        await until(self.service.link.states(), lambda state: state.state == "ready")

    async def away(self) -> str:
        return (await until(self.service.link.states(), lambda state: state.state == "away")).reason


@asynccontextmanager
async def linked(
    place: Path,
    api: OneCli,
    given: Settings | None = None,
    key: str | None = None,
    agents: tuple = (AGENT,),
    pause: float = PAUSE,
) -> AsyncIterator[Stage]:
    published = Running(place / "none.sock", place / "agents.json", None, None)  # type: ignore[arg-type]
    published.publish(list(agents))
    directory = AgentDirectory(published.agents_file, [SubordinateRange(100_000, 65_536)])
    person, trusted = Person(), []
    credentials = Credentials({"onecli": key or api.world.key})
    async with serving(
        given or settings(api), credentials, directory, person, trusted.append, pause=pause, stands_after=PAUSE
    ) as service:
        yield Stage(api, service, person, trusted, published)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OneCli]:
    async with onecli(tmp_path / "onecli") as found:
        yield found


async def test_every_group_is_an_agent_there_before_anybody_asks(tmp_path: Path, api: OneCli):
    """F-106, F-130: made by the group's own id, then its configuration is asked for, each once."""
    async with linked(tmp_path, api, agents=(AGENT, OTHER)) as stage:
        await stage.ready()
        assert {one.identifier: one.name for one in api.world.agents.values()} == {GROUP_ID: "Tests", "ag-2": "Other"}
        asked = [call for call in api.world.calls if GROUP_ID in call[1] or call[1] == "/v1/agents"]
        assert asked[:2] == [("POST", "/v1/agents"), ("GET", f"/v1/container-config?agent={GROUP_ID}")]
        assert stage.trusted[0] == api.authority.pem
        access = await stage.service.link.access(MAIN)
        assert (access.host, access.port) == ("127.0.0.1", api.gateway_port)


async def test_a_group_that_comes_later_is_an_agent_there_before_anybody_asks(tmp_path: Path, api: OneCli):
    """F-106: and OneCLI's authority is trusted by then; a program reads whom to trust before it asks for anything."""
    async with linked(tmp_path, api, agents=()) as stage:
        await stage.ready()
        assert stage.trusted == []
        stage.published.publish([AGENT, OTHER])
        stage.service.link.look_again()
        await eventually(lambda: len(stage.trusted) == 2, "both are made")
        assert {one.identifier for one in api.world.agents.values()} == {GROUP_ID, "ag-2"}
        assert set(stage.trusted) == {api.authority.pem}


async def test_a_new_agent_is_said_to_have_nothing_yet(tmp_path: Path, api: OneCli, caplog: pytest.LogCaptureFixture):
    """W-46: once in the journal, and in the notes; of one that was there before, nothing."""
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        (note,) = stage.service.link.state.notes
        assert note.group == "tests"
        assert "no secrets" in note.message
        assert GROUP_ID in note.fix
    assert api.world.agents[GROUP_ID].mode == "selective"
    assert sum("no secrets" in record.getMessage() for record in caplog.records) == 1
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        assert stage.service.link.state.notes == ()


async def test_the_configuration_can_give_new_agents_everything(tmp_path: Path, api: OneCli):
    """W-46: and an agent that is there keeps what its operator gave it."""
    async with linked(tmp_path, api, settings(api, secrets="all")) as stage:
        await stage.ready()
        assert stage.service.link.state.notes == ()
        assert api.world.agents[GROUP_ID].mode == "all"
    api.world.agents[GROUP_ID].mode = "selective"
    async with linked(tmp_path, api, settings(api, secrets="all")) as stage:
        await stage.ready()
    assert api.world.agents[GROUP_ID].mode == "selective"


async def test_a_onecli_without_that_setting_is_said_so(tmp_path: Path, api: OneCli):
    api.world.has_modes = False
    async with linked(tmp_path, api, settings(api, secrets="all")) as stage:
        await stage.ready()
        assert "can't give an agent all secrets any more" in stage.service.link.state.notes[0].message


async def test_it_is_away_when_it_goes_and_back_when_it_comes(tmp_path: Path, api: OneCli):
    """F-107, W-45."""
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        await api.stop()
        assert "cannot be reached" in await stage.away()
        with pytest.raises(OneCliError, match="cannot be reached"):
            await stage.service.link.access(MAIN)
        with pytest.raises(Denial) as caught:
            await stage.service.through.tunnel(MAIN, Target("site.test", 443))
        assert (caught.value.status, caught.value.kind, caught.value.retry_after) == (503, "onecli_away", 10)
        await api.start()
        await stage.ready()
        await stage.service.link.access(MAIN)


async def test_one_that_is_not_there_yet_is_waited_for(tmp_path: Path, api: OneCli):
    await api.stop()
    async with linked(tmp_path, api) as stage:
        await until(stage.service.link.states(), lambda state: "cannot be reached" in state.reason)
        await api.start()
        await stage.ready()


async def test_a_key_that_is_not_taken_is_told_with_what_to_do(tmp_path: Path, api: OneCli):
    async with linked(tmp_path, api, key="oc_wrong") as stage:
        state = await until(stage.service.link.states(), lambda state: "API key" in state.reason)
        assert (state.state, state.fix) == ("away", "ncl credentials put nanoclaw-gateway.onecli")
        api.world.key = "oc_wrong"
        await stage.ready()


async def test_one_that_fails_is_away_until_it_works(tmp_path: Path, api: OneCli):
    api.world.failing = 500
    async with linked(tmp_path, api) as stage:
        assert "500" in (await until(stage.service.link.states(), lambda state: "500" in state.reason)).reason
        api.world.failing = 0
        await stage.ready()


async def test_a_proxy_that_is_not_there_is_away_though_the_rest_answers(tmp_path: Path, api: OneCli):
    api.routes.proxy = "127.0.0.1:1"
    async with linked(tmp_path, api) as stage:
        state = await until(stage.service.link.states(), lambda state: "proxy" in state.reason)
        assert "OneCLI's proxy at 127.0.0.1:1 cannot be reached" in state.reason
        api.routes.proxy = f"127.0.0.1:{api.gateway_port}"
        await stage.ready()


async def test_a_group_that_it_does_not_take_keeps_no_other_waiting(tmp_path: Path, api: OneCli):
    odd = {**OTHER, "name": " "}
    async with linked(tmp_path, api, agents=(odd, AGENT)) as stage:
        await stage.ready()
        assert ("other", True) in [(one.group, "400" in one.message) for one in stage.service.link.state.notes]
        await stage.service.link.access(MAIN)


async def test_a_group_that_comes_later_is_made_when_it_asks(tmp_path: Path, api: OneCli):
    """F-106: of many requests at once by one."""
    async with linked(tmp_path, api, agents=()) as stage:
        await stage.ready()
        await asyncio.gather(*(stage.service.link.access(MAIN) for _ in range(5)))
        assert [call for call in api.world.calls if call[0] == "POST"] == [("POST", "/v1/agents")]


async def test_a_daemon_that_has_published_nothing_keeps_nobody_waiting(tmp_path: Path, api: OneCli):
    async with linked(tmp_path, api) as stage:
        stage.published.agents_file.unlink()
        await api.stop()
        await stage.away()
        await api.start()
        await stage.ready()


async def _say(wire: Wire, api: OneCli, host: str) -> bytes:
    """Ask for / through a tunnel, by TLS that trusts OneCLI's authority."""
    context = ssl.create_default_context(cadata=api.authority.pem)
    reads, writes = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(reads, writes, server_hostname=host)
    http = h11.Connection(h11.CLIENT)
    request = http.send(h11.Request(method="GET", target="/", headers=[("Host", host), ("Connection", "close")]))
    got = b""

    async def more() -> bool:
        if writes.pending:
            await wire.write(writes.read())
        data = await wire.read(10)
        reads.write(data) if data else reads.write_eof()
        return bool(data)

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await more()
    tls.write((request or b"") + (http.send(h11.EndOfMessage()) or b""))
    while True:
        try:
            piece = tls.read(65_536)
        except (ssl.SSLWantReadError, ssl.SSLEOFError) as error:
            if isinstance(error, ssl.SSLEOFError) or not await more():
                return got
            continue
        if not piece:
            return got
        got += piece


async def test_a_tunnel_leads_into_onecli_with_the_agents_token(tmp_path: Path, api: OneCli):
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        wire = await stage.service.through.tunnel(MAIN, Target("127.0.0.1", 1))
        # Its authority answers in the host's place: nobody is there.
        assert b"502" in (await _say(wire, api, "127.0.0.1")).split(b"\r\n")[0]
        wire.close()


async def test_a_token_that_was_changed_there_is_asked_for_anew(tmp_path: Path, api: OneCli):
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        await stage.service.link.access(MAIN)
        api.world.agents[GROUP_ID].token = "aoc_regenerated"
        (await stage.service.through.tunnel(MAIN, Target("127.0.0.1", 1))).close()


async def test_what_it_does_not_carry_is_said_so(tmp_path: Path, api: OneCli):
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        api.world.by_token = lambda _token: None  # type: ignore[method-assign]
        with pytest.raises(Denial) as caught:
            await stage.service.through.tunnel(MAIN, Target("site.test", 443))
        assert (caught.value.status, "407" in caught.value.message) == (502, True)


async def test_a_proxy_that_goes_is_noticed_by_whom_it_fails(tmp_path: Path, api: OneCli):
    """Not only by the poll: the proxy may be another program's, or another machine's."""
    async with AsyncExitStack() as stack:
        proxy = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        stack.push_async_callback(proxy.wait_closed)
        stack.callback(proxy.close)
        port = proxy.sockets[0].getsockname()[1]
        api.routes.proxy = f"127.0.0.1:{port}"
        stage = await stack.enter_async_context(linked(tmp_path, api))
        await stage.ready()
        with pytest.raises(Denial, match="closed the connection"):
            await stage.service.through.tunnel(MAIN, Target("site.test", 443))
        proxy.close()
        with pytest.raises(Denial, match="cannot be reached"):
            await stage.service.through.tunnel(MAIN, Target("site.test", 443))
        assert f"127.0.0.1:{port}" in await stage.away()


async def test_what_waits_there_is_asked_once_and_told_once(tmp_path: Path, api: OneCli):
    """F-108, F-109: one question, one decision."""
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        held = Approval(api.world.agents[GROUP_ID], "DELETE", "api.example", "/things/1", {}, "body", 300.0)
        holding = asyncio.create_task(api.world.hold(held))
        await stage.person.news.wait()
        # The next poll leaves it out, and asks for nothing else.
        await until_asked(api, f"exclude={held.id}")
        stage.person.says.set_result(True)
        assert await holding == "approve"
        assert [one.id for one in stage.person.asked] == [held.id]
        assert api.world.decisions == [(held.id, "approve")]
        assert 290 < stage.person.seconds[0] < 300


async def test_what_is_not_approved_is_denied(tmp_path: Path, api: OneCli):
    """F-110."""
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        held = Approval(api.world.agents[GROUP_ID], "GET", "api.example", "/", {}, None, 300.0)
        holding = asyncio.create_task(api.world.hold(held))
        stage.person.says.set_result(False)
        assert await holding == "deny"


async def test_what_is_told_again_is_not_asked_again_and_so_many_at_once(
    tmp_path: Path, api: OneCli, monkeypatch: pytest.MonkeyPatch
):
    """Whatever OneCLI makes of what it is told to leave out."""
    monkeypatch.setattr(approving, "MAX_AT_ONCE", 3)
    person = Person()
    async with OneCliClient(settings(api), api.world.key) as client:
        found = approving.Approvals(client, person, pause=PAUSE)
        later = datetime.now(UTC) + timedelta(minutes=5)
        waiting = tuple(
            ApprovalRequest(
                f"request-{number}", "GET", "http://a.example/", "a.example", "/", ApprovalAgent(), later.isoformat()
            )
            for number in range(5)
        )
        assert found.take("http://127.0.0.1:1", waiting[:2])
        assert not found.take("http://127.0.0.1:1", waiting[:2])
        assert found.take("http://127.0.0.1:1", waiting)
        await person.news.wait()
        assert sorted(one.id for one in person.asked) == ["request-0", "request-1", "request-2"]
        assert found.in_flight == {"request-0", "request-1", "request-2"}
        await found.close()


async def test_one_that_holds_no_poll_is_not_asked_without_a_break(
    tmp_path: Path, api: OneCli, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("onecli_api.routes.POLL_SECONDS", 0.0)
    async with linked(tmp_path, api, pause=1000.0) as stage:
        await stage.ready()
        for number in range(20):  # each a round trip of its own
            await stage.service.link.access(msgspec.structs.replace(MAIN, id=f"ag-{number}"))
        assert len([target for _, target in api.world.calls if "pending" in target]) == 1
        assert stage.service.link.state.state == "ready"


async def test_a_decision_is_told_when_onecli_is_back(tmp_path: Path, api: OneCli):
    async with linked(tmp_path, api) as stage:
        await stage.ready()
        held = Approval(api.world.agents[GROUP_ID], "GET", "api.example", "/", {}, None, 300.0)
        holding = asyncio.create_task(api.world.hold(held))
        await until_asked(api, f"exclude={held.id}")
        await api.stop()
        await stage.away()
        stage.person.says.set_result(True)
        await api.start()
        assert await holding == "approve"
        assert api.world.decisions == [(held.id, "approve")]
        assert len(stage.person.asked) == 1


async def until_asked(api: OneCli, words: str) -> None:
    """Return when the API was asked for something with these words in it."""
    async with asyncio.timeout(10):
        while not any(words in target for _, target in api.world.calls):
            await api.world.called.wait()
