"""What the appliance costs when nothing happens, and how it grows with its sessions."""

import time
from dataclasses import dataclass, field

from benchlib.appliance import GROUP, Appliance
from benchlib.chat import Chat
from benchlib.machine import DAEMON, GATEWAY, Memory, Switches, environment, systemctl, unit_number
from benchlib.population import Population
from benchlib.progress import step
from benchlib.results import Of, Result, Target

SIZES = (10, 1000, 10_000)
IDLE_SIZE = 1000
QUIET_SECONDS = 60.0
ROUNDS = 6
MESSAGES = 40
RELOADS = 4
_SETTLE_SECONDS = 5.0
_MILLISECONDS = 1000.0


def idle(appliance: Appliance) -> list[Result]:
    """Leave a daemon with a thousand sleeping sessions alone, and count what it does."""
    systemctl("start", GATEWAY)
    appliance.wait_asleep()
    time.sleep(_SETTLE_SECONDS)  # what follows a start (pruning, late signals) is no idleness
    pid = appliance.daemon_pid()
    before, fed_before = Switches.of(pid), _fed()
    step(f"idle: {IDLE_SIZE} sleeping sessions, {QUIET_SECONDS:.0f} s without traffic")
    seconds = _busy_seconds(pid)
    after, fed = Switches.of(pid), _fed() - fed_before
    # Each sleep is counted once, whatever woke the thread from it; to be preempted is other processes' doing.
    wakeups = after.slept - before.slept
    pings = round(fed / (int(environment(pid)["WATCHDOG_USEC"]) / 2e6))
    note = (
        f"{wakeups} voluntary context switches of all threads in {QUIET_SECONDS:.0f} s (and"
        f" {after.preempted - before.preempted} preemptions), less one for each of {pings} watchdog pings;"
        f" awake in the seconds {', '.join(map(str, seconds))}"
    )
    return [
        Result("idle.wakeups", "switches", (float(wakeups - pings),), None, Target(Of.MEDIAN, 0), note),
        _memory("idle.rss.daemon", Memory.of(pid), f"with {IDLE_SIZE} sleeping sessions"),
        _memory("idle.rss.gateway", Memory.of(unit_number(GATEWAY, "MainPID")), "no connection"),
    ]


def _busy_seconds(pid: int) -> list[int]:
    """Let the quiet time pass; return the seconds of it in which the process did something."""
    busy = []
    seen = Switches.of(pid)
    for second in range(int(QUIET_SECONDS)):
        time.sleep(1.0)  # the measurement itself
        now = Switches.of(pid)
        if now.slept != seen.slept:
            busy.append(second)
        seen = now
    return busy


def session_memory(appliance: Appliance, session_id: str) -> Result:
    """Look at an awake session that has answered and waits."""
    return _memory("idle.rss.session", appliance.session_memory(session_id), "init, runner and podman's monitor")


@dataclass
class _Growth:
    routes: dict[int, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})
    restarts: dict[int, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})
    reloads: dict[int, list[float]] = field(default_factory=lambda: {0: [], SIZES[-1]: []})
    resident: dict[int, list[float]] = field(default_factory=lambda: {0: [], SIZES[-1]: []})


def growth(appliance: Appliance, population: Population) -> list[Result]:
    """Go through the sizes in turn, several times: restart, route messages to an awake session, reload."""
    found = _Growth()
    for number in range(ROUNDS):
        become(appliance, population, 0)
        _reload(appliance, found, 0)
        # There and back in turn: what changes slowly on the machine meets all sizes alike.
        for size in SIZES if number % 2 == 0 else reversed(SIZES):
            become(appliance, population, size)
            _route(appliance, found, size)
            # With the session awake, as an upgrade would find it.
            found.restarts[size].append(appliance.restart().asked_to_ready)
            appliance.put_to_sleep()
            step(
                f"round {number + 1}/{ROUNDS}, {size} sessions: message routed in {found.routes[size][-1]:.1f} ms,"
                f" restart {found.restarts[size][-1]:.2f} s"
            )
            if size == SIZES[-1]:
                _reload(appliance, found, size)
    return _results(found)


def become(appliance: Appliance, population: Population, size: int) -> None:
    """Exchange the sessions of the appliance, all of which sleep."""
    appliance.stop()
    population.become(size)
    appliance.start()


def _route(appliance: Appliance, found: _Growth, size: int) -> None:
    chat = Chat(GROUP)
    chat.ask("wake up")
    for _ in range(MESSAGES):
        exchange = chat.ask("hello")
        found.routes[size].append((exchange.stored - exchange.sent) * _MILLISECONDS)
    chat.close()


def _reload(appliance: Appliance, found: _Growth, size: int) -> None:
    for _ in range(RELOADS):
        found.reloads[size].append(appliance.bus.reload() * _MILLISECONDS)
    found.resident[size].append(Memory.of(appliance.bus.manager_pid).resident)
    step(f"daemon-reload with {size} sleeping sessions: {found.reloads[size][-1]:.0f} ms")


def _results(found: _Growth) -> list[Result]:
    least, most = SIZES[0], SIZES[-1]
    few = Result("", "ms", tuple(found.routes[least])).p50
    results = []
    for size in SIZES:
        target = Target(Of.RATIO, 1.3) if size == most else None
        results.append(Result(f"scale.route.{size}", "ms", tuple(found.routes[size]), few, target))
    for size in SIZES:
        target = Target(Of.MEDIAN, 3.0) if size == most else None
        results.append(Result(f"scale.restart.{size}", "s", tuple(found.restarts[size]), None, target))
    none = Result("", "ms", tuple(found.reloads[0])).p50
    bare = Result("", "MiB", tuple(found.resident[0])).p50
    results.append(Result(f"reload.{most}", "ms", tuple(found.reloads[most]), none, Target(Of.RATIO, 1.5)))
    results.append(Result("reload.rss", "MiB", tuple(found.resident[most]), bare, None, "the user manager's memory"))
    return results


def _fed() -> float:
    """Return when the daemon's watchdog was last fed, in seconds of the monotonic clock."""
    return unit_number(DAEMON, "WatchdogTimestampMonotonic") / 1e6


def _memory(name: str, memory: Memory, note: str) -> Result:
    return Result(
        name, "MiB", (memory.resident,), None, None, f"{note}; shared pages parted: {memory.proportional:.1f}"
    )
