"""What people read: tables on narrow terminals, numbers with their nouns."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from memory_backend.process import Daemon


def _on_terminal(daemon: Daemon, columns: int, *words: str) -> list[str]:
    """Run ncl on a terminal of so many columns; return the lines that it prints."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in daemon.environment.items() if name not in {"COLUMNS", "LINES"}}
    command = [sys.executable, "-m", "nanoclawd.cli", "--socket", str(daemon.socket), *words]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as running:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # the other side has closed
            pass
        assert running.wait() == 0, said
    os.close(ours)
    return said.decode().splitlines()


def test_a_table_that_is_too_wide_stands_upright(daemon: Daemon):
    """No line is longer than the terminal; on a wide one, and in a pipe, it is a table."""
    chat = daemon.json("chats", "create", "telegram", "-100123456789", "--name", "The whole family", "--is-group")
    daemon.ncl("wirings", "create", chat["id"], "main")
    narrow = _on_terminal(daemon, 60, "wirings")
    assert max(len(line) for line in narrow) <= 60
    assert "chat:     telegram:-100123456789" in narrow
    wide = _on_terminal(daemon, 200, "wirings")
    assert wide[0].split()[:3] == ["ID", "CHAT", "NAME"]
    assert daemon.ncl("wirings").stdout.decode().splitlines() == wide


def test_a_group_without_limits_says_so(daemon: Daemon):
    """A zero for people would read as if nothing were allowed; programs get it."""
    lines = daemon.ncl("groups", "get", "main").stdout.decode().splitlines()
    assert [line.split(":")[1].strip() for line in lines if line.startswith("daily ")] == ["no limit", "no limit"]
    assert daemon.json("groups", "get", "main")["daily_tokens"] == 0


def test_numbers_agree_with_their_nouns(daemon: Daemon):
    """One group is no "1 groups"."""
    assert "\n1 group, " in daemon.ncl("status").stdout.decode()
    assert daemon.ncl("groups", "restart", "main").stdout == b"1 running session restarted\n"


def test_a_channel_that_is_not_there_is_not_explained(daemon: Daemon):
    """A mistyped channel is said, instead of what a channel without features would do."""
    words = ("--chat", "1", "--sender", "telegram:1", "--text", "hi")
    found = daemon.ncl("explain", "--channel", "telegramm", *words)
    assert (found.returncode, found.stderr.splitlines()[0]) == (1, b"ncl: there is no channel 'telegramm'")


def test_ncl_alone_says_what_there_is(daemon: Daemon):
    """Nothing was asked for: that is wrong usage, and the help is the answer."""
    found = daemon.ncl()
    assert (found.returncode, found.stdout) == (2, b"")
    assert b"\ncommands:\n" in found.stderr
