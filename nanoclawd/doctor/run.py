"""Runs the host's checks. Blocking, a second at most: the daemon calls it off its loop."""

from nanoclawd.doctor.checks import Check, Linger, Podman, SubordinateIds, User, UserManager
from nanoclawd.doctor.finding import Finding
from nanoclawd.doctor.machine_checks import Cgroups, Configuration, Disk, Gateway, Journal, Secrets, Selinux, Trust
from nanoclawd.doctor.places import Host

HOST_CHECKS: tuple[type[Check], ...] = (
    Podman,
    User,
    SubordinateIds,
    Linger,
    UserManager,
    Cgroups,
    Journal,
    Selinux,
    Disk,
    Configuration,
    Gateway,
    Secrets,
)


def run_host_checks(host: Host | None = None, *, programs: bool = True) -> list[Finding]:
    """Return the findings of all checks, good ones too; without ``programs`` only of those that ask none."""
    looked_at = host or Host()
    return [check(looked_at).run() for check in HOST_CHECKS if programs or not check.runs_program]


def run_trust_check(host: Host | None = None) -> Finding:
    """Return the finding that matters where there are secrets for agents' requests."""
    return Trust(host or Host()).run()
