"""Secrets at the door: what a host is sent, what the agent is, and who is trusted.

F-119: a secret is entered outside of the agent, which never has it. F-106: the container is told whom to trust.
"""

import asyncio
import base64
import gzip
import json
import logging
import socket
import ssl
import time
import zlib
from pathlib import Path

import pytest
from cryptography import x509
from door_stage import NAME, VALUE, Inside, Issuer, entered, inside
from egress_stage import IDLE_SECONDS, answers, status

from eventually import eventually
from nanoclawd.egress.secrets import Place, Sealed

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say back all that was heard of a head."""
    request = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request) + request)
    await writer.drain()


async def test_a_secret_is_put_in_and_what_the_agent_has_sent_is_not(door: Inside):
    door.host.serving = answers(OK, b"hello", door.host.heard)
    answer = await door.fetch("/x?y=1", "Authorization: Bearer nanoclaw-secret-key\r\nX-Other: 1\r\n")
    assert status(answer) == 200
    assert answer.endswith(b"hello")
    (heard,) = door.host.heard
    assert heard.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert f"Host: {NAME}:{door.host.port}\r\n".encode() in heard
    assert heard.lower().count(b"authorization") == 1
    assert f"Authorization: Bearer {VALUE}\r\n".encode() in heard
    assert b"X-Other: 1\r\n" in heard


@pytest.mark.parametrize(
    ("style", "parameter", "expected"),
    [
        ("basic", "joe", b"Authorization: Basic " + base64.b64encode(f"joe:{VALUE}".encode())),
        ("header", "X-Api-Key", f"X-Api-Key: {VALUE}".encode()),
        ("query", "key", b"?a=1&key=s3cr3t%2FValue%2Bwith%3Dmarks%26more HTTP"),
        ("cookie", "session", f"a=1; session={VALUE}".encode()),
    ],
)
async def test_the_styles(door: Inside, style: str, parameter: str, expected: bytes):
    door.bind(door.secret(style=style, parameter=parameter))
    door.host.serving = answers(OK, b"hello", door.host.heard)
    own = "Authorization: mine\r\nX-Api-Key: mine\r\nCookie: session=mine; a=1\r\n"
    assert status(await door.fetch("/?a=1&k%65y=mine", own)) == 200
    (heard,) = door.host.heard
    assert expected in heard
    replaced = {"basic": b"Authorization: mine", "header": b"Key: mine", "query": b"y=mine", "cookie": b"n=mine"}
    for one, text in replaced.items():
        assert (text in heard) == (one != style), one


async def test_placeholders_are_replaced_where_the_agent_has_written_them(door: Inside):
    door.bind(door.secret(style="placeholder"))
    door.host.serving = answers(OK, b"hello", door.host.heard)
    pair = base64.b64encode(b"joe:nanoclaw-secret-key").decode()
    sent = f"X-One: (nanoclaw-secret-key)\r\nAuthorization: Basic {pair}\r\n"
    assert status(await door.fetch("/?q=nanoclaw-secret-key", sent)) == 200
    (heard,) = door.host.heard
    assert f"X-One: ({VALUE})\r\n".encode() in heard
    assert b"Basic " + base64.b64encode(f"joe:{VALUE}".encode()) in heard
    assert b"?q=s3cr3t%2FValue%2Bwith%3Dmarks%26more " in heard
    assert b"nanoclaw-secret" not in heard


@pytest.mark.parametrize(
    ("path", "headers", "words"),
    [
        ("/", "X: nanoclaw-secret-others\r\n", "has no secret others"),
        ("/?q=nanoclaw-secret-others", "", "has no secret others"),
        ("/", "X: nanoclaw-secret-key\r\n", "put in by itself"),
        ("/nanoclaw-secret-key/", "", "put in by itself"),
        ("/", "Authorization: Bearer nanoclaw-secret-far\r\n", ""),
        ("/", "X: nanoclaw-secret-far\r\n", "not for this part of"),
        ("/", "X: nanoclaw-secret-theirs\r\n", "has no secret theirs"),
    ],
)
async def test_a_placeholder_that_has_no_business_there_is_refused(door: Inside, path: str, headers: str, words: str):
    """Another group's, another host's, or at a place where nobody puts it in."""
    far = door.secret("far", places=[{"host": "far.test", "port": 443}])
    door.bind(door.secret(), far, door.secret("theirs", groups=["main"]))
    door.host.serving = answers(OK, b"hello", door.host.heard)
    answer = await door.fetch(path, headers)
    if not words:
        assert status(answer) == 200  # it was replaced by the one that belongs there
        return
    assert status(answer) == 403
    assert words.encode() in answer
    assert not door.host.heard


async def test_a_placeholder_in_plain_http_is_refused(door: Inside):
    door.host.serving = None
    rule = {"id": 1, "action": "allow", "host": "127.0.0.1", "port": 9, "private": True}
    door.bind(door.secret(), rules=[rule])
    request = b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: x\r\nX: nanoclaw-secret-key\r\n\r\n"
    answer = await door.ask(request)
    assert status(answer) == 403
    assert b"not for this part" in answer


async def test_a_secret_goes_by_plain_http_only_where_somebody_said_so(place: Path):
    heard: list[bytes] = []
    server = await asyncio.start_server(answers(OK, b"hello", heard), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    where = Place("127.0.0.1", port, "", "http")
    async with server, inside(place, lambda _: {"key": Sealed("plain-secret", (where,))}) as door:
        rule = {"id": 1, "action": "allow", "host": "127.0.0.1", "port": port, "private": True}
        request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        bound = {"name": "key", "places": [{"host": "127.0.0.1", "port": port}]}
        door.bind(bound, rules=[rule])
        assert status(await door.ask(request)) == 200
        assert b"plain-secret" not in heard[0]
        door.bind({"name": "key", "places": [{"host": "127.0.0.1", "port": port, "scheme": "http"}]}, rules=[rule])
        assert status(await door.ask(request)) == 200
        assert b"Authorization: Bearer plain-secret\r\n" in heard[1]


async def test_both_words_are_needed(door: Inside):
    """What the daemon publishes sends no secret anywhere that it was not entered for, and the other way round."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    door.bind(door.secret(places=[door.place_of("other.test")]), rules=[door.rule(host="*.test")])
    answer = await door.say(f"GET / HTTP/1.1\r\nHost: other.test:{door.host.port}\r\n\r\n".encode(), "other.test")
    assert status(answer) == 503
    assert b"was not entered for other.test" in answer
    assert b"ncl secret set key" in answer
    assert not door.host.heard


async def test_a_path_that_is_not_bound_gets_none(door: Inside):
    door.bind(door.secret(places=[door.place_of(path="/v1/")]))
    door.host.serving = answers(OK, b"hello", door.host.heard)
    for path in ("/v2/", "/", "/v1/../v2/", "/v1/%2e%2e/v2", "/v1%2Fx"):
        assert status(await door.fetch(path)) == 200
    assert not any(VALUE.encode() in heard for heard in door.host.heard)
    assert status(await door.fetch("/v1/x")) == 200
    assert VALUE.encode() in door.host.heard[-1]


async def test_a_secret_that_is_bound_and_was_not_entered(door: Inside):
    door.bind(door.secret("missing"))
    answer = await door.fetch()
    assert status(answer) == 503
    assert b"ncl secret set missing" in answer
    assert not door.host.connections


async def test_of_another_group_nothing_is_looked_into(door: Inside):
    """A tunnel of a group without a secret is between the agent and the host, as ever."""
    door.bind(door.secret(groups=["main"]))
    door.host.serving = answers(OK, b"hello", door.host.heard)
    reader, writer = await door.open_tls()
    assert "the tests' authority" in str(writer.get_extra_info("peercert")["issuer"])
    writer.write(b"GET / HTTP/1.1\r\nAuthorization: mine\r\n\r\n")
    assert (await reader.read()).endswith(b"hello")
    assert door.host.heard == [b"GET / HTTP/1.1\r\nAuthorization: mine\r\n\r\n"]
    writer.close()


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        "s3cr3t%2FValue%2Bwith%3Dmarks%26more",
        "s3cr3t%2fValue%2bwith%3dmarks%26more",
        json.dumps(VALUE.replace("/", "\\/")).replace("\\\\", "\\"),
        "s3cr3t/Value+with=marks&amp;more",
        "s3cr3t/Value+with=marks\\u0026more",
        base64.b64encode(VALUE.encode()).decode(),
        base64.b64encode(b"x" + VALUE.encode() + b"yz").decode(),
        base64.urlsafe_b64encode(b"ab" + VALUE.encode()).decode(),
    ],
)
async def test_what_a_host_repeats_of_a_secret_is_cut_out(door: Inside, form: str):
    """In body, headers and the status line, in the spellings that servers use."""
    body = f"<{form}>".encode()
    head = f"HTTP/1.1 200 {form}\nContent-Length: {len(body)}\nSet-Cookie: a={form}\nX-{'a' * 3}: {form}"
    door.host.serving = answers(head, body)
    answer = await door.fetch()
    assert status(answer) == 200
    assert f"Content-Length: {len(body)}\r\n".encode() in answer
    plain = form.strip('"')
    assert plain.encode() not in answer
    assert plain[4:-4].encode() not in answer
    assert b"<" in answer.partition(b"\r\n\r\n")[2]


async def test_an_answer_that_ends_as_a_secret_begins_is_whole(door: Inside):
    body = b"it begins with " + VALUE[:5].encode()
    door.host.serving = answers(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)
    assert (await door.fetch()).endswith(b"\r\n\r\n" + body)


async def test_another_request_to_the_host_does_not_bring_it_back_either(door: Inside):
    door.bind(door.secret(style="placeholder"))
    door.host.serving = answers(f"HTTP/1.1 200 OK\nContent-Length: {len(VALUE)}", VALUE.encode())
    answer = await door.fetch()
    assert VALUE.encode() not in answer
    assert answer.endswith(b"*" * len(VALUE))


async def test_an_echo_of_the_whole_request_is_without_the_secret(door: Inside):
    door.bind(door.secret(style="basic", parameter="joe"))
    door.host.serving = echo
    answer = await door.fetch("/", "X-Mine: 1\r\n")
    pair = base64.b64encode(f"joe:{VALUE}".encode())
    assert b"X-Mine: 1" in answer
    assert pair not in answer
    assert b"Basic " + b"*" * len(pair) in answer


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip", "bare deflate"])
async def test_a_packed_answer_is_unpacked_to_be_searched(door: Inside, coding: str):
    text = b"before " * 30_000 + VALUE.encode() + b" after"
    pack = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}.get(coding, _bare)
    packed, name = pack(text), coding.removeprefix("bare ")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.host.heard.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nContent-Length: {len(packed)}\r\n\r\n"
        writer.write(head.encode() + packed)
        await writer.drain()

    door.host.serving = serve
    answer = await door.fetch("/", "Accept-Encoding: gzip, br\r\n")
    assert b"Accept-Encoding: identity\r\n" in door.host.heard[0]
    assert b"gzip, br" not in door.host.heard[0]
    assert b"content-encoding" not in answer.lower()
    assert answer.count(b"before ") > 29_000
    assert VALUE.encode() not in answer
    assert b"before " + b"*" * len(VALUE) + b" " in answer
    assert b"after" in answer


def _bare(text: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(text) + packing.flush()


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, br"])
async def test_what_cannot_be_unpacked_is_refused(door: Inside, coding: str):
    door.host.serving = answers(f"HTTP/1.1 200 OK\nContent-Encoding: {coding}\nContent-Length: 5", b"hello")
    answer = await door.fetch()
    assert status(answer) == 502
    assert b"hello" not in answer


async def test_a_bomb_is_ended_early(door: Inside):
    bomb = gzip.compress(b"\0" * (64 * 1024 * 1024))
    head = f"HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: {len(bomb)}"
    door.host.serving = answers(head, bomb)
    answer = await door.fetch()
    assert len(answer) < 32 * 1024 * 1024
    assert not answer.endswith(b"0\r\n\r\n"), "nobody may take it for a whole answer"


@pytest.mark.parametrize("packed", [b"no gzip at all", gzip.compress(b"hello" * 100)[:-9]], ids=["none", "cut"])
async def test_a_broken_packed_answer_is_not_a_whole_one(door: Inside, packed: bytes):
    head = f"HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: {len(packed)}"
    door.host.serving = answers(head, packed)
    answer = await door.fetch()
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_host_that_cannot_be_verified_is_sent_nothing(place: Path):
    """Its certificate is for other names; the agent is told in words, in a connection that it can trust."""
    async with inside(place, lambda port: {"key": entered(port, host="wrong.test")}) as door:
        door.bind(door.secret(places=[door.place_of("wrong.test")]), rules=[door.rule(host="wrong.test")])
        door.host.serving = answers(OK, b"hello", door.host.heard)
        request = f"GET / HTTP/1.1\r\nHost: wrong.test:{door.host.port}\r\n\r\n".encode()
        answer = await door.say(request, "wrong.test")
        assert status(answer) == 502
        assert b"cannot be verified" in answer
        assert not door.host.heard


async def test_narrow_rules_hold_inside_of_tls(door: Inside):
    rules = [door.rule(methods=["GET"], path="/public/"), door.rule(id=2, action="deny", path="/public/not/")]
    door.bind(rules=rules)
    door.host.serving = answers(OK, b"hello", door.host.heard)
    assert status(await door.fetch("/public/x")) == 200
    for path, method in (
        ("/private", "GET"),
        ("/public/x", "DELETE"),
        ("/public/not/x", "GET"),
        ("/public/../x", "GET"),
    ):
        answer = await door.fetch(path, method=method)
        assert status(answer) == 403, path
        assert b"ncl egress allow tests" in answer
    assert len(door.host.heard) == 1
    assert b"secret" not in door.host.heard[0]


async def test_a_host_that_no_rule_allows_is_refused_before_anything(door: Inside):
    door.bind(door.secret(), rules=[])
    answer = await door.ask(f"CONNECT {NAME}:{door.host.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) == 403
    assert not door.names.asked


async def test_a_permission_that_ends_ends_what_it_allowed(door: Inside):
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await writer.drain()
        await begun.wait()
        writer.write(b"data: 2\n\n")
        await writer.drain()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n\r\n".encode())
    await reader.readuntil(b"data: 1\n\n")  # an event is not held back
    door.bind(door.secret(), rules=[])
    begun.set()
    assert b"data: 2" not in await reader.read()
    writer.close()


async def test_requests_one_after_another_are_each_judged_and_written_down(
    door: Inside, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "nanoclawd.gateway.audit")
    door.bind(door.secret(), rules=[door.rule(path="/a")])
    door.host.serving = answers(OK, b"hello", door.host.heard)
    head = f"HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n"
    answer = await door.say(f"GET /a?token=x {head}\r\nGET /a/2 {head}\r\nGET /b {head}\r\n".encode())
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"403"]
    records = [(r.NANOCLAW_EGRESS_METHOD, r.NANOCLAW_EGRESS_PATH, r.NANOCLAW_EGRESS_OUTCOME) for r in caplog.records]  # type: ignore[attr-defined]  # the journal's fields
    assert records == [("GET", "/a", "answered"), ("GET", "/a/2", "answered"), ("GET", "/b", "refused")]
    assert VALUE not in caplog.text
    assert "token" not in caplog.text


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
async def test_who_leaves_ends_what_it_has_asked_for(door: Inside, known: bool):
    """Also of a host whose certificate is at hand, so that nothing is waited for before the handshake."""
    if known:
        door.host.serving = answers(OK, b"hello")
        assert status(await door.fetch()) == 200
    begun, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        await reader.read()
        gone.set()

    door.host.serving = serve
    _, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n\r\n".encode())
    await asyncio.wait_for(begun.wait(), 5)
    writer.transport.abort()
    await asyncio.wait_for(gone.wait(), IDLE_SECONDS / 2)


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
async def test_a_program_that_does_not_trust_the_gateway_is_in_the_audit(
    door: Inside, caplog: pytest.LogCaptureFixture, known: bool
):
    if known:
        door.host.serving = answers(OK, b"hello")
        assert status(await door.fetch()) == 200
    before = door.host.connections
    caplog.set_level(logging.INFO, "nanoclawd.gateway.audit")

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(door.gateway.socket))
            one.sendall(f"CONNECT {NAME}:{door.host.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context(cafile=empty).wrap_socket(one, server_hostname=NAME)

    empty = str(door.issuer.bundle(door.place))
    await asyncio.to_thread(ask)
    await eventually(lambda: caplog.records)
    assert "distrusted" in caplog.text
    assert door.host.connections == before


async def test_uploads_and_answers_are_streamed(door: Inside):
    """A body goes on while it comes; the agent's 100-continue is the host's."""
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"expect: 100-continue" in head.lower()
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readuntil(b"first\r\n")
        heard.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n---\r\n0\r\nX-Trailer: 1\r\n\r\n")
        await writer.drain()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    head = f"POST / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
    writer.write(head.encode() + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(b"5\r\nfirst\r\n")
    await asyncio.wait_for(heard.wait(), 5)
    writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
    answer = await reader.readuntil(b"0\r\n\r\n")
    assert b"---" in answer
    assert b"X-Trailer" not in answer
    writer.close()


async def test_the_authority_can_vouch_for_these_hosts_only(door: Inside, place: Path):
    await door.gateway.door.publish()
    certificate = x509.load_pem_x509_certificate((place / "trust" / "ca.pem").read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical
    assert found.value.permitted_subtrees == [x509.DNSName(NAME)]
    assert {str(one.value) for one in found.value.excluded_subtrees or ()} == {"0.0.0.0/0", "::/0"}
    bundle = (place / "trust" / "bundle.pem").read_text()
    assert bundle.count("BEGIN CERTIFICATE") == 2, "the machine's authorities, and the gateway's"
    key = place / "state" / "authority.key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    door.bind(
        door.secret(places=[{"host": "*.wide.test", "port": 443}]),
        rules=[door.rule(host="10.1.2.3", path="/x"), door.rule(id=2, host="plain.test", port=80, path="/x")],
    )
    await door.gateway.door.publish()
    again = x509.load_pem_x509_certificate((place / "trust" / "ca.pem").read_bytes())
    permitted = again.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    assert {str(one.value) for one in permitted} == {"wide.test", "10.1.2.3/32"}
    assert again.public_key() == certificate.public_key()
    assert key.read_bytes() == before
    door.bind()
    await door.gateway.door.publish()
    last = x509.load_pem_x509_certificate((place / "trust" / "ca.pem").read_bytes())
    permitted = last.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    assert [one.value for one in permitted] == ["nanoclaw.invalid"]


async def test_the_gateway_answers_by_the_newest_tls_with_a_certificate_for_a_day(door: Inside):
    context = await door.trust()
    _, writer = await door.open_tls(context=context)
    certificate = writer.get_extra_info("peercert")
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    assert 20 * 3600 < left <= 24 * 3600
    writer.close()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await door.open_tls(context=context)


async def test_an_authority_that_the_machine_trusts_no_more_counts_no_more(door: Inside):
    """An operator changes the machine's authorities while the gateway runs."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    assert status(await door.fetch()) == 200
    await asyncio.to_thread(Issuer().bundle, door.place)
    answer = await door.fetch()
    assert status(answer) == 502
    assert b"cannot be verified" in answer
    assert len(door.host.heard) == 1


async def test_hosts_by_address(place: Path):
    async with inside(place, lambda port: {"key": entered(port, host="127.0.0.1")}) as door:
        door.bind(door.secret(places=[door.place_of("127.0.0.1")]), rules=[door.rule(host="127.0.0.1")])
        door.host.serving = answers(OK, b"hello", door.host.heard)
        await door.gateway.door.publish()
        request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{door.host.port}\r\nConnection: close\r\n\r\n".encode()
        assert status(await door.say(request, "127.0.0.1")) == 200
        assert VALUE.encode() in door.host.heard[0]


async def test_the_authority_outlives_the_gateway(place: Path):
    async with inside(place) as door:
        await door.gateway.door.publish()
        first = (place / "trust" / "ca.pem").read_text()
        port = door.host.port
    async with inside(place) as door:
        assert door.host.port != port
        await door.gateway.door.publish()
        assert (place / "trust" / "ca.pem").read_text() == first
