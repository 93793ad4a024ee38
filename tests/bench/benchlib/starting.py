"""How long the programs take to start."""

import sys

from benchlib.appliance import Appliance
from benchlib.machine import wall
from benchlib.progress import step
from benchlib.results import Of, Result, Target

STARTS = 8
CALLS = 20
_MILLISECONDS = 1000.0


def daemon(appliance: Appliance) -> Result:
    """Restart the daemon; from its process's start until READY."""
    found = tuple(appliance.restart().started_to_ready for _ in range(STARTS))
    step(f"daemon: ready {found[-1]:.2f} s after its start")
    return Result("start.daemon", "s", found, note="from exec to READY")


def command() -> list[Result]:
    """Run the operator's tool, in turn with a Python that does nothing."""
    bare, helps, statuses = [], [], []
    for _ in range(CALLS):
        bare.append(wall([sys.executable, "-I", "-c", "pass"]) * _MILLISECONDS)
        helps.append(wall(["ncl", "--help"]) * _MILLISECONDS)
        statuses.append(wall(["ncl", "status"]) * _MILLISECONDS)
    python = Result("", "ms", tuple(bare)).p50
    step(f"ncl: --help {helps[-1]:.0f} ms, status {statuses[-1]:.0f} ms")
    note = "baseline is a Python that does nothing"
    return [
        Result("start.ncl", "ms", tuple(helps), python, Target(Of.MEDIAN, 100.0), f"`ncl --help`; {note}"),
        Result("start.ncl.status", "ms", tuple(statuses), python, None, f"`ncl status`; {note}"),
    ]
