"""Requests that no reader may take, as gunicorn's tests have them: a public corpus, at both of our parsers."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest
from egress_stage import Out, answers, status

CORPUS = sorted(Path(__file__).with_name("smuggling").glob("*.http"))
# Only gunicorn's own bounds, or the test's settings of them, make these wrong.
TAKEN = {
    "006": "its line is within our bound",
    "007": "its header is within our bound",
    "008": "its headers are within our bound",
    "011": "three headers are not too many",
    "012": "nor are a hundred characters",
}


def read(path: Path) -> bytes:
    """Return a request as the corpus writes it down: a line's end is spelt out, and so are other odd characters."""
    text = path.read_text(encoding="latin-1").replace("\n", "").replace("\\r\\n", "\r\n")
    return text.replace("\\0", "\0").replace("\\n", "\n").replace("\\t", "\t").encode("latin-1")


async def said(way_out: Out, request: bytes) -> bytes:
    """Return what is answered; some of the corpus have no end, and get nothing."""
    reader, writer = await way_out.open()
    writer.write(request)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := await asyncio.wait_for(reader.read(4096), 0.15):
            answer += piece
    writer.close()
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_there_is_a_corpus():
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
async def test_none_comes_to_a_host(way_out: Out, path: Path):
    """As a proxy's request. What follows is no request either, whatever the first one seemed to be."""
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers("HTTP/1.1 200 Fine\nContent-Length: 5", b"hello", way_out.host.heard)
    request = re.sub(rb"\A(\S+ )/", rb"\1http://127.0.0.1:%d/" % way_out.host.port, read(path))
    answer = await said(way_out, request)
    if path.stem in TAKEN:
        assert statuses(answer) == [200], TAKEN[path.stem]
        assert len(way_out.host.heard) == 1
        return
    assert statuses(answer)[:1] != [200], answer
    assert len(way_out.host.heard) == 0
    assert b"Traceback" not in answer


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
async def test_none_comes_to_an_endpoint(way_out: Out, path: Path):
    """As a request for a model."""
    request = re.sub(rb"\A(\S+ )/", rb"\1/plain/v1/chat/completions/", read(path))
    answer = await said(way_out, request)
    assert not answer or status(answer) >= 400
    assert not way_out.host.connections
