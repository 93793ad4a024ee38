"""``ncl secret`` against the daemon's own code and the program that stores: values go one way, and are never shown."""

import asyncio
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memory_backend.process import Daemon
from nanoclawd.egress.secrets import OAuth, Place, Sealed
from unit.credentials.credential_stage import Stage, stage_in

VALUE = "ghp_0123456789abcdefghij"


@dataclass
class House:
    """The daemon, and beside it the store, whose seal is base64."""

    daemon: Daemon
    store: Stage

    def ncl(self, *words: str, value: str | None = None) -> subprocess.CompletedProcess[bytes]:
        return self.daemon.ncl("secret", *words, stdin=None if value is None else value.encode())

    def well(self, *words: str, value: str | None = None) -> str:
        done = self.ncl(*words, value=value)
        assert done.returncode == 0, done
        return done.stdout.decode()

    def listed(self) -> dict[str, Any]:
        return {one["name"]: one for one in json.loads(self.well("list", "--json"))}

    def sealed(self, name: str = "github") -> Sealed:
        file = self.store.store / f"nanoclaw-gateway.secret-{name}"
        content = subprocess.run(["base64", "-d", file], capture_output=True, check=True).stdout
        return msgspec.json.decode(content, type=Sealed)

    def on_terminal(self, *words: str, typed: str | None, until: bytes = b"(it is not shown)") -> tuple[int, bytes]:
        """Run a command on a terminal, type something when it asks (None: Ctrl-C); return its code and the screen."""
        screen, line = pty.openpty()
        command = ["setsid", "--ctty", "--wait", sys.executable, "-m", "nanoclawd.cli", "secret", *words]
        running = subprocess.Popen(command, env=self.daemon.environment, stdin=line, stdout=line, stderr=line)
        os.close(line)
        shown = b""
        while until not in shown:
            shown += os.read(screen, 4096)
        os.write(screen, b"\x03" if typed is None else typed.encode() + b"\n")
        while piece := _read(screen):
            shown += piece
        os.close(screen)
        return running.wait(20), shown


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 4096)
    except OSError:  # a terminal whose program has ended
        return b""


@contextmanager
def lying(daemon: Daemon, *changes: tuple[bytes, bytes]) -> Iterator[str]:
    """A daemon whose replies say something else."""
    path = str(daemon.directory / "lying.sock")

    def answer(client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as real:
            real.connect(str(daemon.socket))
            while asked := client.recv(65_536):
                real.sendall(asked)
                reply = b""
                while not reply.endswith(b"\0"):
                    reply += real.recv(65_536)
                for old, new in changes:
                    reply = reply.replace(old, new)
                client.sendall(reply)

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture
def house(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    place = Path(tempfile.mkdtemp(prefix="secret-test-", dir="/tmp"))
    place.chmod(0o755)
    loop = asyncio.new_event_loop()
    entered = stage_in(place)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    store = asyncio.run_coroutine_threadsafe(entered.__aenter__(), loop).result(20)
    monkeypatch.setenv("NANOCLAW_CREDENTIALS_SOCKET", store.path)
    yield House(daemon, store)
    asyncio.run_coroutine_threadsafe(entered.__aexit__(None, None, None), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()
    shutil.rmtree(place)


def test_a_secret_is_typed_without_being_shown_and_sealed_with_its_hosts(house: House):
    """F-119: its only way is to the store; neither the screen, an argument, nor the daemon's database has it."""
    words = ("set", "github", "--host", "api.github.com/user", "--host", "*.github.com:8443", "--group", "main")
    code, screen = house.on_terminal(*words, typed=VALUE)
    assert code == 0, screen
    assert VALUE.encode() not in screen
    assert b"github is stored, and goes to https://api.github.com/user, https://*.github.com:8443 (bearer)" in screen
    assert b"Try: ncl egress allow main api.github.com" in screen
    assert house.sealed() == Sealed(VALUE, (Place("api.github.com", 443, "/user"), Place("*.github.com", 8443)))
    assert not any(
        VALUE in line for line in house.store.program("seal").lines() + house.store.program("seal").lines("env")
    )
    assert VALUE.encode() not in b"".join(
        path.read_bytes() for path in house.daemon.directory.rglob("*") if path.is_file()
    )
    assert VALUE not in house.well("list") + house.well("list", "--json") + house.well("test", "github")


def test_ctrl_c_at_the_question_leaves_all_as_it_was(house: House):
    house.well("set", "github", "--host", "a.example", "--group", "main", value=VALUE)
    before = house.listed()
    for words in (("set", "github", "--host", "b.example", "--group", "all"), ("rotate", "github")):
        code, _ = house.on_terminal(*words, typed=None)
        assert code == 128 + signal.SIGINT
    assert house.listed() == before
    assert house.sealed() == Sealed(VALUE, (Place("a.example"),))


def test_what_is_wrong_is_said_before_anything_is_asked_for(house: House):
    for words, said in (
        (("--host", "*", "--group", "main"), b"a secret goes to hosts that are named"),
        (("--host", "a.example", "--group", "nobody"), b"no group 'nobody'"),
        (("--host", "a.example"), b"--group"),
        (("--group", "main"), b"--host"),
        (("--host", "a.example", "--group", "main", "--as", "digest"), b"header:NAME"),
        (("--host", "a.example", "--group", "main", "--scope", "mail"), b"of OAuth accounts"),
        (("--host", "a.example", "--group", "main", "--client-id", "x"), b"--token-url and --client-id"),
    ):
        done = house.ncl("set", "github", *words, value=VALUE)
        assert done.returncode in {2, 5, 1}
        assert said in done.stderr, done
    assert house.listed() == {}


@pytest.mark.parametrize("value", ["", "  \n", "a\nb", "tab\there", "schlüssel", "x" * 16_385, "nul\0"])
def test_what_can_t_stand_in_a_request_is_not_stored(house: House, value: str):
    done = house.ncl("set", "github", "--host", "a.example", "--group", "main", value=value)
    assert done.returncode in {2, 5}
    assert not value.strip() or value.encode() not in done.stdout + done.stderr
    assert house.listed() == {}


def test_a_password_of_basic_may_have_any_letters(house: House):
    house.well(
        "set", "github", "--host", "a.example", "--group", "main", "--as", "basic:me", value="schlüssel im schloß"
    )
    assert house.sealed().value == "schlüssel im schloß"
    assert house.listed()["github"]["style"] == "basic:me"


def test_another_value_goes_where_the_first_one_went_and_says_so_first(house: House):
    house.well("set", "github", "--host", "http://nas.lan:5000", "--group", "all", value=VALUE)
    code, screen = house.on_terminal("rotate", "github", typed="another-value-1")
    assert code == 0
    shown = b"github goes to http://nas.lan:5000 (bearer), in requests of: all"
    assert screen.index(shown) < screen.index(b"(it is not shown)")
    assert house.sealed() == Sealed("another-value-1", (Place("nas.lan", 5000, "", "http"),))


def test_an_oauth_account_s_token_and_client_secret_are_both_asked_for(house: House):
    words = ("set", "mail", "--host", "mail.example", "--group", "main", "--token-url", "https://login.example/t")
    house.well(*words, "--client-id", "id-7", "--scope", "read", "--ask-client-secret", value="refresh-1\nclient-1\n")
    oauth = OAuth("https://login.example/t", "id-7", "client-1", "read")
    assert house.sealed("mail") == Sealed("refresh-1", (Place("mail.example"),), oauth)
    house.well("rotate", "mail", value="refresh-2\nclient-2\n")
    assert house.sealed("mail").value == "refresh-2"
    assert house.ncl("rotate", "mail", value="refresh-3\n").returncode == 2
    assert house.sealed("mail").value == "refresh-2"
    house.well(*words, "--client-id", "id-7", value="refresh-4")
    house.well("rotate", "mail", value="refresh-5")
    assert house.sealed("mail").oauth == OAuth("https://login.example/t", "id-7")


def test_a_daemon_that_lies_has_no_value_sealed_for_its_own_hosts(house: House):
    """What is sealed is what was typed: a token server that the daemon names in its place gets nothing."""
    words = ("set", "mail", "--host", "mail.example", "--group", "main", "--token-url", "https://login.example/t")
    more = ("--client-id", "id-7", "--scope", "read", "--ask-client-secret")
    with lying(house.daemon, (b"login.example", b"thief.example"), (b"mail.example", b"mine.example")) as path:
        done = house.daemon.ncl("--socket", path, "secret", *words, *more, stdin=b"refresh-1\nclient-1\n")
    assert done.returncode == 0, done
    oauth = OAuth("https://login.example/t", "id-7", "client-1", "read")
    assert house.sealed("mail") == Sealed("refresh-1", (Place("mail.example"),), oauth)


def test_a_refresh_token_s_server_is_said_before_the_token_is_asked_for(house: House):
    words = ("set", "mail", "--host", "mail.example", "--group", "main", "--token-url", "https://login.example/t")
    house.well(*words, "--client-id", "id-7", value="refresh-1")
    code, screen = house.on_terminal("rotate", "mail", typed="refresh-2")
    assert code == 0
    assert screen.index(b"https://login.example/t is given it") < screen.index(b"(it is not shown)")
    done = house.ncl("rotate", "mail", "--json", value="refresh-3")
    assert b"https://login.example/t is given it" in done.stderr


def test_a_half_is_shown_and_doing_it_again_mends_it(house: House):
    words = ("set", "github", "--host", "a.example", "--group", "main")
    house.store.program("seal").breaks()
    assert house.ncl(*words, value=VALUE).returncode == 1
    assert house.listed() == {}
    (house.store.place / "seal.broken").unlink()
    house.well(*words, value=VALUE)
    house.daemon.ncl("credentials", "delete", "nanoclaw-gateway.secret-github")
    assert house.listed()["github"]["stored"] is False
    assert "github has no value. Try: ncl secret rotate github" in house.well("list")
    assert "has no value" in house.well("test", "github")
    house.well("rotate", "github", value=VALUE)
    assert house.listed()["github"]["stored"]


def test_a_value_that_goes_nowhere_is_shown_and_removed(house: House):
    house.daemon.ncl("credentials", "put", "nanoclaw-gateway.secret-lost", stdin=b"{}")
    assert house.listed()["lost"]["bound"] is False
    assert "lost goes nowhere. Try: ncl secret set lost" in house.well("list")
    house.well("remove", "lost")
    assert house.listed() == {}
    done = house.ncl("remove", "lost")
    assert (done.returncode, b"there is no secret" in done.stderr) == (1, True)


def test_removed_is_removed_from_both(house: House):
    house.well("set", "github", "--host", "a.example", "--group", "main", value=VALUE)
    house.well("remove", "github")
    assert house.listed() == {}
    assert list(house.store.store.iterdir()) == []


def test_without_the_store_the_list_says_what_it_does_not_know(house: House, monkeypatch: pytest.MonkeyPatch):
    house.well("set", "github", "--host", "a.example", "--group", "main", value=VALUE)
    monkeypatch.setenv("NANOCLAW_CREDENTIALS_SOCKET", "/nowhere/credentials.sock")
    done = house.ncl("list")
    assert (done.returncode, b"whether secrets have values is not known" in done.stderr) == (0, True)
    assert b"github" in done.stdout
    assert house.ncl("remove", "github").returncode == 3


def test_a_bound_secret_without_a_value_is_a_fault_that_doctor_names(house: House):
    house.well("set", "github", "--host", "a.example", "--group", "main", value=VALUE)
    (house.store.store / "nanoclaw-gateway.secret-github").unlink()
    found = {one["id"]: one for one in json.loads(house.daemon.ncl("doctor", "--json").stdout)}
    assert found["secrets"]["severity"] == "error"
    assert found["secrets"]["fix"] == "ncl secret rotate github"
    assert found["gateway-trust"]["id"] == "gateway-trust"
