"""Files from agent to agent: copied out of the one's hands before the other sees them."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import filetype

from nanoclawd.errors import Refused, Unavailable
from nanoclawd.sessions.ports import Attachment
from nanoclawd.sessions.received import MODE, Received, safe_name

_HEAD_BYTES: Final = 8192
_PIECE_BYTES: Final = 1024 * 1024


@asynccontextmanager
async def staged(staging: Path, attachments: Sequence[Attachment]) -> AsyncGenerator[tuple[Received, ...]]:
    """Have copies of an agent's files at hand, whole and on the disk; afterwards they are gone from here.

    Raises:
        Unavailable: they can't be written.
        Refused: one of them has become shorter meanwhile.
    """
    if not attachments:
        yield ()
        return
    try:
        directory = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=staging))
    except OSError as error:
        raise Unavailable(f"its files can't be stored: {error}", hint="df -h; ncl doctor") from error
    try:
        received: list[Received] = []
        for number, one in enumerate(attachments, start=1):
            media_type = await asyncio.to_thread(_copy, one, directory / str(number))
            name = safe_name(one.name, number, "", (other.name for other in received))
            received.append(Received(name, media_type, one.size, directory / str(number)))
        yield tuple(received)
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _copy(attachment: Attachment, target: Path) -> str:
    """Copy a file and return its type, as its first bytes tell it."""
    head, size = b"", 0
    attachment.file.seek(0)
    try:
        with target.open("wb") as file:
            os.fchmod(file.fileno(), MODE)
            while piece := attachment.file.read(_PIECE_BYTES):
                head = head or piece[:_HEAD_BYTES]
                size += len(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Unavailable(f"its files can't be stored: {error}", hint="df -h; ncl doctor") from error
    if size != attachment.size:
        raise Refused(f"the file {attachment.name} was changed while it was sent")
    return filetype.guess_mime(head) or ("application/octet-stream" if b"\0" in head else "text/plain")
