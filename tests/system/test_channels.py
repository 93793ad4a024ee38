"""Channels of the installed appliance: found by entry points, tried again for ever, and each by itself."""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventually import wait_until
from system.appliance import (
    STATE,
    ControlError,
    Person,
    call,
    configured,
    daemon_stopped,
    journal,
    kill_daemon,
    restart_daemon,
    rows,
    session_of,
    wired,
)
from system.loopback import Account, Delivery, PlatformError


def state_of(channel: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in call("Channels.List")["channels"] if one["name"] == channel)
    return found


@pytest.fixture
def plain() -> Iterator[Account]:
    with Account("plain") as account:
        yield account


def test_the_configured_channels_are_up_with_what_they_can(loop: Account, plain: Account) -> None:
    """F-121: threads are declared by the channel's own package, found by the entry points of the installed one."""
    assert state_of("terminal")["state"] == "ok"
    rich, words = state_of("loop"), state_of("plain")
    names = ("platform", "state", "threads", "buttons", "edits", "reactions")
    assert [rich[name] for name in names] == ["loopback", "ok", True, True, True, True]
    assert [words[name] for name in names] == ["loopback", "ok", False, False, False, False]


def test_two_accounts_are_two_places(loop: Account, plain: Account, group: str) -> None:
    on_loop, on_plain = wired("loop", group), wired("plain", group)
    loop.say(on_loop, "hello from one")
    plain.say(on_plain, "hello from the other")
    loop.hears(on_loop, "echo: hello from one")
    plain.hears(on_plain, "echo: hello from the other")
    assert loop.texts(on_plain) == plain.texts(on_loop) == []


def test_a_platform_s_outage_costs_no_message_and_no_answer(loop: Account, group: str) -> None:
    """W-76: the setup fails a few times; what was said on both sides meanwhile arrives once each."""
    chat = wired("loop", group)
    loop.say(chat, "!sleep 2\nfirst")
    loop.fail("setup", times=2, reason="maintenance")
    before = loop.connections
    loop.lose("the platform restarts")
    loop.say(chat, "second", wait=False)
    wait_until(lambda: state_of("loop")["state"] == "failed", "the channel is down")
    assert "maintenance" in state_of("loop")["detail"] or "restarts" in state_of("loop")["detail"]
    loop.connected(times=before + 1)
    loop.all_acknowledged()
    loop.hears(chat, "echo: first")
    loop.hears(chat, "echo: second")
    assert "\n".join(loop.texts(chat)).count("echo: ") == 2


def test_what_is_said_while_the_daemon_is_away_is_answered_afterwards(loop: Account, group: str) -> None:
    chat = wired("loop", group)
    loop.say(chat, "before")
    loop.hears(chat, "echo: before")
    with daemon_stopped():
        sent = [loop.say(chat, f"number {number}", wait=False) for number in range(5)]
        assert loop.unacknowledged() == sent
    loop.all_acknowledged()
    loop.hears(chat, "echo: number 4")
    said = "\n".join(loop.texts(chat))
    assert [said.count(f"echo: number {number}") for number in range(5)] == [1] * 5


def test_a_killed_daemon_comes_back_with_its_channels(loop: Account, group: str) -> None:
    chat = wired("loop", group)
    before = loop.connections
    loop.say(chat, "!sleep 2\nare you there?")
    kill_daemon()
    loop.connected(times=before + 1)
    loop.hears(chat, "echo: are you there?")
    assert "\n".join(loop.texts(chat)).count("echo: are you there?") == 1


def test_a_wrong_or_failing_channel_is_shown_and_stops_nobody(group: str) -> None:
    """W-76: not even the daemon's start; each fault is shown with what to do about it."""
    began = time.time()
    channels = {
        "typo": {"type": "loopback", "thread": True},
        "nothing": {"type": "telegraph"},
        "late": {"type": "loopback", "fail_setups": 2},
        "stuck": {"type": "loopback", "hang_setups": 1000},
    }
    with configured(channels=channels):
        with Account("late") as late:  # it comes up by itself
            chat = wired("late", group)
            late.say(chat, "better late")
            late.hears(chat, "echo: better late")
        with Account("loop", idempotent=True) as loop:
            chat = wired("loop", group)
            loop.say(chat, "as ever")
            loop.hears(chat, "echo: as ever")
        typo = state_of("typo")
        assert typo["state"] == "failed"
        assert "/etc/nanoclawd/config.yaml:" in typo["detail"]
        assert "channels.typo.thread: unknown key" in typo["detail"]
        assert "channels.nothing.type" in state_of("nothing")["detail"]
        assert state_of("stuck")["state"] == "starting"
        components = {one["name"]: one["state"] for one in call("Appliance.Status")["components"]}
        assert components["channel typo"] == "failed"
        restart_daemon()  # also its stop waits for nobody
    assert "channel typo is down" in journal("-u", "nanoclawd", since=began)


def test_a_delivery_that_fails_is_tried_again_and_one_that_got_lost_is_one_message(loop: Account, group: str) -> None:
    chat = wired("loop", group)
    loop.say(chat, "warm up")
    loop.hears(chat, "echo: warm up")
    loop.fail(times=1, reason="503", retry_after=1.0)
    loop.say(chat, "again")
    loop.hears(chat, "echo: again")
    loop.fail(after=True, reason="connection reset", retry_after=1.0)
    loop.say(chat, "lost")
    loop.hears(chat, "echo: lost")
    wait_until(lambda: loop.repeats, "the same delivery once more")
    assert "\n".join(loop.texts(chat)).count("echo: lost") == 1


def test_typing_lasts_as_long_as_a_silent_turn_and_ends_with_it(loop: Account, group: str) -> None:
    """F-129, W-61: nine silent seconds of a tool are still work; nothing is shown after the answer."""
    chat = wired("loop", group)
    loop.say(chat, "!sleep 9\ndone")
    answer = loop.hears(chat, "echo: done")
    times = [sign.at for sign in loop.signs if (sign.event, sign.chat) == ("typing", chat)]
    assert times
    # A sign lasts 5 s and is given again after 4: there is no gap up to the answer.
    gaps = [later - earlier for earlier, later in zip(times, [*times[1:], answer.at], strict=True)]
    assert max(gaps) < 5.0
    loop.sees("turn", chat)
    time.sleep(5.0)  # that nothing comes in the time in which a sign is given again is the subject
    late = [sign for sign in loop.signs if sign.event == "typing" and sign.chat == chat and sign.at > answer.at + 0.5]
    assert late == []


def test_a_question_reaches_people_with_and_without_buttons(loop: Account, plain: Account, group: str) -> None:
    """W-53: numbers where there are no buttons; either way the answer reaches the agent."""
    card = {"title": "Go on?", "text": "The disk is nearly full.", "options": ["Yes", "No"], "reference": "disk"}
    on_loop, on_plain = wired("loop", group), wired("plain", group)
    loop.say(on_loop, f"!card {json.dumps(card)}")
    shown = loop.gets_card(on_loop)
    assert (shown.title, shown.labels) == ("Go on?", ("Yes", "No"))
    loop.click(shown, "Yes")
    plain.say(on_plain, f"!card {json.dumps(card)}")
    asked = plain.hears(on_plain, "1. Yes")
    assert "2. No" in asked.text
    plain.say(on_plain, "no")
    for account, chat, chosen in ((loop, on_loop, "Yes"), (plain, on_plain, "No")):
        # The scripted agent says again what it is told: the question by its title, and what was chosen.
        said = account.wait(_says(chat, "Go on?", chosen, not_before=asked if account is plain else shown), chosen)
        assert "options" not in said.text


def _says(chat: str, *words: str, not_before: Delivery) -> Callable[[Delivery], bool]:
    def wanted(one: Delivery) -> bool:
        later = one.at > not_before.at and one.kind == "text" and one.chat == chat
        return later and all(word in one.text for word in words)

    return wanted


def test_a_chats_name_reaches_the_database(loop: Account, group: str) -> None:
    """W-55: told with a message or by itself; cleaned of what a terminal obeys."""
    chat = wired("loop", group)
    loop.name_chat(chat, "Town\x1b[2J hall", group=False)
    assert call("Chats.Get", chat=f"loop:{chat}")["chat"]["name"] == "Town [2J hall"
    loop.say(chat, "hello", chat_name="Parish hall")
    loop.hears(chat, "echo: hello")
    assert call("Chats.Get", chat=f"loop:{chat}")["chat"]["name"] == "Parish hall"


def test_nobody_claims_an_identity(loop: Account, person: Person) -> None:
    """W-75: at the terminal the kernel says who it is; on a channel the adapter does, for its own platform only."""
    person.ask("who am I?")
    session = session_of(person.group)
    ((content,),) = rows(session.inbound_db, "SELECT content FROM messages_in WHERE content LIKE '%who am I?%'")
    assert json.loads(content)["senderId"] == "terminal:root"
    with pytest.raises(ControlError):
        call("Chat.Send", group=person.group, text="hello", client_token="token-token", sender="terminal:ada")
    chat = wired("loop", person.group)
    loop.say(chat, "let me in", sender="terminal:root")
    loop.hears(chat, "echo: let me in")
    users = [user["id"] for user in call("Users.List", limit=10_000)["users"]]
    assert "terminal:terminal:root" not in users
    with pytest.raises(PlatformError):
        loop.say(chat, "nobody", sender="")


def test_an_administrator_at_the_terminal_is_asked_in_words(plain: Account, person: Person) -> None:
    """W-53: the card comes to every screen of theirs as text, and a number is the answer."""
    call("Roles.Grant", user="terminal:root", role="admin", group=person.group)
    chat = f"c-{secrets.token_hex(4)}"
    call("Chats.Create", channel="plain", chat=chat, unknown_sender_policy="request_approval")
    call("Wirings.Create", chat=f"plain:{chat}", group=person.group)
    sender = f"eve-{secrets.token_hex(3)}"
    plain.say(chat, "may I come in?", sender=sender)
    plain.hears(chat, "I have asked")
    card = person.wait(lambda event: event.type == "notice" and f"loopback:{sender}" in event.text, "the card")
    assert "may I come in?" in card.text
    assert "1. Allow" in card.text
    answered = person.ask("1")
    assert answered.state == "completed"
    assert f"{sender} may talk to {person.group}" in answered.text
    plain.hears(chat, "echo: may I come in?")


POSTCARDS = """
import msgspec
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import BaseAdapter, Conversation
from nanoclawd.channels.options import read_options
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.sessions.ports import Delivered

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chat: str

class Postcards(BaseAdapter):
    platform = "postcards"

    def __init__(self, name, options, places):
        self.name, self._chat, self._places = name, options.chat, places

    async def setup(self, inbound):
        self._inbound = inbound

    async def conversations(self):
        here = Address(self.name, self._chat)
        await self._inbound.message(InboundEvent(here, "card-1", "greetings", Sender("postcards:ada")))
        return [Conversation(self._chat, "Letter box", is_group=False)]

    async def deliver(self, outgoing):
        (self._places.state / "delivered").write_text(outgoing.body.text)
        return Delivered()

def create(name, options, places):
    return Postcards(name, read_options(Options, options), places)
"""


def test_a_package_adds_a_channel(group: str) -> None:
    """An entry point is all it takes; the chat is answered through an adapter that the appliance never heard of."""
    packages = Path("/usr/lib/python3/dist-packages")
    module, info = packages / "nanoclawd_postcards.py", packages / "nanoclawd_postcards-1.0.dist-info"
    delivered = STATE / "channels" / "cards" / "delivered"
    chat = f"c-{secrets.token_hex(4)}"
    try:
        module.write_text(POSTCARDS)
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoclawd-postcards\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[nanoclawd.channels]\npostcards = nanoclawd_postcards:create\n")
        with configured(channels={"cards": {"type": "postcards", "chat": chat}}):
            call("Chats.Create", channel="cards", chat=chat, unknown_sender_policy="public")
            call("Wirings.Create", chat=f"cards:{chat}", group=group)
            wait_until(lambda: state_of("cards")["state"] == "ok", "the channel is up")
            (found,) = call("Channels.Conversations", channel="cards")["conversations"]
            assert (found["chat"], found["name"], found["groups"]) == (chat, "Letter box", [group])
            wait_until(lambda: delivered.exists() and delivered.read_text() == "echo: greetings", "the answer")
            assert state_of("cards")["platform"] == "postcards"
    finally:
        module.unlink(missing_ok=True)
        shutil.rmtree(info, ignore_errors=True)
        shutil.rmtree(delivered.parent, ignore_errors=True)
