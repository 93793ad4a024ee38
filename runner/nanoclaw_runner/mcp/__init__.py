"""MCP servers' tools for providers that do not speak the protocol themselves.

The protocol's own library is in a directory of its own, and imported only for an agent that has servers: it is large,
and brings newer versions of what Debian has. So its directory comes before Debian's, and must be there before anything
is imported from it.
"""

import sys
from pathlib import Path
from typing import Final

LIBRARIES: Final = Path("/opt/mcp")


_LOADED_BY_OTHERS: Final = ("typing_extensions",)
"""msgspec looks into Debian's when it is imported, and needs it no more."""


def use_libraries() -> None:
    """Have imports look into the library's directory first, where the image has it."""
    if LIBRARIES.is_dir() and str(LIBRARIES) not in sys.path:
        sys.path.insert(0, str(LIBRARIES))
        for name in _LOADED_BY_OTHERS:
            sys.modules.pop(name, None)
