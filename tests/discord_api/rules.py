"""What the REST API accepts of a message, each rule with the documentation's statement."""

from typing import Any

MAX_CONTENT = 2000
"""Create Message: "content?: string: Message contents (up to 2000 characters)"."""

MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
"""Uploading Files: "The file upload size limit applies to each file in a request. The default limit is 10 MiB for all
users, but may be higher … depending on their Nitro status or by the server's Boost Tier"."""

MAX_ATTACHMENTS = 10
"""The service refuses an eleventh file of a message ("Must be 10 or fewer in length")."""

MAX_CUSTOM_ID = 100
"""Component Reference: "custom_id: string: ID for the button; 1-100 characters"."""

MAX_BUTTONS = 5
"""Action Row: "Up to 5 contextually grouped buttons"."""

MAX_ROWS = 5
"""Legacy Message Component Behavior: "a message can contain up to 5 action rows"."""

MAX_LABEL = 80
"""Button: "label?: string: Text that appears on the button; max 80 characters"."""

MAX_NONCE = 25
"""Create Message: "nonce?: integer or string: Can be used to verify a message was sent (up to 25 characters)"."""

EMBED_LIMITS = {"title": 256, "description": 4096}
MAX_EMBEDS = 10
MAX_EMBED_TOTAL = 6000
"""Embed Limits: "title 256 characters, description 4096 characters …  the combined sum of characters in all title,
description, … fields across all embeds attached to a message must not exceed 6000 characters"; "up to 10 embeds"."""

EPHEMERAL = 1 << 6
"""Message Flags: "EPHEMERAL 1 << 6: this message is only visible to the user who invoked the Interaction"."""


def faults(body: dict[str, Any], files: int, *, edit: bool = False) -> dict[str, str]:
    """Return what is wrong with a message's body, by field; empty where nothing is."""
    found: dict[str, str] = {}
    content = body.get("content")
    if content is not None and not isinstance(content, str):
        found["content"] = "Could not interpret as string."
    elif content and length(content) > MAX_CONTENT:
        found["content"] = f"Must be {MAX_CONTENT} or fewer in length."
    nonce = body.get("nonce")
    if nonce is not None and len(str(nonce)) > MAX_NONCE:
        found["nonce"] = f"Must be {MAX_NONCE} or fewer in length."
    if files > MAX_ATTACHMENTS:
        found["attachments"] = f"Must be {MAX_ATTACHMENTS} or fewer in length."
    found |= _of_embeds(body.get("embeds") or [])
    found |= _of_components(body.get("components") or [])
    return found


def is_empty(body: dict[str, Any], files: int) -> bool:
    """Tell whether nothing would be shown.

    Create Message: "you must provide a value for at least one of content, embeds, sticker_ids, components, files[n],
    or poll". White space alone is refused with 50006 "Cannot send an empty message".
    """
    shown = (body.get("content") or "").strip(), body.get("embeds"), body.get("components"), files
    return not any(shown)


def length(text: str) -> int:
    """Return a text's length as strictly as either reading of "characters" has it: in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _of_embeds(embeds: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    if len(embeds) > MAX_EMBEDS:
        found["embeds"] = f"Must be {MAX_EMBEDS} or fewer in length."
    for name, most in EMBED_LIMITS.items():
        if any(len(embed.get(name) or "") > most for embed in embeds):
            found[f"embeds.{name}"] = f"Must be {most} or fewer in length."
    if sum(len(embed.get(name) or "") for embed in embeds for name in EMBED_LIMITS) > MAX_EMBED_TOTAL:
        found["embeds.total"] = f"Embed size exceeds maximum size of {MAX_EMBED_TOTAL}"
    return found


def _of_components(rows: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    if len(rows) > MAX_ROWS:
        found["components"] = f"Must be {MAX_ROWS} or fewer in length."
    known: set[str] = set()
    for row in rows:
        buttons = row.get("components") or []
        # Component types: 1 is an action row, 2 a button.
        if row.get("type") != 1 or not 1 <= len(buttons) <= MAX_BUTTONS:
            found["components.row"] = f"Must be between 1 and {MAX_BUTTONS} in length."
        for button in buttons:
            identity, label = button.get("custom_id"), button.get("label")
            if not isinstance(identity, str) or not 1 <= len(identity) <= MAX_CUSTOM_ID:
                found["components.custom_id"] = f"Must be between 1 and {MAX_CUSTOM_ID} in length."
            elif identity in known:
                # "custom_id must be unique per component" on a message.
                found["components.custom_id"] = "Component custom id cannot be duplicated"
            known.add(str(identity))
            if not isinstance(label, str) or not label or length(label) > MAX_LABEL:
                found["components.label"] = f"Must be between 1 and {MAX_LABEL} in length."
    return found
