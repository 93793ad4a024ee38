"""Requests that a rule holds: the gateway's side and the daemon's, over a socket; only platforms are in memory.

F-108…F-118: one card to an approver with agent, method, host and path; exactly one decision; expiry with an edited
card; leftovers withdrawn; nobody to ask: refused at once; ids that fit into a button. W-45, W-52: what waits outlives
the daemon.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from nanoclawd.channels.markup.parsing import parse
from nanoclawd.channels.markup.plain import to_plain
from nanoclawd.control.requests import RequestsServer
from nanoclawd.egress.rules import Asked, Decision
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.asking import MAX_HELD_OF_GROUP, Approver
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.policy import AgentDirectory, SubordinateRange
from nanoclawd.permissions import held
from nanoclawd.permissions.held import HeldRequests
from nanoclawd.sessions.ports import ShownCard, Undelivered
from nanoclawd.store import egress, roles
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.egress import NewRule
from unit.permissions.permission_stage import BUTTONS, Platform, Stage, written

OWNER, GINA = "chat:ada", "chat:gina"
HOST = "api.example.org"


class Asking(Stage):
    """A daemon that asks for its gateway, and the gateway."""

    def __init__(self, path: Path, channels: dict[str, Platform]) -> None:
        super().__init__(path, channels)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path / "requests.sock"))
        self.listening.listen(64)
        self.uid = os.getuid()
        self.seconds = 20.0
        self.gateway()

    async def start(self, *, calls: int | None = None) -> None:
        await super().start(calls=calls)
        await self.serve()

    def prepare(self) -> None:
        self.held = HeldRequests(self.database, self.permissions.approvals, self.permissions.direct_messages)

    async def serve(self) -> None:
        self.held.start()
        self.server = RequestsServer(self.held, self.uid)
        # Its socket is the system's: it outlives the daemon.
        await self.server.start(self.listening.dup())

    async def end(self) -> None:
        self.held.stop()
        await self.server.stop()
        await super().end()

    def gateway(self) -> None:
        """A new gateway."""
        self.approver = Approver(self.path / "requests.sock", self.seconds)
        self.directory = AgentDirectory(self.path / "agents.json", [SubordinateRange(1001, 10)])

    async def rule(self, group: AgentGroup, **more: object) -> int:
        """Write a rule that asks, and publish it to the gateway."""
        row, _ = await self.database.run(egress.put, NewRule(group.id, "ask", HOST, **more), "root")  # type: ignore[arg-type]
        self.publish(group.folder, row.rule.id)
        return row.rule.id

    def publish(self, group: str, *numbers: int, action: str = "ask") -> None:
        rules = [{"id": number, "action": action, "host": HOST, "group": group} for number in numbers]
        agents = [{"uid": 1, "group": group, "endpoints": []}]
        text = json.dumps({"version": 3, "agents": agents, "egress": rules})
        (self.path / "new.json").write_text(text)
        (self.path / "new.json").rename(self.path / "agents.json")

    def permit(self, method: str | None = "POST", path: str | None = "/v1/send?to=all", port: int = 443) -> Permit:
        asked = Asked(Target(HOST, port), method, path, "https")
        return Permit(self.directory, 1001, self.directory.find(1001), asked)

    def ask(self, permit: Permit | None = None, preview: bytes = b"") -> "asyncio.Task[Decision]":
        return asyncio.create_task(self.approver.decide(permit or self.permit(), preview))

    async def card(self, chat: str = "dm-ada", number: int = 1) -> ShownCard:
        """Wait for the card that somebody is shown."""
        await self.channels["chat"].until(lambda: len(self.cards(chat)) >= number)
        await self.rest()
        return self.cards(chat)[number - 1]

    def cards(self, chat: str) -> list[ShownCard]:
        shown = self.channels["chat"].in_chat(chat)
        return [body for one in shown for body in (one.body, *one.history) if isinstance(body, ShownCard)]

    async def says(self, words: str, chat: str = "dm-ada") -> None:
        """Wait until the words stand somewhere in a chat."""
        await self.channels["chat"].until(lambda: any(words in text for text in self.channels["chat"].texts(chat)))


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    stage = Asking(tmp_path, {"chat": Platform("chat", BUTTONS)})
    await stage.start()
    await stage.person(OWNER, "Ada", "owner")
    yield stage
    await stage.end()
    stage.listening.close()


@pytest.fixture
async def group(asking: Asking) -> AgentGroup:
    made = await asking.group("main")
    await asking.rule(made)
    return made


async def denied(task: "asyncio.Task[Decision]") -> Denial:
    with pytest.raises(Denial) as found:
        await task
    return found.value


async def test_a_card_says_what_is_asked_for_and_once_is_once(asking: Asking, group: AgentGroup):
    """F-108, F-109, F-114, F-118: agent, method, host, path and the body's beginning; it goes on with the card's id."""
    permit = asking.permit()
    task = asking.ask(permit, b'{"to": "all"}\n\x1b[31m\xff')
    card = await asking.card()
    assert card.card.title == f"main asks: POST {HOST}"
    assert f"POST https://{HOST}/v1/send?to=all" in card.card.text
    assert '> {"to": "all"}\n> `\\x1b[31m' in card.card.text
    assert [one.value for one in card.card.options] == ["once", "hour", "deny"]
    assert len(f"{card.card_id}:{max(one.value for one in card.card.options)}".encode()) <= 64
    assert not task.done()
    assert await asking.press(OWNER, card, "once") == "Allowed once by Ada."
    decision = await task
    assert (decision.allowed, decision.until) == (True, None)
    assert decision.approval == card.card_id
    assert permit.holds()
    await asking.says("→ Allowed once by Ada.")
    again = asking.ask()
    assert (await asking.card(number=2)).card_id != card.card_id
    again.cancel()


@pytest.mark.parametrize(
    "hidden",
    [
        *(
            "[friend](https://foe.example/)",
            "![friend](https://foe.example/)",
            "<!--foe-->",
            "||foe||",
            "~~foe~~",
            "**foe**",
        ),
        *("&#x66;oe", "`foe`", "``foe", "`", "a_b_", "\\*", "<https://foe.example/>", "[a]:foe"),
    ],
)
async def test_nothing_of_a_request_is_hidden_by_markup(asking: Asking, group: AgentGroup, hidden: str):
    """F-118: a link's target, a spoiler, an escaped character: whoever decides sees every one, path and body."""
    task = asking.ask(asking.permit(path=f"/a?to={hidden}"), f"# {hidden}\n- to {hidden}".encode())
    card = await asking.card()
    seen = to_plain(parse(card.card.text)).replace("\n", " ")
    assert f"POST https://{HOST}/a?to={hidden}" in seen
    assert f"# {hidden}" in seen
    assert f"- to {hidden}" in seen
    task.cancel()


async def test_the_journal_has_no_query(asking: Asking, group: AgentGroup, caplog: pytest.LogCaptureFixture):
    """Whoever decides sees it; it is not for everybody who may read the journal, as in the audit."""
    caplog.set_level("INFO")
    task = asking.ask(asking.permit(path="/v1/send?token=its-own-one"), b"and a body")
    assert "token=its-own-one" in (await asking.card()).card.text
    assert f"main asks for POST https://{HOST}/v1/send, approval" in caplog.text
    assert "its-own-one" not in caplog.text
    assert "and a body" not in caplog.text
    task.cancel()


@pytest.mark.parametrize(("method", "said"), [("POST", True), ("DELETE", True), ("GET", False)])
async def test_a_body_that_was_not_seen_is_said_not_to_have_been(
    asking: Asking, group: AgentGroup, method: str, said: bool
):
    """F-118: who sends the body late, or asks first whether it is wanted, does not hide that there may be one."""
    task = asking.ask(asking.permit(method))
    assert ("goes on unseen" in (await asking.card()).card.text) is said
    task.cancel()


async def test_no_letter_of_a_body_is_blank(asking: Asking, group: AgentGroup):
    """F-118: also letters that show nothing, and marks that choose how others look."""
    task = asking.ask(preview="a\u3164b\u2800c\u00a0d\ufe0fe\u200df\u202eg".encode())
    text = (await asking.card()).card.text
    assert r"a\u3164b\u2800c\xa0d\ufe0fe\u200df\u202eg" in text
    task.cancel()


async def test_an_hour_is_for_what_the_rule_asks_of_this_host_and_method(asking: Asking, group: AgentGroup):
    task = asking.ask()
    await asking.press(OWNER, await asking.card(), "hour")
    first = await task
    assert first.until is not None
    second = await asking.ask(asking.permit(path="/other"))
    assert (second.allowed, second.approval) == (True, first.approval)
    # Another method is another thing; and so is what comes after the hour, or by another rule.
    other = asking.ask(asking.permit("DELETE"))
    await asking.card(number=2)
    other.cancel()
    await asking.database.run(lambda connection: connection.execute("UPDATE egress_grants SET until = 1").get)
    late = asking.ask()
    await asking.card(number=3)
    late.cancel()
    assert len(asking.cards("dm-ada")) == 3


async def test_the_row_says_whose_and_where_and_a_click_is_of_its_own_approval(asking: Asking, group: AgentGroup):
    """F-115: group, chat, the platform's id of the card, expiry and status are kept. F-116: another one still waits."""
    await asking.wire(written(), group)
    await asking.unknown_sender(written(), group)
    (sender,) = asking.cards("dm-ada")
    task = asking.ask()
    card = await asking.card(number=2)
    approval = next(one for one in await asking.pending() if one.id == card.card_id)
    assert (approval.agent_group_id, approval.status, approval.session_id) == (group.id, "pending", None)
    assert approval.created_at < approval.expires_at
    (row,) = await asking.cards_of(approval.id)
    assert (row.channel_type, row.platform_id, row.status) == ("chat", "dm-ada", "delivered")
    assert row.platform_message_id
    await asking.press(OWNER, sender, "deny")
    assert not task.done()
    assert [one.id for one in await asking.pending()] == [approval.id]
    await asking.press(OWNER, card, "deny")
    assert (await denied(task)).kind == "approval_denied"


async def test_a_session_that_was_deleted_since_then_is_not_shown(asking: Asking, group: AgentGroup):
    permit = asking.permit()
    permit.session = "abcdefghijkl"
    task = asking.ask(permit)
    card = await asking.card()
    assert "abcdefghijkl" not in card.card.text
    assert [one.session_id for one in await asking.pending()] == [None]
    await asking.press(OWNER, card, "once")
    assert (await task).allowed


async def test_no_is_no(asking: Asking, group: AgentGroup):
    """F-110: any other choice denies; the words name no person."""
    task = asking.ask()
    assert await asking.press(OWNER, await asking.card(), "deny") == "Denied by Ada."
    denial = await denied(task)
    assert (denial.status, denial.kind, denial.outcome) == (403, "approval_denied", "denied")
    assert "somebody with the right to decide refused it" in denial.message
    assert "Ada" not in denial.message


async def test_nobody_decides_in_time(asking: Asking, group: AgentGroup):
    """F-111: refused, the card says so, and a late click has no effect (F-117)."""
    task = asking.ask()
    card = await asking.card()
    await asking.expire()
    denial = await denied(task)
    assert (denial.kind, denial.outcome) == ("approval_expired", "expired")
    await asking.says("→ Nobody decided in time: this has expired.")
    assert await asking.press(OWNER, card, "once") == "Nobody decided in time: this has expired."


async def test_two_at_once_decide_once(asking: Asking, group: AgentGroup):
    """F-109: of two approvers the first counts, and the other one is told."""
    await asking.person(GINA, "Gina", "owner")
    task = asking.ask()
    card = await asking.card()
    said = await asyncio.gather(asking.press(OWNER, card, "once"), asking.press(GINA, card, "deny"))
    assert sorted(said) in (
        sorted(["Allowed once by Ada.", "Ada has allowed this already."]),
        sorted(["Denied by Gina.", "Gina has refused this already."]),
    )
    if "Denied by Gina." in said:
        assert (await denied(task)).kind == "approval_denied"
    else:
        assert (await task).allowed


async def test_who_lost_the_right_decides_nothing(asking: Asking, group: AgentGroup):
    await asking.person(GINA, "Gina", "owner")
    task = asking.ask()
    card = await asking.card()
    await asking.database.run(roles.revoke, OWNER, "owner")
    assert "may not decide" in await asking.press(OWNER, card, "once")
    asking.permissions.repost()
    assert await asking.press(GINA, await asking.card("dm-gina"), "deny") == "Denied by Gina."
    assert (await denied(task)).kind == "approval_denied"


@pytest.mark.parametrize("why", ["no approver", "unreachable", "no chat"])
async def test_nobody_to_ask_is_refused_at_once(asking: Asking, group: AgentGroup, why: str):
    """F-113: no card, no row."""
    if why == "no approver":
        await asking.person(GINA, "Gina", "admin", await asking.group("other"))
        await asking.database.run(
            lambda connection: connection.execute("DELETE FROM user_roles WHERE role = 'owner'").get
        )
    elif why == "unreachable":
        asking.channels["chat"].unreachable.add("dm-ada")
    else:
        asking.channels["chat"].without_dm.add("ada")
    denial = await denied(asking.ask())
    assert (denial.status, denial.kind) == (403, "no_approver")
    assert "there is nobody to decide about it: nobody " in denial.message
    assert await asking.every_approval() == []


async def test_a_card_that_arrives_nowhere_is_not_waited_for(asking: Asking, group: AgentGroup):
    """F-113: where nobody who may decide gets the card, the request is refused long before its time is over."""
    platform = asking.channels["chat"]
    platform.outcomes.extend(Undelivered("blocked", permanent=True) for _ in range(20))
    task = asking.ask()
    await platform.until(lambda: platform.attempts >= 1)
    await asking.rest()
    await asking.database.run(lambda connection: connection.execute("UPDATE host_messages SET attempts = 3").get)
    asking.permissions.repost()
    denial = await denied(task)
    assert denial.kind == "no_approver"
    assert "could not be delivered" in denial.message


async def test_who_leaves_is_not_waited_for(asking: Asking, group: AgentGroup):
    """F-112, F-117: the caller goes, or its gateway: the card says that it is withdrawn, a click does nothing."""
    task = asking.ask()
    card = await asking.card()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await asking.says("→ Withdrawn: the request does not wait any more.")
    assert await asking.press(OWNER, card, "once") == "This does not wait any more."
    assert await asking.pending() == []


async def test_what_waits_outlives_the_daemon(asking: Asking, group: AgentGroup):
    """W-45, W-52: the daemon is restarted while a request is held; the same card decides it afterwards."""
    task = asking.ask()
    card = await asking.card()
    await asking.restart()
    await asking.press(OWNER, card, "once")
    assert (await task).approval == card.card_id
    assert len(asking.cards("dm-ada")) == 1


async def test_what_was_decided_while_nobody_listened_counts(asking: Asking, group: AgentGroup):
    task = asking.ask()
    card = await asking.card()
    asking.held.stop()
    await asking.server.stop()
    # The gateway waits for the next daemon; this one still takes a click, and then it is killed.
    await asking.press(OWNER, card, "once")
    asking.prepare()
    await asking.serve()
    assert (await task).approval == card.card_id


async def test_what_nobody_comes_back_for_is_withdrawn(
    asking: Asking, group: AgentGroup, monkeypatch: pytest.MonkeyPatch
):
    """F-112: after a restart of both; the leftover's card says so."""
    monkeypatch.setattr(held, "_GRACE_SECONDS", 0.0)
    task = asking.ask()
    await asking.card()
    asking.held.stop()
    await asking.server.stop()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    asking.prepare()
    await asking.serve()
    await asking.says("→ Withdrawn: the request does not wait any more.")
    assert await asking.pending() == []


async def test_without_a_daemon_a_request_waits_no_longer_than_its_time(
    asking: Asking, group: AgentGroup, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("nanoclawd.gateway.asking._LATE_SECONDS", 0.0)
    asking.seconds = 0.3
    asking.gateway()
    asking.held.stop()
    await asking.server.stop()
    denial = await denied(asking.ask())
    assert (denial.status, denial.kind) == (503, "approval_unavailable")
    assert denial.retry_after


async def test_a_group_holds_so_many(asking: Asking, group: AgentGroup):
    tasks = [asking.ask() for _ in range(MAX_HELD_OF_GROUP)]
    await asking.card(number=MAX_HELD_OF_GROUP)
    denial = await denied(asking.ask())
    assert (denial.status, denial.kind) == (429, "too_many_held")
    tasks.pop().cancel()
    await asking.says("→ Withdrawn: the request does not wait any more.")
    tasks.append(asking.ask())
    await asking.card(number=MAX_HELD_OF_GROUP + 1)
    for task in tasks:
        task.cancel()


async def test_who_asks_and_hangs_up_buries_nobody_in_cards(
    asking: Asking, group: AgentGroup, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(held, "MAX_CARDS", 1)
    task = asking.ask()
    await asking.card()
    task.cancel()
    assert (await denied(asking.ask())).status == 429


async def test_so_many_of_a_group_wait_for_somebody(asking: Asking, group: AgentGroup, monkeypatch: pytest.MonkeyPatch):
    """Whatever the gateway holds, which may be another one by now."""
    monkeypatch.setattr(held, "MAX_WAITING", 1)
    task = asking.ask()
    card = await asking.card()
    denial = await denied(asking.ask())
    assert (denial.status, denial.kind) == (429, "too_many_held")
    await asking.press(OWNER, card, "once")
    assert (await task).allowed
    again = asking.ask()
    await asking.card(number=2)
    again.cancel()


@pytest.mark.parametrize("what", ["it allows by now", "it is another group's"])
async def test_nobody_is_asked_about_what_no_rule_asks_about(asking: Asking, group: AgentGroup, what: str):
    """The gateway may have read the rules before they were changed."""
    if what == "it allows by now":
        row, _ = await asking.database.run(egress.put, NewRule(group.id, "allow", HOST), "root")
    else:
        other = await asking.group("other")
        row, _ = await asking.database.run(egress.put, NewRule(other.id, "ask", HOST), "root")
    asking.publish("main", row.rule.id)
    denial = await denied(asking.ask())
    assert denial.kind == "no_approver"
    assert "does not ask about requests of main any more" in denial.message
    assert await asking.every_approval() == []


async def test_a_rule_that_has_changed_meanwhile_decides(asking: Asking, group: AgentGroup):
    """What somebody has allowed goes no further than the rules: the rule is gone by the time it is allowed."""
    task = asking.ask()
    card = await asking.card()
    asking.publish("main")
    await asking.press(OWNER, card, "hour")
    assert (await denied(task)).kind == "egress_denied"


async def test_a_permit_ends_with_its_rule_and_its_hour(asking: Asking, group: AgentGroup):
    permit = asking.permit()
    task = asking.ask(permit)
    await asking.press(OWNER, await asking.card(), "hour")
    await task
    number = permit.decision.rule.id if permit.decision.rule else 0
    asking.publish("main", number)
    assert permit.holds(), "the same rules, published anew"
    asking.publish("main", number, action="deny")
    assert not permit.holds()
    asking.publish("main", number + 1)
    assert not permit.holds(), "another rule asks anew"


async def test_a_connection_that_nobody_looks_into_shows_host_and_port(asking: Asking, group: AgentGroup):
    task = asking.ask(asking.permit(None, None))
    card = await asking.card()
    assert card.card.title == f"main asks: connect {HOST}"
    assert f"CONNECT {HOST}:443" in card.card.text
    assert "Nobody sees what is sent through this connection." in card.card.text
    await asking.press(OWNER, card, "once")
    assert (await task).allowed


async def test_only_the_gateway_is_answered(asking: Asking, group: AgentGroup):
    await asking.end()
    asking.uid = os.getuid() + 1
    await asking.start()
    denial = await denied(asking.ask())
    assert denial.kind == "approval_unavailable"
    assert await asking.every_approval() == []
