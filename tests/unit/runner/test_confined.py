"""Files that an agent names are opened beneath known directories, over no link, and copied whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from nanoclaw_runner import confined
from nanoclaw_runner.confined import FileRefusedError, copy, find, open_beneath
from nanoclaw_runner.contract.files import MAX_BYTES

WORKSPACE, TEMPORARY = Path("/workspace"), Path("/tmp")


@pytest.mark.parametrize(
    ("path", "root", "rest"),
    [
        ("a.txt", WORKSPACE, "a.txt"),
        ("dir/a.txt", WORKSPACE, "dir/a.txt"),
        ("/workspace/a.txt", WORKSPACE, "a.txt"),
        ("/tmp//a.txt", TEMPORARY, "a.txt"),
    ],
)
def test_a_path_is_meant_beneath_its_directory(path: str, root: Path, rest: str):
    """F-55: a relative one begins at the workspace."""
    assert find(path, WORKSPACE, [TEMPORARY]) == (root, rest)


@pytest.mark.parametrize("path", ["", "a\0b", "/", "/workspace", "/workspaces/a", "/etc/passwd", "/proc/self/mem"])
def test_a_path_elsewhere_is_none(path: str):
    """W-78."""
    with pytest.raises(FileRefusedError):
        find(path, WORKSPACE, [TEMPORARY])


def test_nothing_leads_out_while_directories_are_swapped(tmp_path: Path):
    """W-78: a directory that is a link now and a directory then: what is opened is beneath, or nothing is."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for directory, words in ((inside / "real", "mine"), (outside, "secret")):
        directory.mkdir(parents=True)
        (directory / "file").write_text(words)
    (inside / "link").symlink_to(outside)
    over = threading.Event()

    def swap() -> None:
        names = (inside / "real", inside / "link", inside / "aside")
        while not over.is_set():
            for source, target in ((0, 2), (1, 0), (2, 1)):
                names[source].rename(names[target])

    swapping = threading.Thread(target=swap)
    swapping.start()
    read = set()
    try:
        for _ in range(3000):
            try:
                descriptor, size = open_beneath(inside, "real/file")
            except FileRefusedError:
                continue
            read.add(os.pread(descriptor, size, 0))
            os.close(descriptor)
    finally:
        over.set()
        swapping.join()
    assert read <= {b"mine"}


def test_a_file_that_grows_meanwhile_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(confined, "MAX_BYTES", 1000)
    (tmp_path / "out").mkdir()
    source = tmp_path / "log"
    source.write_bytes(b"x" * 1000)
    descriptor, size = open_beneath(tmp_path, "log")
    assert size == 1000
    with source.open("ab") as file:
        file.write(b"y")
    with pytest.raises(FileRefusedError, match="it has grown"):
        copy(descriptor, tmp_path / "out", "log", lambda: False)
    os.close(descriptor)
    assert list((tmp_path / "out").iterdir()) == []
    assert MAX_BYTES > 1000


def test_a_copy_that_nobody_wants_leaves_nothing(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "a").write_text("a")
    descriptor, _size = open_beneath(tmp_path, "a")
    with pytest.raises(FileRefusedError, match="nobody waits"):
        copy(descriptor, tmp_path / "out", "a", lambda: True)
    os.close(descriptor)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "second"), [("a.tar.gz", "a-2.tar.gz"), ("a", "a-2"), (".env", ".env-2"), ("ü ß.txt", "ü ß-2.txt")]
)
def test_a_second_of_a_name_has_a_number_and_one_name_only(tmp_path: Path, name: str, second: str):
    """F-57: the host takes no file with several names."""
    (tmp_path / "out").mkdir()
    (tmp_path / "source").write_text("x")
    taken = []
    for _ in range(2):
        descriptor, _size = open_beneath(tmp_path, "source")
        taken.append(copy(descriptor, tmp_path / "out", name, lambda: False))
        os.close(descriptor)
    assert taken == [name, second]
    assert [one.stat().st_nlink for one in (tmp_path / "out").iterdir()] == [1, 1]
