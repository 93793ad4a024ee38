"""The gateway dies in the middle of everything: what was under way is cut, and what is asked next is answered."""

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import Final

import pytest

from eventually import wait_until
from system import appliance, sites
from system.appliance import Person
from system.hosting import running
from system.sites import HELLO, NAME, Site

PROGRAM: Final = Path(__file__).with_name("hostile") / "cut_off.py"


def echo(server: socket.socket) -> None:
    """Say back what is heard, on each connection."""

    def serve(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1000):
                one.sendall(data)

    with contextlib.suppress(OSError):
        while True:
            one, _ = server.accept()
            threading.Thread(target=serve, args=[one], daemon=True).start()


@pytest.mark.parametrize("times", [1, 3])
def test_what_is_under_way_is_cut_and_what_comes_next_is_served(tmp_path: Path, times: int) -> None:
    """Nobody is told to come again: who connects meanwhile waits in systemd's socket for the next gateway."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        running(Site(tmp_path)) as site,
        sites.named(f"127.0.0.1 {NAME}"),
        appliance.group() as group,
        Person(group) as person,
    ):
        threading.Thread(target=echo, args=[server], daemon=True).start()
        port = server.getsockname()[1]
        for one in (f"127.0.0.1:{port}", f"{NAME}:{site.port}"):
            appliance.run("ncl", "egress", "allow", group, one, "--private")
        workspace = appliance.STATE / "groups" / group
        for _ in range(times):
            (workspace / "under-way").unlink(missing_ok=True)
            (workspace / PROGRAM.name).write_text(PROGRAM.read_text())
            (workspace / PROGRAM.name).chmod(0o644)
            command = f"python3 /workspace/{PROGRAM.name} {port} {site.port}"
            said: list[str] = []
            asking = threading.Thread(target=lambda: said.append(person.runs(command, 90)))  # noqa: B023  # joined below
            asking.start()
            wait_until((workspace / "under-way").exists, "a tunnel is open")
            before = appliance.unit("nanoclaw-gateway.service", system=True)
            appliance.kill(int(before["MainPID"]))
            asking.join(120)
            found = json.loads((workspace / "cut-off.json").read_text())
            print(found)
            assert found["ends"] == [""] * 5, said
            assert found["answers"] == [HELLO] * 5
            after = appliance.unit("nanoclaw-gateway.service", system=True)
            assert after["MainPID"] != before["MainPID"]
            assert int(after["NRestarts"]) == int(before["NRestarts"]) + 1
            (workspace / "cut-off.json").unlink()
