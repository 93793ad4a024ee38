"""A full disk: the sender is told, nothing is half written, and what comes later is answered."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import ControlError, Person, session_of


@contextlib.contextmanager
def full_disk(directory: Path) -> Iterator[None]:
    """Lay a full file system of its own over a directory, with the directory's content."""
    appliance.run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "/mnt")
    try:
        appliance.run("cp", "-a", f"{directory}/.", "/mnt/")
        appliance.run("chown", "--reference", str(directory), "/mnt")
        appliance.run("chmod", "--reference", str(directory), "/mnt")
        appliance.run("mount", "--bind", "/mnt", str(directory))
        try:
            with contextlib.suppress(OSError), Path("/mnt/filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            yield
        finally:
            appliance.run("umount", "--lazy", str(directory))
    finally:
        appliance.run("umount", "--lazy", "/mnt")


def test_a_message_that_cannot_be_stored_is_refused_and_leaves_nothing(person: Person) -> None:
    person.ask("hello")
    session = session_of(person.group)
    appliance.call("Sessions.Stop", id=session.id)
    wait_until(lambda: appliance.asleep(session), "asleep")
    before = appliance.rows(session.inbound_db, "SELECT id, status FROM messages_in")
    with full_disk(session.directory / "in"):
        with pytest.raises(ControlError) as refused:
            person.send("x" * 200_000)
        assert refused.value.name == "Unavailable"
        assert "full" in refused.value.message
        assert refused.value.hint
        assert appliance.rows(session.inbound_db, "SELECT id, status FROM messages_in") == before
        assert appliance.rows(session.inbound_db, "PRAGMA integrity_check") == [("ok",)]
    assert person.ask("and now?").answers == ("echo: and now?",)


def test_below_the_bound_of_free_disk_nothing_is_accepted(person: Person) -> None:
    person.ask("hello")
    with appliance.configured(limits={"min_free_disk": "900T"}):
        with pytest.raises(ControlError) as refused:
            person.send("too late")
        assert refused.value.name == "Unavailable"
        assert "disk" in refused.value.message
    assert person.ask("and now?").answers == ("echo: and now?",)
