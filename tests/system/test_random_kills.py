"""Anything may be killed at any moment (acceptance 4): every message is answered or reported, and nothing is left over.

``NANOCLAW_SOAK_TURNS`` says how many turns (40; ``make soak``: 200), ``NANOCLAW_SOAK_SEED`` which random ones.
"""

import collections
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import Person, containers, kill, loaded_units, processes, rows, run, session_of, unit

TURNS = int(os.environ.get("NANOCLAW_SOAK_TURNS", "40"))
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260101"))
PEOPLE = 4
TURN_PATIENCE_SECONDS = 320.0
"""Five back-offs (155 s), the starts between them, and what the others' kills add."""


@pytest.fixture(scope="module", autouse=True)
def _short_idle() -> Iterator[None]:
    with appliance.configured(timeouts={"idle": 3, "watchdog": 10}):
        yield


class Watch:
    """Looks at the processes all the time: a session never has two containers."""

    def __init__(self) -> None:
        self.doubles: set[str] = set()
        self.looks = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.1):
            alive = collections.defaultdict(set)
            for process in processes():
                if process.is_runner and process.session is not None:
                    alive[process.session.unit].add(process.container)
            self.doubles.update(f"{name}: {found}" for name, found in alive.items() if len(found) > 1)
            self.looks += 1


class Killer:
    """Kills one thing of a kind; counts what it hit."""

    def __init__(self) -> None:
        self.hits: collections.Counter[str] = collections.Counter()
        self._one_at_a_time = threading.Lock()

    def strike(self, kind: str, group: str) -> None:
        """Kill; what isn't there at this moment is not killed."""
        with self._one_at_a_time:
            killed = [pid for pid in self._victims(kind, group) if kill(pid)]
            self.hits[kind] += bool(killed)

    def _victims(self, kind: str, group: str) -> list[int]:
        own = processes(group)
        match kind:
            case "runner":
                return [process.pid for process in own if process.is_runner]
            case "conmon":
                return [process.pid for process in own if process.is_conmon]
            case "podman":
                return self._starting(group)
            case "daemon":
                return [appliance.daemon_pid()]
            case "gateway":
                return [int(unit("nanoclaw-gateway.service", system=True)["MainPID"])]
            case _:
                return [
                    int(pid) for pid in run("pgrep", "-u", "nanoclaw", "-f", "^/usr/lib/systemd/systemd --user").split()
                ]

    @staticmethod
    def _starting(group: str) -> list[int]:
        """Wait a little for a podman of the group: it lives for a tenth of a second."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            found = [process.pid for process in processes(group) if process.is_podman]
            if found:
                return found
        return []


def turn(chance: random.Random, number: int) -> str:
    """Return a turn's script."""
    lines = [
        f"number {number}",
        f"!sleep {chance.uniform(0.1, 1.5):.2f}",
        f"!write /workspace/{number % 3} {'x' * chance.randrange(1000)}",
        "!connect unix /run/nanoclaw-gateway/gateway.sock",
    ]
    chance.shuffle(lines)
    return "\n".join(lines[: chance.randrange(1, 5)])


def talk(person: Person, seed: int, turns: int, killer: Killer) -> list[str]:
    """Hold a conversation during which things die; return what went wrong."""
    chance = random.Random(seed)
    kinds = ["runner", "conmon", "podman", "daemon", "gateway", "nothing", "nothing"]
    wrong = []
    for number in range(turns):
        kind = chance.choice(kinds)
        if seed == SEED and number % 20 == turns // 2 % 20:
            kind = "manager"  # it takes everybody's session along: once in so many turns of one is enough for all
        script = turn(chance, number)
        if chance.randrange(4) == 0:
            time.sleep(chance.uniform(2.5, 4))  # about the idle time: the next turn is a cold one, or meets the end
        strike: threading.Thread | None = None
        if kind != "nothing":
            strike = threading.Timer(chance.uniform(0, 1.2), killer.strike, (kind, person.group))
            strike.start()
        message = person.send(script, seconds=60)
        try:
            outcome = person.outcome(message, TURN_PATIENCE_SECONDS)
        except AssertionError as error:
            wrong.append(f"turn {number} ({kind}): {error}")
            return wrong
        if strike is not None:
            strike.join()
        if outcome.state == "failed" and not outcome.notices:
            wrong.append(f"turn {number} ({kind}): failed without a word")
        if outcome.state == "completed":
            # Its words may still be on their way to a terminal that has just come back.
            with contextlib.suppress(AssertionError):
                person.wait(
                    lambda event, asked=message: event.in_reply_to == asked and event.type == "message", "answer", 10
                )
            answers = [event for event in person.shown() if event.in_reply_to == message and event.type == "message"]
            if len({event.id for event in answers}) != 1:
                wrong.append(f"turn {number} ({kind}): {len(answers)} answers: {answers}")
    return wrong


def test_whatever_is_killed_every_message_is_answered_or_reported() -> None:
    """F-90, F-94…F-99, F-131, F-132; at most one duplicate for each death of the daemon, and none otherwise."""
    groups = [f"soak{number}" for number in range(PEOPLE)]
    for group in groups:
        appliance.call("Groups.Create", name=group, provider="scripted")
    killer = Killer()
    people = [Person(group) for group in groups]
    try:
        with Watch() as watch, ThreadPoolExecutor(PEOPLE) as pool:
            conversations = [
                pool.submit(talk, person, SEED + number, TURNS // PEOPLE, killer)
                for number, person in enumerate(people)
            ]
            wrong = [problem for conversation in conversations for problem in conversation.result()]
        print(f"seed {SEED}: {TURNS} turns, killed: {dict(killer.hits)}, {watch.looks} looks")
        assert not wrong, "\n".join(wrong)
        assert not watch.doubles
        shown = [event.id for person in people for event in person.shown()]
        repeated = len(shown) - len(set(shown))
        print(f"shown {len(shown)} messages and notices, {repeated} of them twice")
        assert repeated <= killer.hits["daemon"] * PEOPLE
        for person in people:
            for event in {event.id: event for event in person.shown()}.values():
                times = sum(other.id == event.id for other in person.shown())
                assert times <= 1 + killer.hits["daemon"], event
                attachments = {other.attachment for other in person.shown() if other.id == event.id}
                assert len(attachments) == times, f"shown twice to one screen: {event}"
        for group in groups:
            check_rows(group)
        for group in groups:
            wait_until(no_trace(group), f"{group} sleeps without a trace", 30)
    finally:
        for person in people:
            person.leave()
        for group in groups:
            appliance.call("Groups.Delete", name=group, force=True, seconds=90)


def check_rows(group: str) -> None:
    """Every question has its end, numbers keep their side, and no answer is there twice."""
    session = session_of(group)
    wait_until(
        lambda: (
            {status for (status,) in rows(session.inbound_db, "SELECT DISTINCT status FROM messages_in")}
            <= {"completed", "failed"}
        ),
        "all rows have their end",
    )
    assert rows(session.inbound_db, "SELECT count(*) FROM messages_in WHERE seq % 2 <> 0") == [(0,)]
    assert rows(session.outbound_db, "SELECT count(*) FROM messages_out WHERE seq % 2 <> 1") == [(0,)]
    assert (
        rows(session.outbound_db, "SELECT in_reply_to FROM messages_out GROUP BY in_reply_to HAVING count(*) > 1") == []
    )
    assert rows(session.outbound_db, "SELECT message_id FROM processing_ack WHERE status = 'processing'") == []
    wait_until(
        lambda: rows(session.inbound_db, "SELECT DISTINCT status FROM delivered") == [("delivered",)], "all delivered"
    )


def no_trace(group: str) -> Callable[[], bool]:
    return lambda: not processes(group) and not loaded_units(group) and not containers(group)
