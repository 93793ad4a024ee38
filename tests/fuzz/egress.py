"""Readers of the way out: hosts and addresses, and the requests of agents as the gateway takes them."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Coroutine
from typing import Any

import h11

from nanoclawd.egress.addresses import special
from nanoclawd.egress.rules import Asked, Rule, decide, parse_pattern
from nanoclawd.egress.targets import BadTarget, Target, is_address, parse_authority, parse_host, parse_url
from nanoclawd.gateway.caller import MAX_HEADERS, Caller
from nanoclawd.gateway.denials import Denial, by_rule
from nanoclawd.gateway.egress import Exchange
from nanoclawd.gateway.forwarding import cleaned
from nanoclawd.gateway.wire import Wire

_loop = asyncio.new_event_loop()
_ODD = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_RULES = (Rule(1, "allow", "*"), Rule(2, "deny", "*.example.org"), Rule(3, "allow", "example.org", path="/a"))


def target(data: bytes) -> None:
    """A host, HOST:PORT, a pattern or an address: one form, which means the same when it is read again."""
    text = data.decode("utf-8", "replace")
    for read in (_host, _authority, _address, _pattern):
        try:
            read(text)
        except BadTarget as error:
            _one_line(str(error).encode())
    for line in text.splitlines():
        try:
            words = special(line)
        except ValueError:
            continue
        found = ipaddress.ip_address(line)
        assert words or found.is_global


def request(data: bytes) -> None:
    """What an agent sends: requests in one reading only, or a refusal; what is sent on is one request, too."""
    wire = Wire()
    for start in range(0, len(data), 700):
        wire.data_received(data[start : start + 700])
    wire.eof_received()
    caller = Caller(wire)
    while True:
        try:
            found = _done(caller.request())
            if found is None:
                return
            _judge(found)
            if found.method == b"CONNECT":
                return  # what follows is the tunnel's
            while _done(caller.body(1)):
                pass
        except Denial as denial:
            _is_an_answer(denial, caller)
            return
        except ConnectionResetError:
            return
        # As though it had been answered.
        caller.http.send(h11.Response(status_code=204, headers=[]))
        caller.http.send(h11.EndOfMessage())
        if not caller.next_cycle():
            return


def _host(text: str) -> None:
    host = parse_host(text)
    assert parse_host(f"[{host}]" if ":" in host else host) == host
    if is_address(host):
        assert str(ipaddress.ip_address(host)) == host
        special(host)
        return
    try:
        socket.inet_aton(host)
    except OSError:
        return
    raise AssertionError(f"{host!r} is an address to others")


def _authority(text: str) -> None:
    found = parse_authority(text, 443)
    assert parse_authority(str(found)) == found


def _address(text: str) -> None:
    found, path = parse_url(text)
    assert parse_url(f"http://{found.authority}{path}") == (found, path)
    _one_line(path.encode())
    decide(_RULES, "main", Asked(found, "GET", path), 0.0)


def _pattern(text: str) -> None:
    found = parse_pattern(text)
    assert parse_pattern(f"[{found}]" if ":" in found else found) == found


def _judge(found: h11.Request) -> None:
    exchange = Exchange(found, 0)
    asked = exchange.read()
    record = exchange.record()
    assert "?" not in record.path
    if not isinstance(asked.target, Target) or asked.method is None:
        return
    headers = [(b"Host", asked.target.authority.encode()), *cleaned(found), (b"Connection", b"close")]
    names = [name for name, _ in found.headers]
    if b"transfer-encoding" in names:
        headers.append((b"Transfer-Encoding", b"chunked"))
    other = h11.Connection(h11.CLIENT)
    sent = other.send(h11.Request(method=found.method, target=(asked.path or "/").encode(), headers=headers))
    assert sent is not None
    lines = sent.removesuffix(b"\r\n\r\n").split(b"\r\n")
    for line in lines:
        _one_line(line)
    low = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert low.count(b"host") == 1
    assert low.count(b"content-length") + low.count(b"transfer-encoding") <= 1
    assert len(low) <= MAX_HEADERS + 3
    assert not any(name.startswith(b"proxy-") for name in low)
    decision = decide(_RULES, "main", asked, 0.0)
    if not decision.allowed:
        by_rule("main", asked, decision).head_and_body(b"application/json")


def _is_an_answer(denial: Denial, caller: Caller) -> None:
    headers, reason, body = denial.head_and_body(b"")
    assert 400 <= denial.status < 600
    _one_line(reason)
    assert body.endswith(b"\n")
    if caller.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        caller.http.send(h11.Response(status_code=denial.status, headers=headers, reason=reason))


def _one_line(line: bytes) -> None:
    assert not _ODD.search(line), line


def _done(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns that has nothing to wait for."""

    async def at_once() -> Any:
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            raise AssertionError("it waits, and everything is there")
        return task.result()

    return _loop.run_until_complete(at_once())
