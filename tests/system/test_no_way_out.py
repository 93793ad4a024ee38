"""Every way out of a container that we could think of, tried from inside with all that is there."""

import base64
import json
import pwd
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from system import appliance
from system.appliance import Person, session_of
from system.hostile import ways
from system.hostile.ways import WAYS, Way

PROGRAM: Final = Path(ways.__file__).parent
NEIGHBOURS: Final = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.shmget(77123, 4096, 0o1666) >= 0
assert ctypes.CDLL("librt.so.1").mq_open(b"/of-the-neighbour", os.O_CREAT | os.O_RDWR, 0o666, None) >= 0
open("/dev/shm/of-the-neighbour", "w"), open("/tmp/of-the-neighbour", "w")
one = socket.socket(socket.AF_UNIX); one.bind("\\0of-the-neighbour"); one.listen()
two = socket.create_server(("127.0.0.1", 0))
print(two.getsockname()[1], flush=True)
import threading; threading.Event().wait()
"""


def written(program: str, path: str) -> str:
    return f"echo {base64.b64encode(program.encode()).decode()} | base64 -d > {path}"


def doorbell(group: str) -> str:
    user = pwd.getpwnam(appliance.USER).pw_uid
    return f"/run/user/{user}/nanoclaw/{group}/{session_of(group).id}.sock"


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, str]]:
    """What came of each way, in the container of a group that has a neighbour."""
    with (
        appliance.group() as mine,
        appliance.group() as neighbour,
        Person(mine) as person,
        Person(neighbour) as near,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        near.ask("hello")
        person.ask("hello")
        near.runs(written(NEIGHBOURS, "/tmp/n.py"))
        # It says the port once everything is there, and stays.
        begin = "mkfifo /tmp/port; python3 /tmp/n.py of-the-neighbour > /tmp/port 2>&1 & head -n 1 < /tmp/port"
        port = near.runs(begin).split()[0]
        workspace = appliance.STATE / "groups" / mine
        given: dict[str, Any] = {
            "uid": pwd.getpwnam(appliance.USER).pw_uid,
            "uids": [uid_of(neighbour), 1],
            "port": server.getsockname()[1],
            "other_port": int(port),
            "doorbells": [doorbell(mine), doorbell(neighbour)],
            "key": 77123,
        }
        shutil.copytree(PROGRAM, workspace / "ways", ignore=shutil.ignore_patterns("__pycache__"))
        unit = session_of(mine).unit
        before = appliance.unit(unit)
        said = person.runs(f"cd /workspace && python3 -m ways '{json.dumps(given)}'", 100)
        assert f"{len(WAYS)} ways" in said, said
        outcomes: dict[str, str] = json.loads((workspace / "no-way-out.json").read_text())
        after = appliance.unit(unit)
        assert {**before, "StatusText": ""} == {**after, "StatusText": ""}, "the session has lived through all of it"
        yield outcomes


def uid_of(group: str) -> int:
    """Return a group's uid inside its containers."""
    published = json.loads(Path("/run/nanoclaw-agents/agents.json").read_text())
    return int(next(agent["uid"] for agent in published["agents"] if agent["group"] == group))


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_no_way_leads_out(found: dict[str, str], way: Way) -> None:
    """W-69, F-84."""
    assert found[way.name] in way.must, f"{way.name}: {found[way.name]}"
