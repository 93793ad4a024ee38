"""``ncl chat``: one message, standard input, a terminal, and a daemon that goes away meanwhile."""

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memory_backend.process import Daemon
from nanoclawd.cli.link import Link
from nanoclawd.cli.one_shot import ask


def test_a_message_gets_its_reply_on_standard_output(daemon: Daemon):
    done = daemon.ncl("chat", "--message", "hello")
    assert (done.returncode, done.stdout) == (0, b"echo: hello\n")


def test_the_appliances_answer_to_a_command_is_the_result(daemon: Daemon):
    done = daemon.ncl("chat", "--message", "/whoami")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"you are root\n", b"")
    found = daemon.json("chat", "--message", "/whoami")
    assert ([one["text"] for one in found["notices"]], found["replies"]) == (["you are root"], [])


def test_files_go_with_a_message_and_come_back_to_be_saved(daemon: Daemon, tmp_path: Path):
    """Bytes over the socket, whatever their number; what is there already stays."""
    content = bytes(range(256)) * 5000
    (tmp_path / "data.bin").write_bytes(content)
    (tmp_path / "empty").touch()
    sent = ("--file", str(tmp_path / "data.bin"), "-f", str(tmp_path / "empty"))
    done = daemon.ncl("chat", "-m", "see there", *sent)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, b"echo: see there"), done
    (first, second) = done.stdout.decode().splitlines()[1:]
    assert "data.bin, 1 MiB" in first
    assert "empty, 0 B" in second
    identifier = first.split("ncl fetch ")[1].rstrip(")")
    for name in ("data-2.bin", "data-3.bin"):
        assert daemon.json("fetch", identifier, "--to", str(tmp_path)) == {"path": str(tmp_path / name)}
        assert (tmp_path / name).read_bytes() == content
    assert daemon.ncl("fetch", identifier, "--to", str(tmp_path / "other.name")).returncode == 0
    assert (tmp_path / "other.name").read_bytes() == content
    assert daemon.ncl("chat", *sent).stdout.startswith(b"echo: \n(file data.bin")  # files need no words


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [("none", 1, b"No such file"), (".", 1, b"directory"), ("pipe", 5, b"no regular file"), ("huge", 5, b"50 MiB")],
)
def test_what_is_no_file_is_not_sent(daemon: Daemon, tmp_path: Path, path: str, code: int, reason: bytes):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    done = daemon.ncl("chat", "-m", "x", "--file", str(tmp_path / path))
    assert (done.returncode, done.stdout) == (code, b"")
    assert reason in done.stderr


@pytest.mark.parametrize("identifier", ["none", "../..", "0" * 12])
def test_a_file_that_was_not_sent_cannot_be_saved(daemon: Daemon, tmp_path: Path, identifier: str):
    to = tmp_path / "to"
    to.mkdir()
    assert daemon.ncl("fetch", identifier, "--to", str(to)).returncode == 1
    assert list(to.iterdir()) == []


def test_standard_input_is_the_message(daemon: Daemon):
    done = daemon.ncl("chat", "main", stdin="grüße\n".encode())
    assert (done.returncode, done.stdout.decode()) == (0, "echo: grüße\n")


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (("chat",), b"", 2),
        (("chat",), b"\xff\xfe", 5),
        (("chat",), b"x" * (256 * 1024 + 1), 5),
        (("chat", "none", "-m", "x"), None, 1),
        (("chat", "-m", "!fail"), None, 1),
        (("chat", "-m", "!hang", "--timeout", "0.5"), None, 4),
        (("chat", "-m", "!bug"), None, 1),
    ],
    ids=["empty", "not UTF-8", "too long", "no group", "failed", "timeout", "bug"],
)
def test_how_a_message_can_end(daemon: Daemon, words: tuple[str, ...], stdin: bytes | None, code: int):
    done = daemon.ncl(*words, stdin=stdin)
    assert done.returncode == code, done
    assert done.stderr
    assert not done.stdout


def test_the_limit_is_told_and_just_kept_is_sent(daemon: Daemon):
    assert b"262144" in daemon.ncl("chat", stdin=b"x" * (256 * 1024 + 1)).stderr
    done = daemon.ncl("chat", stdin=b"x" * (256 * 1024))
    assert (done.returncode, len(done.stdout)) == (0, 256 * 1024 + len("echo: \n"))


def test_a_waiting_message_says_why_on_standard_error(daemon: Daemon):
    done = daemon.ncl("chat", "-m", "!wait")
    assert (done.returncode, done.stdout) == (0, b"echo: !wait\n")
    assert b"waiting: no free place" in done.stderr


def test_what_was_said_in_the_absence_is_shown_apart(daemon: Daemon):
    asyncio.run(_have_answered(Link(str(daemon.socket), "main"), "earlier"))
    done = daemon.ncl("chat", "-m", "now")
    assert (done.returncode, done.stdout) == (0, b"echo: now\n")
    assert b"echo: earlier" in done.stderr


async def _have_answered(link: Link, text: str) -> None:
    """Send without being attached, and wait for the end of the turn by asking again."""
    async with asyncio.timeout(10):
        while (await link.send(text, "token-of-this-test"))["state"] != "completed":
            pass


class Watcher:
    """What a link sees, to be awaited."""

    def __init__(self, link: Link) -> None:
        self.events: list[dict[str, Any]] = []
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task = asyncio.create_task(self._listen(link))

    async def _listen(self, link: Link) -> None:
        async for event in link.events():
            self.events.append(event)
            await self._queue.put(event)

    async def until(self, kind: str, in_reply_to: str | None = None) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                event = await self._queue.get()
                if event["type"] == kind and in_reply_to in {None, event.get("in_reply_to")}:
                    return event

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_loses_and_repeats_nothing(daemon: Daemon, how: signal.Signals):
    link = Link(str(daemon.socket), "main")
    watcher = Watcher(link)
    await watcher.until("attached")
    for number in range(3):
        first = await link.send(f"text {number}", f"token-of-{number}")
        await asyncio.to_thread(daemon.stop, how)
        sending = asyncio.create_task(link.send(f"text {number}", f"token-of-{number}"))
        await asyncio.to_thread(daemon.start)
        assert (await sending)["message_id"] == first["message_id"]
        await watcher.until("attached")
    last = await link.send("the end", "token-of-the-end")
    await watcher.until("turn", last["message_id"])
    await watcher.stop()
    ids = [event["id"] for event in watcher.events if event["type"] == "message"]
    assert len(ids) == len(set(ids))
    assert any(event["type"] == "lost" for event in watcher.events)


async def test_a_turn_that_ended_while_the_daemon_was_away_ends_the_wait(daemon: Daemon):
    watcher = Watcher(Link(str(daemon.socket), "main"))
    await watcher.until("attached")
    asking = asyncio.create_task(ask(Link(str(daemon.socket), "main"), "!hang", 20, quiet=True))
    await watcher.until("waiting", "m0")
    await watcher.stop()
    await asyncio.to_thread(daemon.stop)
    state = json.loads(daemon.state.read_text())
    (token,) = state["sent"]
    state["sent"][token]["state"] = "completed"
    state["undelivered"]["main"] = [
        {"type": "message", "id": "late", "in_reply_to": "m0", "text": "here", "timestamp": "2026-01-01T00:00:00.000Z"}
    ]
    daemon.state.write_text(json.dumps(state))
    await asyncio.to_thread(daemon.start)
    answer = await asking
    assert answer.state == "completed"
    assert [one["text"] for one in answer.replies] == ["here"]


def test_a_terminal_gets_a_conversation(daemon: Daemon):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nanoclawd.cli", "chat", "main"],
        env={**daemon.environment, "TERM": "xterm"},
        stdin=follower, stdout=follower, stderr=follower, close_fds=True,
    )  # fmt: skip
    os.close(follower)
    screen = _Terminal(leader)
    screen.wait_for(b"Talking to main")
    os.write(leader, b"hello there\r")
    screen.wait_for(b"echo: hello there")
    daemon.stop()
    screen.wait_for(b"away")
    daemon.start()
    os.write(leader, b"again\r")
    screen.wait_for(b"echo: again")
    # All commands but the one that ends the conversation are the appliance's and the agent's.
    for command in (b"/help", b"/stop", b"/quit now"):
        os.write(leader, command + b"\r")
        screen.wait_for(b"echo: " + command)
    os.write(leader, b"!ansi\r")
    screen.wait_for(b"echo: red")
    os.write(leader, b"x" * 10 + b"\x03/quit\r")
    screen.drain()
    assert process.wait(10) == 0
    os.close(leader)
    assert b"]0;title" not in screen.seen
    history = daemon.directory / "state" / "nanoclaw" / "history-main"
    assert "hello there" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


class _Terminal:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.seen = b""
        os.set_blocking(descriptor, False)

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + 20
        start = len(self.seen)
        while text not in self.seen[start:]:
            assert time.monotonic() < deadline, self.seen[-3000:]
            self._read()

    def drain(self) -> None:
        try:
            while True:
                self._read()
        except OSError:
            return

    def _read(self) -> None:
        try:
            piece = os.read(self.descriptor, 65536)
        except BlockingIOError:
            select.select([self.descriptor], [], [], 0.1)
            return
        if not piece:
            raise OSError("closed")
        self.seen += piece
        if b"\x1b[6n" in piece:
            os.write(self.descriptor, b"\x1b[1;1R")  # prompt_toolkit asks where the cursor is


def test_a_terminal_without_a_daemon_ends_with_3(daemon: Daemon):
    daemon.stop()
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "nanoclawd.cli", "chat"],
        env={**daemon.environment, "TERM": "dumb"}, stdin=follower, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    os.close(leader)
    os.close(follower)
    assert done.returncode == 3, done
