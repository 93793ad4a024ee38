"""All that is fuzzed, by name. A target takes bytes, and raises where something is wrong."""

from collections.abc import Callable
from pathlib import Path

from fuzz import discord_payloads, doors, egress, frames, inside, messages, words

TARGETS: dict[str, Callable[[bytes], None]] = {
    "control": frames.control,
    "control-shaped": frames.shaped_control,
    "loopback": frames.loopback,
    "loopback-shaped": frames.shaped_loopback,
    "doorbell": frames.bell,
    "card": messages.card,
    "card-shaped": messages.shaped_card,
    "body": messages.body,
    "body-shaped": messages.shaped_body,
    "event": messages.event,
    "command": messages.command,
    "pattern": messages.pattern,
    "shown": messages.shown,
    "discord": discord_payloads.payload,
    "answer": words.answer,
    "prompt": words.prompt,
    "egress-target": egress.target,
    "egress-request": egress.request,
    "knock": doors.knock,
    "agents-file": doors.agents,
    "socks": doors.socks_client,
    "secret-place": inside.place,
    "host-answer": inside.answer,
    "charged-request": inside.charge,
    "streams": inside.streams,
}
CORPUS = Path(__file__).with_name("corpus")
WORDS = CORPUS / "words.dict"


def seeds(name: str) -> list[bytes]:
    """Return what was written by hand to begin a target with; the shaped ones begin with nothing."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))] or [b""]
