"""Start, end, crash and supervision of a real runner process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest
from runner_stage import PATIENCE_SECONDS, Host, end
from test_runner_store import make_hot_journal

from nanoclaw_runner import startup
from nanoclaw_runner.contract import clock, doorbell

RUNNER = Path(__file__).parents[3] / "runner"


def test_a_killed_runner_leaves_its_message_to_the_next_one(host: Host):
    """F-90: the claim of a killed runner is dropped and the message answered, once."""
    process = host.start_ready()
    connection = host.connect()
    host.insert("before")
    connection.send(doorbell.RING)
    host.await_replies(connection, 1)
    host.insert("!sleep 30", identifier="long")
    connection.send(doorbell.RING)
    host.await_ring_until(connection, lambda: host.acks().get("long") == "processing")
    process.kill()
    process.wait()
    assert host.acks() == {"in-2": "completed", "long": "processing"}
    host.inbound.execute("UPDATE messages_in SET content = ? WHERE id = 'long'", ('{"text": "again"}',))
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 2) == ["echo: before", "echo: again"]
    assert host.acks() == {"in-2": "completed", "long": "completed"}


def test_a_scripted_crash_is_a_real_one(host: Host):
    process = host.start_ready()
    connection = host.connect()
    host.insert("!crash SEGV")
    connection.send(doorbell.RING)
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGSEGV
    assert host.acks() == {"in-2": "processing"}
    assert host.replies() == []


def test_a_hot_journal_is_rolled_back_before_ready(host: Host):
    host.insert("x", identifier="unfinished")
    outbound = apsw.Connection(str(host.places.outbound_db))
    outbound.execute("INSERT INTO session_state VALUES ('k', 'whole', 'now')")
    outbound.close()
    make_hot_journal(host.places.outbound_db, "UPDATE session_state SET value = 'half'")
    journal = Path(f"{host.places.outbound_db}-journal")
    assert journal.stat().st_size > 0
    host.configure(idle_seconds=60.0)
    host.inbound.execute("UPDATE messages_in SET status = 'paused'")
    host.start_ready()
    assert not journal.exists()
    assert host.outbound("SELECT value FROM session_state") == [("whole",)]


@pytest.mark.parametrize("text", ["!sleep 60", "!stall", "!hang"])
def test_sigterm_is_answered_within_a_second_in_a_turn(host: Host, text: str):
    """Also while the loop is blocked; the claim stays for the next runner."""
    process = host.start_ready()
    host.insert(text)
    host.connect().send(doorbell.RING)
    host.await_notification("STATUS=turn 1")
    assert end(process) < 1.5
    assert process.returncode == 0
    assert host.acks() == {"in-2": "processing"}


def test_sigterm_is_answered_within_a_second_when_idle(host: Host):
    process = host.start_ready()
    host.await_notification("STATUS=idle")
    assert end(process) < 1.0
    assert process.returncode == 0


def test_a_quiet_runner_ends_by_itself(host: Host):
    host.configure(idle_seconds=0.3)
    process = host.start_ready()
    host.await_notification("STOPPING=1")
    assert process.wait(PATIENCE_SECONDS) == 0


def test_a_message_that_nobody_rang_for_is_found_before_the_end(host: Host):
    host.configure(idle_seconds=0.5)
    process = host.start_ready()
    host.await_notification("STATUS=idle")
    host.insert("no ring")
    assert process.wait(PATIENCE_SECONDS) == 0
    assert host.replies() == ["echo: no ring"]


def test_context_alone_starts_no_turn_and_joins_the_next(host: Host):
    """F-160: the accumulate gate, before a turn and during one (W-3b)."""
    host.start_ready()
    connection = host.connect()
    host.insert("context one", trigger=False)
    connection.send(doorbell.RING)
    host.insert("!sleep 0.4")
    connection.send(doorbell.RING)
    host.await_ring_until(connection, lambda: len(host.acks()) == 2)
    host.insert("context two", trigger=False)
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 1) == ["echo: context one\nslept 0.4 s"]
    assert host.acks() == {"in-2": "completed", "in-4": "completed"}
    host.insert("now")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 2)[1] == "echo: context two\necho: now"


def test_a_waking_row_is_for_a_fresh_container_only(host: Host):
    host.insert("on wake", on_wake=True)
    host.start_ready()
    connection = host.connect()
    host.await_replies(connection, 1)
    host.insert("too late", on_wake=True)
    host.insert("plain")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 2) == ["echo: on wake", "echo: plain"]


def test_a_delayed_message_is_answered_when_it_is_due(host: Host):
    """F-28: one timer, no ring."""
    host.start_ready()
    connection = host.connect()
    due = clock.now_text(plus_seconds=0.6)
    host.insert("later", process_after=due)
    connection.send(doorbell.RING)
    host.await_replies(connection, 1)
    ((answered,),) = host.outbound("SELECT timestamp FROM messages_out")
    assert clock.parse(str(answered)) >= clock.parse(due)


def test_a_host_that_is_writing_is_waited_for(host: Host):
    """BUSY is "not yet": the runner looks again by itself."""
    host.start_ready()
    connection = host.connect()
    host.insert("x")
    host.inbound.execute("BEGIN EXCLUSIVE")
    connection.send(doorbell.RING)
    host.await_notification("STATUS=idle")
    time.sleep(0.1)  # the runner is to meet the lock; no event tells that it has
    host.inbound.execute("COMMIT")
    assert host.await_replies(connection, 1) == ["echo: x"]


def test_an_unknown_provider_is_told_in_the_chat_and_the_runner_lives(host: Host):
    host.configure(provider="nonsense")
    host.start_ready()
    connection = host.connect()
    for count in (1, 2):
        host.insert("hello")
        connection.send(doorbell.RING)
        answer = host.await_replies(connection, count)[-1]
        assert answer.startswith("Error: there is no provider 'nonsense'; the providers are ")
    assert [(one["action"], one["kind"], one["subject"]) for one in host.contents("system")] == [
        *[("trouble", "configuration", "nonsense")] * 2
    ]


def test_the_watchdog_is_fed_during_a_long_turn(host: Host):
    """F-92, F-93: liveness comes from the loop, not from the provider's events (W-72)."""
    host.insert("!stall")
    host.start_ready(WATCHDOG_USEC="400000")
    host.await_notification("STATUS=turn 1: answering (scripted)")
    begun = time.monotonic()
    for _ in range(4):
        host.await_notification("WATCHDOG=1")
    assert 0.5 < time.monotonic() - begun < 5
    assert "turn 1: answering (scripted), 1 s" in host.await_notification(", 1 s")


def test_a_blocked_loop_starves_the_watchdog(host: Host):
    host.insert("!hang")
    host.start_ready(WATCHDOG_USEC="200000")
    host.await_notification("STATUS=turn 1")
    host.notify.settimeout(1.0)
    with pytest.raises(TimeoutError):
        host.notify.recv(100)


def test_a_silent_provider_triggers_the_watchdog(host: Host):
    """F-43: a turn without a sign of life is seen to be one."""
    host.configure(silence_seconds=0.5)
    host.insert("!stall")
    host.start_ready()
    words = host.await_notification("WATCHDOG=trigger")
    assert words.startswith("STATUS=stalled: the provider gave no sign for ")


def test_a_slow_provider_that_gives_signs_is_not_stalled(host: Host):
    """F-38, F-43, W-72: any event is a sign, however long the turn takes."""
    host.configure(silence_seconds=0.6)
    host.start_ready()
    connection = host.connect()
    host.insert("!sleep 1.5")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 1) == ["slept 1.5 s"]
    assert not [words for words in host.notifications if "trigger" in words]


def test_a_ring_waits_for_room_and_is_not_lost(host: Host):
    """A full socket: partials are dropped, the ring comes as soon as there is room."""
    host.start_ready()
    connection = host.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    host.insert("x" * 15_000 + "\n!sleep 4")
    connection.send(doorbell.RING)
    host.notify.settimeout(PATIENCE_SECONDS)
    while not host.replies():
        host.notify.recv(4096)
    frames = []
    while doorbell.RING not in frames:
        frames.append(connection.recv(doorbell.MAX_FRAME_BYTES + 1))
    assert all(len(frame) <= doorbell.MAX_FRAME_BYTES for frame in frames)


def test_a_second_connection_takes_over(host: Host):
    """The daemon restarts: the new connection is rung, and its end changes nothing."""
    host.start_ready()
    first, second = host.connect(), host.connect()
    host.insert("one")
    second.send(doorbell.RING)
    assert host.await_replies(second, 1) == ["echo: one"]
    second.close()
    host.insert("two")
    first.send(doorbell.RING)
    assert host.await_replies(first, 2) == ["echo: one", "echo: two"]


def test_nonsense_on_the_doorbell_does_no_harm(host: Host):
    host.start_ready()
    connection = host.connect()
    connection.send(b"\x07nonsense")
    connection.send(b"\x01" * 5000)
    host.insert("x")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 1) == ["echo: x"]


def test_a_thousand_messages_are_each_claimed_once(host: Host):
    """F-36: none dropped, none twice, while host and runner work at the same time."""
    host.configure(max_messages_per_prompt=7)
    host.inbound.execute("PRAGMA synchronous = OFF").fetchall()
    host.start_ready()
    connection = host.connect()
    connection.setblocking(False)
    expected = []
    for number in range(1000):
        host.insert(f"m{number}")
        expected.append(f"echo: m{number}")
        connection.send(doorbell.RING)
        try:
            while connection.recv(doorbell.MAX_FRAME_BYTES + 1):
                pass
        except BlockingIOError:
            continue
    connection.setblocking(True)

    def answers() -> list[str]:
        return "\n".join(host.replies()).split("\n")

    host.await_ring_until(connection, lambda: len(answers()) >= 1000)
    assert answers() == expected
    assert set(host.acks().values()) == {"completed"}
    assert len(host.acks()) == 1000


def test_follow_ups_are_picked_up_at_once(host: Host):
    """F-208: each of ten follow-ups into an open turn is claimed within a second."""
    host.start_ready()
    connection = host.connect()
    host.insert("!sleep 3")
    connection.send(doorbell.RING)
    host.await_ring_until(connection, lambda: host.acks() == {"in-2": "processing"})
    for number in range(10):
        identifier = host.insert(f"follow-up {number}")
        begun = time.monotonic()
        connection.send(doorbell.RING)
        while identifier not in host.acks():
            assert time.monotonic() - begun < 1
            connection.recv(doorbell.MAX_FRAME_BYTES + 1)
    assert host.replies() == []
    assert host.await_replies(connection, 11)[1:] == [f"echo: follow-up {number}" for number in range(10)]


def test_tools_inherit_nothing_of_the_platform(host: Host):
    """The environment is cleaned, the descriptor closes on exec, the process cannot be dumped or traced."""
    script = """
import os, subprocess, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
from nanoclaw_runner import startup
taken = startup.first_act()
print(sorted(name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))))
look = "import os; print([fd for fd in range(3, 99) if os.path.islink(f'/proc/self/fd/{fd}')])"
os.close(int(sys.argv[1]))
print(subprocess.run([sys.executable, "-c", look], stdout=-1, close_fds=False, text=True).stdout.strip())
print(os.stat("/proc/self/environ").st_uid, oct(os.umask(0)), taken.watchdog_seconds, taken.doorbell.fileno())
"""
    output = subprocess.run(
        [sys.executable, "-c", script, str(host.listening.fileno())],
        pass_fds=[host.listening.fileno()],
        env={
            **os.environ,
            "PYTHONPATH": str(RUNNER),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "doorbell",
            "NOTIFY_SOCKET": str(host.notify_path),
            "WATCHDOG_USEC": "60000000",
            "WATCHDOG_PID": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert output[0] == "[]"
    assert output[1] == "[]"
    assert output[2] == "0 0o7 60.0 3"


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({}, "no doorbell was passed"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "999999"}, "LISTEN_PID='999999' names neither this process nor its init"),
    ],
)
def test_started_by_hand_it_says_what_is_missing(environment: dict[str, str], complaint: str):
    """F-183: without what systemd passes there is one clear line and exit code 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "nanoclaw_runner"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNNER), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda host: host.places.outbound_db.unlink(), "unable to open database file"),
        (lambda host: host.places.outbound_db.write_bytes(b"nonsense" * 1000), "not a database"),
    ],
)
def test_a_session_that_cannot_start_says_why(host: Host, damage: object, complaint: str):
    damage(host)  # type: ignore[operator]
    process = host.start()
    assert process.wait(PATIENCE_SECONDS) == 2
    assert process.stderr is not None
    assert complaint in process.stderr.read().decode()


def test_the_wrong_kind_of_socket_is_refused(host: Host):
    host.listening.close()
    host.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    host.listening.bind(str(host.root / "stream"))
    host.listening.listen()
    process = host.start()
    assert process.wait(PATIENCE_SECONDS) == 2
    assert process.stderr is not None
    assert "no listening SOCK_SEQPACKET unix socket" in process.stderr.read().decode()


def test_the_scripted_provider_imports_no_http_library():
    script = """
import sys, nanoclaw_runner.__main__, nanoclaw_runner.providers.scripted
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"httpx", "httpx2", "aiohttp", "openai", "pydantic", "http"}))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(RUNNER)}, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("listen_pid", "own", "parent", "accepted"),
    [
        ("7", 7, 3, True),
        ("1", 1, 0, True),
        ("1", 2, 1, True),
        ("1", 7, 3, False),
        ("3", 7, 3, False),
        ("", 7, 1, False),
    ],
)
def test_the_doorbell_is_taken_when_it_was_passed_to_us_or_to_our_init(
    monkeypatch: pytest.MonkeyPatch, listen_pid: str, own: int, parent: int, accepted: bool
):
    """podman always says LISTEN_PID=1; with RunInit=true that is the init, whose child the runner is."""
    monkeypatch.setattr(os, "getpid", lambda: own)
    monkeypatch.setattr(os, "getppid", lambda: parent)
    assert startup._meant_for_us(listen_pid) == accepted
