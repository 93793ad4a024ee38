"""What our units may do, as systemd rates it; and what the two that people's words go through can't."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from system import appliance

MOST_EXPOSED: Final = {
    "nanoclawd.service": 0.5,
    # It has the network. Without PrivateUsers= and RootDirectory=, as its unit says.
    "nanoclaw-gateway.service": 1.5,
    "nanoclaw-hooks.service": 0.3,
    "nanoclaw-credentials.service": 1.0,
}
LISTEN: Final = "0A"


def shown(unit: str, name: str) -> str:
    return appliance.run("systemctl", "show", "-p", name, "--value", unit).strip()


def test_each_of_our_units_has_a_bound() -> None:
    ours = {path.name for path in Path("/usr/lib/systemd/system").glob("nanoclaw*.service")}
    assert ours == set(MOST_EXPOSED)


@pytest.mark.parametrize("unit", MOST_EXPOSED)
def test_a_unit_is_hardly_exposed(unit: str) -> None:
    text = appliance.run("systemd-analyze", "security", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED[unit], text


def test_the_daemon_has_no_network_without_a_channel() -> None:
    unit = "nanoclawd.service"
    assert shown(unit, "PrivateNetwork") == "yes"
    assert shown(unit, "RestrictAddressFamilies") == "AF_UNIX"
    assert set(shown(unit, "IPAddressDeny").split()) == {"::/0", "0.0.0.0/0"}
    assert shown(unit, "SocketBindDeny") == "any"


def test_the_gateway_is_bounded_and_takes_no_connection_from_the_network() -> None:
    unit = "nanoclaw-gateway.service"
    assert int(shown(unit, "MemoryMax")) == 512 * 1024 * 1024
    assert int(shown(unit, "TasksMax")) == 128
    assert int(shown(unit, "LimitNOFILE")) == 16_384
    assert shown(unit, "SocketBindDeny") == "any"


@pytest.mark.parametrize("unit", ["nanoclawd.service", "nanoclaw-gateway.service"])
def test_keys_and_conversations_are_in_no_core_and_under_no_port(unit: str) -> None:
    """Not dumpable: not even another process of the same uid reads its memory; its files in /proc are root's."""
    pid = appliance.unit(unit, system=True)["MainPID"]
    assert shown(unit, "LimitCORE") == "0"
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    assert not set(listening(pid)), "it listens on unix sockets only"


def listening(pid: str) -> Iterator[str]:
    """Yield the addresses at which a process takes connections from a network."""
    inodes = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        if found := re.fullmatch(r"socket:\[(\d+)\]", str(file.readlink())):
            inodes.add(found[1])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTEN and words[9] in inodes:
                yield words[1]
