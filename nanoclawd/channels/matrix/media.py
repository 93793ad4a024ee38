"""Files, plain and encrypted: the homeserver has them, and in encrypted rooms cannot read them."""

import asyncio
import json
from typing import Any, Final

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclaw_runner.contract.text import storable
from nanoclawd.channels.matrix.account import Account
from nanoclawd.errors import NotFound, Refused

_UPLOAD_SECONDS: Final = 50.0
_DOWNLOAD_SECONDS: Final = 110.0


async def upload(account: Account, content: bytes, media_type: str, name: str, *, sealed: bool) -> dict[str, Any]:
    """Store a file; return what a message says of where it is.

    Raises:
        Refused: the room is encrypted, and this channel does not encrypt.
        NanoclawError: the server does not take it.
    """
    if not sealed:
        return {"url": await account.requests.upload(content, media_type, storable(name), _UPLOAD_SECONDS)}
    if not account.keys.encrypts:
        raise Refused("the room is encrypted, and this channel does not encrypt")
    from nio.crypto import encrypt_attachment  # needs the libraries for encryption

    hidden, keys = await asyncio.to_thread(encrypt_attachment, content)
    address = await account.requests.upload(hidden, "application/octet-stream", None, _UPLOAD_SECONDS)
    return {"file": {**keys, "url": address}}


async def download(account: Account, reference: str) -> bytes:
    """Return the content of a file that came with a message.

    Raises:
        NotFound: the reference is none, or the server has it no more.
        Refused: what the server has is not what was sent.
        NanoclawError: it can't be had.
    """
    address, key = _where(reference)
    server, _, media = address.removeprefix("mxc://").partition("/")
    async with asyncio.timeout(_DOWNLOAD_SECONDS):
        content = await account.requests.download(server, media, MAX_BYTES)
    if key is None:
        return content
    from nio import EncryptionError
    from nio.crypto import decrypt_attachment  # as above

    try:
        opened: bytes = await asyncio.to_thread(decrypt_attachment, content, key["k"], key["h"], key["i"])
    except (EncryptionError, ValueError) as error:
        raise Refused("the file was changed on its way, or its key is wrong") from error
    return opened


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
