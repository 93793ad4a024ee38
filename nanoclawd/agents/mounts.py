"""Directories of the machine that a group may be given: only what the configuration file names, and never secrets.

What a directory is can change behind our back (a link, another disk, another configuration), so it is judged when it is
added and again whenever a unit file is written; nothing of it is remembered (W-71).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from nanoclawd.config import Mounts
from nanoclawd.errors import InvalidName, NanoclawError, NotFound, Refused
from nanoclawd.store.group_configuration import Mount

SECRETS: Final = frozenset(
    {
        *(".ssh", ".gnupg", ".gpg", ".aws", ".azure", ".gcloud", ".kube", ".docker", ".password-store", ".secret"),
        *("credentials", ".env", ".netrc", ".npmrc", ".pypirc", "id_rsa", "id_ed25519", "private_key", "credstore"),
        *("credstore.encrypted", ".git-credentials"),
    }
)
"""No directory of such a name, and nothing below one, is ever given to an agent."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}", re.ASCII)
_PATH: Final = re.compile(r"(/[A-Za-z0-9._@+-]+)+", re.ASCII)
_HINT: Final = "mounts: in /etc/nanoclawd/config.yaml names what may be given"


def check_name(name: str) -> str:
    """Return a name below ``/mnt`` when it keeps the rule.

    Raises:
        InvalidName: it doesn't.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidName(f"{name[:40]!r} can't be a directory's name: 1 to 31 of a-z, 0-9, '_' and '-'")
    return name


def judged(path: str, allowed: Mounts, private: Iterable[Path], *, writable: bool) -> Path:
    """Return the real path of a directory that may be given.

    Args:
        path: as somebody has written it.
        allowed: what the configuration file allows.
        private: the appliance's own directories.
        writable: whether it is to be written to.

    Raises:
        InvalidName: it is no absolute path, or has a character that a unit file would not keep literal.
        NotFound: it is no directory.
        Refused: it may not be given.
    """
    if not path.startswith("/") or ".." in Path(path).parts:
        raise InvalidName(f"{path[:80]!r} is no absolute path without '..'")
    try:
        real = Path(path).resolve(strict=True)
        found = real.is_dir()
    except (OSError, RuntimeError):
        found = False
    if not found:
        raise NotFound(f"there is no directory {path[:200]}, or nanoclawd may not see it: homes are hidden from it")
    if _PATH.fullmatch(str(real)) is None:
        raise InvalidName(f"{str(real)[:200]!r}: only letters, digits and . _ @ + - may be in the path of a directory")
    secret = next((part for part in real.parts if part.lower() in SECRETS), None)
    if secret is not None:
        raise Refused(f"{real} is not given to agents: {secret} is where secrets are")
    if any(real.is_relative_to(own) or own.is_relative_to(real) for own in private):
        raise Refused(f"{real} is the appliance's own")
    to_write, to_read = _below(real, allowed.writable), _below(real, allowed.readable)
    if not to_write and not to_read:
        raise Refused(f"{real} may not be given to agents", hint=_HINT)
    if writable and not to_write:
        raise Refused(f"{real} may be given to be read only", hint=_HINT)
    return real


def check_apart(mount: Mount, others: Iterable[tuple[str, Mount]]) -> None:
    """Check that no agent can put something else in the place of a directory that is given.

    What is below a directory that an agent may write to is the agent's: it could become a link to anywhere, after we
    have looked at it and before podman follows it.

    Args:
        mount: a new one.
        others: all that there are, with their groups' folders.

    Raises:
        Refused: it is below a writable one, or would be writable with another below.
    """
    for folder, other in others:
        if mount.path == other.path:
            continue
        for inner, outer in ((mount, other), (other, mount)):
            if outer.writable and Path(inner.path).is_relative_to(outer.path):
                raise Refused(
                    f"{inner.path} is below {outer.path}, which an agent may write to: it could put anything in its"
                    " place",
                    hint=f"ncl mounts list --group {folder}",
                )


def problem(mount: Mount, allowed: Mounts, private: Iterable[Path]) -> str:
    """Return why a directory that was added is not given now; empty: it is."""
    try:
        real = judged(mount.path, allowed, private, writable=False)
    except NanoclawError as error:
        return error.message
    return "" if str(real) == mount.path else f"{mount.path} is a link to {real} now"


def effective(mounts: Iterable[Mount], allowed: Mounts, private: Iterable[Path]) -> list[Mount]:
    """Return the directories that a group gets: read-only unless both sides say otherwise."""
    own = tuple(private)
    return [
        Mount(mount.name, mount.path, mount.writable and _below(Path(mount.path), allowed.writable))
        for mount in mounts
        if not problem(mount, allowed, own)
    ]


def _below(real: Path, roots: Iterable[str]) -> bool:
    for root in roots:
        try:
            if real.is_relative_to(Path(root).resolve(strict=True)):
                return True
        except (OSError, RuntimeError):
            continue
    return False
