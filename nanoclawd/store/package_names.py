"""What may stand behind ``apt-get install``, ``npm install`` and ``pip install`` in a group's Containerfile (W-57).

Checked wherever a name comes in, by the tables once more, and where the Containerfile is written: a name is a plain one
from a closed alphabet: no option, no version, no address, no path, nothing that a shell reads.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from nanoclawd.errors import InvalidName, TooLarge

MANAGERS: Final = ("apt", "npm", "pip")
MAX_PACKAGES: Final = 200
"""Of one group; of one manager and of one request fewer."""

MAX_REQUESTED: Final = 20
MAX_LENGTH: Final = 100

_RULES: Final[Mapping[str, re.Pattern[str]]] = {
    # A name that ends with a dash would remove a package.
    "apt": re.compile(r"[a-z0-9][a-z0-9.+-]*[a-z0-9.+]", re.ASCII),
    "npm": re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*", re.ASCII),
    "pip": re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII),
}
SAID: Final[Mapping[str, str]] = {
    "apt": "a Debian package is named with a-z, 0-9, '.', '+' and '-', without a version",
    "npm": "an npm package is named NAME or @SCOPE/NAME with a-z, 0-9, '.', '_' and '-', without a version",
    "pip": "a Python package is named with letters, digits, '.', '_' and '-', without a version",
}


def check(manager: str, name: str) -> str:
    """Return a package's name when it keeps the rule.

    Raises:
        InvalidName: it doesn't, or there is no such manager.
    """
    if manager not in _RULES:
        raise InvalidName(f"there is no package manager {manager[:40]!r}; there are: {', '.join(MANAGERS)}")
    if len(name) > MAX_LENGTH or _RULES[manager].fullmatch(name) is None:
        raise InvalidName(f"{name[:60]!r} can't be installed: {SAID[manager]}")
    return name


def check_requested(packages: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return what was asked for at once, by manager, each name once and in order.

    Raises:
        InvalidName: a name breaks its rule, or there is none.
        TooLarge: there are too many.
    """
    asked = {manager: tuple(dict.fromkeys(check(manager, one) for one in names)) for manager, names in packages.items()}
    count = sum(map(len, asked.values()))
    if not count:
        raise InvalidName("no package is named", hint="--apt NAME, --npm NAME or --pip NAME")
    if count > MAX_REQUESTED:
        raise TooLarge(f"{count} packages at once; {MAX_REQUESTED} are the most")
    return asked
