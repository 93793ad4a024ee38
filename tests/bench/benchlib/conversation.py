"""Cold, warm, burst: how long a person waits for an answer."""

import selectors
import time
from dataclasses import dataclass

from benchlib.appliance import GROUP, Appliance
from benchlib.chat import Chat, Exchange, ended
from benchlib.commits import BareCommits, Counters, describe
from benchlib.machine import processor_seconds
from benchlib.progress import step
from benchlib.results import Of, Result, Target

COLD_PAIRS = 15
WARM_BLOCKS = 12
WARM_BLOCK = 25
BURST = 40
BURST_ROUNDS = 2
FIRST_UID = 70_000
"""Uids without an account: each is a person with a session of its own."""

_MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Cold:
    """What the cold start showed; the processor seconds are of one wake-up, answer and end."""

    result: Result
    processor_seconds: float


def cold(appliance: Appliance, chat: Chat) -> Cold:
    """Wake a sleeping session by a message, in turn with a bare `podman run` of the same image by the same user."""
    image, owner = appliance.image, appliance.owner
    answers: list[float] = []
    bare: list[float] = []
    spent: list[float] = []
    for number in range(COLD_PAIRS):
        appliance.wait_asleep()
        begun = time.perf_counter()
        owner.run("podman", "run", "--rm", "--network=none", image, "true")
        bare.append((time.perf_counter() - begun) * _MILLISECONDS)
        before = processor_seconds()
        exchange = chat.ask("hello")
        answers.append((exchange.replied - exchange.sent) * _MILLISECONDS)
        appliance.wait_asleep()
        spent.append(processor_seconds() - before)
        step(f"cold {number + 1}/{COLD_PAIRS}: answer {answers[-1]:.0f} ms, podman run {bare[-1]:.0f} ms")
    baseline = Result("podman run", "ms", tuple(bare))
    cost = Result("processor time", "s", tuple(spent)).p50
    note = (
        f"baseline is `podman run --rm --network=none IMAGE true`, p99 {baseline.p99:.0f} ms;"
        f" waking, answering and ending cost {cost:.2f} s of processor time"
    )
    return Cold(Result("cold", "ms", tuple(answers), baseline.p50, Target(Of.RATIO, 2.0), note), cost)


def warm(appliance: Appliance, chat: Chat, session_id: str) -> Result:
    """Ask an awake session, in turn with the bare commits of as many turns."""
    session = appliance.state / "sessions" / GROUP / session_id
    counters = Counters(session, appliance.state)
    bare = BareCommits(appliance.state)
    exchanges: list[Exchange] = []
    until_reply: list[float] = []
    whole: list[float] = []
    counts = []
    chat.ask("warm up")
    for block in range(WARM_BLOCKS):
        for _ in range(WARM_BLOCK):
            before = counters.read()
            at_reply = []
            exchanges.append(chat.ask("hello", lambda: at_reply.append(counters.read())))  # noqa: B023
            counts.append((at_reply[0] - before, counters.read() - before))
        for _ in range(WARM_BLOCK):
            cost = bare.turn()
            until_reply.append(cost.until_reply * _MILLISECONDS)
            whole.append(cost.whole * _MILLISECONDS)
        last = exchanges[-1]
        step(
            f"warm {block + 1}/{WARM_BLOCKS}: {(last.replied - last.sent) * 1e3:.1f} ms, bare {until_reply[-1]:.1f} ms"
        )
    bare.close()
    answers = tuple((exchange.replied - exchange.sent) * _MILLISECONDS for exchange in exchanges)
    turns = Result("whole turn", "ms", tuple((one.ended - one.sent) * _MILLISECONDS for one in exchanges))
    baseline = Result("bare", "ms", tuple(until_reply)).p50
    all_five = Result("bare turn", "ms", tuple(whole)).p50
    note = (
        f"baseline is the bare commits that precede the reply; the whole turn, the commit after the reply included:"
        f" {turns.p50:.2f} ms, bare {all_five:.2f} ms, ratio {turns.p50 / all_five:.2f}\n{describe(counts)}"
    )
    return Result("warm", "ms", answers, baseline, Target(Of.RATIO, 2.0), note)


def burst(appliance: Appliance, cold_cost: float) -> Result:
    """Send forty sleeping sessions a message at once, and wait until every one of them has answered."""
    chats = [Chat(GROUP, FIRST_UID + number) for number in range(BURST)]
    spent: list[float] = []
    times: list[float] = []
    for number in range(BURST_ROUNDS + 1):
        appliance.wait_asleep()
        before = processor_seconds()
        seconds = _all_answered(chats)
        appliance.wait_asleep()
        if number == 0:
            continue  # makes the sessions
        times.append(seconds)
        spent.append(processor_seconds() - before)
        step(f"burst {number}/{BURST_ROUNDS}: {BURST} answers in {seconds:.1f} s, {spent[-1]:.1f} s of processor time")
    for chat in chats:
        chat.close()
    cost = Result("processor time", "s", tuple(spent)).p50
    note = (
        f"seconds until all have answered; baseline is {BURST} times the cold start's processor time;"
        f" the burst's own was {cost:.1f} s, {cost / (BURST * cold_cost):.2f} of that"
    )
    return Result(f"burst.{BURST}", "s", tuple(times), BURST * cold_cost, None, note)


def _all_answered(chats: list[Chat]) -> float:
    begun = time.perf_counter()
    for chat in chats:
        chat.begin("hello")
    waiting = len(chats)
    with selectors.DefaultSelector() as selector:
        for chat in chats:
            chat.stored()
            selector.register(chat.events, selectors.EVENT_READ, chat)
        while waiting:
            for key, _events in selector.select():
                if any(ended(event) for event in key.data.events.replies_at_hand()):
                    selector.unregister(key.fileobj)
                    waiting -= 1
    return time.perf_counter() - begun
