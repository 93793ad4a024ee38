"""An event of a platform that makes the daemon fail is tried three times, over its deaths, and then set aside."""

import asyncio
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.channels.attempts import MAX_RAW_CHARACTERS, MAX_SET_ASIDE, MAX_TRIES, Attempts
from nanoclawd.channels.guard import GuardedInbound
from nanoclawd.errors import Unavailable
from unit.channels.contract import Received


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    opened = Attempts(tmp_path)
    opened.open()
    return opened


@pytest.fixture
def guard(attempts: Attempts) -> GuardedInbound:
    return GuardedInbound("chat", "example", Received(), lambda _reason: None, attempts)


class Work:
    """What an event asks for: fails so often, with such an error."""

    def __init__(self, failures: int = 0, error: BaseException | None = None) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error or ValueError("no such kind of event")

    async def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_what_works_leaves_nothing(guard: GuardedInbound, attempts: Attempts, tmp_path: Path):
    assert await guard.handle("7", "{}", Work())
    assert attempts.set_aside_count == 0
    assert files(tmp_path) == []


async def test_a_failure_is_tried_again(guard: GuardedInbound, attempts: Attempts):
    work = Work(failures=2)
    assert await guard.handle("7", "{}", work)
    assert work.calls == 3
    assert attempts.set_aside_count == 0


async def test_the_third_failure_sets_it_aside(
    guard: GuardedInbound, attempts: Attempts, caplog: pytest.LogCaptureFixture
):
    assert not await guard.handle("7", '{"odd": 1}', Work(failures=9))
    (kept,) = attempts.all_set_aside()
    assert (kept.event_id, kept.raw, kept.reason) == ("7", '{"odd": 1}', "ValueError: no such kind of event")
    assert "the event 7 was set aside" in caplog.text
    # What comes behind it is heard.
    assert await guard.handle("8", "{}", Work())


async def test_what_is_to_be_told_again_counts_for_nothing(guard: GuardedInbound, attempts: Attempts):
    for _ in range(10):
        with pytest.raises(Unavailable):
            await guard.handle("7", "{}", Work(failures=1, error=Unavailable("the disk is full")))
    assert await guard.handle("7", "{}", Work())
    assert attempts.set_aside_count == 0


async def test_an_end_of_the_daemon_in_good_order_counts_for_nothing(guard: GuardedInbound, attempts: Attempts):
    for _ in range(10):
        begun = asyncio.Event()

        async def wait(begun: asyncio.Event = begun) -> None:
            begun.set()
            await asyncio.Event().wait()

        handling = asyncio.create_task(guard.handle("7", "{}", wait))
        await begun.wait()
        handling.cancel()
        await asyncio.wait({handling})
    assert await guard.handle("7", "{}", Work())
    assert attempts.set_aside_count == 0


def _die_of(directory: Path, event_id: str) -> None:
    """A daemon that is killed while it handles an event."""
    attempts = Attempts(directory)
    attempts.open()
    guard = GuardedInbound("chat", "example", Received(), lambda _reason: None, attempts)

    async def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(guard.handle(event_id, "{}", die))


async def test_a_daemon_that_dies_of_it_does_so_three_times(tmp_path: Path):
    """The platform tells it again after each restart: the fourth daemon lives."""
    context = multiprocessing.get_context("spawn")
    ends = []
    for _ in range(MAX_TRIES + 1):
        process = context.Process(target=_die_of, args=(tmp_path, "7"))
        process.start()
        await asyncio.to_thread(process.join)
        ends.append(process.exitcode)
    assert ends == [-signal.SIGKILL] * MAX_TRIES + [0]
    attempts = Attempts(tmp_path)
    attempts.open()
    assert [kept.event_id for kept in attempts.all_set_aside()] == ["7"]


async def test_a_torn_file_of_an_earlier_daemon_is_no_trouble(guard: GuardedInbound, tmp_path: Path):
    first = Work(failures=1, error=Unavailable("x"))
    with pytest.raises(Unavailable):
        await guard.handle("7", "{}", first)
    attempts = Attempts(tmp_path)
    attempts.begin("7")
    (begun,) = (tmp_path / "begun").iterdir()
    begun.write_bytes(b'{"tri')
    assert await guard.handle("7", "{}", Work())


@given(event_id=st.text(max_size=400), raw=st.text(max_size=20_000))
def test_whatever_it_is_called_it_is_kept_within_bounds(
    tmp_path_factory: pytest.TempPathFactory, event_id: str, raw: str
):
    attempts = Attempts(tmp_path_factory.mktemp("odd"))
    attempts.open()
    attempts.begin(event_id)
    attempts.set_aside(event_id, "x", raw)
    (kept,) = attempts.all_set_aside()
    assert len(kept.raw) <= MAX_RAW_CHARACTERS
    assert attempts.clear() == 1
    assert attempts.all_set_aside() == []


def test_only_the_newest_are_kept(attempts: Attempts):
    for number in range(MAX_SET_ASIDE + 5):
        attempts.set_aside(str(number), "x", "{}")
    kept = [one.event_id for one in attempts.all_set_aside()]
    assert kept == [str(number) for number in range(5, MAX_SET_ASIDE + 5)]
