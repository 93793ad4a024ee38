"""Matrix as people use it, against a real homeserver and with real containers (issue 5, acceptance 2).

F-47, F-58, F-60, F-73…F-75, F-122, F-123, F-129, F-177, W-21, W-39. ``NANOCLAW_SOAK_MATRIX`` says how many messages
are said while the daemon dies (40; ``make soak``: 200), ``NANOCLAW_SOAK_SEED`` when.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from homeserver.person import Person
from homeserver.server import Homeserver
from system import appliance
from system.appliance import call, kill_daemon, rows, session_of
from system.matrix import BOT, CHANNEL, matrix_appliance, people, wired

MESSAGES = int(os.environ.get("NANOCLAW_SOAK_MATRIX", "40"))
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260101"))
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


@pytest.fixture(scope="module")
def server() -> Iterator[Homeserver]:
    with matrix_appliance() as made:
        yield made


@pytest.fixture
def bot(server: Homeserver) -> str:
    return server.user_id(BOT)


@contextlib.asynccontextmanager
async def room_with_agent(
    ada: Person, bot: str, group: str, *, encrypted: bool = True, name: str | None = None, **rules: str
) -> AsyncIterator[str]:
    room = await ada.make_room(bot, encrypted=encrypted, direct=name is None, name=name)
    await ada.sees_member(room, bot)
    await asyncio.to_thread(wired, room, group, is_group=name is not None, **rules)
    yield room


def stored(group: str) -> list[dict[str, Any]]:
    """Return what the agent's only session was given, in order."""
    session = session_of(group)
    return [
        json.loads(content) for (content,) in rows(session.inbound_db, "SELECT content FROM messages_in ORDER BY seq")
    ]


def lines(person: Person, room: str, sender: str) -> Counter[str]:
    """Return what somebody has said in a room, by lines."""
    return Counter(line for text in person.texts(room, sender) for line in text.split("\n"))


def _has_said(person: Person, room: str, sender: str, wanted: Counter[str]) -> bool:
    return lines(person, room, sender) >= wanted


async def test_a_direct_chat_encrypted_with_all_that_people_do(server: Homeserver, bot: str, group: str) -> None:
    async with people(server, "ada") as (ada,), room_with_agent(ada, bot, group) as room:
        first = await ada.say(room, "hello")
        answer = await ada.hears(room, "echo: hello")
        await ada.until(lambda: bot in ada.receipts.get(first, set()), "the message was read")
        await ada.edit(room, first, "hello there")
        await ada.react(room, answer["event_id"], "🎉")
        gone = await ada.say(room, "forget this")
        # The agent has learnt of both changes; its script repeats all that it is given.
        assert (await ada.hears_of(room, "echo: forget this"))["content"]["body"].split("\n") == [
            "echo: hello there",
            "echo: 🎉",
            "echo: forget this",
        ]
        await ada.delete(room, gone)
        await ada.send_file(room, "cat.png", PICTURE, "image/png")
        await ada.until(lambda: len(ada.texts(room, bot)) == 3, "an answer to the picture")
        await ada.say(room, "!file notes.txt some notes")
        assert await ada.content_of(await ada.hears(room, "notes.txt")) == b"some notes"
        given = await asyncio.to_thread(stored, group)
        assert [one["change"]["kind"] for one in given if "change" in one] == ["edited", "reacted", "deleted"]
        # The agent changes what it has said, and reacts to what the person has said, by their numbers (F-58, F-60).
        session = await asyncio.to_thread(session_of, group)
        last = await ada.say(room, "the last one")
        said = await ada.hears(room, "echo: the last one")
        ((number,),) = rows(session.inbound_db, "SELECT seq FROM messages_in WHERE content LIKE '%the last one%'")
        ((own,),) = rows(session.outbound_db, "SELECT seq FROM messages_out WHERE content LIKE '%the last one%'")
        await ada.say(room, f"!edit {own} changed\n!react {number} 👀")
        await ada.hears(room, "changed")
        await ada.until(lambda: ada.reactions(last) == ["👀"], "the agent's reaction")
        assert said["event_id"] in [one["event_id"] for one in ada.messages(room)]
        assert not ada.unreadable


async def test_two_people_in_an_encrypted_room_and_a_thread_that_sticks(
    server: Homeserver, bot: str, group: str
) -> None:
    """Mention-sticky: who was called in a thread goes on hearing it; outside nobody has called."""
    rules = {"engage_mode": "mention-sticky", "session_mode": "per-thread"}
    async with (
        people(server, "ada", "bob") as (ada, bob),
        room_with_agent(ada, bot, group, name="Kitchen", **rules) as room,
    ):
        await ada.client.room_invite(room, bob.user_id)
        await bob.join(room)
        await ada.sees_member(room, bob.user_id)
        quiet = await bob.say(room, "just between us")
        called = await ada.say(room, "you there", **{"m.mentions": {"user_ids": [bot]}})
        answer = await ada.hears(room, "echo: you there")
        thread = answer["content"].get("m.relates_to", {}).get("event_id") or called
        await bob.say(room, "in the thread", thread=called)
        await ada.say(room, "called in the thread", thread=called, **{"m.mentions": {"user_ids": [bot]}})
        reply = await bob.hears(room, "echo: called in the thread")
        assert reply["content"]["m.relates_to"]["rel_type"] == "m.thread"
        assert reply["content"]["m.relates_to"]["event_id"] == called
        await bob.say(room, "and on", thread=called)
        await ada.hears(room, "echo: and on")
        assert thread
        assert quiet
        assert not [text for text in ada.texts(room, bot) if "between us" in text]
        assert not [*ada.unreadable, *bob.unreadable]


async def test_no_message_is_lost_or_doubled_however_often_the_daemon_dies(server: Homeserver, bot: str) -> None:
    """Acceptance 2: ``kill -9`` at random moments, in encrypted and plain rooms side by side."""
    chance = random.Random(SEED)
    groups = [f"mx{secrets.token_hex(3)}" for _ in range(3)]
    for name in groups:
        await asyncio.to_thread(call, "Groups.Create", name=name, provider="scripted")
    kills = 0
    done = asyncio.Event()

    async def kill_at_random() -> None:
        nonlocal kills
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), chance.uniform(0.5, 6))
            if not done.is_set():
                await asyncio.to_thread(kill_daemon)
                kills += 1

    try:
        async with people(server, "ada") as (ada,), contextlib.AsyncExitStack() as stack:
            rooms = []
            for number, name in enumerate(groups):
                rooms.append(await stack.enter_async_context(room_with_agent(ada, bot, name, encrypted=number != 1)))
            killer = asyncio.create_task(kill_at_random())
            sent: list[tuple[str, str]] = []
            for number in range(MESSAGES):
                room = chance.choice(rooms)
                sent.append((room, f"number {number}"))
                await ada.say(room, f"number {number}")
                await asyncio.sleep(chance.uniform(0, 0.8))  # people do not write all at once
            done.set()
            await killer
            for room in rooms:
                # What waited together is answered together, a line for each.
                wanted = Counter(f"echo: {text}" for where, text in sent if where == room)
                await ada.until(partial(_has_said, ada, room, bot, wanted), f"{wanted} in {room}", 120)
                assert lines(ada, room, bot) == wanted
            for name in groups:
                given = [one["text"] for one in await asyncio.to_thread(stored, name) if "text" in one]
                numbers = [text for text in given if text.startswith("number ")]
                assert len(numbers) == len(set(numbers)), numbers
            assert not ada.unreadable
            print(f"seed {SEED}: {MESSAGES} messages, the daemon died {kills} times")
            assert kills >= 2
    finally:
        for name in groups:
            with contextlib.suppress(appliance.ControlError):
                await asyncio.to_thread(call, "Groups.Delete", name=name, force=True, seconds=90)


async def test_the_channel_says_how_it_is(server: Homeserver) -> None:
    """F-121: threads are declared; the health line tells of encryption and of the last sync."""
    found = await asyncio.to_thread(call, "Channels.List")
    told = next(one for one in found["channels"] if one["name"] == CHANNEL)
    assert (told["state"], told["threads"], told["edits"], told["reactions"], told["buttons"]) == (
        "ok",
        True,
        True,
        True,
        False,
    )
    assert "encrypts, as device" in told["detail"]
    assert "last sync" in told["detail"]


async def test_an_operator_exports_the_keys_and_imports_them(server: Homeserver, group: str, tmp_path: Path) -> None:
    """A file that only the operator reads, whose passphrase is asked for; the daemon sees no path."""
    bot = server.user_id(BOT)
    async with people(server, "ada") as (ada,):
        room = await ada.make_room(bot, encrypted=True, direct=True)
        await ada.sees_member(room, bot)
        await asyncio.to_thread(wired, room, group)
        await ada.say(room, "a secret")
        await ada.hears(room, "echo: a secret")
    file = tmp_path / "keys.txt"
    said = await asyncio.to_thread(_keys, "export", file, "a passphrase")
    assert str(file) in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith("-----BEGIN MEGOLM SESSION DATA-----")
    assert "were known" in await asyncio.to_thread(_keys, "import", file, "a passphrase")
    with pytest.raises(AssertionError, match="the passphrase is wrong"):
        await asyncio.to_thread(_keys, "import", file, "another")


def _keys(what: str, file: Path, passphrase: str) -> str:
    argv = ["ncl", "channels", "keys", what, CHANNEL, str(file)]
    done = subprocess.run(argv, input=passphrase, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
