"""Pictures that came with messages, as parts of a request: bounded, and only from where received files lie."""

import base64
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from nanoclaw_runner.confined import FileRefusedError, open_beneath
from nanoclaw_runner.prompt import Prompt

_log = logging.getLogger(__name__)

MAX_IMAGES: Final = 8
MAX_IMAGE_BYTES: Final = 5 * 1024 * 1024
MAX_TOGETHER_BYTES: Final = 16 * 1024 * 1024
_RIFF: Final = b"RIFF"
_STARTS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def parts(prompts: Sequence[Prompt], received: Path) -> list[dict[str, Any]]:
    """Return the newest images of prompts; one that cannot be had stays what it is in the text: a mention.

    Args:
        prompts: oldest first.
        received: the directory beneath which received files lie.
    """
    paths = [one.path for prompt in prompts for line in prompt.lines for one in line.attachments if one.path]
    found: list[dict[str, Any]] = []
    room = MAX_TOGETHER_BYTES
    for path in reversed(paths):
        if len(found) == MAX_IMAGES:
            break
        try:
            data = _read(path, received)
        except (FileRefusedError, OSError) as error:
            _log.warning("a picture cannot be shown to the model: %s", error)
            continue
        kind = _kind(data)
        if not kind or len(data) > min(MAX_IMAGE_BYTES, room):
            continue
        room -= len(data)
        url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        found.append({"type": "image_url", "image_url": {"url": url}})
    found.reverse()
    return found


def _read(path: str, received: Path) -> bytes:
    rest = path.removeprefix(f"{received}/")
    if rest == path:
        raise FileRefusedError(f"{path} is not among the received files")
    descriptor, size = open_beneath(received, rest)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_IMAGE_BYTES + 1) if size <= MAX_IMAGE_BYTES else b""


def _kind(data: bytes) -> str:
    for start, kind in _STARTS.items():
        if data.startswith(start):
            return kind
    return "image/webp" if data.startswith(_RIFF) and data[8:12] == b"WEBP" else ""
