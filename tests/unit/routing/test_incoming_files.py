"""Files that people send: where the agent finds them, what bounds them, and what of the platform is not believed."""

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.contract.files import MAX_BYTES, check_name
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels import incoming
from nanoclawd.channels.adapter import BaseAdapter
from nanoclawd.errors import NotFound, Unavailable
from nanoclawd.permissions import kept
from nanoclawd.routing.event import InboundEvent, InboundFile, Sender
from nanoclawd.sessions import received
from nanoclawd.sessions.received import safe_name
from unit.routing.house import CHANNEL, House

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64


class Platform(BaseAdapter):
    """A platform's files by reference: pieces of content, or what goes wrong, one after the other."""

    name = platform = CHANNEL

    def __init__(self, **files: list[Any]) -> None:
        self.files = files
        self.fetched: list[str] = []

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        self.fetched.append(reference)
        found = self.files[reference]
        if isinstance(found[0], Exception):
            raise found.pop(0)
        for piece in found:
            yield piece


def sent(*files: InboundFile, message_id: str = "m1") -> InboundEvent:
    return InboundEvent(
        Address(CHANNEL, "room"), message_id, "look", Sender("loopback:ann", "Ann"), is_group=True, files=files
    )


def attachments(house: House, folder: str) -> tuple[Path, list[dict[str, Any]]]:
    """Return the directory that the agent sees as /session/in, and what its row says of files."""
    (session,) = (house.root / "sessions" / folder).iterdir()
    (row,) = house.rows_of(folder, session.name)
    found = row.content.get("attachments", [])
    assert isinstance(found, list)
    return session / "in", found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "PAUSE_SECONDS", 0.0)


async def test_a_file_lies_where_the_row_says(house: House):
    house.adapters[CHANNEL] = Platform(a=[PNG[:5], PNG[5:]])
    await house.heard("main")
    await house.router.route(sent(InboundFile("a", "photo.png", "application/x-lie", 3)))
    seen, (entry,) = attachments(house, "main")
    assert (entry["name"], entry["type"], entry["size"]) == ("photo.png", "image/png", len(PNG))
    assert (seen / entry["path"]).read_bytes() == PNG
    # The container's uid is another: it reads by its group, and can write nothing.
    assert stat.S_IMODE((seen / entry["path"]).stat().st_mode) == 0o640
    assert not list((house.root / "staging").iterdir())


async def test_each_agent_has_the_file_and_it_is_fetched_once(house: House):
    platform = house.adapters[CHANNEL] = Platform(a=[b"one"])
    await house.heard("main", "other")
    await house.router.route(sent(InboundFile("a", "a.txt")))
    for folder in ("main", "other"):
        seen, (entry,) = attachments(house, folder)
        assert (seen / entry["path"]).read_bytes() == b"one"
    assert platform.fetched == ["a"]


async def test_nothing_is_fetched_for_a_message_that_nobody_hears(house: House):
    platform = house.adapters[CHANNEL] = Platform(a=[b"one"])
    await house.heard("main", engage_mode="mention")
    await house.router.route(sent(InboundFile("a", "a.txt")))
    assert platform.fetched == []


async def test_an_event_told_twice_is_one_message_with_one_file(house: House):
    house.adapters[CHANNEL] = Platform(a=[b"one"])
    await house.heard("main")
    for _ in range(2):
        await house.router.route(sent(InboundFile("a", "a.txt")))
    seen, (entry,) = attachments(house, "main")
    assert [path.name for path in (seen / entry["path"]).parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        (InboundFile("a", "gone.pdf"), [NotFound("the platform has it no more")], "the platform has it no more"),
        (InboundFile("a", "busy.pdf"), [Unavailable("busy")] * 3, "busy"),
        (InboundFile("a", "odd.pdf"), [ConnectionError("reset\nby peer")], "reset by peer"),
        (InboundFile("a", "huge.iso", size=MAX_BYTES + 1), [b""], "MiB together"),
        (InboundFile("a", "liar.iso", size=1), [b"x" * 1024 * 1024] * 51, "MiB together"),
    ],
    ids=["gone", "busy", "odd", "huge", "liar"],
)
async def test_a_file_that_cannot_be_had_is_told_and_the_message_stays(
    house: House, file: InboundFile, content: list[Any], problem: str
):
    house.adapters[CHANNEL] = Platform(a=content * 3 if isinstance(content[0], ConnectionError) else content)
    await house.heard("main")
    await house.router.route(sent(file))
    seen, (entry,) = attachments(house, "main")
    assert problem in entry["problem"]
    assert "path" not in entry
    assert list((seen / "files").iterdir()) == []


async def test_a_platform_that_is_busy_for_a_moment_is_asked_again(house: House):
    house.adapters[CHANNEL] = Platform(a=[Unavailable("busy"), b"one"])
    await house.heard("main")
    await house.router.route(sent(InboundFile("a", "a.txt")))
    seen, (entry,) = attachments(house, "main")
    assert (seen / entry["path"]).read_bytes() == b"one"


async def test_a_channel_that_is_down_costs_the_file_and_not_the_message(house: House):
    await house.heard("main")
    await house.router.route(sent(InboundFile("a", "a.txt")))
    _, (entry,) = attachments(house, "main")
    assert "not up" in entry["problem"]


async def test_files_of_one_name_are_told_apart_and_odd_names_made_safe(house: House):
    names = ["a.txt", "A.TXT", "../../etc/passwd", "", ".bashrc", "x\ny"]
    house.adapters[CHANNEL] = Platform(**{str(number): [b"text"] for number in range(len(names))})
    await house.heard("main")
    await house.router.route(sent(*(InboundFile(str(number), name) for number, name in enumerate(names))))
    seen, entries = attachments(house, "main")
    shown = [entry["name"] for entry in entries]
    assert shown == ["a.txt", "A-2.TXT", *(f"attachment-{number}.txt" for number in (3, 4, 5, 6))]
    assert {(seen / entry["path"]).parent.parent for entry in entries} == {seen / "files"}


@given(name=st.text(max_size=300), taken=st.lists(st.text(max_size=20)))
def test_whatever_its_name_a_file_gets_one_that_is_safe_and_its_own(name: str, taken: list[str]):
    found = safe_name(name, 1, ".bin", taken)
    check_name(found)
    assert not found.startswith(".")
    assert found.casefold() not in {other.casefold() for other in taken}


async def test_a_disk_that_is_full_refuses_the_message_to_be_told_again(house: House, monkeypatch: pytest.MonkeyPatch):
    house.adapters[CHANNEL] = Platform(a=[b"one"])
    await house.heard("main")

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await house.router.route(sent(InboundFile("a", "a.txt")))
    assert house.directories() == 0


async def test_files_of_a_conversation_do_not_fill_the_disk(house: House, monkeypatch: pytest.MonkeyPatch):
    """Whoever may write can send files without end: those of the oldest messages make room."""
    monkeypatch.setattr(received, "MAX_KEPT_BYTES", 250)
    house.adapters[CHANNEL] = Platform(a=[b"x" * 100])
    await house.heard("main")
    await house.router.route(sent(InboundFile("a", "a.txt"), message_id="m0"))
    (session,) = (house.root / "sessions" / "main").iterdir()
    files = session / "in" / "files"
    for number in range(1, 5):
        for age, path in enumerate(sorted(files.iterdir(), key=lambda one: one.stat().st_mtime_ns, reverse=True), 1):
            os.utime(path, (1e9 - age, 1e9 - age))
        await house.router.route(sent(InboundFile("a", "a.txt"), message_id=f"m{number}"))
        assert len(list(files.iterdir())) == min(number + 1, 2)
    rows = [row.content["attachments"][0]["path"] for row in house.rows_of("main", session.name)]
    assert [(session / "in" / path).exists() for path in rows] == [False, False, False, True, True]


def test_files_of_a_message_that_waits_for_permission_are_kept_by_reference():
    payload, _ = kept.begun(sent(InboundFile("a", "a.txt", "text/plain", 3)))
    (event,) = kept.events(payload)
    assert event.files == (InboundFile("a", "a.txt", "text/plain", 3),)
