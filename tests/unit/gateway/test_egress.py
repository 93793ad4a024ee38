"""The way out: plain http and tunnels by the rules, against a gateway's real server and hosts on loopback.

W-69: nothing goes out that no rule allows.
"""

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time

import pytest
from egress_stage import IDLE_SECONDS, Out, Serving, answers, status
from gateway_stage import AGENTS, call_as

from nanoclawd.egress.targets import parse_authority
from nanoclawd.gateway import reaching, tunnel
from nanoclawd.gateway.reaching import LOOK_UPS_AT_ONCE

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


async def test_plain_http_goes_out_and_back(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK + "\nX-Of-Host: yes", b"hello", way_out.host.heard)
    answer = await way_out.get("/path?query=1")
    assert answer.startswith(b"HTTP/1.1 200 Fine\r\n")
    assert answer.endswith(b"\r\n\r\nhello")
    assert b"X-Of-Host: yes" in answer
    assert way_out.host.heard[0].startswith(b"GET /path?query=1 HTTP/1.1\r\n")


async def test_host_is_the_targets_and_what_is_of_one_hop_stays_here(way_out: Out):
    """A Host header that lies, headers of proxies, and what Connection names do not reach the host."""
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK, b"hello", way_out.host.heard)
    extra = (
        "Proxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        "X-Secret: 1\r\nX-Kept: 2\r\nConnection: x-secret\r\nUpgrade: h2c\r\n"
    )
    await way_out.get(headers=extra)
    head = way_out.host.heard[0].lower()
    assert f"host: 127.0.0.1:{way_out.host.port}\r\n".encode() in head
    assert head.count(b"host:") == 1
    for gone in (b"proxy-", b"keep-alive", b"te:", b"x-secret", b"upgrade"):
        assert gone not in head, gone
    assert b"x-kept: 2\r\n" in head
    assert b"connection: close\r\n" in head


async def test_a_refusal_names_host_and_command_as_the_client_accepts_it(way_out: Out):
    way_out.allow()
    request = "GET http://example.org/secret?token=1 HTTP/1.1\r\nHost: example.org\r\nAccept: {}\r\n\r\n"
    text = await way_out.ask(request.format("*/*").encode())
    assert status(text) == 403
    assert b"Proxy-Status: nanoclaw; error=http_request_denied" in text
    words = text.partition(b"\r\n\r\n")[2].decode()
    assert words == (
        "nanoclaw: agent group tests may not reach example.org:80: no rule allows it."
        " Its owner can allow it: ncl egress allow tests example.org; you can ask for it: ncl egress request"
        " example.org\n"
    )
    found = json.loads((await way_out.ask(request.format("application/json").encode())).partition(b"\r\n\r\n")[2])
    assert found["error"]["type"] == "egress_denied"
    assert "ncl egress allow tests example.org" in found["error"]["message"]
    assert not way_out.names.asked, "a name that may not be reached is not even looked up"


async def test_a_refused_tunnel_has_the_words_in_its_status_line_and_body(way_out: Out):
    way_out.allow({"id": 7, "action": "deny", "host": "*.example.org"})
    answer = await way_out.ask(b"CONNECT a.example.org:443 HTTP/1.1\r\nHost: a.example.org:443\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == (
        b"HTTP/1.1 403 Forbidden by nanoclaw; the owner can: ncl egress allow tests a.example.org"
    )
    assert b"rule 7 (deny *.example.org) denies it" in body
    assert not way_out.names.asked


async def test_what_follows_a_refused_tunnel_is_no_request(way_out: Out):
    way_out.allow(way_out.host.rule())
    inner = f"GET http://127.0.0.1:{way_out.host.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = await way_out.ask(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n" + inner)
    assert status(answer) == 403
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not way_out.host.connections


async def test_a_tunnel_carries_both_ways_what_was_sent_early_first(patient_way_out: Out):
    patient_way_out.allow(patient_way_out.host.rule())
    reader, writer = await patient_way_out.open()
    where = f"127.0.0.1:{patient_way_out.host.port}"
    writer.write(f"CONNECT {where} HTTP/1.1\r\nHost: other.example\r\n\r\nearly".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(5) == b"early"
    writer.write(b"GET http://elsewhere/ HTTP/1.1\r\n\r\n")
    assert await reader.readexactly(34) == b"GET http://elsewhere/ HTTP/1.1\r\n\r\n"
    writer.close()
    await asyncio.wait_for(patient_way_out.host.gone.wait(), 5)


async def test_a_host_that_speaks_first_is_heard(way_out: Out):
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n")
        await writer.drain()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = greet
    reader, writer = await way_out.connect()
    assert await asyncio.wait_for(reader.read(), 5) == b"SSH-2.0-hello\r\n"
    writer.close()


async def test_large_bodies_stream_both_ways(way_out: Out):
    """A tunnel and plain http, more than any buffer holds, with a reader that is slow to begin."""
    way_out.allow(way_out.host.rule())
    size = 64 * 1024 * 1024
    reader, writer = await way_out.connect()

    async def send() -> None:
        for _ in range(size // 65_536):
            writer.write(b"x" * 65_536)
            await writer.drain()

    sending = asyncio.create_task(send())
    await asyncio.sleep(0.3)  # that nothing ends is the subject
    assert not sending.done(), "what nobody reads waits at its sender"
    assert len(await reader.readexactly(size)) == size
    await sending
    writer.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_request_bodies_go_through(way_out: Out, framing: str):
    body = bytes(range(256)) * 4096

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        way_out.host.heard.append(head)
        if framing == "length":
            found = await reader.readexactly(len(body))
        else:
            found = b""
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                found += (await reader.readexactly(size + 2))[:-2]
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(found)}\r\n\r\n".encode() + found)
        await writer.drain()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = serve
    url = f"POST http://127.0.0.1:{way_out.host.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    if framing == "length":
        data = url + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    else:
        pieces = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
        data = url + b"Transfer-Encoding: chunked\r\n\r\n"
        data += b"".join(f"{len(one):x}\r\n".encode() + one + b"\r\n" for one in pieces) + b"0\r\n\r\n"
    answer = await way_out.ask(data)
    assert answer.partition(b"\r\n\r\n")[2] == body
    assert (b"transfer-encoding: chunked" in way_out.host.heard[0].lower()) is (framing == "chunked")


async def test_a_client_that_waits_for_100_is_told_by_the_host(way_out: Out):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Expect: 100-continue" in head
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = serve
    reader, writer = await way_out.open()
    url = f"PUT http://127.0.0.1:{way_out.host.port}/ HTTP/1.1\r\nHost: x\r\n"
    writer.write(f"{url}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b"body")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    writer.close()


async def test_a_redirect_is_the_clients_to_follow(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers("HTTP/1.1 302 Found\nLocation: http://169.254.169.254/\nContent-Length: 0")
    answer = await way_out.get()
    assert status(answer) == 302
    assert b"Location: http://169.254.169.254/" in answer
    assert way_out.host.connections == 1


async def test_requests_follow_each_other_on_one_connection(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK, b"hello")
    reader, writer = await way_out.open()
    for _ in range(3):
        writer.write(f"GET http://127.0.0.1:{way_out.host.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\nhello")).startswith(b"HTTP/1.1 200 ")
    writer.close()
    assert way_out.host.connections == 3


async def test_an_early_answer_reaches_a_caller_that_still_sends(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers("HTTP/1.1 413 Too Large\nContent-Length: 3", b"no!")
    url = f"POST http://127.0.0.1:{way_out.host.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n".encode()
    reader, writer = await way_out.open()
    writer.write(url + b"x" * 200_000)
    answer = await asyncio.wait_for(reader.read(), 10)
    assert status(answer) == 413
    assert answer.endswith(b"no!")
    writer.close()


async def test_an_answer_without_a_length_ends_with_its_connection(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers("HTTP/1.0 200 OK", b"until the end")
    answer = await way_out.get()
    assert b"transfer-encoding: chunked" in answer.lower()
    assert b"until the end" in answer


@pytest.mark.parametrize(
    ("serving", "code"),
    [
        (answers("nonsense"), 502),
        (answers("HTTP/1.1 101 Switching Protocols\nUpgrade: x"), 502),
        (answers("HTTP/1.1 200 OK\n" + "\n".join(f"X-{number}: 1" for number in range(300))), 502),
        (answers("HTTP/1.1 200 OK\nX: " + "x" * 100_000), 502),
    ],
    ids=["no http", "switching", "many headers", "large head"],
)
async def test_a_host_that_answers_badly_is_said_to(way_out: Out, serving: Serving, code: int):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = serving
    assert status(await way_out.get()) == code


async def test_half_an_answer_is_never_taken_for_a_whole_one(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers("HTTP/1.1 200 OK\nContent-Length: 100", b"half")
    answer = await way_out.get()
    assert answer.endswith(b"half")
    assert b"Content-Length: 100" in answer


async def test_a_host_that_says_nothing_is_given_up(way_out: Out):
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(100_000)
        await asyncio.Event().wait()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = silent
    assert status(await way_out.get()) == 504


async def test_a_caller_that_leaves_ends_its_request_at_the_host(patient_way_out: Out):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await reader.read()

    patient_way_out.allow(patient_way_out.host.rule())
    patient_way_out.host.serving = serve
    reader, writer = await patient_way_out.open()
    writer.write(f"GET http://127.0.0.1:{patient_way_out.host.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await asyncio.wait_for(patient_way_out.host.gone.wait(), 5)


async def test_a_tunnel_on_which_nothing_goes_is_ended(way_out: Out):
    way_out.allow(way_out.host.rule())
    reader, writer = await way_out.connect()
    begun = time.monotonic()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    assert time.monotonic() - begun >= IDLE_SECONDS - 0.1
    writer.close()


async def test_a_rule_that_is_removed_ends_what_it_allowed_before_the_next_byte(way_out: Out):
    way_out.allow(way_out.host.rule())
    reader, writer = await way_out.connect()
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    way_out.allow()
    writer.write(b"two")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(3), 5)
    assert way_out.host.heard == [b"one"]
    writer.close()


async def test_a_rule_that_is_removed_ends_an_upload_before_the_next_piece(way_out: Out):
    taken = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            way_out.host.heard.append(data)
            if b"one" in data:
                taken.set()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = serve
    reader, writer = await way_out.open()
    head = f"POST http://127.0.0.1:{way_out.host.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
    writer.write(head.encode() + b"one")
    await asyncio.wait_for(taken.wait(), 10)
    way_out.allow()
    writer.write(b"two")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert status(answer) == 403
    assert b"the permission has ended meanwhile" in answer
    assert b"".join(way_out.host.heard).endswith(b"one")
    writer.close()


async def test_a_change_that_leaves_a_permission_leaves_the_tunnel(way_out: Out):
    way_out.allow(way_out.host.rule())
    reader, writer = await way_out.connect()
    way_out.allow(way_out.host.rule(id=2), {"id": 3, "action": "deny", "host": "example.org"})
    writer.write(b"two")
    assert await asyncio.wait_for(reader.readexactly(3), 5) == b"two"
    writer.close()


async def test_a_rule_that_expires_ends_what_it_allowed(way_out: Out):
    way_out.allow(way_out.host.rule(until=time.time() + 0.5))
    reader, writer = await way_out.connect()
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    await asyncio.sleep(0.6)  # the rule's time passes; a tunnel on which nothing goes would last longer
    writer.write(b"two")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(3), 5)
    assert way_out.host.heard == [b"one"]
    assert status(await way_out.get()) == 403
    writer.close()


async def test_a_group_that_is_deleted_has_no_tunnels(way_out: Out):
    way_out.allow(way_out.host.rule())
    reader, writer = await way_out.connect()
    way_out.gateway.publish([agent for agent in AGENTS if agent["group"] != "tests"], [way_out.host.rule()])
    writer.write(b"two")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(3), 5)
    assert not way_out.host.heard
    writer.close()


async def test_a_name_of_a_private_address_needs_the_owners_word(way_out: Out):
    way_out.names.known["nas.example"] = ["127.0.0.1"]
    way_out.allow({"id": 1, "action": "allow", "host": "nas.example", "port": way_out.host.port})
    where = f"nas.example:{way_out.host.port}"
    request = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
    answer = await way_out.ask(request)
    assert status(answer) == 403
    assert b"nas.example is the machine itself" in answer
    assert f"ncl egress allow tests {where} --private".encode() in answer
    assert not way_out.host.connections
    way_out.allow({"id": 1, "action": "allow", "host": "nas.example", "port": way_out.host.port, "private": True})
    _, writer = await way_out.connect(where)
    writer.close()


async def test_a_name_that_changes_its_mind_is_asked_once(way_out: Out):
    """DNS rebinding: what was checked is what is connected to, and there is no second look-up to answer otherwise."""
    way_out.names.known["rebinding.example"] = ["127.0.0.1"]
    way_out.allow({"id": 1, "action": "allow", "host": "*", "port": way_out.host.port})
    where = f"rebinding.example:{way_out.host.port}"

    def first_public(host: str) -> None:
        # The answer to the first question is public, to the second it is this machine.
        way_out.names.known[host] = ["127.0.0.1"] if way_out.names.asked.count(host) > 1 else ["2001:4860:4860::8888"]

    way_out.names.wait = first_public
    answer = await way_out.ask(f"CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) == 502
    assert way_out.names.asked == ["rebinding.example"]
    assert way_out.names.tried == ["2001:4860:4860::8888"]
    answer = await way_out.ask(f"CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) == 403
    assert not way_out.host.connections


async def test_of_a_names_addresses_only_those_on_the_internet_count(way_out: Out):
    way_out.names.known["both.example"] = ["127.0.0.1", "10.0.0.1", "2001:4860:4860::8888"]
    way_out.allow({"id": 1, "action": "allow", "host": "*", "port": way_out.host.port})
    where = f"both.example:{way_out.host.port}"
    answer = await way_out.ask(f"CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) == 502
    assert way_out.names.tried == ["2001:4860:4860::8888"]


async def test_of_many_addresses_a_few_are_tried(way_out: Out):
    way_out.names.known["many.example"] = [f"2001:4860:4860::{number}" for number in range(1, 40)]
    way_out.allow({"id": 1, "action": "allow", "host": "*"})
    assert status(await way_out.ask(b"CONNECT many.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")) == 502
    assert way_out.names.tried == way_out.names.known["many.example"][: reaching._MAX_ADDRESSES]


async def test_the_second_address_is_tried_where_the_first_fails(way_out: Out):
    way_out.names.known["two.example"] = ["::1", "127.0.0.1"]
    way_out.allow({"id": 1, "action": "allow", "host": "two.example", "port": way_out.host.port, "private": True})
    _, writer = await way_out.connect(f"two.example:{way_out.host.port}")
    writer.close()


async def test_names_that_nobody_answers_for_hold_up_their_own_group_only(way_out: Out):
    release = threading.Event()
    way_out.names.wait = lambda host: None if host == "127.0.0.1" else bool(release.wait(20)) and None
    way_out.allow(way_out.host.rule(), {"id": 2, "action": "allow", "host": "*"})
    held = []
    try:
        for number in range(LOOK_UPS_AT_ONCE + 2):
            reader, writer = await way_out.open()
            writer.write(f"CONNECT slow{number}.example:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            held.append((reader, writer))
        way_out.host.serving = answers(OK, b"hello")
        found = call_as(101_000, way_out.gateway, f"http://127.0.0.1:{way_out.host.port}/")
        assert (await asyncio.wait_for(found, 5))[0] == 200
        assert len([name for name in way_out.names.asked if name.startswith("slow")]) == LOOK_UPS_AT_ONCE
    finally:
        release.set()
        for _, writer in held:
            writer.close()


async def test_an_unknown_name_and_a_dead_host_are_told_apart(way_out: Out):
    way_out.allow({"id": 1, "action": "allow", "host": "*"}, way_out.host.rule(id=2, port=1))
    answer = await way_out.ask(b"CONNECT nobody.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status(answer), b"cannot be resolved" in answer) == (502, True)
    answer = await way_out.ask(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status(answer), b"connection refused" in answer) == (502, True)


async def test_a_caller_that_reads_nothing_keeps_nothing_open(way_out: Out, monkeypatch: pytest.MonkeyPatch):
    """What is written for somebody who never reads is thrown away after a while, with the connection."""
    monkeypatch.setattr(tunnel, "FLUSH_SECONDS", 0.3)

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(200):
            writer.write(bytes(100_000))
            await asyncio.wait_for(writer.drain(), 1)

    way_out.allow(way_out.host.rule())
    way_out.host.serving = flood
    _reader, writer = await way_out.open()
    writer.transport.pause_reading()
    where = f"127.0.0.1:{way_out.host.port}"
    writer.write(f"CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert await asyncio.to_thread(_hangs_up, writer.get_extra_info("socket").fileno())
    writer.transport.abort()


def _hangs_up(descriptor: int) -> bool:
    """Tell whether the other end goes; nothing is read meanwhile."""
    waiting = select.poll()
    waiting.register(descriptor, 0)
    return any(found & select.POLLHUP for _, found in waiting.poll(10_000))


OWN = """
import asyncio, sys
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.reaching import Reaching, Unreachable
async def look():
    try:
        return await Reaching().look("tests", Target(sys.argv[1], 80), may_be_private=False)
    except Unreachable as error:
        return error.message
print(asyncio.run(look()))
"""


def test_an_address_of_this_machine_is_the_machine_wherever_it_could_be():
    """W-69: in a network of its own, whose machine has an address of the internet."""
    make = 'ip address add 8.8.8.8/32 dev lo && ip link set lo up && exec "$@"'
    for address, said in (("8.8.8.8", "8.8.8.8 is the machine itself\n"), ("8.8.4.4", "('8.8.4.4', 80))]\n")):
        look = ["unshare", "--net", "sh", "-c", make, "sh", sys.executable, "-c", OWN, address]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        found = subprocess.run(look, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert found.stdout.endswith(said)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "10.0.0.255:65535", "[::1]:443", "[2001:DB8::1]:8080"])
def test_an_address_is_what_the_systems_resolver_makes_of_it(text: str):
    """W-69: what is checked and connected to is what was written; nobody is asked for it."""
    target = parse_authority(text)
    hints = {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP, "flags": socket.AI_NUMERICHOST}
    assert [reaching._literal(target)] == socket.getaddrinfo(target.host, target.port, **hints)
