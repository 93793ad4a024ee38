"""From what the gateway tells to what the appliance is told. Pure, but for what is known of places."""

import re
from datetime import UTC, datetime
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.discord import wire
from nanoclawd.channels.discord.places import Place, Places
from nanoclawd.routing.event import Change, InboundEvent, InboundFile, Quote, Sender

PLATFORM: Final = "discord"

_MARK: Final = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})|a?(?P<emoji>:\w{1,64}:)\d{1,20})>"
)
_COMMAND: Final = re.compile(r"<@[!&]?(?P<id>\d{1,20})>\s*(?P<command>/\S)")


def user_id(user: wire.User | str) -> str:
    """Return a person as the appliance knows them."""
    return f"{PLATFORM}:{user if isinstance(user, str) else user.id}"


def is_for_us(message: wire.Message, me: str) -> bool:
    """Tell whether a person has said something: no program, no notice of the platform, nothing empty."""
    if message.author.id == me or message.author.bot or message.webhook_id is not None:
        return False
    said = (message.content, message.attachments, message.sticker_items, message.message_snapshots, message.poll)
    return message.type in wire.SPOKEN and any(said)


def from_message(message: wire.Message, place: Place, places: Places) -> InboundEvent:
    """Return a message."""
    quoted = message.referenced_message
    mentioned = places.me in {one.id for one in message.mentions} or not places.own_roles.isdisjoint(
        message.mention_roles
    )
    answered = quoted is not None and quoted.author.id == places.me
    return InboundEvent(
        address=places.address(place),
        message_id=message.id,
        text=text_of(message, places),
        sender=Sender(user_id(message.author), _name(message)),
        is_mention=mentioned or answered or place.guild is None,
        is_group=place.guild is not None,
        chat_name=places.shown_name(place.parent or place.id),
        timestamp=_time(message.timestamp),
        quote=_quote(message, places),
        files=files_of(message),
    )


def from_edit(message: wire.Message, place: Place, places: Places) -> InboundEvent | None:
    """Return somebody's change of their message; None where only the platform has added something to it."""
    edited = _moment(message.edited_timestamp)
    if edited is None or not is_for_us(message, places.me):
        return None
    return InboundEvent(
        address=places.address(place),
        message_id=f"{message.id}~edited~{round(edited.timestamp() * 1000)}",
        text=text_of(message, places),
        sender=Sender(user_id(message.author), _name(message)),
        is_group=place.guild is not None,
        timestamp=_time(message.edited_timestamp),
        change=Change.EDITED,
        about=message.id,
    )


def from_deletion(message_id: str, place: Place, places: Places) -> InboundEvent:
    """Return that a message is gone; the platform does not tell who has deleted it."""
    return InboundEvent(
        address=places.address(place),
        message_id=f"{message_id}~deleted",
        text="",
        sender=Sender(None),
        is_group=place.guild is not None,
        change=Change.DELETED,
        about=message_id,
    )


def from_reaction(reacted: wire.Reacted, place: Place, places: Places) -> InboundEvent | None:
    """Return somebody's reaction; None where it is a program's."""
    person = reacted.member.user if reacted.member is not None else None
    emoji = reacted.emoji.name or ""
    if reacted.user_id == places.me or (person is not None and person.bot) or not emoji:
        return None
    if reacted.emoji.id is not None:
        emoji = f":{emoji}:"
    name = (reacted.member.nick if reacted.member is not None else None) or (person.shown if person is not None else "")
    return InboundEvent(
        address=places.address(place),
        message_id=f"{reacted.message_id}~reacted~{reacted.user_id}~{emoji}",
        text=emoji,
        sender=Sender(user_id(reacted.user_id), name),
        is_group=place.guild is not None,
        change=Change.REACTED,
        about=reacted.message_id,
    )


def from_command(given: wire.Interaction, place: Place, places: Places) -> InboundEvent | None:
    """Return a slash command as the message that it is elsewhere."""
    person = given.person
    if person is None or not given.data.name:
        return None
    nick = given.member.nick if given.member is not None else None
    return InboundEvent(
        address=places.address(place),
        message_id=given.id,
        text=f"/{given.data.name}",
        sender=Sender(user_id(person), nick or person.shown),
        is_mention=True,
        is_group=place.guild is not None,
        chat_name=places.shown_name(place.parent or place.id),
    )


def text_of(message: wire.Message, places: Places) -> str:
    """Return what a message says, with names where the platform has numbers."""
    parts = [_readable(_without_call(message.content, places), message.mentions, places)]
    parts += [f"[sticker: {one.name}]" for one in message.sticker_items]
    if message.poll is not None:
        parts.append(f"[poll: {message.poll.question.text or ''}]")
        parts += [f"- {one.poll_media.text or ''}" for one in message.poll.answers]
    return "\n".join(part for part in parts if part)


def files_of(message: wire.Message) -> tuple[InboundFile, ...]:
    """Return a message's files; what was forwarded has its own."""
    forwarded = [one for snapshot in message.message_snapshots for one in snapshot.message.attachments]
    return tuple(
        InboundFile(
            f"{message.channel_id}/{message.id}/{one.id}",
            one.filename,
            (one.content_type or "").partition(";")[0],
            one.size,
        )
        for one in (*message.attachments, *forwarded)
    )


def chat_of(address: Address) -> str:
    """Return the id of the channel that a delivery goes to: a thread is a channel to the API."""
    return address.thread_id or address.platform_id


def _quote(message: wire.Message, places: Places) -> Quote | None:
    quoted = message.referenced_message
    if quoted is not None:
        words = _readable(quoted.content, (), places) or ", ".join(one.filename for one in quoted.attachments)
        return Quote(words, quoted.author.shown, quoted.id)
    forwarded = [one.message.content for one in message.message_snapshots if one.message.content]
    return Quote("\n".join(forwarded), "forwarded") if forwarded else None


def _without_call(content: str, places: Places) -> str:
    """Take the bot's name from before a command: a command begins its text."""
    found = _COMMAND.match(content)
    if found is None or found["id"] not in {places.me, *places.own_roles}:
        return content
    return content[found.start("command") :]


def _readable(content: str, mentioned: tuple[wire.User, ...], places: Places) -> str:
    names = {one.id: one.shown for one in mentioned}

    def name(found: re.Match[str]) -> str:
        if found["user"]:
            return f"@{names[found['user']]}" if names.get(found["user"]) else found[0]
        if found["channel"]:
            place = places.get(found["channel"])
            return f"#{place.name}" if place is not None else found[0]
        if found["role"]:
            own = names.get(places.me) or "you"
            return f"@{own}" if found["role"] in places.own_roles else found[0]
        return found["emoji"]

    return _MARK.sub(name, content)


def _name(message: wire.Message) -> str:
    return (message.member.nick if message.member is not None else None) or message.author.shown


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)


def _time(text: str | None) -> str | None:
    return text if _moment(text) is not None else None
