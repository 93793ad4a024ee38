"""Discord on the installed appliance, as people see it: threads, cards, files, changes, and a daemon that is killed.

F-47, F-48, F-58, F-60, F-73, F-74, F-121, F-123, F-128, F-129, F-177. Against a server of our own, written from the
public documentation; the daemon has the library of the distribution.
"""

import base64
import json
import os
import random
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from eventually import wait_until
from system.appliance import STATE, call, daemon_pid, daemon_stopped, kill_daemon, rows, run
from system.discord_town import CHANNEL, SECONDS, TOKEN, Discord, chat_of, discord_appliance, state

QUESTION = {"title": "Open the sluice?", "text": "The basin is full.", "options": ["Open", "Wait"], "reference": "s-1"}
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260301"))


@pytest.fixture(scope="module")
def discord() -> Iterator[Discord]:
    with discord_appliance() as made:
        yield made


def a_channel(discord: Discord, group: str, **rules: str) -> str:
    channel = str(discord.do("channel", name=f"room-{secrets.token_hex(4)}"))
    chat_of(channel, group, **(rules or {"engage_mode": "mention-sticky"}))
    return channel


def sessions(group: str) -> int:
    return len(call("Sessions.List", group=group)["sessions"])


def test_a_thread_is_a_conversation_that_sticks(discord: Discord, group: str) -> None:
    """F-121, F-123, F-129, F-177: a mention in a thread wakes the agent, which hears that thread from then on."""
    channel = a_channel(discord, group)
    first, second = (str(discord.do("thread", parent=channel, name=name)) for name in ("one", "two"))
    discord.say(first, "nobody is asked")
    discord.say(first, "hello", mention=True)
    discord.hears(first, "echo: @helper hello")
    discord.say(first, "and again")
    discord.hears(first, "echo: and again")
    wait_until(lambda: discord.do("joined", thread=first), "the bot is a member of the thread")
    discord.say(second, "not here")
    discord.say(second, "now here", mention=True)
    discord.hears(second, "echo: @helper now here")
    assert discord.texts(channel) == []
    assert not any("not here" in text for text in discord.texts(second))
    assert sessions(group) == 2
    assert discord.do("typed", channel=first) >= 1


def test_a_conversation_with_all_that_discord_has(discord: Discord, group: str) -> None:
    """F-58, F-60, F-73, F-74, F-128: card and click, file both ways, edits and reactions both ways, another channel."""
    channel = a_channel(discord, group)
    thread = str(discord.do("thread", parent=channel, name="talk"))
    discord.say(thread, "hello", mention=True)
    discord.hears(thread, "echo: @helper hello")

    discord.say(thread, f"!card {json.dumps(QUESTION)}")
    card = discord.sees(thread, lambda one: one["buttons"] == ["Open", "Wait"], "the card")
    press = str(discord.do("click", channel=thread, message=card["id"], label="Open", who="Bob"))
    discord.sees(thread, lambda one: one["id"] == card["id"] and not one["buttons"], "the card without buttons")
    discord.hears(thread, 'the answer to your question "Open the sluice?"')
    assert discord.do("interaction", identity=press)["answer"] == 6
    assert not discord.do("interaction", identity=press)["failed"]

    sent = discord.send_file(thread, "look", "notes.txt", b"some notes\n")
    discord.hears(thread, "echo: look")
    ((content,),) = rows(
        next(one for one in (STATE / "sessions" / group).glob("*/in/inbound.db")),
        "SELECT content FROM messages_in WHERE platform_message_id = ?",
        sent,
    )
    (found,) = json.loads(content)["attachments"]
    discord.say(thread, f"!read /session/in/{found['path']}")
    discord.hears(thread, "some notes")

    discord.say(thread, "!file report.txt all is well")
    report = discord.sees(thread, lambda one: one["files"] == ["report.txt"], "the report")
    assert base64.b64decode(discord.do("file", channel=thread, message=report["id"])) == b"all is well"

    asked = discord.say(thread, f"!react {sent}:{group} \N{THUMBS UP SIGN}")
    discord.sees(thread, lambda one: one["id"] == sent and one["reactions"], "the reaction")
    discord.do("edit", channel=thread, message=asked, text="never mind")
    discord.do("react", channel=thread, message=sent, emoji="\N{WAVING HAND SIGN}", who="Bob")
    discord.do("delete", channel=thread, message=asked)
    database = next(one for one in (STATE / "sessions" / group).glob("*/in/inbound.db"))
    query = "SELECT content FROM messages_in WHERE content LIKE '%\"change\"%'"
    wait_until(lambda: len(rows(database, query)) == 3, "the agent is told of three changes")
    changes = [json.loads(content)["change"] for (content,) in rows(database, query)]
    assert sorted(one["kind"] for one in changes) == ["deleted", "edited", "reacted"]

    other = str(discord.do("channel", name=f"other-{secrets.token_hex(4)}"))
    chat_of(other, group)
    discord.say(thread, f"!to {CHANNEL} {other} elsewhere")
    discord.hears(other, "elsewhere")


def test_a_long_answer_is_shown_while_it_is_written(discord: Discord, group: str) -> None:
    channel = a_channel(discord, group, engage_mode="pattern", engage_pattern=".")
    discord.say(channel, "hello")
    discord.hears(channel, "echo: hello")
    words = "a long story that is told slowly, and with more than forty characters"
    discord.say(channel, f"{words}\n!sleep 4")
    discord.hears(channel, "…")
    discord.hears(channel, "slept 4 s")
    # One message, which grew.
    wait_until(lambda: sum("long story" in text for text in discord.texts(channel)) == 1, "one message")
    assert len(discord.texts(channel)) == 2


def test_slash_help_is_answered_by_the_appliance(discord: Discord, group: str) -> None:
    channel = a_channel(discord, group)
    given = str(discord.do("slash", channel=channel, command="help", who="Bob"))
    discord.hears(channel, "/help")
    assert discord.do("interaction", identity=given)["answer"] == 4


def test_who_writes_while_the_daemon_is_down_is_answered_when_it_is_back(discord: Discord, group: str) -> None:
    """F-48."""
    channel = a_channel(discord, group)
    thread = str(discord.do("thread", parent=channel, name="one"))
    discord.say(thread, "hello", mention=True)
    discord.hears(thread, "echo: @helper hello")
    with daemon_stopped():
        discord.say(thread, "are you there?")
        new = str(discord.do("thread", parent=channel, name="new"))
        discord.say(new, "and here?", mention=True)
    discord.hears(thread, "echo: are you there?")
    discord.hears(new, "echo: @helper and here?")
    assert sum("echo: are you there?" in text for text in discord.texts(thread)) == 1


def test_a_daemon_that_is_killed_loses_and_doubles_nothing(discord: Discord, group: str) -> None:
    luck = random.Random(SEED)
    channel = a_channel(discord, group)
    threads = [str(discord.do("thread", parent=channel, name=name)) for name in ("one", "two", "three")]
    for thread in threads:
        discord.say(thread, "hello", mention=True)
        discord.hears(thread, "echo: @helper hello")
    sent: dict[str, list[str]] = {thread: [] for thread in threads}
    for number in range(60):
        thread = luck.choice(threads)
        discord.say(thread, f"number {number}.")
        sent[thread].append(f"echo: number {number}.")
        if number % 12 == 5:
            # In the middle of what the last few messages have set going.
            before = daemon_pid()
            kill_daemon()
            wait_until(lambda old=before: daemon_pid() not in {0, old}, "another daemon")
    for thread, expected in sent.items():

        def answers(place: str = thread) -> list[str]:
            lines = "\n".join(discord.texts(place)).splitlines()
            return [line for line in lines if line.startswith("echo: number")]

        wait_until(lambda: len(answers()) >= len(expected), f"all answers in {thread}: {answers()}", SECONDS)  # noqa: B023
        assert answers() == expected
    wait_until(lambda: state()["state"] == "ok", "the channel is up")
    assert discord.do("counts")["connections"] == 1


def test_a_new_users_way(discord: Discord, group: str) -> None:
    """One command adds a bot, asks for its token alone, and says what comes next; a wrong token is told as one."""
    name = f"town-{secrets.token_hex(3)}"
    command = ("ncl", "channels", "add", "discord", name, "--option", f"api=http://127.0.0.1:{discord.port}")
    wrong = subprocess.run(command, input="nonsense\n", capture_output=True, text=True, check=False, timeout=150)
    assert wrong.returncode != 0
    assert "does not know the bot's token" in wrong.stderr
    assert "ncl channels" in wrong.stderr
    again = ("ncl", "channels", "login", name)
    right = subprocess.run(again, input=f"{TOKEN}\n", capture_output=True, text=True, check=False, timeout=150)
    try:
        assert right.returncode == 0, right.stdout + right.stderr
        assert f"Channel {name} is up, as @helper." in right.stdout
        assert "Next: " in right.stdout
        assert TOKEN not in right.stdout + right.stderr
    finally:
        run("ncl", "channels", "remove", name)
