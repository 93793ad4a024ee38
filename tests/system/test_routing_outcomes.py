"""The table of outcomes (tests/unit/routing/outcomes.txt) through the installed appliance.

``ncl explain``'s answer to every cell names the rule that decides; and a sample of the cells is said for real: rows,
sessions, wakes and answers are what the table says.
"""

import contextlib
import random
import secrets
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from system.appliance import STATE, ControlError, call, rows
from system.loopback import Account
from unit.routing.outcome_table import Outcome, is_rule, outcomes

CHANNEL: Final = "loop"
SAMPLE: Final = 24
STUCK: Final = "stuck"


@dataclass
class Town:
    """An agent, the people of the table, and their platform."""

    account: Account
    group: str
    tag: str

    def person(self, sender: str) -> str:
        return f"{sender}-{self.tag}"

    def chat(self, *, is_group: bool) -> str:
        """Make a public chat; returns its platform id."""
        chat = f"room-{secrets.token_hex(4)}"
        call("Chats.Create", channel=CHANNEL, chat=chat, is_group=is_group, unknown_sender_policy="public")
        return chat

    def wire(self, chat: str, row: Outcome) -> str:
        """Wire a chat as a cell of the table says; returns the wiring's id."""
        made = call("Wirings.Create", chat=f"{CHANNEL}:{chat}", group=self.group, **rules(row))
        return str(made["wiring"]["id"])

    def stick(self, chat: str) -> None:
        """Mention the agent in a thread."""
        self.account.say(chat, "hello", sender=self.person("owner"), thread=STUCK, mention=True, group=True)

    def stored(self, message_id: str) -> list[tuple[str, str | None, int]]:
        """Where a message was stored: the session's mode and thread, and the row's trigger."""
        found = []
        sessions = rows(
            STATE / "central.db",
            "SELECT s.id, s.mode, s.thread_id FROM sessions s JOIN agent_groups g ON g.id = s.agent_group_id"
            " WHERE g.folder = ?",
            self.group,
        )
        for session_id, mode, thread_id in sessions:
            database = STATE / "sessions" / self.group / session_id / "in" / "inbound.db"
            found += [
                (mode, thread_id, trigger)
                for (trigger,) in rows(
                    database, "SELECT trigger FROM messages_in WHERE platform_message_id = ?", message_id
                )
            ]
        return found


def rules(row: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {
        "engage_mode": row.engage_mode,
        "sender_scope": row.scope,
        "ignored_message_policy": row.policy,
        "session_mode": row.session_mode,
    }
    if row.engage_pattern is not None:
        found["engage_pattern"] = row.engage_pattern
    return found


@pytest.fixture
def town(group: str) -> Iterator[Town]:
    """Owner, global admin, the group's admin and member, as operators make them; a stranger is nothing."""
    with Account(CHANNEL, idempotent=True) as account:
        made = Town(account, group, secrets.token_hex(3))
        call("Roles.Claim")
        grants: list[dict[str, str]] = [
            {"user": f"loopback:{made.person('owner')}", "role": "owner"},
            {"user": f"loopback:{made.person('global-admin')}", "role": "admin"},
            {"user": f"loopback:{made.person('group-admin')}", "role": "admin", "group": group},
        ]
        for grant in grants:
            call("Roles.Grant", **grant)
        call("Members.Add", user=f"loopback:{made.person('member')}", group=group)
        try:
            yield made
        finally:
            for grant in grants:
                with contextlib.suppress(ControlError):
                    call("Roles.Revoke", **grant)


def test_explain_names_the_rule_of_every_cell(town: Town) -> None:
    """Asked over the control socket, cell by cell; nothing is changed by the questions."""
    chats = {is_group: town.chat(is_group=is_group) for is_group in (False, True)}
    cells = defaultdict(list)
    for row in outcomes():
        cells[tuple(sorted(rules(row).items()))].append(row)
    first = next(iter(cells.values()))[0]
    wirings = {is_group: town.wire(chat, first) for is_group, chat in chats.items()}
    call("Wirings.Update", wiring=wirings[True], engage_mode="mention-sticky")
    town.stick(chats[True])
    wrong = []
    for rows_of_cell in cells.values():
        for wiring in wirings.values():
            call("Wirings.Update", wiring=wiring, **rules(rows_of_cell[0]))
        for row in rows_of_cell:
            decided = call(
                "Routing.Explain",
                channel=CHANNEL,
                chat=chats[row.is_group],
                thread=(STUCK if row.is_sticky else "t1") if row.in_thread else None,
                sender=f"loopback:{town.person(row.sender)}",
                text=row.text,
                mention=row.mention,
                group=row.is_group,
            )["decision"]
            (at_wiring,) = decided["wirings"]
            action = "engage" if row.wakes else "accumulate" if row.stores else "drop"
            if at_wiring["action"] != action or not is_rule(row.rule, at_wiring["deciding"]["rule"]):
                wrong.append((row, at_wiring))
    assert not wrong, f"{len(wrong)} cells: {wrong[:3]}"


def test_a_sample_of_the_outcomes_happens(town: Town) -> None:
    """Stored where the table says, once, with the trigger that it says; who is to answer answers, nobody else does."""
    chosen = random.Random(3).sample(outcomes(), SAMPLE)
    said = []
    for row in chosen:
        chat = town.chat(is_group=row.is_group)
        town.wire(chat, row)
        thread = None
        if row.in_thread:
            thread = "t1"
        if row.is_sticky:
            thread = STUCK
            town.stick(chat)
        message_id = town.account.say(
            chat,
            row.text,
            sender=town.person(row.sender),
            thread=thread,
            mention=row.mention,
            group=row.is_group,
        )
        said.append((row, chat, thread, message_id))
    for row, chat, thread, _ in said:
        if row.wakes:
            town.account.hears(chat, f"echo: {row.text}", 120, thread=thread)
    for row, chat, thread, message_id in said:
        where = {"chat": None, "thread": thread, "agent": None, None: None}[row.session]
        found = town.stored(message_id)
        assert len(found) == (1 if row.stores else 0), (row, found)
        for mode, thread_id, trigger in found:
            assert (mode == "agent-shared") == (row.session == "agent"), (row, found)
            assert thread_id == where, (row, found)
            assert trigger == int(row.wakes), (row, found)
        if not row.wakes and not row.is_sticky:
            assert town.account.texts(chat, thread) == [], row
        (decided,) = call("Routing.ExplainMessage", id=message_id)["decisions"]
        (at_wiring,) = decided["wirings"]
        assert is_rule(row.rule, at_wiring["deciding"]["rule"]), (row, at_wiring)
