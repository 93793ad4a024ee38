"""``ncl`` as a process against a served socket: what it prints, and how it ends."""

import json
import os
import pwd
import socket
import stat
import sys
from pathlib import Path

import pytest

from memory_backend.process import Daemon
from nanoclawd.cli import logs
from nanoclawd.cli.__main__ import main

DANGEROUS = (b"\x1b", b"\x07", "\u202e".encode(), b"\x9b")


def test_help_explains_the_exit_codes(daemon: Daemon):
    done = daemon.ncl("--help")
    assert done.returncode == 0
    assert b"exit codes:" in done.stdout
    for name in (b"status", b"doctor", b"setup", b"chat", b"groups", b"sessions", b"images", b"version"):
        assert name in done.stdout


@pytest.mark.parametrize(
    "words",
    [(), ("nope",), ("groups", "create"), ("chat", "--timeout", "0"), ("chat", "--timeout", "nan"),
     ("groups", "update", "main"), ("chat", "--message", " "), ("--js",)],
)  # fmt: skip
def test_wrong_usage_ends_with_2(daemon: Daemon, words: tuple[str, ...]):
    done = daemon.ncl(*words)
    assert done.returncode == 2, done
    assert b"ry: ncl" in done.stderr
    assert not done.stdout


def test_without_a_daemon_the_next_command_is_named(tmp_path: Path):
    done = Daemon(tmp_path).ncl("status")
    assert done.returncode == 3
    assert b"systemctl start nanoclawd" in done.stderr


def test_a_socket_that_nobody_listens_on_is_the_same(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "control.sock"))
    for words in (("status",), ("chat", "--message", "x"), ("setup", "--yes")):
        assert Daemon(tmp_path).ncl(*words).returncode == 3, words


def test_without_the_right_the_group_is_named(daemon: Daemon):
    if os.geteuid() == 0:
        # root passes every mode: another user has to knock.
        done = _as_nobody(daemon)
    else:
        daemon.socket.chmod(0)
        done = daemon.ncl("status").returncode, daemon.ncl("status").stderr
    assert done[0] == 5, done
    assert b"usermod -aG nanoclaw-admin" in done[1]


def _as_nobody(daemon: Daemon) -> tuple[int, bytes]:
    daemon.socket.chmod(0o600)
    for directory in (daemon.directory, *daemon.directory.parents):
        if directory != Path("/"):
            directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # pytest has put something else there
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        code = main(["--socket", str(daemon.socket), "status"])
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def test_groups_have_a_life(daemon: Daemon):
    made = daemon.json("groups", "create", "work", "--model", "ollama/qwen", "--instructions", "Be brief.")
    assert (made["name"], made["model"], made["instructions"]) == ("work", "ollama/qwen", "Be brief.")
    assert [group["name"] for group in daemon.json("groups", "list")] == ["main", "work"]
    text = daemon.directory / "text"
    text.write_text("From a file.")
    assert daemon.json("groups", "update", "work", "--instructions", f"@{text}")["instructions"] == "From a file."
    for wrong, said in (
        ("@/no/such", b"ncl: /no/such: No such file or directory\n"),
        ("@/bin/true", b"no text in UTF-8"),
    ):
        bad = daemon.ncl("groups", "update", "work", "--instructions", wrong)
        assert (bad.returncode, said in bad.stderr) == (2, True)
    assert daemon.json("groups", "restart", "work") == {"restarted": 1, "rebuilt": False}
    refused = daemon.ncl("groups", "delete", "work")
    assert (refused.returncode, b"--force" in refused.stderr) == (5, True)
    assert daemon.ncl("groups", "delete", "work", "--force").returncode == 0
    assert daemon.ncl("groups", "get", "work").returncode == 1
    assert daemon.ncl("groups", "create", "main").returncode == 1
    assert daemon.ncl("groups", "create", "No Name").returncode == 5
    assert daemon.ncl("groups", "create", "n" * 300).returncode == 5
    assert b"main" in daemon.ncl("groups", "list").stdout


def test_an_error_as_json_is_json(daemon: Daemon):
    done = daemon.ncl("groups", "get", "none", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["hint"] == "ncl groups list"


def test_sessions(daemon: Daemon):
    assert len(daemon.json("sessions", "list")) == 2
    assert daemon.json("sessions", "get", "aaaab")["id"] == "aaaabbbbcccc"
    assert daemon.json("sessions", "stop", "aaaab")["state"] == "stopping"
    assert daemon.json("sessions", "reset", "aaaad")["moved_to"]
    assert daemon.ncl("sessions", "reset", "aaaad").returncode == 5
    assert daemon.ncl("sessions", "get", "aaaa").returncode == 5
    assert daemon.ncl("sessions", "get", "zzz").returncode == 1


def test_images(daemon: Daemon):
    assert {image["state"] for image in daemon.json("images", "list")} == {"missing", "present"}
    built = daemon.ncl("images", "build")
    assert built.returncode == 0
    assert b"[1/2] agent: installing" in built.stdout
    assert b"[2/2] model: ready" in built.stdout
    assert daemon.json("images", "build", "agent") == {"built": ["agent"]}
    assert daemon.ncl("images", "build", "none").returncode == 1


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize(
    "words",
    [("status",), ("sessions", "list"), ("sessions", "get", "aaaab"), ("images", "build"), ("chat", "-m", "!ansi")],
)
def test_an_agents_text_reaches_the_terminal_clean(daemon: Daemon, words: tuple[str, ...], flags: tuple[str, ...]):
    done = daemon.ncl(*words, *flags)
    assert done.returncode == 0
    assert b"red" in done.stdout or words[0] == "images"
    for mark in DANGEROUS:
        assert mark not in done.stdout, mark


def test_version(daemon: Daemon):
    assert daemon.json("version") == {"ncl": "0.1.0", "nanoclawd": "0.1.0"}
    assert json.loads(daemon.ncl("--json", "version").stdout) == daemon.json("version")
    daemon.stop()
    assert daemon.json("version")["nanoclawd"] is None
    daemon.start()


def test_doctor_reports_the_daemons_findings_and_fails_for_an_error(daemon: Daemon):
    found = daemon.ncl("doctor", "--json")
    findings = {finding["id"]: finding for finding in json.loads(found.stdout)}
    assert findings["control-socket"]["severity"] == "ok"
    assert findings["daemon"]["severity"] == "ok"
    assert findings["image-agent"]["fix"] == "ncl images build agent"
    assert found.returncode == 1  # the image is missing


def test_setup_makes_group_and_images_and_gets_an_answer_and_may_be_run_again(daemon: Daemon):
    first = daemon.json("setup", "--yes", "--group", "first", "--model", "ollama/x")
    assert first["group"]["model"] == "ollama/x"
    assert first["answer"].startswith("echo: ")
    assert {image["state"] for image in daemon.json("images", "list")} == {"present"}
    again = daemon.ncl("setup", "--yes", "--group", "first")
    assert again.returncode == 0
    assert b"there already" in again.stdout
    assert b"ncl chat first" in again.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_logs_ask_the_journal_for_the_unit_and_the_daemon_and_are_cleaned(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], as_json: bool
):
    program = daemon.directory / "bin" / "journalctl"
    program.parent.mkdir()
    asked = daemon.directory / "asked"
    line = '{"MESSAGE": "x\u202ered"}' if as_json else "x\x1b[31mred"
    program.write_text(f"#!/bin/sh\necho \"$@\" > {asked}\nprintf '%s\\n' '{line}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(logs, "SERVICE_USER", pwd.getpwuid(os.getuid()).pw_name)
    words = ["--socket", str(daemon.socket), "sessions", "logs", "aaaab", "-n", "5", "-f"]
    assert main([*words, "--json"] if as_json else words) == 0
    assert asked.read_text().split() == [
        "--no-pager", "--lines=5", f"--output={'json' if as_json else 'short-iso'}", "--follow",
        "_SYSTEMD_USER_UNIT=nanoclaw-main@aaaabbbbcccc.service", f"_UID={os.getuid()}",
        "+", "NANOCLAW_SESSION=aaaabbbbcccc", "_SYSTEMD_UNIT=nanoclawd.service",
    ]  # fmt: skip
    said = capfd.readouterr().out
    assert said == ('{"MESSAGE": "x\\u202ered"}\n' if as_json else "xred\n")


def test_logs_without_the_service_user_say_so(daemon: Daemon, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "SERVICE_USER", "no-such-user")
    assert main(["--socket", str(daemon.socket), "sessions", "logs", "aaaab"]) == 1
