"""Files that go with messages: bytes over the control socket, in bounded parts; no path of ours is told to anybody."""

import argparse
import base64
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

MAX_BYTES = 50 * 1024 * 1024
"""The contract's bound (nanoclaw_runner.contract.files) of a message's files; here too, so that nothing is imported."""

_PART_BYTES = 512 * 1024
_MIB = 1024**2


def upload(socket: str, paths: Iterable[str]) -> list[dict[str, str]]:
    """Send files' bytes; return what goes with the message that they belong to.

    Raises:
        CommandError: one can't be read, is no regular file, or they are too large.
    """
    found: list[dict[str, str]] = []
    room = MAX_BYTES
    with Client(socket) as client:
        for path in paths:
            path = os.path.expanduser(path)  # noqa: PTH111, PLW2901  # Path's own fails where there is no such user
            name = secrets.token_hex(16)
            room -= _upload(client, path, name, room)
            found.append({"upload": name, "name": Path(path).name})
    return found


def save(socket: str, file: str, directory: Path, name: str | None = None) -> Path:
    """Save what an agent has sent; return where. Nothing that is there is written over.

    Raises:
        CommandError: there is no such file, or it can't be written.
    """
    with Client(socket) as client:
        data, told = _part(client, file, 0)
        try:
            descriptor, path = _create(directory, name or _safe(told, file))
            with os.fdopen(descriptor, "wb") as target:
                while data:
                    target.write(data)
                    data, _ = _part(client, file, target.tell())
        except OSError as error:
            raise CommandError(outcome.ERROR, f"{directory}: {error.strerror or error}") from None
    return path


def described(event: dict[str, Any]) -> list[str]:
    """Return a line for each file of a message: what it is, and how it is saved."""
    return [
        f"(file {clean_line(one['name'])}, {show.size(one['size'])}; to save it: ncl fetch {one['id']})"
        for one in event.get("files") or ()
    ]


def fetch(given: argparse.Namespace) -> int:
    """Save a file that an agent has sent."""
    to = Path(given.to or ".")
    directory, name = (to, None) if to.is_dir() else (to.parent, to.name)
    path = save(socket_path(given.socket), given.file, directory, name)
    if given.json:
        show.as_json({"path": str(path)})
    else:
        show.say(f"saved as {path}")
    return outcome.OK


def _upload(client: Client, path: str, name: str, room: int) -> int:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123  # a descriptor
            if not Path(f"/proc/self/fd/{file.fileno()}").is_file():
                raise CommandError(outcome.REFUSED, f"{path} is no regular file")
            size = 0
            while True:
                part = file.read(_PART_BYTES)
                if size + len(part) > room:
                    raise CommandError(
                        outcome.REFUSED, f"{path}: a message has {MAX_BYTES // _MIB} MiB of files at most"
                    )
                if part or not size:
                    client.call("Chat.Upload", upload=name, offset=size, data=base64.b64encode(part).decode())
                size += len(part)
                if not part:
                    return size
    except OSError as error:
        raise CommandError(outcome.ERROR, f"{path}: {error.strerror or error}") from None


def _part(client: Client, file: str, offset: int) -> tuple[bytes, str]:
    part = client.call("Chat.Download", file=file, offset=offset)
    try:
        return base64.b64decode(part["data"]), str(part["name"])
    except ValueError:
        raise CommandError(outcome.ERROR, "what answers at the control socket is not nanoclawd") from None


def _safe(name: str, file: str) -> str:
    """Return an agent's name for a file where it is one that does no harm in a directory, else its id."""
    usable = name.isprintable() and "/" not in name and not name.startswith((".", "-")) and clean_line(name) == name
    return name if name and usable else f"file-{file}"


def _create(directory: Path, name: str) -> tuple[int, Path]:
    stem, dot, suffix = name.rpartition(".") if "." in name[1:] else (name, "", "")
    number = 1
    while True:
        path = directory / (name if number == 1 else f"{stem}-{number}{dot}{suffix}")
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), path
        except FileExistsError:
            number += 1
