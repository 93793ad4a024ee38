"""Files that a container offers, each meant to hurt whoever opens it: refused with a reason, or read within bounds."""

import gc
import os
import socket
import time
from pathlib import Path

import pytest
from hostile_stage import Victim, another_process

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclawd.errors import NanoclawError, NotFound, Refused, TooLarge, Unavailable
from nanoclawd.sessions.attachments import open_all, remove


@pytest.fixture
def directory(empty: Victim) -> Path:
    return empty.paths.outbound_files


def descriptors() -> int:
    gc.collect()  # what other tests have left closes its own
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_plain_file(directory: Path) -> None:
    (directory / "a").write_bytes(b"data")
    before = descriptors()
    opened = open_all(directory, ["a"])
    (attachment,) = opened.attachments
    assert (attachment.name, attachment.size, attachment.file.read(), attachment.file.read()) == ("a", 4, b"data", b"")
    attachment.file.seek(0)
    assert attachment.file.read(2) == b"da"
    attachment.file.seek(-1, os.SEEK_END)
    assert attachment.file.read() == b"a"
    opened.close()
    assert descriptors() == before


def test_a_database_whose_second_name_goes_while_it_is_looked_at(
    empty: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting its names too late finds one only; a descriptor of ours would take the locks of its readers along."""
    name, looked = empty.paths.outbound_files / "db", os.fstat
    os.link(empty.database, name)

    def fstat(descriptor: int) -> os.stat_result:
        name.unlink(missing_ok=True)
        return looked(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(Refused, match="has other names"):
        open_all(empty.paths.outbound_files, ["db"])


@pytest.mark.parametrize("kind", ["link", "link within", "dangling link", "fifo", "directory", "socket", "two names"])
def test_what_is_no_file_of_its_own(directory: Path, kind: str, tmp_path: Path) -> None:
    """Opening it reads nothing, waits for nobody, and leaves no descriptor behind."""
    (directory / "good").write_bytes(b"good")
    bad = directory / "bad"
    match kind:
        case "link":
            bad.symlink_to("/etc/passwd")
        case "link within":
            bad.symlink_to("good")
        case "dangling link":
            bad.symlink_to("/nowhere")
        case "fifo":
            os.mkfifo(bad)
        case "directory":
            bad.mkdir()
        case "socket":
            socket.socket(socket.AF_UNIX).bind(str(bad))
        case "two names":
            os.link(directory / "good", bad)
    before = descriptors()
    begun = time.monotonic()
    for names in (["bad"], ["good", "bad"]):
        with pytest.raises(Refused):
            open_all(directory, names)
    assert time.monotonic() - begun < 1
    assert descriptors() == before


def test_the_database_under_another_name(empty: Victim) -> None:
    """Closing our descriptor of it would drop the locks that SQLite holds there."""
    os.link(empty.database, empty.paths.outbound_files / "db")
    with pytest.raises(Refused, match="other names"):
        open_all(empty.paths.outbound_files, ["db"])


@pytest.mark.parametrize("kind", ["missing", "link", "file"])
def test_a_directory_that_is_none(directory: Path, kind: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a").write_bytes(b"secret")
    directory.rmdir()
    if kind == "link":
        directory.symlink_to(tmp_path / "other")
    elif kind == "file":
        directory.write_bytes(b"")
    with pytest.raises(Refused):
        open_all(directory, ["a"])


def test_a_missing_file(directory: Path) -> None:
    with pytest.raises(NotFound):
        open_all(directory, ["a"])


def test_too_much_together(directory: Path) -> None:
    """Sparse, so it costs the container nothing."""
    for name in ("a", "b"):
        with (directory / name).open("wb") as file:
            file.truncate(MAX_BYTES // 2 + 1)
    before = descriptors()
    open_all(directory, ["a"]).close()
    with pytest.raises(TooLarge, match="50 MiB"):
        open_all(directory, ["a", "b"])
    assert descriptors() == before


def test_a_file_that_grows_and_shrinks_while_it_is_sent(directory: Path) -> None:
    path = directory / "a"
    path.write_bytes(b"12345")
    opened = open_all(directory, ["a"])
    with path.open("ab") as file:
        file.write(b"x" * 1_000_000)
    assert opened.attachments[0].file.read() == b"12345"
    opened.attachments[0].file.seek(0)
    os.truncate(path, 2)
    assert opened.attachments[0].file.read() == b"12"
    opened.close()


LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
descriptor = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_lease_stalls_nobody(directory: Path) -> None:
    """A write lease of the file's owner would hold an open up for 45 s."""
    path = directory / "a"
    path.write_bytes(b"data")
    with another_process(LEASE, path):
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="lease"):
            open_all(directory, ["a"])
        assert time.monotonic() - begun < 1
    open_all(directory, ["a"]).close()


def test_what_replaced_a_sent_file_stays(directory: Path) -> None:
    """It is of a message that is still to come."""
    for name in ("a", "b", "c", "d"):
        (directory / name).write_bytes(b"old")
    opened = open_all(directory, ["a", "b", "c", "d"])
    (directory / "new").write_bytes(b"new")
    (directory / "new").rename(directory / "a")
    (directory / "c").unlink()
    (directory / "d").unlink()
    (directory / "d").symlink_to("/etc/passwd")
    remove(directory, opened)
    opened.close()
    assert sorted(path.name for path in directory.iterdir()) == ["a", "d"]
    assert (directory / "a").read_bytes() == b"new"


def test_nothing_is_removed_elsewhere(directory: Path, tmp_path: Path) -> None:
    """The directory turned to a link meanwhile: what it leads to is not the daemon's to remove."""
    (directory / "a").write_bytes(b"data")
    opened = open_all(directory, ["a"])
    elsewhere = tmp_path / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    remove(directory, opened)
    opened.close()
    assert (elsewhere / "a").exists()


def test_no_descriptor_is_handed_on(directory: Path) -> None:
    """sendfile() of what changes under it would wait, or fail, in the kernel."""
    (directory / "a").write_bytes(b"data")
    opened = open_all(directory, ["a"])
    with pytest.raises(OSError, match="fileno"):
        opened.attachments[0].file.fileno()
    opened.close()


def test_a_name_never_leads_anywhere(directory: Path) -> None:
    (directory / "sub").mkdir()
    (directory / "sub" / "a").write_bytes(b"data")
    for name in ("x" * 300, "sub/a", "../outbound.db", str(directory / "sub" / "a"), "", ".", "..", "a\0", "\ud800"):
        with pytest.raises(NanoclawError):
            open_all(directory, [name])
