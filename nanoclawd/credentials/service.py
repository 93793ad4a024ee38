"""io.nanoclaw.Credentials: who may store and remove secrets, and what then happens."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any, Final

from nanoclawd.control.methods import Methods, NoParameters, Parameters, Unary
from nanoclawd.control.values import Peer, Taken
from nanoclawd.credentials.consumers import Consumers
from nanoclawd.credentials.names import DAEMON, Name, read_name
from nanoclawd.credentials.store import CredentialStore
from nanoclawd.errors import Refused
from nanoclawd.journal import about

INTERFACE: Final = "io.nanoclaw.Credentials"
ADMIN_GROUP: Final = "nanoclaw-admin"

log = logging.getLogger(__name__)


class Gate:
    """Knows who may use the service: root and operators, and none of the users that the appliance itself runs as."""

    def __init__(self, admins: int | None, services: Collection[int]) -> None:
        """Prepare.

        Args:
            admins: the group of operators; None: there is none on this machine.
            services: users of the appliance, which are refused whatever groups they have.
        """
        self._admins = admins
        self._services = frozenset(services)

    def check(self, peer: Peer) -> None:
        """Return if the peer may.

        Raises:
            Refused: it may not.
        """
        is_admin = self._admins is not None and self._admins in {peer.gid, *peer.groups}
        if peer.uid in self._services or not (peer.uid == 0 or is_admin):
            log.warning("uid %d (%s) pid %d was refused", peer.uid, peer.user_name, peer.pid)
            raise Refused(
                f"{peer.user_name} may not touch credentials: that takes root or the group {ADMIN_GROUP}"
                + (", and no service of the appliance may" if peer.uid in self._services else ""),
                hint=None if peer.uid in self._services else f"sudo usermod -aG {ADMIN_GROUP} $USER",
            )


class _Put(Parameters, frozen=True):
    name: str
    value: str

    def __repr__(self) -> str:
        """Show no secret, whatever logs this."""
        return f"Put({self.name!r})"


class _Delete(Parameters, frozen=True):
    name: str


def methods(gate: Gate, store: CredentialStore, consumers: Consumers) -> Methods:
    """Return the interface's methods."""
    one_by_one = asyncio.Lock()

    async def taken(name: Name) -> Taken:
        some = any(one.consumer == DAEMON for one in await store.every())
        return await consumers.take(name, daemon_has_some=some)

    async def list_all(peer: Peer, _call: NoParameters) -> object:
        gate.check(peer)
        return {"credentials": await store.every()}

    async def put(peer: Peer, call: _Put) -> object:
        gate.check(peer)
        name = read_name(call.name)
        async with one_by_one:
            stored = await store.put(name, call.value)
            log.info("%s (uid %d) stored %s", peer.user_name, peer.uid, name.text, extra=_about(name))
            return {"credential": stored, "taken": await taken(name)}

    async def delete(peer: Peer, call: _Delete) -> object:
        gate.check(peer)
        name = read_name(call.name)
        async with one_by_one:
            await store.delete(name)
            log.info("%s (uid %d) removed %s", peer.user_name, peer.uid, name.text, extra=_about(name))
            return {"taken": await taken(name)}

    return {
        f"{INTERFACE}.List": Unary(NoParameters, list_all),
        f"{INTERFACE}.Put": Unary(_Put, put),
        f"{INTERFACE}.Delete": Unary(_Delete, delete),
    }


def _about(name: Name) -> dict[str, Any]:
    return about(channel=name.text.partition(".")[2]) if name.consumer == DAEMON else {}
