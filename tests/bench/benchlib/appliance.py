"""The appliance under measurement: its configuration, its daemon's restarts, its one agent group."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchlib.machine import DAEMON, SOCKET, Memory, Owner, processes_below, systemctl, unit_number
from benchlib.user_bus import UserBus
from benchlib.varlink import CallError, Link

GROUP = "bench"
CONFIG_FILE = Path("/etc/nanoclawd/config.yaml")
_CONFIG = """\
# Written by tests/bench. Everything that is not here has its default.
allow_scripted: true
timeouts:
  idle: {idle}
limits:
  max_awake: {max_awake}
  memory_budget: {memory_mib}M
  session_memory: 128M
images:
  base: localhost/nanoclaw-bed-base:latest
  wheels: /usr/local/share/nanoclaw-bed/wheels
  build_network: none
"""
_ASLEEP_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    """How long a restart took, in seconds: from the request, and from the new process's start, until READY."""

    asked_to_ready: float
    started_to_ready: float


class Appliance:
    """The daemon and what it keeps, seen from outside."""

    def __init__(self) -> None:
        self.owner = Owner.find()
        self.state = Path(self.owner.home)
        self.bus = UserBus(self.owner)
        self._link = Link()

    @property
    def image(self) -> str:
        """The image of the agents' containers."""
        images = self._link.call("io.nanoclaw.Images.List")["images"]
        return next(str(image["reference"]) for image in images if image["name"] == "agent")

    def configure(
        self, *, idle: int, max_awake: int = 8, channels: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Write the configuration and have the daemon use it.

        Args:
            idle: seconds after which a session without work sleeps.
            max_awake: sessions awake at once.
            channels: the section of this name.
        """
        config = _CONFIG.format(idle=idle, max_awake=max_awake, memory_mib=max_awake * 128)
        CONFIG_FILE.write_text(config + yaml.safe_dump({"channels": dict(channels or {})}))
        self.restart()

    def make_group(self) -> None:
        """Make the group whose agent answers with an echo."""
        self._link.call("io.nanoclaw.Groups.Create", name=GROUP, provider="scripted")

    def restart(self) -> Restart:
        """Restart the daemon and wait until it is ready."""
        asked = time.monotonic()
        systemctl("restart", DAEMON)
        return self._started(asked)

    def stop(self) -> None:
        """Stop the daemon and its socket, which would start it again; containers go on."""
        self._link.close()
        systemctl("stop", SOCKET, DAEMON)

    def start(self) -> Restart:
        """Start what was stopped."""
        systemctl("reset-failed", SOCKET)  # so many starts in a row are the benchmark's doing, not a loop
        asked = time.monotonic()
        systemctl("start", DAEMON)
        return self._started(asked)

    def daemon_pid(self) -> int:
        """Return the daemon's process."""
        return unit_number(DAEMON, "MainPID")

    def wait_asleep(self) -> None:
        """Return when every session sleeps: its units have gone, and the daemon has written that down.

        Raises:
            TimeoutError: the daemon still calls a session busy.
        """
        self.bus.wait_all_asleep()
        # What follows the units' end are two commits; each look is a call that the daemon answers in its turn.
        ends = time.monotonic() + _ASLEEP_PATIENCE_SECONDS
        while busy := self._link.call("io.nanoclaw.Appliance.Status")["busy"]:
            if time.monotonic() > ends:
                raise TimeoutError(f"still not asleep: {busy}")

    def put_to_sleep(self) -> None:
        """End the containers of all awake sessions, once the daemon, which may have just started, has met them all."""
        services = {unit for unit in self.bus.loaded() if unit.endswith(".service")}
        ids = {unit.partition("@")[2].removesuffix(".service") for unit in services}
        ends = time.monotonic() + _ASLEEP_PATIENCE_SECONDS
        while not ids <= self._awake():
            if time.monotonic() > ends:
                raise TimeoutError("the daemon has not met all containers")
        for session_id in ids:
            with contextlib.suppress(CallError):  # it ended by itself meanwhile
                self._link.call("io.nanoclaw.Sessions.Stop", id=session_id)
        self.wait_asleep()

    def _awake(self) -> set[str]:
        busy = self._link.call("io.nanoclaw.Appliance.Status")["busy"]
        return {str(session["id"]) for session in busy if session["state"] == "awake"}

    def session_of(self, chat: str) -> str:
        """Return the id of a terminal chat's session in the group."""
        sessions = self._link.call("io.nanoclaw.Sessions.List", group=GROUP)["sessions"]
        return next(str(session["id"]) for session in sessions if session["chat"] == chat)

    def session_memory(self, session_id: str) -> Memory:
        """Return the memory of an awake session: all processes of its unit."""
        return Memory.of(*processes_below(f"nanoclaw-{GROUP}@{session_id}.service"))

    def close(self) -> None:
        """Hang up."""
        self._link.close()
        self.bus.close()

    def _started(self, asked: float) -> Restart:
        begun = unit_number(DAEMON, "ExecMainStartTimestampMonotonic") / 1e6
        ready = unit_number(DAEMON, "ActiveEnterTimestampMonotonic") / 1e6
        self._link.close()
        self._link = Link()
        return Restart(ready - asked, ready - begun)
