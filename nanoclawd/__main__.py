"""The daemon's program: ``nanoclawd``."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from systemd import daemon

from nanoclawd import __version__
from nanoclawd.config import Config, load
from nanoclawd.control.activation import sockets_from_systemd
from nanoclawd.control.requests import RequestsServer
from nanoclawd.control.server import ControlServer
from nanoclawd.core.appliance import Appliance
from nanoclawd.core.backend import Backend
from nanoclawd.core.backends.agents import agent_calls
from nanoclawd.errors import ConfigError, NanoclawError
from nanoclawd.journal import Event, about, configure, install_crash_policy
from nanoclawd.paths import CONFIG_FILE, DEFAULT_STATE_ROOT, StatePaths
from nanoclawd.undumpable import be_undumpable

log = logging.getLogger(__name__)

EXIT_FAILED = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd shows it by that name."""


def main() -> None:
    """Run the daemon until SIGTERM."""
    arguments = _parse()
    be_undumpable()
    os.umask(0o027)
    configure("nanoclawd")
    try:
        config = load(arguments.config)
    except ConfigError as error:
        for problem in error.problems:
            log.critical("%s", problem)
        daemon.notify(f"STATUS={error.problems[0]}")
        sys.exit(EXIT_CONFIG)
    configure("nanoclawd", config.log_level)
    sys.exit(asyncio.run(_run(config, StatePaths.resolve(arguments.state))))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nanoclawd", description="The daemon of the nanoclaw appliance; systemd starts it (nanoclawd.service)."
    )
    parser.add_argument("--config", type=Path, default=CONFIG_FILE, help="configuration file (%(default)s)")
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE_ROOT, help="state directory (%(default)s)")
    parser.add_argument("--version", action="version", version=f"nanoclawd {__version__}")
    return parser.parse_args()


async def _run(config: Config, paths: StatePaths) -> int:
    loop = asyncio.get_running_loop()
    install_crash_policy(loop)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    appliance = Appliance(config, paths)
    backend = Backend(appliance)
    appliance.serve_agents(
        agent_calls(
            appliance.database, backend, appliance.approvals, appliance.sessions, appliance.agents, appliance.outfit
        )
    )
    server, requests = ControlServer(backend), RequestsServer(appliance.held)
    try:
        passed = sockets_from_systemd("control", "nanoclawd.socket")
        await appliance.start()
        await server.start(passed.main)
        for one in passed.requests:
            await requests.start(one)
        appliance.http.open(passed.http)
    except NanoclawError as error:
        log.critical("%s%s", error.message, f" Next: {error.hint}" if error.hint else "")
        daemon.notify(f"STATUS={error.message}")
        return EXIT_FAILED
    daemon.notify("READY=1\nSTATUS=at work")
    log.info("nanoclawd %s is at work", __version__, extra=about(event=Event.DAEMON_STARTED))
    watchdog = asyncio.create_task(_feed_watchdog())
    await stopping.wait()
    daemon.notify("STOPPING=1")
    watchdog.cancel()
    appliance.held.stop()
    await asyncio.gather(server.stop(), requests.stop())
    await appliance.stop()
    return 0


async def _feed_watchdog() -> None:
    """Tell systemd at half its interval that the loop turns (sd_watchdog_enabled(3))."""
    interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000
    while interval:
        daemon.notify("WATCHDOG=1")
        await asyncio.sleep(interval)


if __name__ == "__main__":
    main()
