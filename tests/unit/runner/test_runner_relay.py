"""``ncl`` inside a container: the socket, the rows that its calls become, and the program itself."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_stage import PATIENCE_SECONDS, Host, desk_of

from nanoclaw_runner import relay
from nanoclaw_runner.contract import doorbell
from nanoclaw_runner.desk import MAX_CALLS, MAX_FRAME_BYTES
from nanoclaw_runner.relay import MAX_CONNECTIONS, Relay
from nanoclawd.supervision import runner_tree

CALL = b'{"method": "io.nanoclaw.Groups.List", "parameters": {}}'
GROUPS = [
    {"name": "main", "provider": "openai", "model": "embedded/tiny", "sessions": 2, "awake": 1},
    {"name": "quiet", "provider": "scripted", "model": "", "sessions": 0, "awake": 0},
]


class Awake:
    """A runner whose host answers calls."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.start_ready()
        self.bell = host.connect()

    def call(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(self.host.places.control_socket))
        return connection

    def requests(self, count: int) -> list[dict[str, Any]]:
        self.host.await_ring_until(self.bell, lambda: len(self.host.contents("system")) >= count)
        return self.host.contents("system")

    def answer(self, request: dict[str, Any], parameters: dict[str, object]) -> str:
        identifier = self.host.answer_call(request["requestId"], json.dumps({"parameters": parameters}))
        self.bell.send(doorbell.RING)
        return identifier


def frame_of(connection: socket.socket) -> dict[str, Any]:
    received = b""
    while not received.endswith(b"\0"):
        piece = connection.recv(1 << 20)
        assert piece, f"hung up after {received!r}"
        received += piece
    found = json.loads(received[:-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture
def awake(host: Host) -> Awake:
    return Awake(host)


def test_a_call_becomes_a_row_and_its_reply_wakes_the_caller_and_nobody_else(host: Host, awake: Awake):
    """The reply is acknowledged and is in no prompt, now or later."""
    with closing(awake.call()) as connection:
        connection.sendall(CALL + b"\0")
        (request,) = awake.requests(1)
        assert request == {"action": "control", "requestId": request["requestId"], "frame": CALL.decode()}
        reply = awake.answer(request, {"groups": []})
        assert frame_of(connection) == {"parameters": {"groups": []}}
        # The same connection takes another call.
        connection.sendall(CALL + b"\0")
        awake.answer(awake.requests(2)[1], {"groups": [1]})
        assert frame_of(connection) == {"parameters": {"groups": [1]}}
    host.insert("hello")
    awake.bell.send(doorbell.RING)
    assert host.await_replies(awake.bell, 1) == ["echo: hello"]
    assert host.acks()[reply] == "completed"
    rows = host.outbound("SELECT kind, in_reply_to, platform_id, seq FROM messages_out ORDER BY seq")
    assert rows[0] == ("system", None, None, 1)


def test_a_call_is_answered_during_a_turn(host: Host, awake: Awake):
    host.insert("!sleep 2")
    awake.bell.send(doorbell.RING)
    host.await_ring_until(awake.bell, lambda: "in-2" in host.acks())
    with closing(awake.call()) as connection:
        connection.sendall(CALL + b"\0")
        awake.answer(awake.requests(1)[0], {})
        assert frame_of(connection) == {"parameters": {}}
    assert host.replies() == []


def test_so_many_calls_at_once_and_the_others_wait(awake: Awake):
    connections = [awake.call() for _ in range(MAX_CALLS + 2)]
    for connection in connections:
        connection.sendall(CALL + b"\0")
    first = awake.requests(MAX_CALLS)
    time.sleep(0.2)  # nothing tells that a call waits
    assert len(awake.requests(MAX_CALLS)) == MAX_CALLS
    for request in first:
        awake.answer(request, {})
    for request in awake.requests(MAX_CALLS + 2)[MAX_CALLS:]:
        awake.answer(request, {})
    for connection in connections:
        assert frame_of(connection) == {"parameters": {}}
        connection.close()


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (b"no json", "Refused", "the call is no JSON"),
        (b"\xff", "Refused", "the call is no JSON"),
        pytest.param(b"[" * 5000, "Refused", "the call is no JSON", id="deep"),
        (b"[]", "Refused", "the call names no method"),
        (b'{"method": 7}', "Refused", "the call names no method"),
        (b"", "Refused", "the call is no JSON"),
        (b'{"method": "io.nanoclaw.Chat.Send", "more": true}', "Refused", "one reply"),
        (b'{"method": "io.nanoclaw.Chat.Send", "oneway": true}', "Refused", "one reply"),
        pytest.param(b"z" * (MAX_FRAME_BYTES + 1), "TooLarge", f"at most {MAX_FRAME_BYTES} bytes", id="long"),
        pytest.param(b"z" * (10 * MAX_FRAME_BYTES), "TooLarge", f"at most {MAX_FRAME_BYTES} bytes", id="longer"),
    ],
)
def test_what_is_no_call_is_answered_at_once_and_no_row(host: Host, awake: Awake, frame: bytes, error: str, words: str):
    with closing(awake.call()) as connection:
        connection.sendall(frame + b"\0")
        reply = frame_of(connection)
    assert reply["error"] == f"io.nanoclaw.{error}"
    assert words in reply["parameters"]["message"]
    assert host.contents("system") == []


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), lambda v: st.dictionaries(st.text(), v)))
def test_any_frame_has_a_verdict(found: object):
    frame = found if isinstance(found, bytes) else json.dumps(found).encode()
    assert isinstance(relay._problem(frame), str)


def test_callers_that_hang_up_or_say_nothing_do_no_harm(host: Host, awake: Awake):
    """More connections than there may be; half a frame; a caller that is gone when its reply comes."""
    idle = [awake.call() for _ in range(MAX_CONNECTIONS)]
    with closing(awake.call()) as beyond:
        assert beyond.recv(1) == b""
    idle[0].sendall(b"half a frame")
    for connection in idle:
        connection.close()
    connected = False
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not connected and time.monotonic() < deadline:
        with closing(awake.call()) as gone:
            gone.sendall(CALL + b"\0")
            gone.settimeout(0.2)
            try:
                connected = gone.recv(1) != b""
            except TimeoutError:
                connected = True
    late = awake.answer(awake.requests(1)[0], {})
    host.await_ring_until(awake.bell, lambda: True)
    host.insert("still there?")
    awake.bell.send(doorbell.RING)
    assert host.await_replies(awake.bell, 1) == ["echo: still there?"]
    assert host.acks()[late] == "completed"


def test_a_host_that_does_not_answer_is_told_after_a_bounded_time(host: Host):
    """And its answer, when it comes, is for nobody."""

    async def scene() -> dict[str, Any]:
        way = Relay(host.places.control_socket, call_seconds=0.2)
        desk = desk_of(host)
        await way.open(desk)
        reader, writer = await asyncio.open_unix_connection(host.places.control_socket)
        writer.write(CALL + b"\0")
        reply = await reader.readuntil(b"\0")
        desk._intake.waiting.answered(host.contents("system")[0]["requestId"], "{}")
        writer.close()
        found = json.loads(reply[:-1])
        assert isinstance(found, dict)
        return found

    reply = asyncio.run(scene())
    assert reply["error"] == "io.nanoclaw.Unavailable"
    assert reply["parameters"]["message"] == "nanoclawd did not answer within 0.2 seconds"


def test_without_a_place_for_the_socket_people_are_answered_all_the_same(host: Host):
    host.places.control_socket.parent.parent.mkdir(parents=True, exist_ok=True)
    host.places.control_socket.parent.write_text("in the way")
    host.insert("hello")
    connection = host.connect()
    host.start_ready()
    assert host.await_replies(connection, 1) == ["echo: hello"]
    assert "the agent has no ncl" in host.last_words()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trees = tmp_path_factory.mktemp("trees")
    return trees / runner_tree.publish(trees)


class Daemon:
    """What the operator's ``ncl`` talks to: it answers every call with the same frame."""

    def __init__(self, path: Path, reply: bytes) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._reply = reply
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                connection.recv(1 << 20)
                connection.sendall(self._reply)


def ncl(words: list[str], path: Path, *, program: list[str], **environment: str) -> str:
    done = subprocess.run(
        [*program, *words],
        env={"PATH": os.environ["PATH"], "NANOCLAW_CONTROL_SOCKET": str(path), "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture
def operators(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "operator"
    Daemon(path, json.dumps({"parameters": {"groups": GROUPS}}).encode() + b"\0")
    yield path
    path.unlink()


@pytest.mark.parametrize("words", [["groups", "list"], ["groups", "list", "--json"], ["--help"], ["groups", "lost"]])
def test_the_agents_ncl_prints_what_the_operators_does(tree: Path, operators: Path, words: list[str]):
    """W-34: from the published tree alone, with nothing but the standard library, byte for byte the same."""
    operator = ncl(
        words, operators, program=[sys.executable, "-m", "nanoclawd.cli"], PYTHONPATH=str(Path(__file__).parents[3])
    )
    # -S: no site-packages, so that nothing of this machine is found.
    agents = ncl(words, operators, program=[sys.executable, "-SsP", str(tree / "bin" / "ncl")])
    if words == ["groups", "list"]:
        assert agents.startswith("0\n")
        assert "embedded/tiny" in agents
    assert agents.replace("ncl", "") == operator.replace("python3 -m nanoclawd.cli", "").replace("ncl", "")


def test_a_script_runs_ncl_as_a_tool_does(host: Host, tree: Path):
    """W-34: through the socket, the runner, the rows and back."""
    host.start_ready(
        PATH=f"{os.environ['PATH']}:{tree / 'bin'}", NANOCLAW_CONTROL_SOCKET=str(host.places.control_socket)
    )
    bell = host.connect()
    host.insert("!ncl groups list\n!ncl groups get main")
    bell.send(doorbell.RING)
    frame = json.dumps({"parameters": {"groups": GROUPS}})
    refusal = {"error": "io.nanoclaw.Refused", "parameters": {"message": "this needs an approval", "hint": "wait"}}
    for number, reply in enumerate((frame, json.dumps(refusal)), start=1):
        host.await_ring_until(bell, lambda expected=number: len(host.contents("system")) >= expected)
        host.answer_call(host.contents("system")[-1]["requestId"], reply)
        bell.send(doorbell.RING)
    (answer,) = host.await_replies(bell, 1)
    lines = answer.splitlines()
    assert lines[0].split()[:3] == ["NAME", "PROVIDER", "MODEL"]
    assert lines[1].split() == ["main", "openai", "embedded/tiny", "2", "1"]
    assert lines[-3:] == ["ncl: this needs an approval", "Try: wait", "(exit code 5)"]


@pytest.mark.parametrize("words", [["setup", "--yes"], ["doctor"], ["sessions", "logs", "x"], ["chat", "-m", "x"]])
def test_commands_of_the_operator_alone_end_with_words(tree: Path, tmp_path: Path, words: list[str]):
    refusal = {"error": "io.nanoclaw.Refused", "parameters": {"message": "not from inside a session"}}
    Daemon(tmp_path / "relay", json.dumps(refusal).encode() + b"\0")
    printed = ncl(words, tmp_path / "relay", program=[sys.executable, "-SsP", str(tree / "bin" / "ncl")])
    assert "Traceback" not in printed
    assert printed[0] != "0"
    assert "ncl: " in printed


def test_the_tree_is_small(tree: Path):
    """It is read at each start of the daemon and lies on the disk twice during an upgrade."""
    assert sum(path.stat().st_size for path in tree.rglob("*.py")) < 1_500_000
    packages = {"nanoclaw_runner", "nanoclawd", "tabulate", "wcwidth"}
    assert {path.name for path in tree.iterdir()} == {"bin", "etc"} | packages
