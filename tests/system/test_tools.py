"""The agent's tools in a real container, over the loopback channel: each effect and each failure as people see it."""

import base64
import json
import re
from collections.abc import Callable
from typing import Final

import pytest

from eventually import wait_until
from system.appliance import call, kill, kill_daemon, restart_daemon, runner, session_of
from system.loopback import Account, Delivery
from system.town import Town

QUESTION: Final = {
    "title": "Deploy?",
    "question": "To production?",
    "options": ["Yes", {"label": "No", "value": "nay"}],
}


def calls(*made: tuple[str, dict[str, object]]) -> str:
    """Return a message that has the agent call tools, one after the other."""
    return "\n".join(f"!call {tool} {json.dumps(arguments)}" for tool, arguments in made)


def answer(account: Account, chat: str, words: str, *, thread: str | None = None, after: int = 0) -> str:
    """Wait for an answer that tells of calls, and return it."""
    return account.wait(
        lambda one: one.chat == chat and one.thread == thread and one.kind == "text" and words in one.text,
        f"an answer with {words!r}",
        after=after,
    ).text


def open_chat(town: Town, account: Account) -> str:
    return town.chat(account, policy="public")


def number_in(text: str) -> int:
    found = re.search(r"delivered as #(\d+)", text)
    assert found is not None, text
    return int(found[1])


def test_messages_edits_and_reactions_reach_the_platform(town: Town) -> None:
    """F-52, F-58, F-60, F-77, W-2: under the platform's own ids, by the numbers that the agent knows."""
    chat = open_chat(town, town.loop)
    asked = town.say(town.loop, chat, calls(("send_message", {"text": "on it"})), by="ann")
    said = town.loop.hears(chat, "on it")
    number = number_in(answer(town.loop, chat, "call send_message: delivered as"))
    assert said.in_reply_to is not None
    town.say(
        town.loop,
        chat,
        calls(
            ("edit_message", {"messageId": number, "text": "done"}),
            ("add_reaction", {"messageId": 2, "emoji": "thumbs_up"}),
            ("add_reaction", {"messageId": number, "emoji": "🎉"}),
        ),
        by="ann",
    )
    edit = town.loop.wait(lambda one: one.kind == "edit", "the edit")
    assert (edit.target, edit.text) == (said.message, "done")
    reaction = town.loop.wait(lambda one: one.kind == "reaction", "the reaction")
    assert (reaction.target, reaction.text) == (asked, "👍")
    told = answer(town.loop, chat, "edited")
    assert f"edited #{number}" in told
    assert "reacted with 👍 to #2" in told
    assert f"reacted with 🎉 to #{number}" in told


def test_what_cannot_be_done_is_an_error_with_its_reason(town: Town) -> None:
    """F-51, F-54, F-56, F-59, W-78: nothing of it reaches anybody."""
    chat = open_chat(town, town.loop)
    failing = (
        (("send_message", {"text": " "}), "the text is empty"),
        (("send_message", {"text": "x", "to": "nobody"}), "there is no destination 'nobody'"),
        (("send_file", {"path": "missing.txt"}), "file not found"),
        (("send_file", {"path": "/etc/passwd"}), "files can be sent from"),
        (("send_file", {"path": "/proc/self/environ"}), "files can be sent from"),
        (("send_file", {"path": "../session/out/outbound.db"}), "leads out"),
        (("send_file", {"path": "/tmp/a", "filename": "../b"}), "plain name"),
        (("edit_message", {"messageId": 9999, "text": "x"}), "#9999 not found"),
        (("edit_message", {"messageId": 2, "text": "x"}), "#2 is not yours"),
        (("add_reaction", {"messageId": 9999, "emoji": "fire"}), "#9999 not found"),
        (("add_reaction", {"messageId": 2, "emoji": "nonsense"}), "is no emoji"),
        (("ask_user_question", {**QUESTION, "options": []}), "1 to 10 options"),
        (("ask_user_question", {**QUESTION, "timeout": 99_999}), "this turn has time to wait"),
        (("send_card", {"card": {"title": " "}}), "a card needs a title"),
        (("no_such_tool", {}), "unknown tool: no_such_tool"),
    )
    town.say(town.loop, chat, calls(*(made for made, _words in failing)), by="ann")
    told = answer(town.loop, chat, "unknown tool")
    for _made, words in failing:
        assert words in told
    assert [one.text for one in town.loop.deliveries if one.chat == chat] == [told]


def test_what_a_platform_cannot_is_told_to_the_tool(town: Town) -> None:
    """The host's word, not a guess: there are neither edits nor reactions there."""
    chat = open_chat(town, town.plain)
    town.say(town.plain, chat, calls(("send_message", {"text": "first"})), by="ann")
    number = number_in(answer(town.plain, chat, "call send_message"))
    changes = calls(
        ("edit_message", {"messageId": number, "text": "x"}), ("add_reaction", {"messageId": 2, "emoji": "fire"})
    )
    town.say(town.plain, chat, changes, by="ann")
    told = answer(town.plain, chat, "there are no reactions")
    assert "could not be delivered: messages cannot be changed on this channel" in told
    assert "could not be delivered: there are no reactions on this channel" in told


def test_files_go_with_their_bytes_and_their_wanted_names(town: Town) -> None:
    """F-55, F-57: from the workspace and from /tmp; nothing is left behind once they were delivered."""
    chat = open_chat(town, town.loop)
    text = "!write /workspace/notes.txt some notes\n!write /tmp/raw other notes\n" + calls(
        ("send_file", {"path": "notes.txt", "text": "have a look"}),
        ("send_file", {"path": "/tmp/raw", "filename": "better.md"}),
    )
    town.say(town.loop, chat, text, by="ann")
    told = answer(town.loop, chat, "better.md: delivered as")
    assert "notes.txt: delivered as" in told
    first, second = [one for one in town.loop.deliveries if one.chat == chat and one.files]
    assert first.text == "have a look"
    for delivery, name, data in ((first, "notes.txt", b"some notes"), (second, "better.md", b"other notes")):
        (file,) = delivery.files
        assert (file["name"], base64.b64decode(file["data"])) == (name, data)
    files = session_of(town.group).directory / "out" / "files"
    wait_until(lambda: not list(files.iterdir()), "the files are removed")


def test_another_chat_is_reached_by_its_name_and_waits_while_nobody_is_there(town: Town) -> None:
    """F-53, F-128: as a new conversation; what cannot go now is accepted, said to wait, and goes later."""
    here, there = open_chat(town, town.loop), town.room("there")
    call("Chats.Create", channel="plain", chat=there, unknown_sender_policy="public")
    call("Destinations.Add", group=town.group, name="den", chat=f"plain:{there}")
    town.say(town.loop, here, calls(("send_message", {"text": "hello den", "to": "den"})), by="ann")
    delivered = town.plain.hears(there, "hello den")
    assert (delivered.thread, delivered.in_reply_to) == (None, None)
    answer(town.loop, here, "delivered as")
    town.plain.close()
    before = len(town.loop.deliveries)
    town.say(town.loop, here, calls(("send_message", {"text": "are you back?", "to": "den"})), by="ann")
    assert "not delivered yet" in answer(town.loop, here, "accepted as", after=before)
    with Account("plain") as back:
        back.hears(there, "are you back?")


def test_a_question_is_answered_by_whoever_chooses_first(town: Town) -> None:
    """F-70, F-72…F-74, F-127: the exact value comes back, the card is closed, no prompt has the answer."""
    chat = open_chat(town, town.loop)
    town.say(town.loop, chat, calls(("ask_user_question", QUESTION)), by="ann")
    card = town.loop.gets_card(chat)
    assert card.labels == ("Yes", "No")
    town.click(card, "No", by="bob")
    assert answer(town.loop, chat, "call ask_user_question") == "call ask_user_question: nay"
    closed = town.loop.wait(lambda one: one.kind == "edit" and one.target == card.message, "the card is closed")
    assert "→ No (bob" in closed.text
    town.say(town.loop, chat, "next", by="ann")
    town.loop.hears(chat, "echo: next")
    assert not [text for text in town.loop.texts(chat) if "the answer to your question" in text]


def test_a_question_without_buttons_takes_a_number(town: Town) -> None:
    """F-73, W-53."""
    chat = open_chat(town, town.plain)
    town.say(town.plain, chat, calls(("ask_user_question", QUESTION)), by="ann")
    town.plain.hears(chat, "1. Yes")
    town.say(town.plain, chat, "1", by="bob")
    assert answer(town.plain, chat, "call ask_user_question") == "call ask_user_question: Yes"


def test_a_question_outlives_a_killed_container(town: Town) -> None:
    """F-70, F-72: the answer is given while no container is there; nobody is asked twice, nothing is said twice."""
    chat = open_chat(town, town.loop)
    text = calls(("send_message", {"text": "one moment"}), ("ask_user_question", QUESTION))
    town.say(town.loop, chat, text, by="ann")
    card = town.loop.gets_card(chat)
    process = runner(session_of(town.group))
    assert process is not None
    assert kill(process.pid)
    wait_until(lambda: runner(session_of(town.group)) is None, "the container has gone")
    town.click(card, "Yes", by="bob")
    told = answer(town.loop, chat, "call ask_user_question")
    assert told.endswith("call ask_user_question: Yes")
    assert town.loop.texts(chat).count("one moment") == 1
    assert len([one for one in town.loop.deliveries if one.chat == chat and one.kind == "card"]) == 1


@pytest.mark.parametrize("interrupt", [restart_daemon, kill_daemon])
def test_a_question_outlives_the_daemon(town: Town, interrupt: Callable[[], None]) -> None:
    """F-70: the container waits on meanwhile; so does what it said before."""
    chat = open_chat(town, town.loop)
    town.say(town.loop, chat, calls(("ask_user_question", QUESTION)), by="ann")
    card = town.loop.gets_card(chat)
    connections = town.loop.connections
    interrupt()
    town.loop.connected(times=connections + 1)
    town.click(card, "No", by="bob")
    assert answer(town.loop, chat, "call ask_user_question") == "call ask_user_question: nay"
    assert len([one for one in town.loop.deliveries if one.chat == chat and one.kind == "card"]) == 1


def test_tools_follow_the_thread_and_the_asker(town: Town) -> None:
    """F-127: what is asked in a thread is said, sent, shown and asked there."""
    chat = open_chat(town, town.loop)
    text = "!write /workspace/a.txt a\n" + calls(
        ("send_message", {"text": "in the thread"}),
        ("send_file", {"path": "a.txt", "text": "with a file"}),
        ("send_card", {"card": {"title": "Report"}}),
        ("ask_user_question", QUESTION),
    )
    town.say(town.loop, chat, text, by="ann", thread="t7")
    card = town.loop.wait(lambda one: one.kind == "card" and bool(one.options), "the question")
    town.click(card, "Yes", by="ann")
    answer(town.loop, chat, "call ask_user_question: Yes", thread="t7")
    assert {one.thread for one in town.loop.deliveries if one.chat == chat} == {"t7"}
    assert len([one for one in town.loop.deliveries if one.chat == chat and one.kind != "edit"]) == 5


def test_a_late_answer_is_a_message_to_the_agent(town: Town) -> None:
    """F-71, W-6: the tool ends with the seconds; what is chosen afterwards is told to the agent, and is done with."""
    chat = open_chat(town, town.loop)
    town.say(town.loop, chat, calls(("ask_user_question", {**QUESTION, "timeout": 2})), by="ann")
    card = town.loop.gets_card(chat)
    answer(town.loop, chat, "nobody has answered within 2 seconds")
    town.click(card, "Yes", by="bob")
    town.loop.hears(chat, 'the answer to your question "Deploy?": Yes')
    (session,) = call("Sessions.List", group=town.group)["sessions"]
    wait_until(lambda: call("Sessions.Get", id=session["id"])["session"]["pending"] == 0, "nothing waits any more")


def test_a_card_shows_and_asks_nothing(town: Town) -> None:
    """F-75: with cards as one, without as the text that was given for that."""
    made = calls(("send_card", {"card": {"title": "Report", "text": "All well."}, "fallbackText": "Report: all well"}))
    rich, poor = open_chat(town, town.loop), open_chat(town, town.plain)
    town.say(town.loop, rich, made, by="ann")
    town.say(town.plain, poor, made, by="ann")
    card: Delivery = town.loop.gets_card(rich)
    assert (card.title, card.text, card.options) == ("Report", "All well.", ())
    town.plain.wait(lambda one: one.chat == poor and one.text == "Report: all well", "the fallback")
    answer(town.loop, rich, "call send_card: delivered as")
