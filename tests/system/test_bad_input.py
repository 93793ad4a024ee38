"""What bad input gets at the gateway's door: words or an end, within bounds, and nobody else feels it."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from eventually import wait_until
from system import appliance, sites
from system.appliance import Person
from system.hostile import bad_input
from system.hosting import running
from system.sites import Site

PROGRAM: Final = Path(bad_input.__file__)
MOST_BYTES: Final = 192 * 1024 * 1024
"""Of the gateway, whatever one group does: a small part of what its unit may have (MemoryMax=)."""

MOST_LINES: Final = 600
"""In the journal, of an attack that takes seconds: a burst of 200, five a second, and sums."""


@dataclass
class Stage:
    """A group that attacks, one that works meanwhile, and hosts that misbehave."""

    attacker: Person
    neighbour: Person
    site: Site
    given: dict[str, Any]
    rules: list[int]

    def runs(self, person: Person, attack: str) -> Any:
        """Run one with an agent's own tool and return what it found."""
        command = f"python3 /workspace/{PROGRAM.name} {attack} '{json.dumps(self.given)}'"
        said = person.runs(command, 100)
        found = workspace(person) / "found.json"
        assert found.exists(), said
        try:
            return json.loads(found.read_text())
        finally:
            found.unlink()


def workspace(person: Person) -> Path:
    return appliance.STATE / "groups" / person.group


class Host:
    """Accepts and then does one thing with each connection, in a thread of its own."""

    def __init__(self, serving: Callable[[socket.socket], None]) -> None:
        self._serving = serving
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._open: list[socket.socket] = []
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._server.accept()
                self._open.append(one)
                threading.Thread(target=self._serve, args=[one], daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serving(one)


def talking(one: socket.socket) -> None:
    """Never stop: an answer without an end, for who asks and who doesn't."""
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    piece = bytes(65_536)
    while True:
        one.sendall(piece)


def deaf(one: socket.socket) -> None:
    """Take nothing."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        appliance.group() as attacker,
        appliance.group() as neighbour,
        Person(attacker) as person,
        Person(neighbour) as near,
        running(Site(tmp_path_factory.mktemp("site"))) as site,
        contextlib.closing(Host(talking)) as endless,
        contextlib.closing(Host(deaf)) as nobody,
        contextlib.closing(Host(deaf)) as inner,
        sites.named("10.1.2.3 inner.egress.test", "127.0.0.1 site.egress.test rebound.egress.test"),
    ):
        given = {"port": site.port, "endless": endless.port, "deaf": nobody.port, "inner": inner.port}
        made = Stage(person, near, site, given, [])
        for one in (person, near):
            one.ask("hello")
            program = workspace(one) / PROGRAM.name
            program.write_text(PROGRAM.read_text())
            program.chmod(0o644)
            for port in (site.port, endless.port, nobody.port):
                words = ("ncl", "--json", "egress", "allow", one.group, f"127.0.0.1:{port}", "--private")
                made.rules.append(json.loads(appliance.run(*words))["rule"]["id"])
        # A rule that speaks of methods has the gateway look into what goes there.
        appliance.run("ncl", "egress", "allow", person.group, f"127.0.0.1:{inner.port}", "--private", "--method", "GET")
        yield made


def gateway() -> int:
    return int(appliance.unit("nanoclaw-gateway.service", system=True)["MainPID"])


def most_memory(pid: int) -> int:
    """Return the most bytes that a process has had since it was last asked to forget."""
    words = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(words["VmHWM"].split()[0]) * 1024


@contextlib.contextmanager
def undisturbed(stage: Stage) -> Iterator[None]:
    """Fail where the neighbour misses a single answer meanwhile, the gateway grows, ends, or fills the journal."""
    pid = gateway()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    enough, at_work = (workspace(stage.neighbour) / name for name in ("enough", "working"))
    for one in (enough, at_work):
        one.unlink(missing_ok=True)
    began = time.time()
    found: list[dict[str, Any]] = []
    working = threading.Thread(target=lambda: found.append(stage.runs(stage.neighbour, "steady")))
    working.start()
    try:
        wait_until(at_work.exists, "the neighbour is at work")
        yield
    finally:
        enough.touch()
        working.join(60)
    took = time.time() - began
    lines = appliance.journal("_SYSTEMD_UNIT=nanoclaw-gateway.service", since=began).splitlines()
    print(f"{took:.1f} s; neighbour: {found}; {most_memory(pid) >> 20} MiB; {len(lines)} lines")
    (heard,) = found
    assert set(heard["statuses"]) == {"200"}
    assert gateway() == pid
    assert most_memory(pid) < MOST_BYTES
    assert len(lines) < MOST_LINES
    assert not [line for line in lines if "Traceback" in line or "failed inside" in line]


def test_ten_thousand_connections(stage: Stage) -> None:
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "ten_thousand")
    assert set(found["turned"]) <= {"429", "closed", "silence"}
    assert found["turned"]["429"] > 8000


def test_heads_without_an_end(stage: Stage) -> None:
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "endless_heads")
    assert "endless" not in found
    assert "200" not in found
    assert sum(found.values()) == 9


def test_garbage(stage: Stage) -> None:
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "garbage")
    assert set(found) <= {"400", "403", "404", "405", "431", "501", "505", "closed"}
    assert found["400"] > 10


def test_requests_that_are_two(stage: Stage) -> None:
    del stage.site.asked[:]
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "smuggled")
    assert not [path for path, _ in stage.site.asked if "smuggled" in path]
    assert found["400"] + found.get("501", 0) >= 20


@pytest.mark.parametrize("attack", ["stalled", "unread"])
def test_who_reads_nothing_costs_a_bounded_piece(stage: Stage, attack: str) -> None:
    """Both ways: a caller that does not read, and a host that does not."""
    with undisturbed(stage):
        found = stage.runs(stage.attacker, attack)
    assert found["429"] > 0
    # The program that held all these places has ended; its group gets them back long before anything is idle.
    assert stage.runs(stage.attacker, "room") < 30


def test_tls_that_does_not_come(stage: Stage) -> None:
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "handshakes")
    assert found["429"] > 0
    assert found["whole"] > 0


def test_floods_of_frames(stage: Stage) -> None:
    """Each is cut off by its own bound: of frames that carry nothing, of a head, of streams, of a frame."""
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "frames")
    assert set(found.values()) == {"cut off"}, found


def test_three_thousand_refusals(stage: Stage) -> None:
    with undisturbed(stage):
        found = stage.runs(stage.attacker, "requests_in_numbers")
    assert found == {"403": 3000}


def test_no_spelling_of_an_address_leads_to_this_machine(stage: Stage) -> None:
    """Every name is allowed, on every port that is tried: what a name means is looked at, not how it is written."""
    port = stage.site.port
    for rule in stage.rules[:3]:  # the attacker's
        appliance.run("ncl", "egress", "remove", str(rule))
    appliance.run("ncl", "egress", "allow", stage.attacker.group, f"*:{port}")
    del stage.site.asked[:]
    found = stage.runs(stage.attacker, "hosts")
    assert found["got"] == {}
    assert found["tried"] > 300
    assert not stage.site.asked
