"""Which connections are looked into, and how both of their ends become TLS."""

import asyncio
import logging
import ssl
import time
from typing import Final

from nanoclawd.egress.rules import needs_inside
from nanoclawd.egress.secrets import for_host
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.caller import Caller
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.injection import Injection
from nanoclawd.gateway.door.trust import Trust
from nanoclawd.gateway.policy import Agent, AgentDirectory
from nanoclawd.gateway.secure import SecureWire
from nanoclawd.gateway.wire import Wire

_ALERT: Final = "TLSV1_ALERT_"
_ALERT_3: Final = "SSLV3_ALERT_"

log = logging.getLogger(__name__)


class Door:
    """Stands between an agent and a host that it speaks TLS with.

    Attributes:
        injection: puts secrets into requests.
    """

    def __init__(self, agents: AgentDirectory, injection: Injection, trust: Trust) -> None:
        self.injection = injection
        self._agents = agents
        self._trust = trust
        self._publishing: set[asyncio.Task[None]] = set()

    async def publish(self) -> None:
        """Write down for the containers whom they are to trust.

        Raises:
            OSError: it can't be written.
        """
        await self._trust.publish()

    def look_again(self) -> None:
        """Something has changed that containers' trust may depend on."""
        task = asyncio.get_running_loop().create_task(self._publish())
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _publish(self) -> None:
        try:
            await self._trust.publish()
        except (OSError, ValueError) as error:
            log.error("whom containers are to trust cannot be written down: %s", error)  # noqa: TRY400

    def is_for(self, agent: Agent, target: Target) -> bool:
        """Tell whether a group's connections to a host are looked into."""
        if any(for_host(self._agents.secrets_of(agent), agent.group, "https", target)):
            return True
        return needs_inside(self._agents.rules_of(agent), agent.group, target, time.time())

    async def welcome(self, caller: Caller, early: bytes, target: Target) -> SecureWire:
        """Be the host for an agent that was told that its tunnel is open.

        Args:
            caller: the agent.
            early: what it has sent before it was told.
            target: the host.

        Raises:
            Denial: the agent does not want to speak with whoever this is.
            ConnectionError: it has gone.
            TimeoutError: it says nothing.
        """
        if not isinstance(caller.wire, Wire):
            raise Denial(400, "bad_request", "there is no tunnel within a tunnel", outcome="malformed")
        try:
            # A file of the operator's may be newer than what containers have been shown.
            await self._trust.publish()
            context = await self._trust.server(target.host)
        except (OSError, ValueError):
            log.exception("certificates cannot be made")
            raise Denial(500, "gateway_error", "the gateway failed; its journal says why") from None
        secure = SecureWire(caller.wire, context, early=early + caller.wire.take())
        # Who leaves in anger says why first: that is read before anything ends.
        gone, caller.wire.gone = caller.wire.gone, _nobody_waits
        try:
            await secure.handshake()
        except ssl.SSLError as error:
            # Who does not trust the gateway's authority says so in an alert; that is worth a word in the audit.
            distrusts = (error.reason or "").startswith((_ALERT, _ALERT_3))
            words = "the program in the container refuses TLS with the gateway"
            raise Denial(400, "tls_refused", words, outcome="distrusted" if distrusts else "malformed") from None
        finally:
            caller.wire.gone = gone
        return secure

    def trust_outside(self, certificate: str) -> None:
        """Trust OneCLI's authority on the way through OneCLI, and have containers trust it."""
        if self._trust.add(certificate):
            self.look_again()

    async def host(self, wire: Wire, target: Target, *, is_outside: bool = False) -> SecureWire:
        """Speak TLS with a host, whose certificate is verified.

        Args:
            wire: connected to it.
            target: which.
            is_outside: by way of OneCLI, which answers in its place.

        Raises:
            Denial: it is somebody else, or can't be verified.
        """
        return await secured(wire, await self._trust.client(is_outside=is_outside), target)


def _nobody_waits() -> None:
    """The caller may go."""


async def secured(wire: Wire, context: ssl.SSLContext, target: Target) -> SecureWire:
    """Speak TLS with a host on a connection to it.

    Raises:
        Denial: it is somebody else, or can't be verified.
    """
    secure = SecureWire(wire, context, host=target.host)
    try:
        await secure.handshake()
    except ssl.SSLCertVerificationError as error:
        words = f"the certificate of {target} cannot be verified ({error.verify_message}); nothing was sent"
        raise Denial(502, "certificate", words, outcome="certificate") from None
    except (ssl.SSLError, ConnectionError):
        raise Denial(502, "tls", f"{target} does not speak TLS as it should", outcome="broken") from None
    except TimeoutError:
        raise Denial(504, "timeout", f"{target} does not answer", outcome="timeout") from None
    return secure
