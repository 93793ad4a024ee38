"""The stage for hostile containers: a group whose containers run an attacker, a bystander, and a watch on the loop."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eventually import wait_until
from system import appliance
from system.appliance import STATE, Person, SessionNames, session_of, session_state, systemctl_user

HERE = Path(__file__).parent
LONGEST_HOLD_SECONDS = 0.05
DROP_IN = """[Container]
Exec=python3 -sP /workspace/attacker.py
"""


@dataclass
class Hostile:
    """A group whose next containers are the attacker's, until :meth:`be_honest`."""

    person: Person
    group: str
    _sessions: list[SessionNames] = field(default_factory=list)

    @property
    def session(self) -> SessionNames:
        if not self._sessions:
            self._sessions.append(session_of(self.group))
        return self._sessions[0]

    @property
    def workspace(self) -> Path:
        return STATE / "groups" / self.group

    @property
    def _drop_in(self) -> Path:
        return STATE / ".config/containers/systemd" / f"nanoclaw-{self.group}@.container.d"

    def be_hostile(self) -> None:
        """Have every later container of the group run the attacker."""
        shutil.copy(HERE / "attacker.py", self.workspace / "attacker.py")
        (self.workspace / "attacker.py").chmod(0o644)
        self._drop_in.mkdir()
        (self._drop_in / "50-hostile.conf").write_text(DROP_IN)
        systemctl_user("daemon-reload")

    def be_honest(self) -> None:
        """Have later containers run our runner again."""
        shutil.rmtree(self._drop_in, ignore_errors=True)
        systemctl_user("daemon-reload")

    def attack(self, name: str) -> str:
        """Wake the attacker with what it is to do; returns the message's id."""
        return self.person.send(name, seconds=30)

    def notice(self, words: str, seconds: float = 40.0) -> str:
        """Wait until the appliance tells the person something."""
        return self.person.wait(
            lambda event: event.type == "notice" and words in event.text, f"a notice about {words!r}", seconds
        ).text

    def wait_stopped(self, seconds: float = 30.0) -> None:
        """Wait until no process of the session is left."""
        wait_until(lambda: not appliance.processes(self.group), "the container has been ended", seconds)

    @property
    def quarantined(self) -> bool:
        return str(session_state(self.session)["state"]) == "quarantined"


@contextlib.contextmanager
def hostile_group() -> Iterator[Hostile]:
    with appliance.group() as name, Person(name) as person:
        stage = Hostile(person, name)
        stage.be_hostile()
        try:
            yield stage
        finally:
            stage.be_honest()


@dataclass
class Watch:
    """What a watch on the daemon's loop has measured, in seconds."""

    rounds: int = 0
    worst: float = 0.0
    raw: float = 0.0
    echo: float = 0.0


@contextlib.contextmanager
def watched_loop() -> Iterator[Watch]:
    """Fail where the daemon's loop is held up for more than 50 ms (and what this machine does to any program)."""
    watch = Watch()
    process = subprocess.Popen(
        [sys.executable, str(HERE / "loop_watch.py"), str(appliance.daemon_pid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "watching\n"
        yield watch
        text, _ = process.communicate("end\n", timeout=30)
    finally:
        process.kill()
    watch.__dict__.update(json.loads(text))
    print(f"loop: {json.loads(text)}")
    assert watch.rounds > 20
    held = f"the loop was held up for {watch.worst:.3f} s; an echo server took {watch.echo:.3f} s"
    assert watch.worst < LONGEST_HOLD_SECONDS + watch.echo, held


@dataclass
class Bystander:
    """A session of another group: how soon it answers when all is calm, and whether it still does."""

    person: Person
    calm: float

    def answers(self, times: int = 5) -> float:
        """Ask some times; the slowest answer, which must be one that a person would not call slow."""
        slowest = 0.0
        for number in range(times):
            outcome = self.person.ask(f"are you well {number}")
            assert outcome.answers == (f"echo: are you well {number}",)
            slowest = max(slowest, outcome.seconds)
            time.sleep(0.1)  # spread over the attack
        print(f"bystander: {slowest:.3f} s at most, {self.calm:.3f} s in calm")
        assert slowest < 5 * self.calm + 1.0
        return slowest


@contextlib.contextmanager
def bystander() -> Iterator[Bystander]:
    with appliance.group() as name, Person(name) as person:
        person.ask("hello")
        yield Bystander(person, max(person.ask("are you well").seconds for _ in range(10)))
