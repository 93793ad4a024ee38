"""How a file goes to Telegram: as a picture, as a voice message, or as a file."""

from enum import StrEnum
from typing import Final

from nanoclawd.sessions.ports import Attachment

MAX_FILE_BYTES: Final = 50_000_000
MAX_PHOTO_BYTES: Final = 10_000_000
_PICTURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_OGG: Final = b"OggS"
_OPUS: Final = b"OpusHead"
_HEAD_BYTES: Final = 128


class FileKind(StrEnum):
    """The method that takes it."""

    PHOTO = "photo"
    VOICE = "voice"
    DOCUMENT = "document"


def kind_of(content: bytes) -> FileKind:
    """Return what a file is to Telegram, by its content."""
    head = content[:_HEAD_BYTES]
    if head.startswith(_PICTURES) and len(content) <= MAX_PHOTO_BYTES:
        return FileKind.PHOTO
    if head.startswith(_OGG) and _OPUS in head:
        return FileKind.VOICE
    return FileKind.DOCUMENT


def read(attachment: Attachment) -> bytes:
    """Return a file's content from its beginning: an earlier attempt may have read it. Not for the loop."""
    attachment.file.seek(0)
    return attachment.file.read(MAX_FILE_BYTES + 1)
