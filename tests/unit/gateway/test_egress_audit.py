"""What the journal keeps of requests: one record each, nothing secret, and no more than its rate."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any

import pytest
from egress_stage import Out, answers

from eventually import eventually
from nanoclawd.gateway import audit
from nanoclawd.gateway.audit import Audit, Record

CANARY = "canary-2f6c1d"


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        {name.removeprefix("NANOCLAW_EGRESS_"): value for name, value in one.__dict__.items() if "NANOCLAW" in name}
        for one in caplog.records
        if one.name == audit.__name__
    ]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


async def test_each_request_leaves_one_record_when_it_is_over(way_out: Out, caplog: pytest.LogCaptureFixture):
    way_out.allow(way_out.host.rule(id=12))
    way_out.host.serving = answers("HTTP/1.1 200 OK\nContent-Length: 5", b"hello")
    await way_out.get("/path?query=1")
    (found,) = records(caplog)
    assert int(found.pop("MS")) >= 0
    assert found == {
        "NANOCLAW_GROUP": "tests",
        "NANOCLAW_AUDIT": "egress",
        "HOST": "127.0.0.1",
        "PORT": str(way_out.host.port),
        "METHOD": "GET",
        "PATH": "/path",
        "RULE": "12",
        "OUTCOME": "answered",
        "STATUS": "200",
        "SENT": "0",
        "RECEIVED": "5",
        "COUNT": "1",
    }


async def test_a_tunnel_is_counted_when_it_ends(patient_way_out: Out, caplog: pytest.LogCaptureFixture):
    patient_way_out.allow(patient_way_out.host.rule())
    reader, writer = await patient_way_out.connect()
    writer.write(b"x" * 1000)
    await reader.readexactly(1000)
    assert not records(caplog)
    writer.close()
    await asyncio.wait_for(patient_way_out.host.gone.wait(), 5)
    (found,) = records(caplog)
    assert (found["METHOD"], found["SENT"], found["RECEIVED"], found["OUTCOME"]) == (
        "CONNECT",
        "1000",
        "1000",
        "closed",
    )
    assert found["PATH"] == ""


async def test_what_is_on_its_way_when_its_permission_ends_goes_no_further(
    way_out: Out, caplog: pytest.LogCaptureFixture
):
    """What the gateway has taken for a caller that does not read is thrown away."""

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(65_536))
            await writer.drain()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = flood
    reader, writer = await way_out.connect()
    writer.transport.pause_reading()
    await asyncio.sleep(0.2)  # for all that can be filled to be full: nothing tells when it is
    way_out.allow()
    writer.write(b"one more byte")
    await eventually(lambda: records(caplog))
    (found,) = records(caplog)
    assert found["OUTCOME"] == "withdrawn"
    writer.transport.resume_reading()
    heard = 0
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(1_000_000), 10):
            heard += len(data)
    assert heard < int(found["RECEIVED"])
    writer.close()


async def test_refusals_are_in_it_too(way_out: Out, caplog: pytest.LogCaptureFixture):
    way_out.allow({"id": 3, "action": "deny", "host": "example.org"})
    await way_out.ask(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    await way_out.ask(b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    await way_out.ask(b"CONNECT nonsense HTTP/1.1\r\nHost: x\r\n\r\n")
    found = [(one["HOST"], one["RULE"], one["OUTCOME"], one["STATUS"]) for one in records(caplog)]
    assert found == [
        ("example.org", "3", "refused", "403"),
        ("example.com", "0", "refused", "403"),
        ("-", "0", "malformed", "400"),
    ]


async def test_nothing_secret_is_in_it(way_out: Out, caplog: pytest.LogCaptureFixture):
    """Queries, headers, bodies, users' names in addresses: not in the audit, and in no other line."""
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(f"HTTP/1.1 200 OK\nSet-Cookie: {CANARY}\nContent-Length: 13", CANARY.encode())
    await way_out.get(f"/?token={CANARY}", headers=f"Authorization: Bearer {CANARY}\r\nCookie: a={CANARY}\r\n")
    port = way_out.host.port
    for request in (
        f"GET http://user:{CANARY}@127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n",
        f"CONNECT {CANARY}@127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nX: {CANARY}\x00\r\n\r\n",
        f"GET http://example.org/?token={CANARY} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /?token={CANARY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ):
        await way_out.ask(request.encode())
    assert len(records(caplog)) == 5
    assert CANARY not in caplog.text
    assert CANARY not in str(records(caplog))


async def test_a_path_forges_no_line(way_out: Out, caplog: pytest.LogCaptureFixture):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers("HTTP/1.1 200 OK\nContent-Length: 0")
    await way_out.get("/" + "x" * 5000)
    (found,) = records(caplog)
    assert len(found["PATH"]) == 256


async def test_a_flood_is_summed_up_and_hides_nothing(caplog: pytest.LogCaptureFixture):
    """Beyond the rate, sums by host, rule and outcome; another group's records come as ever."""
    book = Audit()
    for number in range(audit.BURST + 1000):
        book.write(Record("noisy", f"host{number % 3}.example", 443, "CONNECT", "", 0, "refused"))
    book.write(Record("noisy", "secret.example", 443, "CONNECT", "", 4, "closed", sent=77))
    for number in range(500):
        book.write(Record("noisy", f"many{number}.example", 443, "CONNECT", "", 0, "refused"))
    book.write(Record("quiet", "example.org", 443, "CONNECT", "", 4, "closed"))
    before = records(caplog)
    assert len(before) == audit.BURST + 1
    assert before[-1]["NANOCLAW_GROUP"] == "quiet"
    book.close()
    sums = records(caplog)[len(before) :]
    assert len(sums) == audit.MAX_SUMS + 2
    assert sum(int(one["COUNT"]) for one in sums) == 1501
    (secret,) = [one for one in sums if one["HOST"] == "secret.example"]
    assert (secret["SENT"], secret["RULE"], secret["OUTCOME"]) == ("77", "4", "closed")
    assert [one["HOST"] for one in sums][-1] == "…"


async def test_what_is_refused_hides_nothing_that_went_out(caplog: pytest.LogCaptureFixture):
    """Whatever an agent has refused first; who allowed a request, and whose it was, is in the sums, too."""
    book = Audit()
    for number in range(audit.BURST + 500):
        book.write(Record("noisy", f"junk{number}.example", 443, "CONNECT", "", 0, "refused"))
        book.write(Record("noisy", f"no{number}.example", 443, "CONNECT", "", 3, "refused"))
    for number in range(100):
        book.write(Record("noisy", f"thief{number}.example", 443, "CONNECT", "", 4, "closed", sent=77))
    allowed = Record("noisy", "api.example", 443, "POST", "/pay", 5, "answered", session="s1", approval="a7")
    book.write(allowed)
    book.write(allowed)
    book.write(replace(allowed, approval="a8"))
    before = len(records(caplog))
    book.close()
    sums = records(caplog)[before:]
    assert {one["HOST"] for one in sums} >= {f"thief{number}.example" for number in range(100)}
    told = {(one["APPROVAL"], one["NANOCLAW_SESSION"], one["COUNT"]) for one in sums if one["HOST"] == "api.example"}
    assert told == {("a7", "s1", "2"), ("a8", "s1", "1")}
    assert len(sums) <= audit.MAX_SUMS + audit.MAX_SUMS_OF_HOSTS + 1


async def test_what_went_out_is_bounded_too(caplog: pytest.LogCaptureFixture):
    book = Audit()
    for number in range(audit.BURST + 1000):
        book.write(Record("noisy", f"host{number}.example", 443, "CONNECT", "", 4, "closed", sent=1))
    before = len(records(caplog))
    book.close()
    sums = records(caplog)[before:]
    assert len(sums) == audit.MAX_SUMS_OF_HOSTS + 1
    assert sum(int(one["SENT"]) for one in sums) == 1000
