"""The directives of the ``scripted`` provider, and the runner's own log."""

import logging
import os
import re
import socket
from contextlib import aclosing
from pathlib import Path

import pytest
from runner_stage import chat

from nanoclaw_runner import log
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.rows import InboundRow
from nanoclaw_runner.places import Places
from nanoclaw_runner.prompt import Prompt, from_rows
from nanoclaw_runner.providers import base, load
from nanoclaw_runner.providers.base import UnusableProviderError


def prompt(text: str) -> Prompt:
    return from_rows("in-2", [InboundRow("in-2", 2, "chat", "", chat(text))])


async def play(text: str) -> tuple[base.Event, list[base.Event]]:
    """Return the last event, and those before it."""
    query = load(AgentConfig(provider="scripted", timezone="Europe/Berlin"), Places()).query(prompt(text), None)
    events = []
    async with aclosing(query.events()) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, base.Result | base.Error):
                break
    await query.close()
    return events[-1], events[:-1]


async def answer(text: str) -> str:
    last, _ = await play(text)
    assert isinstance(last, base.Result)
    return last.text


async def test_each_line_is_played_in_turn(tmp_path: Path):
    path = tmp_path / "note"
    script = f"one\n!raw <message to='x'>\n!write {path} some words\n!read {path}\n!nonsense 7\n"
    assert (await answer(script)).splitlines() == [
        "echo: one",
        "<message to='x'>",
        f"wrote 10 bytes to {path}",
        f"read {path}: some words",
        "echo: !nonsense 7",
    ]


async def test_partials_come_before_the_result():
    last, before = await play("a\n!sleep 0.5\nb")
    assert last == base.Result("echo: a\nslept 0.5 s\necho: b")
    texts = [event.text for event in before if isinstance(event, base.Partial)]
    assert texts == sorted(texts, key=lambda text: (text.count("\n"), "slept" in text, len(text)))
    assert sum("sleeping" in text for text in texts) >= 2


async def test_a_pushed_prompt_has_its_own_result():
    query = load(AgentConfig(provider="scripted"), Places()).query(prompt("a"), None)
    query.push(prompt("b"))
    events = query.events()
    results = []
    while len(results) < 2:
        event = await anext(events)
        if isinstance(event, base.Result):
            results.append(event)
    await events.aclose()
    assert results == [base.Result("echo: a"), base.Result("echo: b")]


async def test_an_error_ends_the_query():
    assert (await play("a\n!error no luck\nb"))[0] == base.Error("no luck")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("!call nothing {}", "unknown tool: nothing"),
        ("!call current_time", r"call current_time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00"),
        ("!call current_time [1]", "call: ToolError: the arguments are no JSON object"),
        ("!call current_time {", "call: JSONDecodeError: .*"),
        ("!read /no/such/file", r"read: FileNotFoundError: .*"),
        ("!read", "read: ValueError: needs PATH"),
        ("!write /proc/version x", "write: .*Error: .*"),
        ("!connect localhost 1", "connect: .*Error: .*"),
        ("!connect localhost", "connect: ValueError: needs HOST PORT"),
        ("!connect unix /no/such/socket", "connect: FileNotFoundError: .*"),
        ("!sleep long", "sleep: not a number of seconds: !sleep long"),
        ("!sleep nan", "sleep: not between .*"),
        ("!sleep -1", "sleep: not between .*"),
        ("!crash NOSUCH", "crash: ValueError: no signal NOSUCH"),
        ("!crash WINCH", "crash: survived WINCH"),
        ("!raw", ""),
        ("", ""),
    ],
)
async def test_each_directive_reports_what_happened(script: str, expected: str):
    found = await answer(script)
    assert re.fullmatch(expected, found), found


async def test_connect_reaches_a_unix_socket(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        assert await answer(f"!connect unix {tmp_path}/s") == f"connected to unix {tmp_path}/s"


async def test_a_fifo_and_a_directory_do_not_hold_the_loop_up(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    assert await answer(f"!read {tmp_path}/fifo") == f"read {tmp_path}/fifo: "
    assert "OSError" in await answer(f"!write {tmp_path}/fifo x")
    assert await answer(f"!read {tmp_path}") == f"read {tmp_path}: fifo"


async def test_identity_says_who_and_what():
    found = await answer("!id")
    assert re.fullmatch(
        r"id: uid=\d+ gid=\d+ groups=[\d,]* CapEff=[0-9a-f]{16} CapBnd=[0-9a-f]{16} NoNewPrivs=[01] interfaces=\S*",
        found,
    )


@pytest.mark.parametrize("name", ["nonsense", "", "../scripted"])
def test_an_unknown_provider_names_the_known_ones(name: str):
    with pytest.raises(UnusableProviderError, match="the providers are openai, scripted"):
        load(AgentConfig(provider=name), Places())


def test_the_log_has_a_rate_limit_of_its_own(capsys: pytest.CaptureFixture[str]):
    now = [0.0]
    handler = log.RateLimitedHandler(clock=lambda: now[0])
    handler.setFormatter(log.OneLineFormatter("%(message)s"))
    record = logging.LogRecord("x", logging.INFO, "x", 0, "line\nand \x1b[31mmore", None, None)
    for _ in range(log.MAX_LINES_PER_PERIOD + 50):
        handler.emit(record)
    now[0] = log.PERIOD_SECONDS
    handler.emit(record)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "line | and ?[31mmore"
    assert len(lines) == log.MAX_LINES_PER_PERIOD + 2
    assert lines[-2] == "50 lines suppressed"


def test_a_long_log_line_is_cut(capsys: pytest.CaptureFixture[str]):
    handler = log.RateLimitedHandler()
    handler.setFormatter(log.OneLineFormatter("%(message)s"))
    handler.emit(logging.LogRecord("x", logging.INFO, "x", 0, "a" * 100_000, None, None))
    assert len(capsys.readouterr().err) < 2100
