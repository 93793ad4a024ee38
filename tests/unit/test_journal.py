"""Journal records (owns F-1…F-5: their promises, kept by journald's fields and priorities)."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.journal import MAX_FIELD_CHARACTERS, MAX_LINE_CHARACTERS, Event, about, install_crash_policy, printable

CATALOG = Path(__file__).parents[2] / "units" / "nanoclawd.catalog"

PREAMBLE = """
import asyncio, logging, os, sys
from nanoclawd.journal import Event, about, configure, install_crash_policy
log = logging.getLogger("test")
"""

# A journal of the test's own: the real library writes to the real path, in a mount namespace where /run is empty.
JOURNAL = """
import json, os, socket, subprocess, sys
subprocess.run(["mount", "--make-rprivate", "/run"], check=True)  # nothing below gets out of this namespace
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.makedirs("/run/systemd/journal")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
journal.setblocking(False)
read, write = os.pipe()
where = os.fstat(write)
os.environ["JOURNAL_STREAM"] = f"{where.st_dev}:{where.st_ino}"
subprocess.run([sys.executable, "-c", sys.argv[1]], stderr=write, check=False)
records = []
while True:
    try:
        data = journal.recv(1 << 20)
    except BlockingIOError:
        break
    fields = {}
    while data:
        name, newline, rest = data.partition(b"\\n")
        if b"=" in name:
            key, _, value = name.partition(b"=")
            data = rest
        else:
            length = int.from_bytes(rest[:8], "little")
            key, value, data = name, rest[8 : 8 + length], rest[9 + length :]
        fields[key.decode()] = value.decode()
    records.append(fields)
print(json.dumps(records))
"""

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}


def journal_of(code: str, **environment: str) -> list[dict[str, str]]:
    """Return the records that a program sends to the journal."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=unchanged", sys.executable, "-c", JOURNAL, PREAMBLE + code],
        env=ENVIRONMENT | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def stderr_of(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose standard error is a pipe and not the journal."""
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code],
        env=ENVIRONMENT | environment,
        check=False,
        capture_output=True,
        text=True,
    )


def test_f1_a_record_has_its_message_and_what_it_is_about_as_fields():
    [record] = journal_of(
        'configure("nanoclawd")\n'
        'extra = about(group="main", session="s1", channel="cli", message="m1", event=Event.DELIVERY_FAILED)\n'
        'log.warning("no reply to %s", "you", extra=extra)\n'
    )
    assert record["MESSAGE"] == "no reply to you"
    assert record["SYSLOG_IDENTIFIER"] == "nanoclawd"
    assert record["MESSAGE_ID"] == Event.DELIVERY_FAILED.value
    about_fields = {name: value for name, value in record.items() if name.startswith("NANOCLAW_")}
    assert about_fields == {
        "NANOCLAW_GROUP": "main",
        "NANOCLAW_SESSION": "s1",
        "NANOCLAW_CHANNEL": "cli",
        "NANOCLAW_MESSAGE": "m1",
    }
    assert record["CODE_LINE"].isdecimal()
    assert not {"CODE_ARGS", "EXCEPTION_INFO", "args", "msg", "ARGS", "MSG"} & set(record)


def test_f1_a_plain_line_has_time_level_message_and_pairs():
    done = stderr_of('configure("x")\nlog.info("msg", extra=about(group="main"))\nlog.info("bare")\n')
    first, second = done.stderr.splitlines()
    assert first[:4].isdecimal()
    assert first.split(" ", 1)[1] == "info msg group=main"
    assert second.split(" ", 1)[1] == "info bare"


@pytest.mark.parametrize(
    ("environment", "configured", "levels"),
    [
        (None, "info", ["info", "warning", "error"]),
        ("warn", "info", ["warning", "error"]),
        ("DEBUG", "error", ["debug", "info", "warning", "error"]),
        (None, "error", ["error"]),
    ],
)
def test_f2_levels_below_the_threshold_are_not_logged(environment: str | None, configured: str, levels: list[str]):
    variables = {"NANOCLAW_LOG_LEVEL": environment} if environment else {}
    code = f"configure('x', {configured!r})\nfor level in (10, 20, 30, 40): log.log(level, 'seen')\n"
    lines = [line for line in stderr_of(code, **variables).stderr.splitlines() if line.endswith(" seen")]
    assert [line.split(" ")[1] for line in lines] == levels


def test_f2_an_unknown_level_behaves_as_info_and_is_told():
    done = stderr_of("configure('x', 'loud')\nlog.debug('no')\nlog.info('yes')\n")
    first, second = done.stderr.splitlines()
    assert "unknown log level loud" in first
    assert second.endswith("info yes")


def test_f3_levels_become_journal_priorities():
    records = journal_of(
        'configure("x", "debug")\nfor level in (10, 20, 30, 40, 50): log.log(level, "at %d", level)\n'
        'logging.getLogger("elsewhere").error("a library speaks")\n'
    )
    own = [record for record in records if record["LOGGER"] == "test"]
    assert [record["PRIORITY"] for record in own] == ["7", "6", "4", "3", "2"]
    assert [record["MESSAGE"] for record in records if record["LOGGER"] == "elsewhere"] == ["a library speaks"]


def test_f4_an_exception_is_logged_with_type_message_and_stack():
    code = """
def deep(): raise OSError("no\\nroute \\x1b[31m")
configure("x")
try: deep()
except OSError: log.exception("failed")
"""
    [record] = journal_of(code)
    lines = record["MESSAGE"].split("\n")
    assert lines[0] == "failed"
    assert "    OSError: no" in lines
    assert "in deep" in record["MESSAGE"]
    assert "\\x1b[31m" in record["MESSAGE"]
    assert all(line.startswith("    ") for line in lines[1:])
    done = stderr_of(code)
    assert all(line.startswith("    ") for line in done.stderr.splitlines()[1:])


def test_f5_an_uncaught_exception_is_critical_and_ends_the_process_with_1():
    done = stderr_of('configure("x")\ninstall_crash_policy()\nraise ValueError("lost")\n')
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].endswith("critical uncaught ValueError: lost")
    assert "Traceback" in done.stderr


def test_f5_so_does_one_in_a_thread():
    code = """
import threading
configure("x")
install_crash_policy()
def work(): raise ValueError("lost")
threading.Thread(target=work, name="worker").start()
threading.Event().wait()
"""
    done = stderr_of(code)
    assert done.returncode == 1
    assert "critical uncaught ValueError in worker: lost" in done.stderr


def test_f5_an_unhandled_task_is_an_error_and_the_process_goes_on():
    code = """
import gc
configure("x")
async def fail(): raise ValueError("lost")
async def main():
    install_crash_policy(asyncio.get_running_loop())
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    log.info("still here")
asyncio.run(main())
"""
    done = stderr_of(code)
    assert done.returncode == 0
    assert "error Task exception was never retrieved" in done.stderr
    assert "ValueError: lost" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("info still here")


async def test_f5_the_loop_survives_a_callback_that_raises(caplog: pytest.LogCaptureFixture):
    loop = asyncio.get_running_loop()
    before = (sys.excepthook, loop.get_exception_handler())
    install_crash_policy(loop)
    try:
        done = asyncio.Event()
        loop.call_soon(dict[str, int]().__getitem__, "absent")
        loop.call_soon(done.set)
        await done.wait()
    finally:
        sys.excepthook = before[0]
        loop.set_exception_handler(before[1])
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "KeyError" in caplog.text


def test_a_chat_cannot_forge_a_record():
    text = "hello\n2026-01-01T00:00:00+0000 critical forged\r\x1b[2J\u2028\u202e\x9b\ud800"
    [record] = journal_of(f'configure("x")\nlog.info("got %s", {text!r}, extra=about(message={text!r}))\n')
    assert record["MESSAGE"].isprintable()
    assert "\\n2026" in record["MESSAGE"]
    assert record["NANOCLAW_MESSAGE"].isprintable()
    assert len(stderr_of(f'configure("x")\nlog.info("got %s", {text!r})\n').stderr.splitlines()) == 1


def test_lines_and_fields_are_bounded():
    [record] = journal_of('configure("x")\nlog.info("%s", "a" * 100000, extra=about(message="b" * 100000))\n')
    assert (len(record["MESSAGE"]), len(record["NANOCLAW_MESSAGE"])) == (MAX_LINE_CHARACTERS, MAX_FIELD_CHARACTERS)


@given(st.text())
def test_printable_text_has_one_line_and_stays_readable(text: str):
    found = printable(text)
    assert len(found.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in found)
    found.encode()  # no lone surrogates
    if text.isprintable():
        assert found == text


def test_every_event_is_in_the_catalog_under_its_id():
    ids = {line.split()[1] for line in CATALOG.read_text().splitlines() if line.startswith("-- ")}
    assert ids >= {event.value for event in Event}


def test_about_keeps_only_what_is_known():
    assert about() == {}
    assert about(group="g", event=Event.DISK_LOW) == {"NANOCLAW_GROUP": "g", "MESSAGE_ID": Event.DISK_LOW.value}
