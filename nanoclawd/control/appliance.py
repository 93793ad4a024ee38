"""io.nanoclaw.Appliance: how the appliance is, and whether its host is healthy."""

from nanoclawd.control.api import ApplianceBackend
from nanoclawd.control.methods import Methods, NoParameters, Unary
from nanoclawd.control.values import Peer

INTERFACE = "io.nanoclaw.Appliance"


def methods(backend: ApplianceBackend) -> Methods:
    """Return the interface's methods."""

    async def status(_peer: Peer, _call: NoParameters) -> object:
        return await backend.status()

    async def doctor(_peer: Peer, _call: NoParameters) -> object:
        return {"findings": await backend.doctor()}

    return {
        f"{INTERFACE}.Status": Unary(NoParameters, status),
        f"{INTERFACE}.Doctor": Unary(NoParameters, doctor),
    }
