"""Readers at the doors: how a connection begins, what the daemon publishes, and SOCKS inside the container."""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import h11

from nanoclaw_runner import socks
from nanoclawd.egress.rules import Asked, decide
from nanoclawd.egress.secrets import for_host
from nanoclawd.egress.targets import BadTarget, Target, parse_host
from nanoclawd.gateway.front import leads_out
from nanoclawd.gateway.policy import AgentDirectory, SubordinateRange
from nanoclawd.gateway.refusals import Refusal

_LONGEST_KNOCK: Final = 33
_FIRST: Final = 100_000
_TARGETS: Final = tuple(
    Target(host, port) for host in ("example.org", "a.example.org", "10.0.0.1") for port in (80, 443)
)
_directory: Final = tempfile.TemporaryDirectory(prefix="fuzz-")
_place: Final = Path(_directory.name)
_loop: Final = asyncio.new_event_loop()


def knock(data: bytes) -> None:
    """However it comes in pieces, a connection is led to one door, and it is the one of what h11 reads."""
    whole = leads_out(data)
    decided = next((found for end in range(1, len(data) + 1) if (found := leads_out(data[:end])) is not None), None)
    assert decided == whole
    assert whole is not None or len(data) <= _LONGEST_KNOCK
    http = h11.Connection(h11.SERVER)
    http.receive_data(data)
    try:
        event = http.next_event()
    except h11.RemoteProtocolError:
        return
    if isinstance(event, h11.Request) and data[:1] not in b"\r\n" and len(event.method) < _LONGEST_KNOCK:
        assert whole == (event.method == b"CONNECT" or not event.target.startswith(b"/")), event


def agents(data: bytes) -> None:
    """A published file: a directory of agents whose every rule and secret can be used, or a refusal of everybody."""
    path = _place / "agents.json"
    path.write_bytes(data)
    directory = AgentDirectory(path, [SubordinateRange(_FIRST, 65_536)])
    for uid in (1, 2, 1001, 65_536):
        try:
            agent = directory.find(_FIRST + uid - 1)
        except Refusal as refusal:
            if refusal.status in (403, 503):
                continue
            raise
        assert agent.uid == uid
        assert directory.is_current
        rules, kept = directory.rules_of(agent), directory.secrets_of(agent)
        assert all(rule.group in (None, agent.group) for rule in rules)
        assert all(secret.is_for(agent.group) for secret in kept)
        for target in _TARGETS:
            for asked in (Asked(target), Asked(target, "GET", "/a/%2e/b?c")):
                decision = decide(rules, agent.group, asked, time.time())
                assert decision.rule is None or decision.rule in rules
                assert decision.allowed <= (decision.rule is not None)
            list(for_host(kept, agent.group, "https", target))


class _Sink:
    """What is written, kept."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def socks_client(data: bytes) -> None:
    """A client of SOCKS and a gateway's answer: at most one CONNECT goes out, for one host in one form."""
    cut = data[:1][0] if data else 0
    client, answer = data[1 : 1 + cut], data[1 + cut :]
    to_client, to_gateway = _Sink(), _Sink()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        connected = _loop.run_until_complete(_negotiate(client, answer, to_client, to_gateway))
        assert not connected or to_client.data.startswith(b"\x05\x00\x05\x00")
    said = to_client.data
    assert said[:2] in (b"", b"\x05", b"\x05\x00", b"\x05\xff")
    if not to_gateway.data:
        return
    http = h11.Connection(h11.SERVER)
    http.receive_data(to_gateway.data)
    request = http.next_event()
    assert isinstance(request, h11.Request)
    assert request.method == b"CONNECT"
    assert http.trailing_data == (b"", False)
    host, _, port = request.target.decode().rpartition(":")
    assert 0 <= int(port) < 65_536
    with contextlib.suppress(BadTarget):  # the gateway says so
        parse_host(host)


async def _negotiate(client: bytes, answer: bytes, to_client: Any, to_gateway: Any) -> bool:
    readers = []
    for data in (client, answer):
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        readers.append(reader)
    return await socks.negotiate(readers[0], to_client, readers[1], to_gateway)
