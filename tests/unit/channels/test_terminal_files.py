"""Files of terminals: whose they are, what bounds them, and that a repeated call does nothing twice."""

import io
import os
from pathlib import Path

import pytest

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclawd.channels import terminal_files
from nanoclawd.channels.terminal_files import KEPT_SECONDS, TerminalFiles
from nanoclawd.errors import NotFound, Refused, TooLarge, Unavailable
from nanoclawd.sessions.ports import Attachment


@pytest.fixture
def files(tmp_path: Path) -> TerminalFiles:
    return TerminalFiles(tmp_path / "terminal")


def attachment(content: bytes, name: str = "a.txt") -> Attachment:
    return Attachment(name, len(content), io.BytesIO(content))


async def content_of(files: TerminalFiles, user: str, upload: str) -> bytes:
    reference, size = files.reference(user, upload)
    content = b"".join([piece async for piece in files.fetch(reference)])
    assert len(content) == size
    return content


async def test_parts_make_a_file_and_a_repeated_one_changes_nothing(files: TerminalFiles):
    assert files.upload("joe", "u1", 0, b"abc") == 3
    assert files.upload("joe", "u1", 3, b"def") == 6
    assert files.upload("joe", "u1", 0, b"abc") == 6
    assert await content_of(files, "joe", "u1") == b"abcdef"
    with pytest.raises(Refused):
        files.upload("joe", "u1", 7, b"x")
    with pytest.raises(TooLarge):
        files.upload("joe", "u1", 6, b"x" * MAX_BYTES)


async def test_nobody_has_anothers_files(files: TerminalFiles):
    files.upload("joe", "u1", 0, b"abc")
    kept = files.keep("joe", "m1", 0, attachment(b"answer"))
    for somebody in ("ann", "joe/../joe", ""):
        with pytest.raises(NotFound):
            files.reference(somebody, "u1")
        with pytest.raises(NotFound):
            files.download(somebody, kept.id, 0)
    assert files.download("joe", kept.id, 2) == (b"swer", kept)
    assert files.download("joe", kept.id, 6) == (b"", kept)


def test_a_delivery_that_is_repeated_has_the_same_file(files: TerminalFiles):
    first = files.keep("joe", "m1", 0, attachment(b"answer"))
    assert files.keep("joe", "m1", 0, attachment(b"answer")) == first
    assert files.keep("joe", "m1", 1, attachment(b"other")).id != first.id


def test_the_oldest_make_room_and_what_is_too_old_goes(files: TerminalFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(terminal_files, "MAX_KEPT_BYTES", 25_000)
    kept = [files.keep("joe", f"m{number}", 0, attachment(b"x" * 10_000)) for number in range(3)]
    with pytest.raises(NotFound):
        files.download("joe", kept[0].id, 0)
    assert files.download("joe", kept[2].id, 0)[0] == b"x" * 10_000
    (path,) = (path for path in files._root.rglob(kept[1].id))
    old = path.stat().st_mtime - KEPT_SECONDS - 60
    os.utime(path, (old, old))
    files.keep("joe", "m9", 0, attachment(b"new"))
    with pytest.raises(NotFound):
        files.download("joe", kept[1].id, 0)


async def test_a_file_that_another_call_removes_meanwhile_is_in_nobodys_way(
    files: TerminalFiles, monkeypatch: pytest.MonkeyPatch
):
    """Calls run side by side in threads, and each of them makes room."""
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda directory: iter([*listed(directory), directory / "gone"]))
    assert files.upload("joe", "u1", 0, b"abc") == 3
    assert await content_of(files, "joe", "u1") == b"abc"


def test_a_full_disk_is_told(files: TerminalFiles, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Unavailable, match="No space left"):
        files.upload("joe", "u1", 0, b"abc")
