"""Programs poke agents by real curl over the real socket (W-56), while the daemon goes and comes back, too."""

import collections
import contextlib
import hashlib
import hmac
import json
import os
import random
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import STATE, call, daemon_pid, kill_daemon, restart_daemon, rows, run, unit
from system.loopback import Account

SOCKET = "nanoclaw-hooks.socket"
PORT = 8642
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260301"))
KILLS = 8
EVENTS = 400
PUSH = '{"ref": "refs/heads/main"}'


@dataclass(frozen=True)
class Answer:
    """What curl got: status 0 where there was no answer."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def curl(url: str, *more: str, body: str = "", seconds: int = 60) -> Answer:
    """Call curl as a script does; what it reads from standard input is the body."""
    argv = ["curl", "-sS", "-i", "-m", str(seconds), *more, url]
    done = subprocess.run(argv, input=body, capture_output=True, text=True, check=False)
    head, _, body = done.stdout.replace("\r\n", "\n").rpartition("\n\n")
    if done.returncode or not head:
        return Answer(0, {"error": done.stderr}, {})
    lines = head.rpartition("\n\n")[2].splitlines()  # after what curl was told to go on
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), json.loads(body or "{}"), headers)


@dataclass
class Place:
    """An agent in a room of the loopback channel, with a hook."""

    account: Account
    group: str
    room: str
    name: str
    url: str
    secret: str

    def post(self, body: str = PUSH, *headers: str, secret: str | None = None) -> Answer:
        given = [f"Authorization: Bearer {self.secret if secret is None else secret}", *headers]
        return curl(self.url, "--json", "@-", *(part for one in given for part in ("-H", one)), body=body)

    def stored(self) -> collections.Counter[str]:
        """Count the rows of the agent's conversation by their payloads."""
        found: collections.Counter[str] = collections.Counter()
        for database in (STATE / "sessions" / self.group).glob("*/in/inbound.db"):
            for (content,) in rows(database, "SELECT content FROM messages_in WHERE kind = 'webhook'"):
                found[json.loads(content)["payload"]] += 1
        return found


@pytest.fixture(scope="module", autouse=True)
def listening() -> Iterator[None]:
    """Nothing listens before somebody wants it, and the daemon runs while it is begun and ended."""
    before = daemon_pid()
    assert unit(SOCKET, system=True)["ActiveState"] == "inactive"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 2):
        pytest.fail("something listens although there is no hook")
    run("systemctl", "enable", "--now", SOCKET)
    yield
    run("systemctl", "disable", "--now", SOCKET)
    run("systemctl", "stop", "nanoclaw-hooks.service")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 2):
        pytest.fail("something listens still")
    assert before


@pytest.fixture
def place() -> Iterator[Place]:
    room, name = f"room-{secrets.token_hex(4)}", f"hook-{secrets.token_hex(4)}"
    with appliance.group() as group, Account("loop", idempotent=True) as account:
        call("Chats.Create", channel="loop", chat=room, is_group=True, unknown_sender_policy="strict")
        call("Wirings.Create", chat=f"loop:{room}", group=group, engage_mode="mention")
        made = json.loads(run("ncl", "--json", "hooks", "create", name, "--group", group, "--rate", "6000"))
        assert made["next"] is None
        yield Place(account, group, room, name, made["hook"]["url"], made["secret"])


def test_from_create_to_the_answer_in_the_chat(place: Place) -> None:
    """The room is strict and hears mentions only: the secret is what lets a program in, and only that."""
    line = run("ncl", "hooks", "rotate", place.name)
    command = next(one for one in line.splitlines() if one.startswith("curl "))
    assert '"accepted"' in run("sh", "-c", f"{command} -sS")
    answer = place.account.hears(place.room, "hello")
    assert answer.text == 'echo: {"text": "hello"}'
    assert place.post().status == 401  # the secret from before
    listed = json.loads(run("ncl", "--json", "hooks", "list", "--group", place.group))
    assert [(one["name"], one["listening"], one["accepted"]) for one in listed] == [(place.name, True, 1)]
    assert "secret" not in str(listed)


def test_a_signed_event_of_a_forge(place: Place) -> None:
    name = f"forge-{secrets.token_hex(4)}"
    made = call("Hooks.Create", name=name, group=place.group, auth="hmac-sha256")
    signature = hmac.new(made["secret"].encode(), PUSH.encode(), hashlib.sha256).hexdigest()
    url = made["hook"]["url"]
    event = ("-H", "X-GitHub-Event: push", "-H", "X-GitHub-Delivery: 72d3162e", "--json", PUSH)
    assert curl(url, *event, "-H", f"X-Hub-Signature-256: sha256={signature}").status == 202
    assert curl(url, *event, "-H", f"X-Hub-Signature-256: sha256={signature[::-1]}").status == 401
    assert curl(url, *event).status == 401
    place.account.hears(place.room, f"echo: {PUSH}")
    files = list((STATE / "hooks").iterdir())
    assert [(one.read_text(), one.stat().st_mode & 0o777) for one in files] == [(made["secret"], 0o600)]
    call("Hooks.Delete", hook=name)
    assert list((STATE / "hooks").iterdir()) == []


def test_what_is_refused_is_refused_with_the_right_word(place: Place) -> None:
    since = time.time()
    unknown = curl(f"http://127.0.0.1:{PORT}/hooks/nobody", "--json", PUSH, "-H", "Authorization: Bearer x")
    wrong = place.post(secret="x")
    assert (unknown.status, unknown.body) == (wrong.status, wrong.body) == (401, wrong.body)
    assert curl(f"http://127.0.0.1:{PORT}/elsewhere", "--json", PUSH).status == 404
    assert curl(place.url).status == 405
    assert place.post("{").status == 400
    auth = ("-H", f"Authorization: Bearer {place.secret}")
    assert curl(place.url, *auth, "-F", "a=b").status == 415
    assert curl(place.url, *auth, "-H", "Content-Encoding: gzip", "-d", "x").status == 415
    large = json.dumps("x" * 256 * 1024)
    assert place.post(large).status == 413
    assert place.post(large, "Transfer-Encoding: chunked").status == 413
    call("Hooks.Disable", hook=place.name)
    assert place.post().status == 403
    call("Hooks.Enable", hook=place.name)
    assert place.stored() == {}
    told = appliance.journal("-u", "nanoclawd.service", since=since)
    assert f"hook {place.name}: a request without its secret was refused" in told
    assert place.secret not in told
    assert "refs/heads" not in told


def test_a_long_payload_is_a_file_in_the_agent_s_container(place: Place) -> None:
    def say(text: str) -> None:
        auth = f"Authorization: Bearer {place.secret}"
        answer = curl(place.url, "-H", auth, "-H", "Content-Type: text/plain", "--data-binary", "@-", body=text)
        assert answer.status == 202

    mark = secrets.token_hex(8)
    body = f"a log\n{'x' * 20_000}\n{mark}"
    say(body)
    place.account.hears(place.room, "cut here: it has 20023 bytes; all of it is in the attached file")
    (path,) = (STATE / "sessions" / place.group).glob("*/in/files/*/payload.txt")
    assert path.read_text() == body
    say(f"!read /session/in/files/{path.parent.name}/payload.txt")
    place.account.hears(place.room, mark)


def test_a_payload_is_neither_a_command_nor_followed(place: Place) -> None:
    for text in ("/clear", "/whoami", "yes"):
        answer = curl(
            place.url, "-H", f"Authorization: Bearer {place.secret}", "-H", "Content-Type: text/plain", "-d", text
        )
        assert answer.status == 202
        assert place.account.hears(place.room, f"echo: {text}").text == f"echo: {text}"


def test_the_operator_s_test_goes_the_way_of_a_sender(place: Place) -> None:
    assert "accepted as" in run("ncl", "hooks", "test", place.name)
    place.account.hears(place.room, "ncl hooks test")
    run("systemctl", "stop", SOCKET, "nanoclaw-hooks.service")
    try:
        done = subprocess.run(["ncl", "hooks", "test", place.name], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert f"sudo systemctl enable --now {SOCKET}" in done.stderr
        assert f"sudo systemctl enable --now {SOCKET}" in run("ncl", "doctor", check=False)
    finally:
        run("systemctl", "start", SOCKET)


def test_slow_clients_take_nobody_s_place_for_long(place: Place) -> None:
    """All places are taken by who sends a byte now and then; a request is answered before they could be a minute."""
    slow = [socket.create_connection(("127.0.0.1", PORT), 30) for _ in range(100)]
    try:
        for one in slow:
            one.sendall(b"POST /hooks/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        begun = time.monotonic()
        assert place.post().status == 202
        assert time.monotonic() - begun < 25
        for one in slow:
            one.settimeout(30)
            with contextlib.suppress(ConnectionError):
                assert one.recv(100) == b""
    finally:
        for one in slow:
            one.close()


def test_memory_of_the_daemon_grows_by_the_first_request_only(place: Place) -> None:
    restart_daemon()
    place.account.connected(times=2)

    def anonymous() -> int:
        status = Path(f"/proc/{daemon_pid()}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))

    before = anonymous()
    assert place.post().status == 202
    first = anonymous()
    for number in range(200):
        assert place.post(f'{{"n": {number}}}').status == 202
    last = anonymous()
    print(f"\nRssAnon of the daemon: {before} kB without a request, {first} kB after one, {last} kB after 201")
    assert last - first < 16 * 1024


def test_none_is_refused_while_the_daemon_restarts(place: Place) -> None:
    """The socket is systemd's: who comes meanwhile waits."""
    done = threading.Event()

    def send(number: int) -> Answer:
        return place.post(json.dumps({"n": number}), f"Idempotency-Key: {place.room}-{number}")

    def reap() -> None:
        for _ in range(4):
            if done.wait(0.7):
                return
            restart_daemon()

    reaper = threading.Thread(target=reap)
    reaper.start()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(120)))
    done.set()
    reaper.join()
    assert collections.Counter(one.status for one in answers) == {202: 120}
    assert place.stored() == {json.dumps({"n": number}): 1 for number in range(120)}


def test_what_was_accepted_is_there_exactly_once_whenever_the_daemon_is_killed(place: Place) -> None:
    """Senders try again under the same id where they got no answer, as forges do; one row, whatever died."""
    luck = random.Random(SEED)
    done = threading.Event()
    lost: collections.Counter[int] = collections.Counter()

    def send(number: int) -> None:
        deadline = time.monotonic() + 120
        while True:
            answer = place.post(json.dumps({"n": number}), f"Idempotency-Key: {place.room}-{number}")
            if answer.status == 202:
                return
            assert answer.status in {0, 503}, answer
            assert time.monotonic() < deadline
            lost[number] += 1

    def reap() -> None:
        for _ in range(KILLS):
            if done.wait(luck.uniform(0.5, 3)):
                return
            kill_daemon()

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(send, range(EVENTS)))
    finally:
        done.set()
        reaper.join()
    wait_until(daemon_pid, "the daemon is back")
    assert place.stored() == {json.dumps({"n": number}): 1 for number in range(EVENTS)}
    print(f"\nrequests that had to be repeated: {lost.total()}")
