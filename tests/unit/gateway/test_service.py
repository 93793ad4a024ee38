"""The service as systemd runs it: activated, notifying, drained, and started again on the same socket."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from gateway_stage import Upstream

REQUEST = b"GET /plain/models HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Unit:
    """What the socket unit and the service manager hold: the socket, the notifications, the environment."""

    def __init__(self, place: Path, upstream: str) -> None:
        self.place = place
        self.path = place / "gateway.sock"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen()
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(str(place / "notify.sock"))
        self.notifications.setblocking(False)
        uid = os.getuid()
        (place / "subuid").write_text(f"nanoclaw:{uid}:1000\n")
        (place / "agents.json").write_text(
            '{"version": 1, "agents": [{"uid": 1, "group": "main", "endpoints": ["plain"]}]}'
        )
        (place / "config.yaml").write_text(f"endpoints: {{plain: {{url: '{upstream}'}}}}\n")

    async def notified(self, word: str) -> str:
        while True:
            text = (await asyncio.get_running_loop().sock_recv(self.notifications, 4096)).decode()
            if word in text:
                return text

    @asynccontextmanager
    async def started(self, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        options = ("--config", "config.yaml", "--agents", "agents.json", "--subuid", "subuid")
        options += ("--state", "state", "--trust", "trust")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", START, str(self.listening.fileno()), "-m", "nanoclawd.gateway", *options),
            cwd=self.place,
            pass_fds=[self.listening.fileno()],
            stderr=asyncio.subprocess.PIPE,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(sys.path),
                "NOTIFY_SOCKET": str(self.place / "notify.sock"),
                **environment,
            },
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def unit(place: Path, upstream: Upstream):
    found = Unit(place, upstream.url)
    yield found
    found.listening.close()
    found.notifications.close()


async def test_a_running_answer_ends_and_new_callers_wait_for_the_next_gateway(unit: Unit, upstream: Upstream):
    finish = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await finish.wait()
        await response.write(b"last")
        return response

    async with asyncio.timeout(30):
        upstream.answer = stream
        async with unit.started() as process:
            await unit.notified("READY=1")
            reader, writer = await asyncio.open_unix_connection(str(unit.path))
            writer.write(REQUEST)
            await reader.readuntil(b"first")
            process.send_signal(signal.SIGTERM)
            assert "EXTEND_TIMEOUT_USEC=75000000" in await unit.notified("STOPPING=1")
            waiting, late = await asyncio.open_unix_connection(str(unit.path))
            late.write(REQUEST)
            finish.set()
            assert b"last" in await reader.read()
            writer.close()
            assert await process.wait() == 0
            assert len(upstream.targets) == 1
        assert unit.path.is_socket()
        upstream.answer = None
        async with unit.started():
            assert (await waiting.read()).startswith(b"HTTP/1.1 200 ")
            late.close()


async def test_an_answer_that_does_not_end_is_cut_at_the_drains_bound(unit: Unit, upstream: Upstream):
    async def never_end(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await asyncio.Event().wait()
        return response

    upstream.answer = never_end
    with (unit.place / "config.yaml").open("a") as config:
        config.write("gateway: {drain: 1}\n")
    async with asyncio.timeout(20), unit.started() as process:
        reader, writer = await asyncio.open_unix_connection(str(unit.path))
        writer.write(REQUEST)
        await reader.readuntil(b"first")
        process.send_signal(signal.SIGTERM)
        assert not (await reader.read()).endswith(b"0\r\n\r\n")
        assert await process.wait() == 0
        writer.close()


async def test_the_watchdog_is_fed_by_the_loop(unit: Unit):
    async with asyncio.timeout(20), unit.started(WATCHDOG_USEC="200000"):
        for _ in range(3):
            await unit.notified("WATCHDOG=1")


async def test_started_without_its_socket_it_says_how_to_start_it(unit: Unit):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nanoclawd.gateway", "--config", "config.yaml", "--subuid", "subuid"),
        cwd=unit.place,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"systemctl start nanoclaw-gateway.socket" in said


async def test_a_faulty_configuration_is_one_line_for_each_fault(unit: Unit):
    (unit.place / "config.yaml").write_text("model: 1\nfoo: 2\n")
    async with asyncio.timeout(20), unit.started() as process:
        assert process.stderr
        said = (await process.stderr.read()).decode().splitlines()
        assert await process.wait() == 1
    assert [line.split(" critical ")[1].split(":")[:3] for line in said] == [
        ["config.yaml", "1", " model"],
        ["config.yaml", "2", " foo"],
    ]
