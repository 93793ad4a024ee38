"""The daemon is killed at random points while events are routed (acceptance 5): each event ends in exactly one row for
each agent that takes it, and in none for the others; F-167, F-163, F-164, W-4 (a command told twice is answered once).

``NANOCLAW_SOAK_SEED`` says which random ones.
"""

import collections
import os
import random
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

from eventually import wait_until
from system import appliance
from system.appliance import STATE, call, kill_daemon, rows
from system.loopback import Account

EVENTS = 500
SPEAKERS = 12
KILLS = 12
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260301"))
ACKNOWLEDGED_SECONDS = 120.0


def wire(chat: str, group: str, **rules: object) -> None:
    call("Wirings.Create", chat=f"loop:{chat}", group=group, **rules)


def stored(group: str) -> collections.Counter[tuple[str, int]]:
    """Count the rows of people's messages in all sessions of a group, by the platform's id and trigger."""
    found: collections.Counter[tuple[str, int]] = collections.Counter()
    for database in (STATE / "sessions" / group).glob("*/in/inbound.db"):
        found.update(
            rows(
                database,
                "SELECT platform_message_id, trigger FROM messages_in WHERE platform_message_id IS NOT NULL",
            )
        )
    return found


def test_each_event_is_one_row_for_each_agent_that_takes_it() -> None:
    luck = random.Random(SEED)
    chat = f"room-{secrets.token_hex(4)}"
    with (
        appliance.group() as always,
        appliance.group() as on_word,
        appliance.group() as mentioned,
        Account("loop", idempotent=True) as account,
    ):
        call("Chats.Create", channel="loop", chat=chat, is_group=True, unknown_sender_policy="public")
        wire(chat, always, engage_mode="pattern", engage_pattern=".", session_mode="agent-shared")
        wire(chat, on_word, engage_mode="pattern", engage_pattern=r"\bword\b", session_mode="shared")
        wire(chat, mentioned, engage_mode="mention", ignored_message_policy="accumulate", session_mode="shared")
        expected: dict[str, collections.Counter[tuple[str, int]]] = {
            group: collections.Counter() for group in (always, on_word, mentioned)
        }
        commands: list[str] = []
        done = threading.Event()

        def say(number: int, kind: str, thread: str | None) -> None:
            text = {"plain": f"event {number}", "word": f"a word {number}", "command": "/whoami"}[kind]
            account.say(
                chat,
                text,
                sender=f"speaker-{number % SPEAKERS}",
                thread=thread,
                mention=kind == "command" or number % 7 == 0,
                group=True,
                message_id=f"{chat}-{number}",
                seconds=ACKNOWLEDGED_SECONDS,
            )

        def reap() -> None:
            while not done.wait(luck.uniform(0.2, 1.5)):
                if killed[0] < KILLS:
                    killed[0] += 1
                    kill_daemon()

        killed = [0]
        reaper = threading.Thread(target=reap)
        reaper.start()
        try:
            with ThreadPoolExecutor(SPEAKERS) as speakers:
                said = []
                for number in range(EVENTS):
                    kind = luck.choices(["plain", "word", "command"], [6, 3, 1])[0]
                    message_id = f"{chat}-{number}"
                    if kind == "command":
                        commands.append(message_id)
                    else:
                        expected[always][message_id, 1] += 1
                        expected[mentioned][message_id, int(number % 7 == 0)] += 1
                        if kind == "word":
                            expected[on_word][message_id, 1] += 1
                    said.append(speakers.submit(say, number, kind, luck.choice([None, "a", "b", "c"])))
                for one in said:
                    one.result()
        finally:
            done.set()
            reaper.join()
        assert killed[0] > 2, "the daemon was hardly ever killed: nothing was tried"
        for group, rows_of_group in expected.items():
            assert stored(group) == rows_of_group, f"seed {SEED}: {group}"

        # The words of the appliance itself: one answer to each command, whatever was killed when.
        def answers() -> int:
            return sum("You are" in one.text for one in list(account.deliveries) if one.chat == chat)

        wait_until(lambda: answers() >= len(commands), "all commands are answered", seconds=60)
        assert answers() == len(commands)
        assert not account.unacknowledged()
