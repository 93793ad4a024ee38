"""Chat channels: what they add to a turn, a burst under the platforms' limits, and the daemon's memory with them.

The platforms are on loopback: for Matrix a real Synapse, for Telegram and Discord servers written from the public
documentation. Rows and requests have one clock.
"""

import contextlib
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from benchlib import channel_memory
from benchlib.appliance import Appliance
from benchlib.commit_watch import CommitWatch
from benchlib.matrix import Matrix
from benchlib.platforms import CHATS, IDLE_SECONDS, Discord, Platform, Telegram, configure, echo
from benchlib.progress import step
from benchlib.results import Of, Result, Target
from benchlib.varlink import Link

GROUP = "bench-channels"
SAMPLES = 120
APART_SECONDS = 0.06
"""So each chat has a message in 1.2 s, and no limit makes any of them wait."""

BURST = 1000
MOST_RATIO = 1.2
_BURST_PATIENCE_SECONDS = 150.0
_SETTLE_SECONDS = 2.0
_MILLISECONDS = 1000.0


def measure(appliance: Appliance) -> list[Result]:
    """Measure all."""
    link = Link()
    link.call("io.nanoclaw.Groups.Create", name=GROUP, provider="scripted")
    # So a message is a turn and an answer of its own, also where many wait.
    link.call("io.nanoclaw.Groups.Update", name=GROUP, max_messages=1)
    link.close()
    with Telegram(18_096) as telegram, Discord(18_097) as discord, Matrix() as matrix:
        platforms = (telegram, discord, matrix)
        configure(appliance, *platforms)
        for platform in platforms:
            platform.wire(GROUP)
        results = []
        for platform in platforms:
            configure(appliance, platform)
            results += _one(appliance, platform)
            appliance.put_to_sleep()
        results += channel_memory.measure(appliance, GROUP, platforms)
    appliance.configure(idle=IDLE_SECONDS)
    appliance.put_to_sleep()
    return results


# What a channel adds to a turn.


def _one(appliance: Appliance, platform: Platform) -> list[Result]:
    step(f"{platform.name}: waking {CHATS} sessions")
    platform.ask([(chat, f"wake up {chat}") for chat in platform.chats])
    sessions = _sessions(appliance, platform)
    time.sleep(_SETTLE_SECONDS)  # their last commits
    results = _latency(platform, sessions)
    return [*results, *_burst(platform)]


def _sessions(appliance: Appliance, platform: Platform) -> dict[str, Path]:
    """Return the sessions' directories by chat."""
    found: dict[str, Path] = {}
    for database in (appliance.state / "sessions" / GROUP).glob("*/in/inbound.db"):
        query = "SELECT DISTINCT platform_id FROM messages_in WHERE channel_type = ?"
        found |= {chat: database.parent.parent for (chat,) in _rows(database, query, platform.name)}
    return {chat: found[chat] for chat in platform.chats}


def _rows(database: Path, query: str, *bindings: object) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        return connection.execute(query, bindings).fetchall()


def _latency(platform: Platform, sessions: dict[str, Path]) -> list[Result]:
    """Have people write one message after the other, and look when what became of it."""
    sent = []
    with CommitWatch(sessions.values()) as commits:
        moments = platform.moments()
        next_at = time.monotonic()
        for number in range(SAMPLES):
            time.sleep(max(next_at - time.monotonic(), 0.0))
            next_at = time.monotonic() + APART_SECONDS
            sent.append((platform.chats[number % CHATS], f"sample {number}"))
            platform.write(sent[-1:])
            moments = platform.answered([echo(sent[-1][1])])
        time.sleep(_SETTLE_SECONDS)
        came = {(chat, text): moment for moment, chat, text in moments.came}
        rows = {chat: _answers(session) for chat, session in sessions.items()}
        before, after, whole = [], [], []
        for chat, text in sent:
            told = moments.told[chat, text]
            before.append((commits.first_after(sessions[chat], told) - told) * _MILLISECONDS)
            after.append((came[chat, echo(text)] - rows[chat][echo(text)]) * _MILLISECONDS)
            whole.append((came[chat, echo(text)] - told) * _MILLISECONDS)
    name = platform.name
    turn = Result("", "ms", tuple(whole))
    inwards = (
        "adapter in → agent row stored: from the moment at which the platform's server has a message and begins to"
        " write it out until the commit of inbound.db, seen by inotify; the way over loopback is in it"
    )
    outwards = (
        "agent row → platform request: from messages_out.timestamp, which the runner takes before its commit (whole"
        f" milliseconds), until the server has the request; one message at a time, below the rate limits. In and out"
        f" together with the turn between them: p50 {turn.p50:.1f}, p99 {turn.p99:.1f} ms"
    )
    step(f"{name}: a turn in {turn.p50:.1f} ms")
    return [
        Result(f"warm.{name}.in", "ms", tuple(before), note=inwards),
        Result(f"warm.{name}.out", "ms", tuple(after), note=outwards),
    ]


def _answers(session: Path) -> dict[str, float]:
    """Return the agent's rows: when (seconds since 1970) by what they say."""
    rows = _rows(session / "out" / "outbound.db", "SELECT content, timestamp FROM messages_out")
    moments = {json.loads(content)["text"]: datetime.fromisoformat(moment) for content, moment in rows}
    return {text: moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() for text, moment in moments.items()}


# The burst.


@dataclass(frozen=True, slots=True)
class _Order:
    """What became of a burst: answers that did not come, came twice, and came before an earlier one of their chat."""

    lost: int
    doubled: int
    overtaken: int

    @classmethod
    def of(cls, sent: Sequence[tuple[str, str]], came: Sequence[tuple[str, str]]) -> "_Order":
        wanted, found = defaultdict(list), defaultdict(list)
        for chat, text in sent:
            wanted[chat].append(echo(text))
        for chat, text in came:
            found[chat].append(text)
        lost = sum(len(set(texts) - set(found[chat])) for chat, texts in wanted.items())
        doubled = sum(len(texts) - len(set(texts)) for texts in found.values())
        ranks = [[wanted[chat].index(text) for text in texts if text in wanted[chat]] for chat, texts in found.items()]
        overtaken = sum(later < earlier for ranked in ranks for earlier, later in pairwise(ranked))
        return cls(lost, doubled, overtaken)

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.doubled} doubled, {self.overtaken} overtaken"


def _burst(platform: Platform) -> list[Result]:
    """Write a thousand messages at once, and wait until all are answered."""
    sent = [(chat, f"burst {number}") for number in range(BURST // CHATS) for chat in platform.chats]
    sent = [(chat, f"{text} in {chat}") for chat, text in sent]
    least = max(platform.per_chat.least(BURST // CHATS), platform.overall.least(BURST))
    step(f"{platform.name}: {BURST} messages at once; their answers take {least:.0f} s at least, by the rate limits")
    exceeded = platform.exceeded()
    begun = time.time()
    platform.write(sent)
    moments = platform.seen([echo(text) for _, text in sent], _BURST_PATIENCE_SECONDS)
    came = [(moment, chat, text) for moment, chat, text in moments.came if moment >= begun]
    seconds = came[-1][0] - begun
    order = _Order.of(sent, [(chat, text) for _, chat, text in came])
    exceeded = platform.exceeded() - exceeded
    told = max(moments.told[one] for one in sent) - begun
    step(f"{platform.name}: answered in {seconds:.1f} s; {order}, {exceeded} over the limits")
    chat, overall = platform.per_chat, platform.overall
    allowed = (
        f"The baseline is what the limits allow: {chat.count} in {chat.seconds:g} s in a chat, {overall.count} in"
        f" {overall.seconds:g} s in all"
        if least
        else "The server has no limit (Synapse's rc_message: 100,000 a second)"
    )
    note = (
        f"{BURST} messages at once from {CHATS} chats whose sessions are awake, an answer to each; from the first"
        f" message until the last answer's request. {allowed}. The last message was told"
        f" after {told:.1f} s, the first answer came after {came[0][0] - begun:.2f} s"
    )
    wrong = float(order.lost + order.doubled + order.overtaken)
    none = Target(Of.MEDIAN, 0)
    name = f"burst.{platform.name}"
    results = [
        Result(name, "s", (seconds,), least or None, Target(Of.RATIO, MOST_RATIO) if least else None, note),
        Result(f"{name}.wrong", "messages", (wrong,), None, none, f"of {BURST}: {order}"),
    ]
    if least:
        note = "answered by 429, of whatever kind"
        results.append(Result(f"{name}.exceeded", "requests", (float(exceeded),), None, none, note))
    return results
