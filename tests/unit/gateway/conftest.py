"""A gateway on a real unix socket before a real HTTP server on loopback."""

import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from door_stage import Inside, inside
from egress_stage import Out, out
from gateway_stage import FIRST_UID, Running, Upstream, config_for, running

from nanoclawd.gateway.policy import SubordinateRange


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    found = Upstream()
    app = web.Application(client_max_size=100 * 1024 * 1024)
    app.router.add_route("*", "/{rest:.*}", found.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield found
    await runner.cleanup()


@pytest.fixture
async def gateway(upstream: Upstream, place: Path) -> AsyncIterator[Running]:
    ranges = [SubordinateRange(os.getuid(), 1), SubordinateRange(FIRST_UID, 65_536)]
    async with running(config_for(upstream.url, place), ranges, upstream, place) as found:
        yield found


@pytest.fixture
def unvouched(place: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that nobody vouches for."""
    key, certificate = place / "key.pem", place / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
async def tls_upstream(unvouched: ssl.SSLContext) -> AsyncIterator[str]:
    """The address of a server with such a certificate."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=unvouched).start()
    yield f"https://localhost:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


@pytest.fixture
async def door(place: Path) -> AsyncIterator[Inside]:
    async with inside(place) as found:
        yield found


@pytest.fixture
async def way_out(place: Path) -> AsyncIterator[Out]:
    async with out(place) as found:
        yield found


@pytest.fixture
async def patient_door(place: Path) -> AsyncIterator[Inside]:
    """Silence ends nothing: what ends was ended."""
    async with inside(place, idle=600) as found:
        yield found


@pytest.fixture
async def patient_way_out(place: Path) -> AsyncIterator[Out]:
    """The same without TLS."""
    async with out(place, idle=600) as found:
        yield found
