"""What the client has kept of a conversation, as entries of an archive."""

import json
import logging
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from nanoclaw_runner.tools.clock import zone
from nanoclaw_runner.transcripts import Entry, archive

_log = logging.getLogger(__name__)

MAX_TRANSCRIPT_BYTES: Final = 128 * 1024 * 1024
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_OF_THE_CLIENT: Final = ("<command-name>", "<local-command-", "Caveat: ")


def keep(transcript: Path, workspace: Path, assistant: str, timezone: str) -> Path | None:
    """Archive what was said since the conversation was last made shorter. Failures are logged only.

    Args:
        transcript: the client's file, one JSON object a line.
        workspace: the agent group's.
        assistant: the agent's name.
        timezone: the owner's.
    """
    try:
        if transcript.stat().st_size > MAX_TRANSCRIPT_BYTES:
            _log.warning("the conversation is too long to be archived")
            return None
        with transcript.open("rb") as file:
            title, entries = _read(file, assistant or "Assistant")
    except OSError as error:
        _log.warning("the conversation cannot be archived: %s", error)
        return None
    return archive(workspace, entries, datetime.now(zone(timezone)), title)


def _read(lines: Iterable[bytes], assistant: str) -> tuple[str, list[Entry]]:
    title = ""
    entries: list[Entry] = []
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(found, dict):
            continue
        kind = found.get("type")
        if kind == "summary" and isinstance(found.get("summary"), str):
            title = found["summary"]
        if kind == "system" and found.get("subtype") == "compact_boundary":
            entries.clear()
        if kind not in {"user", "assistant"} or found.get("isMeta") or found.get("isCompactSummary"):
            continue
        if found.get("isSidechain"):
            continue  # a helper's conversation with itself
        text = _text(found.get("message"))
        if text and not text.startswith(_OF_THE_CLIENT):
            entries.append(Entry("User" if kind == "user" else assistant, text))
    return title, entries


def _text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        blocks = [content]
    elif isinstance(content, list):
        blocks = [str(one.get("text")) for one in content if isinstance(one, dict) and one.get("type") == "text"]
    else:
        blocks = []
    return "\n".join(bare for block in blocks if (bare := _REMINDER.sub("", block).strip()))
