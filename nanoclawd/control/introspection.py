"""org.varlink.service and the interface files, kept by python3-varlink."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import varlink
from varlink.scanner import _Error

from nanoclawd import __version__

INTERFACES = (
    "Appliance",
    "Groups",
    "Sessions",
    "Images",
    "Chat",
    "Chats",
    "Wirings",
    "Users",
    "Roles",
    "Members",
    "Destinations",
    "Approvals",
    "Questions",
    "Channels",
    "Routing",
    "Tasks",
    "Packages",
    "Mcp",
    "Skills",
    "Mounts",
    "Usage",
    "Peers",
    "Egress",
    "Secrets",
    "Hooks",
)


class Introspection:
    """Answers what varlinkctl asks about a service, and calls that name nothing it has.

    Attributes:
        product: the program; an error that is a fault of its own names it, and it is the name of its unit.
        home: the interface whose errors are told of what is no call of any.
    """

    def __init__(self, product: str = "nanoclawd", names: Sequence[str] = INTERFACES) -> None:
        self.product = product
        self.home = f"io.nanoclaw.{names[0]}"
        directory = Path(str(resources.files("nanoclawd.control") / "interfaces"))
        self._service = varlink.Service(
            vendor="nanoclaw",
            product=product,
            version=__version__,
            url="https://varlink.org/",
            interface_dir=str(directory),
        )
        for name in names:
            # The library wants a class to look methods up in; ours are found before it is asked.
            self._service.interface(f"io.nanoclaw.{name}")(object)

    def errors_of(self, interface: str) -> frozenset[str]:
        """Return the names of the errors that an interface declares; none for an unknown interface."""
        found = self._service.interfaces.get(interface)
        if found is None:
            return frozenset()
        return frozenset(name for name, member in found.members.items() if isinstance(member, _Error))

    def answer(self, frame: bytes) -> list[bytes]:
        """Return the replies to a call of org.varlink.service or of something that does not exist."""
        return list(self._service.handle(frame))
