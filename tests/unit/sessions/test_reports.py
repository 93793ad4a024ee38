"""What a session reports of its turns: written down beside the answer, shown to nobody, at no cost of a commit."""

import json

import apsw
import pytest
from session_stage import Stage, message

from nanoclawd.errors import Unavailable
from nanoclawd.sessions.outbound import MAX_ROWS_PER_READ

USAGE = {"action": "usage", "turn": "m1", "model": "m", "inputTokens": 5}


def report(stage: Stage, identifier: str = "u1", **content: object) -> None:
    stage.write_out(identifier, kind="system", content=json.dumps(USAGE | content), in_reply_to="m1")


async def test_a_report_is_passed_on_and_reaches_no_chat(stage: Stage):
    """F-101: rows of kind system are the host's to consume; no channel hears of them."""
    await stage.files.append(message("m1"))
    stage.write_out("r1", in_reply_to="m1")
    report(stage)
    drained = await stage.run("m1")
    assert stage.platform.ids == ["r1"]
    assert stage.rules.reports == {"u1": USAGE}
    assert not stage.rules.requests
    assert not drained.problems
    assert not (await stage.run("m1")).outcomes


async def test_a_report_has_no_commit_of_its_own(stage: Stage):
    """The commits of a warm turn are the same with it and without it."""

    async def commits() -> int:
        counted = 0

        def on_commit() -> bool:
            nonlocal counted
            counted += 1
            return False

        connection: list[apsw.Connection] = []
        await stage.files.read(lambda inbound: connection.append(inbound._connection))
        connection[0].set_commit_hook(on_commit)
        await stage.run("m1")
        connection[0].set_commit_hook(None)
        return counted

    await stage.files.append(message("m1"))
    stage.write_out("r1", in_reply_to="m1")
    without = await commits()
    stage.write_out("r2", in_reply_to="m1")
    report(stage)
    assert await commits() == without


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), RuntimeError("a fault")])
async def test_a_report_that_cannot_be_taken_holds_nothing_up(stage: Stage, error: Exception):
    """People are told nothing of it: it is no answer of theirs."""
    stage.rules.fails.append(error)
    report(stage)
    stage.write_out("r1")
    drained = await stage.run()
    assert stage.platform.ids == ["r1"]
    assert not drained.problems


async def test_what_is_told_again_after_a_crash_is_passed_on_again_under_its_id(stage: Stage):
    """Whoever writes it down does so once for each row's id."""
    report(stage)
    await stage.run()
    stage.query_inbound("DELETE FROM delivered")
    stage.query_inbound("DELETE FROM host_state")
    await stage.restart()
    await stage.run()
    assert list(stage.rules.reports) == ["u1"]


async def test_a_system_row_that_is_no_report_is_a_request(stage: Stage):
    """F-101"""
    stage.write_out("s1", kind="system", content='{"action": "control"}')
    stage.write_out("s2", kind="system", content="no json")
    stage.write_out("s3", kind="system", content='{"action": ["usage"]}')
    await stage.run()
    assert [row.id for row in stage.rules.requests] == ["s1", "s2", "s3"]
    assert not stage.platform.got


async def test_a_flood_of_reports_does_not_hide_the_answer_behind_it(stage: Stage):
    """More of them than one look takes along: the next look follows at once, and not at the next ring."""
    for number in range(MAX_ROWS_PER_READ):
        report(stage, f"u{number}")
    stage.write_out("r1")
    assert (await stage.run()).more
    assert not (await stage.run()).more
    assert stage.platform.ids == ["r1"]
