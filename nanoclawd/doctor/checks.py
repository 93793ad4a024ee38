"""The checks, one class each: podman and the service user with what rootless containers take."""

import re
from abc import ABC, abstractmethod
from typing import ClassVar

from nanoclawd.doctor.finding import Finding, Severity
from nanoclawd.doctor.places import Host

_FIRST_PODMAN = 5
_ENOUGH_IDS = 65536


class Check(ABC):
    """A look at one thing.

    Attributes:
        id: stable name of the finding.
        title: what is looked at.
        runs_program: whether it asks a program; the daemon runs none.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    runs_program: ClassVar[bool] = False

    def __init__(self, host: Host) -> None:
        self.host = host

    @abstractmethod
    def run(self) -> Finding:
        """Look; never raises for what it finds."""

    def ok(self, detail: str) -> Finding:
        """Return a good finding."""
        return Finding(self.id, Severity.OK, self.title, detail)

    def warn(self, detail: str, fix: str | None = None) -> Finding:
        """Return a finding that the appliance can live with."""
        return Finding(self.id, Severity.WARNING, self.title, detail, fix)

    def error(self, detail: str, fix: str | None = None) -> Finding:
        """Return a finding that stops the appliance, or part of it."""
        return Finding(self.id, Severity.ERROR, self.title, detail, fix)


class Podman(Check):
    """Quadlet templates with their limits need podman 5."""

    id = "podman"
    title = "Podman"
    runs_program = True

    def run(self) -> Finding:
        """Ask podman for its version."""
        answer = self.host.ask("podman", "--version")
        if answer is None:
            return self.error("podman is not installed", "sudo apt install podman")
        found = re.search(r"(\d+)\.(\d+)[\w.]*", answer)
        if found is None or int(found[1]) < _FIRST_PODMAN:
            return self.error(f"{answer}; {_FIRST_PODMAN}.0 or newer is needed, as Debian 13 has it")
        return self.ok(f"version {found[0]}")


class User(Check):
    """The service user is made by sysusers.d."""

    id = "user"
    title = "Service user"

    def run(self) -> Finding:
        """Look the user up."""
        uid = self.host.uid()
        if uid is None:
            return self.error(f"there is no user {self.host.user}", "sudo systemd-sysusers")
        return self.ok(f"{self.host.user} has uid {uid}")


class SubordinateIds(Check):
    """Each agent group has a uid of its own inside the service user's range."""

    id = "subids"
    title = "Subordinate ids"

    def run(self) -> Finding:
        """Look for a range in both files."""
        lacking = [name for name in ("subuid", "subgid") if self._longest(f"/etc/{name}") < _ENOUGH_IDS]
        if not lacking:
            return self.ok(f"{self.host.user} has a range of at least {_ENOUGH_IDS} ids")
        return self.error(
            f"{self.host.user} has no range of {_ENOUGH_IDS} ids in /etc/{' and /etc/'.join(lacking)}",
            "sudo /usr/libexec/nanoclawd/host-setup install",
        )

    def _longest(self, path: str) -> int:
        names = {self.host.user, str(self.host.uid())}
        longest = 0
        for line in (self.host.text(path) or "").splitlines():
            name, _, rest = line.partition(":")
            count = rest.partition(":")[2].strip()
            if name in names and count.isdecimal():
                longest = max(longest, int(count))
        return longest


class Linger(Check):
    """Without linger the user manager ends with the last login of a user that never logs in."""

    id = "linger"
    title = "Linger"

    def run(self) -> Finding:
        """Look for logind's mark."""
        if self.host.path(f"/var/lib/systemd/linger/{self.host.user}").exists():
            return self.ok(f"{self.host.user}'s manager starts at boot")
        return self.error(
            f"{self.host.user}'s manager does not start at boot", f"sudo loginctl enable-linger {self.host.user}"
        )


class UserManager(Check):
    """The user manager runs the sessions' containers."""

    id = "user-manager"
    title = "User manager"
    runs_program = True

    def run(self) -> Finding:
        """Ask systemd for the state of the manager's unit."""
        uid = self.host.uid()
        if uid is None:
            return self.error(f"there is no user {self.host.user}", "sudo systemd-sysusers")
        unit = f"user@{uid}.service"
        state = self.host.ask("systemctl", "show", "--property=ActiveState", "--value", unit)
        if state is None:
            return self.error("systemd does not answer: is it running on this machine?", "systemctl is-system-running")
        if state != "active":
            return self.error(f"{unit} is {state}", f"sudo systemctl start {unit}")
        return self.ok(f"{unit} is active")
