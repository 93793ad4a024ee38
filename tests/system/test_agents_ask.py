"""Agents that ask for something: who may allow it, what is done then, and that a restart is of one session only."""

import secrets
from collections.abc import Iterator

import pytest

from eventually import wait_until
from system.appliance import SessionNames, call, container_starts, session_state, wired
from system.loopback import Account
from system.people import ControlError


@pytest.fixture
def people(loop: Account, group: str) -> Iterator[tuple[str, str]]:
    """An administrator of everything and one of the group; taken back at the end."""
    boss, admin = (f"{name}-{secrets.token_hex(4)}" for name in ("boss", "admin"))
    for name in (boss, admin):
        loop.direct_chat(name, f"dm-{name}")
    call("Roles.Grant", user=f"loopback:{boss}", role="admin")
    call("Roles.Grant", user=f"loopback:{admin}", role="admin", group=group)
    yield boss, admin
    for name in (boss, admin):
        call("Users.Delete", user=f"loopback:{name}")


def pending_of(group: str) -> list[dict[str, str]]:
    return [one for one in call("Approvals.List")["approvals"] if one["group"] == group]


def test_a_groups_admin_allows_what_concerns_the_group_and_nothing_beyond(
    loop: Account, group: str, people: tuple[str, str]
) -> None:
    """W-58: an agent that sees everything asks for a role; its own administrator's word is not enough for that."""
    boss, admin = people
    chat = wired("loop", group)
    loop.asks(chat, f"!ncl members add {group} loopback:guest", "somebody has to allow this first")
    card = loop.gets_card(f"dm-{admin}")
    assert "io.nanoclaw.Members.Add" in card.text
    before = len(loop.deliveries)
    assert "Allowed" in loop.click(card, "Allow", sender=admin)
    loop.hears(chat, "echo: [system] Done: ncl members add", after=before)
    wait_until(lambda: loop.texts(f"dm-{admin}")[0].endswith(": it is done."), "the card says what came of it")
    assert [one["user"] for one in call("Members.List", group=group)["members"]] == ["loopback:guest"]

    call("Groups.Update", name=group, cli_scope="global")
    before = len(loop.deliveries)
    loop.asks(chat, f"!ncl roles grant admin loopback:{admin}", "somebody has to allow this first")
    (asked,) = pending_of(group)
    wait_until(lambda: call("Approvals.Get", approval=asked["id"])["approval"]["card"] == "delivered", "it is asked")
    shown = next(one for one in loop.deliveries[before:] if one.kind == "card")
    assert "only an owner or an administrator of everything may allow it" in shown.text
    assert "may not decide" in loop.click(shown, "Allow", sender=admin)
    assert call("Users.Get", user=f"loopback:{admin}")["user"]["roles"] == [f"admin of {group}"]
    before = len(loop.deliveries)
    assert "Denied" in loop.click(shown, "Deny", sender=boss)
    loop.hears(chat, "echo: [system] Refused by somebody", after=before)


def test_an_agents_restart_is_of_its_own_session(loop: Account, group: str) -> None:
    """W-29: another conversation of the same agent goes on in the container that it has."""
    asking, other = wired("loop", group), wired("loop", group)
    loop.asks(other, "hello", "echo: hello")
    loop.asks(asking, "hello", "echo: hello")
    sessions = {one["chat"]: SessionNames(group, one["id"]) for one in call("Sessions.List", group=group)["sessions"]}
    loop.asks(asking, f"!ncl groups restart {group}", "somebody has to allow this first")
    (asked,) = pending_of(group)
    assert "The session that asks is restarted, and no other." in asked["body"]
    before = {chat: container_starts(session) for chat, session in sessions.items()}
    call("Approvals.Decide", approval=asked["id"], option="allow")
    loop.hears(asking, "echo: [system] Done: ncl groups restart")
    wait_until(lambda: session_state(sessions[asking])["state"] == "asleep", "it has ended, after its turn")
    loop.asks(asking, "are you new?", "echo: are you new?")
    assert container_starts(sessions[asking]) == before[asking] + 1
    assert container_starts(sessions[other]) == before[other]


def test_what_a_closed_session_has_asked_for_is_done_all_the_same(loop: Account, group: str) -> None:
    """Somebody has allowed exactly this; nobody is left in the session to be told."""
    chat = wired("loop", group)
    loop.asks(chat, f"!ncl members add {group} loopback:late", "somebody has to allow this first")
    (session,) = call("Sessions.List", group=group)["sessions"]
    assert call("Sessions.Close", id=session["id"])["session"]["state"] == "closed"
    (asked,) = pending_of(group)
    call("Approvals.Decide", approval=asked["id"], option="allow")
    wait_until(lambda: call("Members.List", group=group)["members"], "it is done")
    assert loop.asks(chat, "are you there?", "echo: are you there?")
    with pytest.raises(ControlError) as error:
        call("Approvals.Decide", approval=asked["id"], option="allow")
    assert error.value.name == "Refused"


def test_a_disabled_agent_has_no_ncl(loop: Account, group: str) -> None:
    chat = wired("loop", group)
    call("Groups.Update", name=group, cli_scope="disabled")
    assert "disabled" in loop.asks(chat, f"!ncl groups get {group}", "ncl:")
    assert pending_of(group) == []
