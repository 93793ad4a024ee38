"""Somebody writes where no agent is: a card asks for one, old or new; then the first message is answered, once."""

from collections.abc import Callable, Iterator

import pytest

from eventually import wait_until
from system.appliance import ControlError, call, configured, kill_daemon, restart_daemon, run
from system.loopback import Account, Delivery
from system.town import Town, answers

ASKED = "Somebody has to allow this first; I have asked."
NOT_CONNECTED = "This chat was not connected to an agent."


@pytest.fixture(scope="module", autouse=True)
def scripted() -> Iterator[None]:
    """Agents that people make by a card have the configured provider."""
    with configured(provider="scripted"):
        yield


def knock(town: Town, account: Account, chat: str, text: str, **more: object) -> None:
    town.say(account, chat, text, by="stranger", **more)
    account.hears(chat, ASKED)


def choose(town: Town, card: Delivery, label: str) -> str:
    """Press a button, on a later card if it is not on this one: other tests have groups, too."""
    while label not in card.labels:
        seen = len(town.loop.deliveries)
        more = next(one for one in ("Choose another agent", "More agents") if one in card.labels)
        assert town.click(card, more, by="owner") == "The other agents are on the next card."
        card = town.card("owner", after=seen)
    return town.click(card, label, by="owner")


def last(account: Account, chat: str) -> str:
    return account.texts(chat)[-1]


def wirings(channel: str, chat: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = call("Wirings.List", chat=f"{channel}:{chat}")["wirings"]
    return found


def test_a_chat_is_connected_to_an_agent(town: Town) -> None:
    """F-153, F-178: its first writer becomes a member and is answered; others are strangers as ever."""
    town.grant("owner")
    town.only_on(town.loop, "owner")
    chat = town.room()
    knock(town, town.plain, chat, "anybody home?")
    card = town.card("owner")
    assert card.title.startswith("Connect ")
    assert "> anybody home?" in card.text
    assert card.labels[-3:] == ("Make a new agent", "Not now", "Reject this chat")
    assert "You may not decide this" in town.click(card, "Not now", by="stranger")
    town.say(town.plain, chat, "hello?", by="stranger")
    said = choose(town, card, f"Connect to {town.group}")
    assert said == f"Connected to {town.group} by {town.handle('owner')}. Stranger may talk to it."
    town.plain.hears(chat, "echo: hello?")
    assert [answers(town.plain, chat, text) for text in ("anybody home?", "hello?")] == [1, 1]
    assert town.plain.texts(chat).count(ASKED) == 1
    assert town.members() == [town.user("stranger")]
    (wiring,) = wirings("plain", chat)
    assert (wiring["engage_mode"], wiring["engage_pattern"]) == ("pattern", ".")
    (destination,) = call("Destinations.List", group=town.group)["destinations"]
    assert chat in str(destination.values())
    town.say(town.plain, chat, "me too", by="another")
    assert answers(town.plain, chat, "me too") == 0


def test_a_group_chat_is_asked_about_only_when_the_agent_is_addressed(town: Town) -> None:
    """W-18, F-179: talk among people leaves no trace; a mention asks, and is answered in its thread."""
    town.grant("owner")
    chat = town.room()
    town.say(town.loop, chat, "talk", by="stranger", group=True, thread="t1")
    with pytest.raises(ControlError):
        call("Chats.Get", chat=f"loop:{chat}")
    town.say(town.loop, chat, "agent!", by="stranger", group=True, mention=True, thread="t1")
    card = town.card("owner")
    choose(town, card, f"Connect to {town.group}")
    town.loop.hears(chat, "echo: agent!", thread="t1")
    assert town.loop.texts(chat) == []
    (wiring,) = wirings("loop", chat)
    assert (wiring["engage_mode"], wiring["ignored_message_policy"]) == ("mention-sticky", "accumulate")


@pytest.mark.parametrize("interrupt", [restart_daemon, kill_daemon])
def test_a_new_agent_is_named_by_whoever_decides(town: Town, interrupt: Callable[[], None]) -> None:
    """The daemon dies while it waits for the name, and as soon as the name is given: one agent, one answer."""
    town.grant("owner")
    town.plain.close()  # whichever account is up first after a start, the owner is on this one
    chat, owners = town.room(), town.handle("owner")
    knock(town, town.loop, chat, "I want one of my own")
    card = town.card("owner")
    assert (
        choose(town, card, "Make a new agent") == "Write the new agent's name as your next message here, or `cancel`."
    )
    interrupt()
    assert town.gets_asked(status="pending")["waits_for_name"] == town.user("owner")
    name = f"Kitchen {town.tag}!"
    message = town.say(town.loop, owners, name, by="owner", wait=False)
    interrupt()
    town.loop.all_acknowledged()
    folder = f"kitchen-{town.tag}"
    town.loop.hears(chat, "echo: I want one of my own")
    assert answers(town.loop, chat, "I want one of my own") == 1
    town.loop.wait(lambda one: one.chat == owners and f"Connected to {folder} by" in one.text, "the outcome")
    assert [one["group"] for one in wirings("loop", chat)] == [folder]
    assert [one["name"] for one in call("Groups.List")["groups"] if town.tag in one["name"]] == [town.group, folder]
    town.say(town.loop, owners, name, by="owner", message_id=message)  # told again
    assert town.asked(status="pending") == []
    assert len([one for one in call("Groups.List")["groups"] if town.tag in one["name"]]) == 2


def test_a_name_can_be_no_name_and_nothing_is_lost(town: Town) -> None:
    """Commands stay commands, odd names are asked again, `cancel` opens the card anew; then the chat is refused."""
    town.grant("owner")
    chat, owners = town.room(), town.handle("owner")
    knock(town, town.loop, chat, "hello")
    choose(town, town.card("owner"), "Make a new agent")
    town.say(town.loop, owners, "x" * 61, by="owner")
    town.loop.hears(owners, "Write another name, or `cancel`.")
    seen = len(town.loop.deliveries)
    town.say(town.loop, owners, "Cancel", by="owner")
    town.loop.hears(owners, "All right: no new agent.", after=seen)
    card = town.card("owner", after=seen)
    town.click(card, "Reject this chat", by="owner")
    town.loop.hears(chat, NOT_CONNECTED)
    seen = len(town.loop.deliveries)
    town.say(town.loop, chat, "hello again", by="stranger")
    assert town.asked(status="pending") == []
    (dropped,) = [one for one in call("Routing.Dropped")["dropped"] if one["chat"] == chat]
    assert dropped["reason"] == "chat_denied"
    run("ncl", "chats", "undeny", f"loop:{chat}")
    town.say(town.loop, chat, "and now?", by="stranger")
    card = town.card("owner", after=seen)
    town.click(card, "Not now", by="owner")
    town.loop.hears(chat, NOT_CONNECTED, after=seen)
    assert wirings("loop", chat) == []
    assert town.members() == []


def test_more_agents_than_a_card_has_room_for(town: Town) -> None:
    """The further ones are on a second card; the first one's buttons are dead from then on."""
    town.grant("owner")
    for number in range(7):
        call("Groups.Create", name=f"{town.group}-{number}", provider="scripted")
    chat = town.room()
    knock(town, town.loop, chat, "hello")
    first = town.card("owner")
    assert len(first.options) <= 10
    seen = len(town.loop.deliveries)
    town.click(first, "Choose another agent", by="owner")
    second = town.card("owner", after=seen)
    assert town.click(first, "Not now", by="owner") == "This card is out of date; there is a newer one."
    kill_daemon()
    said = choose(town, second, f"Connect to {town.group}-6")
    assert said.startswith(f"Connected to {town.group}-6 by")
    town.loop.hears(chat, "echo: hello")


def test_the_appliance_can_be_told_to_ask_nobody_or_to_take_everybody(town: Town) -> None:
    """The policies strict and public of unknown chats."""
    town.grant("owner")
    with configured(access={"unknown_chats": "strict"}):
        chat = town.room()
        town.say(town.loop, chat, "hello", by="stranger")
        (dropped,) = [one for one in call("Routing.Dropped")["dropped"] if one["chat"] == chat]
        assert dropped["reason"] == "chat_strict"
    public = {"unknown_chats": "public", "unknown_senders": "public", "default_group": town.group}
    with configured(access=public):
        chat = town.room()
        said = {"channel": "loop", "chat": chat, "sender": town.user("stranger"), "text": "hello"}
        foretold = call("Routing.Explain", **said)["decision"]
        assert [(one["group"], one["action"]) for one in foretold["wirings"]] == [(town.group, "engage")]
        town.say(town.loop, chat, "hello", by="stranger")
        town.loop.hears(chat, "echo: hello")
    assert town.asked() == []


def test_nobody_decided_about_a_chat(town: Town) -> None:
    """It expires, also while a name is awaited; the name is then a message as any other."""
    with configured(access={"approval_hours": 0.001}):
        town.grant("owner")
        chat, owners = town.room(), town.handle("owner")
        knock(town, town.loop, chat, "hello")
        choose(town, town.card("owner"), "Make a new agent")
        town.loop.hears(chat, "Nobody decided in time about this chat. Write again to ask.")
        wait_until(lambda: "→ Nobody decided in time" in town.loop.texts(owners)[0], "the card tells it")
        town.say(town.loop, owners, f"late-{town.tag}", by="owner")
        town.loop.hears(owners, ASKED)
    assert f"late-{town.tag}" not in [one["name"] for one in call("Groups.List")["groups"]]


def test_what_is_deleted_while_somebody_is_asked(town: Town) -> None:
    """Whoever waits is told, and the cards are closed: of a chat that nobody had connected, and of an agent."""
    town.grant("owner")
    town.only_on(town.loop, "owner")
    owners = town.handle("owner")
    chat = town.room()
    knock(town, town.loop, chat, "hello")
    card = town.card("owner")
    call("Chats.Delete", chat=f"loop:{chat}")
    town.loop.hears(chat, "This chat is not known here any more, so your message was not passed on.")
    wait_until(lambda: "→ There is nothing to decide" in town.loop.texts(owners)[0], "the card tells it")
    assert town.click(card, "Not now", by="owner") == "This card is not open any more."
    chat, seen = town.chat(town.plain), len(town.loop.deliveries)
    knock(town, town.plain, chat, "let me in")
    town.card("owner", after=seen)
    call("Groups.Delete", name=town.group, force=True, seconds=90)
    town.plain.hears(chat, "The agent that you wrote to was deleted, so your message was not passed on.")
    wait_until(lambda: "→ There is nothing to decide" in town.loop.texts(owners)[1], "the other card tells it, too")
    assert town.asked() == []
