"""Fits what is to be delivered to what a channel can: nothing is swallowed, nothing is pretended.

A card without buttons becomes text with numbers, a file that cannot be sent becomes a sentence. An edit or a reaction
that the platform does not know is refused, so that the agent learns of it; only the end of the host's own card, which
people wait for, is said in a new message instead.
"""

from dataclasses import replace
from typing import Final

from nanoclaw_runner.contract.cards import as_text
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.sessions.ports import Attachment, Body, Edit, Reaction, ShownCard, Text, Undelivered

TAG_CHARACTERS: Final = 4
"""So much of a card's id stands before the number where several cards are open."""

_MIB: Final = 1024 * 1024
_KIB: Final = 1024


def fit(body: Body, can: Capabilities, *, from_host: bool) -> Body | Undelivered:
    """Return what the channel is to be given, or why it can't be given anything."""
    if isinstance(body, Text):
        return _without_impossible_files(body, can)
    if isinstance(body, ShownCard):
        return body if can.buttons else Text(as_text(body.card, tag=body.card_id[:TAG_CHARACTERS]))
    if isinstance(body, Edit):
        if can.edits:
            return body
        if from_host:
            return Text(body.text)
        return Undelivered("messages cannot be changed on this channel", permanent=True)
    if isinstance(body, Reaction) and not can.reactions:
        return Undelivered("there are no reactions on this channel", permanent=True)
    return body


def _without_impossible_files(body: Text, can: Capabilities) -> Text:
    left_out = [file for file in body.files if file.size > can.max_attachment]
    if not left_out:
        return body
    sent = tuple(file for file in body.files if file not in left_out)
    sentences = [_sentence(file, can) for file in left_out]
    return replace(body, text="\n\n".join(filter(None, [body.text, "\n".join(sentences)])), files=sent)


def _sentence(file: Attachment, can: Capabilities) -> str:
    if can.max_attachment == 0:
        return f"(The file {file.name} was not sent: this channel takes no files.)"
    return (
        f"(The file {file.name} was not sent: it has {_size(file.size)}, and this channel takes"
        f" {_size(can.max_attachment)} at most.)"
    )


def _size(size: int) -> str:
    if size >= _MIB:
        return f"{size / _MIB:.1f} MiB"
    return f"{max(1, round(size / _KIB))} KiB"
