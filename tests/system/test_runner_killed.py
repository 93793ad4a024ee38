"""The runner is killed at any point of turns that call tools (acceptance 6): nothing is lost, and no effect is doubled.

``NANOCLAW_SOAK_TOOL_TURNS`` says how many turns (48; ``make soak``: 300), ``NANOCLAW_SOAK_SEED`` which random ones.
"""

import collections
import contextlib
import json
import os
import random
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from eventually import wait_until
from system import appliance
from system.appliance import call, kill, rows, runner, session_of
from system.loopback import Account

TURNS = int(os.environ.get("NANOCLAW_SOAK_TOOL_TURNS", "48"))
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260102"))
TALKS = 6
TURN_PATIENCE_SECONDS = 320.0
"""Five back-offs (155 s), and the starts between them."""


@dataclass
class Talk:
    """A person, an agent, and what their turns were to bring about, by the mark that each bears."""

    account: Account
    group: str
    chance: random.Random
    kills: int = 0
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    done: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def chat(self) -> str:
        return f"talk-{self.group}"

    def hold(self, turns: int) -> list[str]:
        """Hold a conversation during which the runner dies; return what went wrong."""
        wrong = []
        for number in range(turns):
            mark = f"{self.group}-{number}."
            script = self._script(mark)
            killer = threading.Thread(target=self._kill, args=(self._moments(),))
            killer.start()
            message = self.account.say(self.chat, script, sender=f"person-{self.group}", seconds=60)
            self.asked.append(f"{message}:{self.group}")
            try:
                self._answered(message, mark)
            except AssertionError as error:
                wrong.append(str(error))
                return wrong
            finally:
                killer.join()
        return wrong

    def _answered(self, message: str, mark: str) -> None:
        """Wait for the turn's end; whoever is asked something meanwhile answers."""
        clicked: set[str] = set()

        def over() -> bool:
            for one in list(self.account.deliveries):
                if one.chat == self.chat and one.kind == "card" and mark in one.text and one.message not in clicked:
                    clicked.add(one.message)
                    self.account.click(one, "Yes", sender=f"person-{self.group}")
            return f"{message}:{self.group}" in self._ends()

        wait_until(over, f"the end of the turn {mark}", TURN_PATIENCE_SECONDS)

    def _ends(self) -> dict[str, bool]:
        """Return which of the person's messages are done with, and whether they were answered."""
        signs = [sign for sign in list(self.account.signs) if (sign.event, sign.chat) == ("turn", self.chat)]
        ends = {sign.values["message"]: sign.values["completed"] for sign in signs}
        return {message: ends[message] for message in self.asked if message in ends}

    def _moments(self) -> list[float]:
        """Return after which pauses (seconds) the runner dies: mostly not at all, sometimes again when it is back."""
        chance = self.chance
        if chance.random() < 0.6:
            return []
        again = [chance.uniform(5.5, 9)] if chance.random() < 0.25 else []
        return [chance.uniform(0, 0.9), *again]

    def _kill(self, moments: list[float]) -> None:
        for pause in moments:
            threading.Event().wait(pause)
            if not call("Sessions.List", group=self.group)["sessions"]:
                return
            process = runner(session_of(self.group))
            if process is not None and kill(process.pid):
                self.kills += 1

    def _script(self, mark: str) -> str:
        """Return a turn's lines: its question, and some tools in any order with pauses between them."""
        chance = self.chance
        lines = [f"question {mark}"]
        for kind in chance.sample(["say", "file", "task", "ask", "edit", "react"], chance.randrange(1, 5)):
            lines += [f"!sleep {chance.uniform(0, 0.3):.2f}", self._tool(kind, mark)]
        if chance.random() < 0.3:
            lines.append(lines[-1])  # twice in one turn is twice
            self.done[self._last] += 1
        return "\n".join(lines)

    def _tool(self, kind: str, mark: str) -> str:
        arguments: dict[str, Any]
        tool = {
            "say": "send_message",
            "file": "send_file",
            "task": "schedule_task",
            "ask": "ask_user_question",
            "edit": "edit_message",
            "react": "add_reaction",
        }[kind]
        if kind in ("edit", "react"):
            number = self._number_of_something_said()
            if number is None:
                kind, tool = "say", "send_message"
        self._last = f"{kind} {mark}"
        match kind:
            case "say":
                arguments = {"text": self._last}
                self.said.append(self._last)
            case "file":
                arguments = {"path": "/workspace/AGENTS.md", "text": self._last, "filename": "notes.md"}
            case "task":
                arguments = {"prompt": self._last, "processAfter": "2050-01-01 09:00"}
            case "ask":
                arguments = {"title": "Well?", "question": self._last, "options": ["Yes", "No"], "timeout": 120}
            case "edit":
                arguments = {"messageId": number, "text": self._last}
            case _:
                arguments = {"messageId": number, "emoji": "thumbs_up"}
                self._last = f"react {number}"
        self.done[self._last] += 1
        return f"!call {tool} {json.dumps(arguments)}"

    def _number_of_something_said(self) -> int | None:
        """Return the number of an earlier message of the agent's own, as it knows it."""
        if not self.said or not call("Sessions.List", group=self.group)["sessions"]:
            return None
        found = rows(
            session_of(self.group).outbound_db,
            "SELECT seq FROM messages_out WHERE json_extract(content, '$.text') = ?",
            self.chance.choice(self.said),
        )
        return int(found[0][0]) if found else None

    # What there is in the end.

    def found(self) -> collections.Counter[str]:
        """Count what the turns have brought about, in the words of :attr:`done`."""
        found: collections.Counter[str] = collections.Counter()
        shown = [one for one in (*self.account.deliveries, *self.account.repeats) if one.chat == self.chat]
        numbers = self._numbers()
        for one in shown:
            if one.kind == "reaction":
                found[f"react {numbers[one.target or '']}"] += 1
            elif one.kind == "edit" and not one.text.startswith("edit "):
                continue  # the end of a question's card
            elif one.text in self.done:
                found[one.text] += 1
        for task in call("Tasks.List", group=self.group, limit=1000)["tasks"]:
            found[task["prompt"]] += 1
        return found

    def _numbers(self) -> dict[str, int]:
        """Return the agent's numbers of its messages by the platform's ids."""
        session = session_of(self.group)
        numbers = dict(rows(session.outbound_db, "SELECT id, seq FROM messages_out"))
        sent = rows(session.inbound_db, "SELECT message_out_id, platform_message_id FROM delivered")
        return {platform: numbers[row] for row, platform in sent if platform is not None and row in numbers}

    def problems(self) -> list[str]:
        """Return what was lost or doubled, and what has no end."""
        session = session_of(self.group)
        done, found, ends = self.done, self.found(), self._ends()
        wrong = [f"{what}: {found[what]} times" for what in found if found[what] > done[what]]
        if all(ends.values()):
            wrong += [f"{what}: {found[what]} times, not {done[what]}" for what in done if found[what] < done[what]]
        wrong += [f"row {row} was not delivered" for row in undelivered(self.group)]
        open_rows = "SELECT id, status FROM messages_in WHERE status NOT IN ('completed', 'failed')"
        wrong += [f"{row} is {status}" for row, status in rows(session.inbound_db, open_rows)]
        reported = {one.in_reply_to for one in self.account.deliveries if one.chat == self.chat and one.notice}
        wrong += [
            f"{message} has failed without a word" for message in ends if not ends[message] | (message in reported)
        ]
        answers = [one for one in self.account.deliveries if one.chat == self.chat and "echo: question " in one.text]
        if len(answers) != sum(ends.values()):
            wrong.append(f"{sum(ends.values())} turns were completed, with {len(answers)} answers")
        twice = collections.Counter(one.text.split("echo: question ")[1].split("\n")[0] for one in answers)
        wrong += [f"answered {times} times: {mark}" for mark, times in twice.items() if times > 1]
        return wrong


def test_a_killed_runner_loses_nothing_and_does_nothing_twice() -> None:
    """W-12, F-99: each question is answered once or reported, and what a tool has done is done once."""
    groups = [f"k{secrets.token_hex(3)}" for _ in range(TALKS)]
    with Account("loop", idempotent=True) as account:
        try:
            talks = [begin(account, group, SEED + number) for number, group in enumerate(groups)]
            with ThreadPoolExecutor(TALKS) as pool:
                holding = [pool.submit(talk.hold, TURNS // TALKS) for talk in talks]
                wrong = [problem for held in holding for problem in held.result()]
            print(f"seed {SEED}: {TURNS} turns, {sum(talk.kills for talk in talks)} kills")
            assert not wrong, "\n".join(wrong)
            assert sum(talk.kills for talk in talks) >= TURNS // 10
            for talk in talks:
                with contextlib.suppress(AssertionError):  # what is not so is told below, with all the rest
                    wait_until(lambda one=talk: settled(one.group), "all that was said is delivered and noted")
            wrong = [f"{talk.group}: {problem}" for talk in talks for problem in talk.problems()]
            assert not wrong, "\n".join(wrong)
        finally:
            for group in groups:
                call("Groups.Delete", name=group, force=True, seconds=90)
                call("Chats.Delete", chat=f"loop:talk-{group}")


def begin(account: Account, group: str, seed: int) -> Talk:
    """Make an agent, and a chat of its own that it hears."""
    call("Groups.Create", name=group, provider="scripted")
    talk = Talk(account, group, random.Random(seed))
    call("Chats.Create", channel="loop", chat=talk.chat, is_group=False, unknown_sender_policy="public")
    call("Wirings.Create", chat=f"loop:{talk.chat}", group=group, engage_mode="pattern", engage_pattern=".")
    call("Members.Add", user=f"loopback:person-{group}", group=group)
    return talk


def settled(group: str) -> bool:
    """Tell whether nothing waits in a session any more."""
    session = session_of(group)
    left = rows(session.inbound_db, "SELECT count(*) FROM messages_in WHERE status = 'pending'")
    return left == [(0,)] and not undelivered(group) and appliance.session_state(session)["pending"] == 0


def undelivered(group: str) -> list[tuple[str, str]]:
    """Return what an agent has said and nobody has got, with its content."""
    session = session_of(group)
    said = rows(session.outbound_db, "SELECT id, content FROM messages_out WHERE kind <> 'system'")
    sent = dict(rows(session.inbound_db, "SELECT message_out_id, status FROM delivered"))
    return [(row, content) for row, content in said if sent.get(row) != "delivered"]
