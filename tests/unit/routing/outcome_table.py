"""Reads the tables of outcomes (``outcomes.txt``, ``strangers.txt``); for unit tests and, by samples, for system tests.

from unit.routing.outcome_table import outcomes

for row in outcomes():
    ...  # row.engage, row.place, …, row.expected, row.rule
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PATTERN = "^!bot"
SESSION_MODES = ("shared", "per-thread", "agent-shared")
POLICIES = ("drop", "accumulate")

_RULES = {
    "pattern": r"wiring \S+ engage_mode=pattern engage_pattern=.*",
    "mention": r"wiring \S+ engage_mode=mention",
    "sticky": r"wiring \S+ engage_mode=mention-sticky",
    "scope": r"wiring \S+ sender_scope=known",
    "policy": r"wiring \S+ ignored_message_policy=accumulate",
    "access": r"chat \S+ unknown_sender_policy=(strict|request_approval)",
    "denied": r"denied sender \S+ in \S+",
}


def is_rule(word: str, rule: str) -> bool:
    """Tell whether a decision's rule is the one that a table calls so."""
    return re.fullmatch(_RULES[word], rule) is not None


@dataclass(frozen=True)
class Outcome:
    """One cell of ``outcomes.txt``.

    ``sender`` is owner, global-admin, group-admin, member or stranger; ``place`` dm, group or thread. ``expected`` is
    chat, thread or agent (whose session hears it), the same in parentheses (kept there as context), or ``-``.
    """

    line: int
    engage: str
    place: str
    mention: bool
    sender: str
    scope: str
    policy: str
    session_mode: str
    expected: str
    rule: str

    @property
    def engage_mode(self) -> str:
        return {"other-text": "pattern", "stuck": "mention-sticky"}.get(self.engage, self.engage)

    @property
    def engage_pattern(self) -> str | None:
        return PATTERN if self.engage_mode == "pattern" else None

    @property
    def is_sticky(self) -> bool:
        """The agent was mentioned in this thread before."""
        return self.engage == "stuck"

    @property
    def text(self) -> str:
        return "!bot hello" if self.engage == "pattern" else "hello"

    @property
    def is_group(self) -> bool:
        return self.place != "dm"

    @property
    def in_thread(self) -> bool:
        return self.place == "thread"

    @property
    def wakes(self) -> bool:
        return self.expected in {"chat", "thread", "agent"}

    @property
    def stores(self) -> bool:
        return self.expected != "-"

    @property
    def session(self) -> str | None:
        """Whose session gets it: chat, thread, agent; None where none does."""
        return self.expected.strip("()") if self.stores else None


@dataclass(frozen=True)
class Stranger:
    """One line of ``strangers.txt``. ``reason`` is empty where nothing is recorded."""

    line: int
    policy: str
    sender: str
    scope: str
    mentioned: str
    reason: str
    rule: str
    unmentioned: str
    unmentioned_rule: str


def outcomes() -> list[Outcome]:
    """Return every cell of the large table."""
    found = []
    for line, (left, *halves) in _lines("outcomes.txt"):
        engage, place, mention, sender, scope = left.split()
        for policy, half in zip(POLICIES, halves, strict=True):
            *cells, rule = half.split()
            for mode, expected in zip(SESSION_MODES, cells, strict=True):
                found.append(
                    Outcome(line, engage, place, mention == "yes", sender, scope, policy, mode, expected, rule)
                )
    return found


def strangers() -> list[Stranger]:
    """Return every line of the smaller table."""
    found = []
    for line, (left, mentioned, unmentioned) in _lines("strangers.txt"):
        action, reason, rule = mentioned.split()
        found.append(Stranger(line, *left.split(), action, reason.strip("-"), rule, *unmentioned.split()))
    return found


def _lines(name: str) -> Iterator[tuple[int, list[str]]]:
    for number, text in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), start=1):
        if text.strip() and not text.startswith("#"):
            yield number, text.split("|")
