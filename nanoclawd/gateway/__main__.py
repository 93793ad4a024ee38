"""``python3 -m nanoclawd.gateway``: the service behind nanoclaw-gateway.socket."""

import argparse
import asyncio
import logging
import os
import pwd
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from systemd import daemon

from nanoclawd import config as configuration
from nanoclawd import journal, paths
from nanoclawd.config import Config
from nanoclawd.errors import ConfigError, NanoclawError
from nanoclawd.gateway.asking import Approver
from nanoclawd.gateway.credentials import load_credentials
from nanoclawd.gateway.door import trust, vault
from nanoclawd.gateway.door.made import make_door
from nanoclawd.gateway.egress import Way
from nanoclawd.gateway.front import Front
from nanoclawd.gateway.onecli import service as onecli
from nanoclawd.gateway.onecli.card_asker import CardAsker
from nanoclawd.gateway.onecli.service import Service
from nanoclawd.gateway.onecli.telling import Telling
from nanoclawd.gateway.policy import AgentDirectory, subordinate_ranges
from nanoclawd.gateway.proxy import Proxy
from nanoclawd.gateway.reaching import Reaching
from nanoclawd.gateway.watch import Watch
from nanoclawd.undumpable import be_undumpable

IDENTIFIER = "nanoclaw-gateway"
_STOP_MARGIN_SECONDS = 15.0
_SETTLE_SECONDS = 10.0

log = logging.getLogger(__name__)


def activated_socket() -> socket.socket:
    """Return the socket that systemd passed.

    Raises:
        NanoclawError: not started by the socket unit.
    """
    descriptors = daemon.listen_fds(unset_environment=True)
    if len(descriptors) != 1 or not daemon.is_socket_unix(descriptors[0], socket.SOCK_STREAM, 1):
        raise NanoclawError("expected one listening unix socket", hint="sudo systemctl start nanoclaw-gateway.socket")
    return socket.socket(fileno=descriptors[0])


async def serve(config: Config, agents: AgentDirectory, listening: socket.socket, options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; then accept no more and let running answers end.

    What connects meanwhile waits in the socket unit's queue for the next gateway: the socket is systemd's.

    Args:
        config: endpoints and bounds.
        agents: who may do what.
        listening: systemd's socket.
        options: where other files are.
    """
    loop = asyncio.get_running_loop()
    journal.install_crash_policy(loop)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bounds, reaching = config.gateway, Reaching()
    names = {endpoint.credential for endpoint in config.endpoints.values() if endpoint.credential}
    if bounds.onecli is not None and bounds.onecli.credential is not None:
        names.add(bounds.onecli.credential)
    credentials = load_credentials(sorted(names))
    door = await make_door(agents, vault.load(), reaching, options.state, options.trust)
    approver = Approver(paths.REQUESTS_SOCKET, bounds.hold)
    async with AsyncExitStack() as stack:
        outside: Service | None = None
        telling: Telling | None = None
        if bounds.onecli is not None:
            asker = CardAsker(approver, agents)
            serving = onecli.serving(bounds.onecli, credentials, agents, asker, door.trust_outside)
            outside = await stack.enter_async_context(serving)
            telling = Telling(outside.link, pwd.getpwnam(options.user).pw_uid)
        proxy = await stack.enter_async_context(Proxy(config, agents, credentials, telling))

        def look_again() -> None:
            door.look_again()
            if outside is not None:
                outside.link.look_again()

        watch = Watch((options.agents, trust.system_bundle().resolve()), look_again)
        way = Way(agents, bounds.egress_idle, reaching, door, approver, outside.through if outside else None)
        server = Front(proxy, way, bounds.max_connections, bounds.max_egress)
        accepting = server.listen(listening)
        daemon.notify("READY=1")
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(_feed_watchdog())
            await stop.wait()
            drain = bounds.drain
            daemon.notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int((drain + _STOP_MARGIN_SECONDS) * 1_000_000)}")
            accepting.close()
            if outside is not None:
                outside.link.end()
            await asyncio.sleep(0)  # what was accepted in this turn of the loop begins its request
            server.stop_idle()
            # A token that is being renewed is lost if nobody hears it, whoever it was asked for.
            await asyncio.gather(server.shutdown(drain), door.injection.settle(max(drain, _SETTLE_SECONDS)))
            way.close()
            watch.close()
            feeding.cancel()


async def _feed_watchdog() -> None:
    """Tell systemd, twice in each interval of its watchdog, that the event loop turns."""
    interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    while interval:
        daemon.notify("WATCHDOG=1")
        await asyncio.sleep(interval / 2)


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway; returns the exit status."""
    parser = argparse.ArgumentParser(prog="nanoclaw-gateway", description=__doc__)
    parser.add_argument("--config", type=Path, default=paths.CONFIG_FILE, help="configuration file")
    parser.add_argument("--agents", type=Path, default=paths.AGENTS_FILE, help="what the daemon publishes")
    parser.add_argument("--subuid", type=Path, default=Path("/etc/subuid"), help="subordinate uids")
    parser.add_argument("--user", default="nanoclaw", help="whose containers they are")
    state = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/nanoclaw-gateway"))
    parser.add_argument("--state", type=Path, default=state, help="what only the gateway may see")
    parser.add_argument("--trust", type=Path, default=trust.DIRECTORY, help="where containers find whom to trust")
    options = parser.parse_args(arguments)
    be_undumpable()
    journal.configure(IDENTIFIER)
    journal.install_crash_policy()
    try:
        config = configuration.load(options.config)
        journal.configure(IDENTIFIER, config.log_level)
        agents = AgentDirectory(options.agents, subordinate_ranges(options.user, options.subuid))
        listening = activated_socket()
    except ConfigError as error:
        for problem in error.problems:
            log.critical("%s", problem)
        return 1
    except NanoclawError as error:
        log.critical("%s%s", error.message, f"; try: {error.hint}" if error.hint else "")
        return 1
    asyncio.run(serve(config, agents, listening, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
