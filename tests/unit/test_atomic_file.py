"""Files that are there whole or not at all."""

import resource
from pathlib import Path

import pytest

from nanoclawd.atomic_file import write_atomically


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_written_once_and_left_alone(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file"
    assert write_atomically(path, "größe\n", mode=0o640)
    assert (path.read_text(), mode(path)) == ("größe\n", 0o640)
    before = path.stat()
    assert not write_atomically(path, "größe\n", mode=0o640)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_text_or_mode_replaces_it(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, "one", mode=0o600)
    assert write_atomically(path, "two", mode=0o600)
    assert write_atomically(path, "two", mode=0o644)
    assert (path.read_text(), mode(path)) == ("two", 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_has_it_open_keeps_the_old_text(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, "one")
    with path.open() as reader:
        write_atomically(path, "two")
        assert reader.read() == "one"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"one\r\n", b""])
def test_whatever_was_there_is_replaced(tmp_path: Path, content: bytes):
    """Half a file of a crash, bytes that are no text, other line ends."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert write_atomically(path, "one\n")
    assert path.read_bytes() == b"one\n"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path):
    (tmp_path / "other").write_text("one")
    (tmp_path / "other").chmod(0o644)
    (tmp_path / "file").symlink_to("other")
    assert write_atomically(tmp_path / "file", "one", mode=0o644)
    assert not (tmp_path / "file").is_symlink()
    assert write_atomically(tmp_path / "file", "two")
    assert (tmp_path / "other").read_text() == "one"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
