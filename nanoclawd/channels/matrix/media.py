"""Files, plain and encrypted: the homeserver has them, and in encrypted rooms cannot read them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclaw_runner.contract.text import storable
from nanoclawd.channels.matrix.account import Account
from nanoclawd.errors import NotFound, Refused
from nanoclawd.sessions.ports import Attachment

_UPLOAD_SECONDS: Final = 50.0
_PIECE: Final = 256 * 1024


async def upload(account: Account, file: Attachment, media_type: str, name: str, *, sealed: bool) -> dict[str, Any]:
    """Store a file; return what a message says of where it is. One that is to be encrypted is in memory as a whole.

    Raises:
        Refused: the room is encrypted, and this channel does not encrypt.
        NanoclawError: the server does not take it.
    """
    if not sealed:
        content = _pieces(file)
        address = await account.requests.upload(content, file.size, media_type, storable(name), _UPLOAD_SECONDS)
        return {"url": address}
    if not account.keys.encrypts:
        raise Refused("the room is encrypted, and this channel does not encrypt")
    from nio.crypto import encrypt_attachment  # needs the libraries for encryption

    hidden, keys = await asyncio.to_thread(lambda: encrypt_attachment(file.file.read()))
    address = await account.requests.upload(hidden, len(hidden), "application/octet-stream", None, _UPLOAD_SECONDS)
    return {"file": {**keys, "url": address}}


async def download(account: Account, reference: str) -> AsyncGenerator[bytes]:
    """Give the content of a file that came with a message; of an encrypted one once all of it is there, and right.

    Raises:
        NotFound: the reference is none, or the server has it no more.
        Refused: what the server has is not what was sent.
        NanoclawError: it can't be had.
    """
    address, key = _where(reference)
    server, _, media = address.removeprefix("mxc://").partition("/")
    pieces = account.requests.download(server, media, MAX_BYTES)
    if key is None:
        async for piece in pieces:
            yield piece
        return
    content = b"".join([piece async for piece in pieces])
    from nio import EncryptionError
    from nio.crypto import decrypt_attachment  # as above

    try:
        opened: bytes = await asyncio.to_thread(decrypt_attachment, content, key["k"], key["h"], key["i"])
    except (EncryptionError, ValueError) as error:
        raise Refused("the file was changed on its way, or its key is wrong") from error
    for start in range(0, len(opened), _PIECE):
        yield opened[start : start + _PIECE]


async def _pieces(file: Attachment) -> AsyncGenerator[bytes]:
    while piece := await asyncio.to_thread(file.file.read, _PIECE):
        yield piece


def _where(reference: str) -> tuple[str, dict[str, str] | None]:
    try:
        found = json.loads(reference)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()) or "u" not in found:
        raise NotFound("the message has no such file")
    address: str = found["u"]
    if not address.startswith("mxc://"):
        raise NotFound("the message has no such file")
    return address, found if {"k", "i", "h"} <= found.keys() else None
