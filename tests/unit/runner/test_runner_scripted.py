"""The directives of the ``scripted`` provider, and the runner's own log."""

import logging
import os
import re
import socket
from contextlib import aclosing
from pathlib import Path

import pytest
from runner_stage import Host, chat, workshop_of

from nanoclaw_runner import log
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.rows import InboundRow
from nanoclaw_runner.prompt import Prompt, from_rows
from nanoclaw_runner.providers import base, load
from nanoclaw_runner.providers.base import UnusableProviderError


def prompt(text: str) -> Prompt:
    return from_rows("in-2", [InboundRow("in-2", 2, "chat", "", chat(text))])


@pytest.fixture
async def provider(host: Host) -> base.Provider:
    return load(workshop_of(host, AgentConfig(provider="scripted", timezone="Europe/Berlin")))


async def play(provider: base.Provider, text: str) -> tuple[base.Event, list[base.Event]]:
    """Return the last event, and those before it."""
    query = provider.query(prompt(text), None)
    events = []
    async with aclosing(query.events()) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, base.Result | base.Error):
                break
    await query.close()
    return events[-1], events[:-1]


async def answer(provider: base.Provider, text: str) -> str:
    last, _ = await play(provider, text)
    assert isinstance(last, base.Result)
    return last.text


async def test_each_line_is_played_in_turn(provider: base.Provider, tmp_path: Path):
    path = tmp_path / "note"
    script = f"one\n!raw <message to='x'>\n!write {path} some words\n!read {path}\n!nonsense 7\n"
    assert (await answer(provider, script)).splitlines() == [
        "echo: one",
        "<message to='x'>",
        f"wrote 10 bytes to {path}",
        f"read {path}: some words",
        "echo: !nonsense 7",
    ]


async def test_partials_come_before_the_result(provider: base.Provider):
    last, before = await play(provider, "a\n!sleep 0.5\nb")
    assert last == base.Result("echo: a\nslept 0.5 s\necho: b")
    texts = [event.text for event in before if isinstance(event, base.Partial)]
    assert texts == sorted(texts, key=lambda text: (text.count("\n"), "slept" in text, len(text)))
    assert sum("sleeping" in text for text in texts) >= 2


async def test_a_pushed_prompt_has_its_own_result(provider: base.Provider):
    query = provider.query(prompt("a"), None)
    query.push(prompt("b"))
    events = query.events()
    results = []
    while len(results) < 2:
        event = await anext(events)
        if isinstance(event, base.Result):
            results.append(event)
    await events.aclose()
    assert results == [base.Result("echo: a"), base.Result("echo: b")]


async def test_rows_for_the_host_are_written_as_they_are_asked_for(host: Host, provider: base.Provider):
    script = """!card {"title": "Go?", "options": ["yes"]}
!edit 3 other words
!react out-7 👍
!file note.v1.txt some text
!file note.v1.txt other text
!to loop chat/7 hello there
!system {"action": "x"}"""
    assert (await answer(provider, script)).splitlines() == [
        *("card: 1", "edit: 3", "react: 5", "file: 7", "file: 9", "to: 11", "system: 13")
    ]
    assert host.contents("card") == [{"title": "Go?", "options": ["yes"]}]
    assert host.contents("system") == [{"action": "x"}]
    assert host.contents("chat") == [
        {"operation": "edit", "messageId": "3", "text": "other words"},
        {"operation": "reaction", "messageId": "out-7", "emoji": "👍"},
        {"text": "", "files": ["note.v1.txt"]},
        {"text": "", "files": ["note-2.v1.txt"]},
        {"text": "hello there"},
    ]
    assert (host.places.outbound_files / "note-2.v1.txt").read_text() == "other text"
    assert host.outbound("SELECT channel_type, platform_id, in_reply_to FROM messages_out WHERE seq = 11") == [
        ("loop", "chat/7", None)
    ]


async def test_what_is_remembered_names_the_conversation(provider: base.Provider):
    last, before = await play(provider, "!recall\n!remember blue\n!recall")
    assert last == base.Result("recall: nothing\nremembered blue\nrecall: blue")
    assert base.Init("blue") in before
    assert await provider.command("context", "", "blue") == "A script remembers one word: blue."
    assert await provider.command("cost", "", "blue") is None


async def test_usage_is_reported_with_the_answer(provider: base.Provider):
    last, _ = await play(provider, "!usage 1000 20 350 big-model\nhello")
    assert last == base.Result(
        "usage: 1000 20 350 big-model\necho: hello", usage=base.Usage("big-model", 1000, 20, cost_micros=350)
    )
    last, _ = await play(provider, "!usage 7 8 -")
    assert last == base.Result("usage: 7 8 - scripted", usage=base.Usage("scripted", 7, 8))


async def test_an_error_ends_the_query(provider: base.Provider):
    assert (await play(provider, "a\n!error no luck\nb"))[0] == base.Error("no luck")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("!call nothing {}", r"unknown tool: nothing\. There are: .*current_time.*"),
        ("!call current_time", r"call current_time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00"),
        ("!call current_time [1]", "current_time: the arguments are no JSON object"),
        ("!call current_time {", "current_time: the arguments are no JSON: .*"),
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
        ("!recall", "recall: nothing"),
        ("!usage 1 2", "usage: ValueError: needs .*"),
        ('!call run_command {"command": "echo hi; exit 3"}', r"call run_command: hi\n\(exit status 3\)"),
        ("!card", "card: ValueError: needs JSON"),
        ("!edit 3", "edit: ValueError: needs ID TEXT"),
        ("!react 3", "react: ValueError: needs ID EMOJI"),
        ("!file", "file: ValueError: needs NAME TEXT"),
        ("!file ../x/y z", "file: FileNotFoundError: .*"),
        ("!to loop chat", "to: ValueError: needs CHANNEL PLATFORM-ID TEXT"),
        ("!system", "system: ValueError: needs JSON"),
        ("!ncl 'unclosed", "ncl: ValueError: .*"),
        ("!raw", ""),
        ("", ""),
    ],
)
async def test_each_directive_reports_what_happened(provider: base.Provider, script: str, expected: str):
    found = await answer(provider, script)
    assert re.fullmatch(expected, found), found


async def test_connect_reaches_a_unix_socket(provider: base.Provider, tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        assert await answer(provider, f"!connect unix {tmp_path}/s") == f"connected to unix {tmp_path}/s"


async def test_a_fifo_and_a_directory_do_not_hold_the_loop_up(provider: base.Provider, tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    assert await answer(provider, f"!read {tmp_path}/fifo") == f"read {tmp_path}/fifo: "
    assert "OSError" in await answer(provider, f"!write {tmp_path}/fifo x")
    (tmp_path / "directory" / "name").mkdir(parents=True)
    assert await answer(provider, f"!read {tmp_path}/directory") == f"read {tmp_path}/directory: name"


async def test_identity_says_who_and_what(provider: base.Provider):
    found = await answer(provider, "!id")
    assert re.fullmatch(
        r"id: uid=\d+ gid=\d+ groups=[\d,]* CapEff=[0-9a-f]{16} CapBnd=[0-9a-f]{16} NoNewPrivs=[01] interfaces=\S*",
        found,
    )


@pytest.mark.parametrize("name", ["nonsense", "", "../scripted"])
async def test_an_unknown_provider_names_the_known_ones(host: Host, name: str):
    with pytest.raises(UnusableProviderError, match="the providers are claude, openai, scripted"):
        load(workshop_of(host, AgentConfig(provider=name)))


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
