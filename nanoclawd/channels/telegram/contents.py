"""What is in a Telegram message: its words, in words what is no text, and its files."""

from collections.abc import Iterator
from typing import Any, Final

from telegram import Message, Sticker

from nanoclawd.routing.event import InboundFile

_MAX_CHOICES: Final = 12
_STICKERS: Final = {"webm": "video/webm", "tgs": "application/x-tgsticker", "webp": "image/webp"}


def words_of(message: Message) -> str:
    """Return what a message says: its text or caption, and in brackets what else is in it.

    Raises:
        TypeError: its text is none.
    """
    said = message.text if message.text is not None else message.caption
    if said is not None and not isinstance(said, str):
        raise TypeError("a text is no text")
    return "\n".join(filter(None, [said, *_others(message)]))


def files_of(message: Message) -> tuple[InboundFile, ...]:
    """Return a message's files, each by the id that Telegram gives it out for, also later."""
    return tuple(_files(message))


def _others(message: Message) -> Iterator[str]:
    if message.venue is not None:
        place = message.venue.location
        yield f"[place: {message.venue.title}, {message.venue.address} ({place.latitude}, {place.longitude})]"
    elif message.location is not None:
        yield f"[location: {message.location.latitude}, {message.location.longitude}]"
    if message.contact is not None:
        name = " ".join(filter(None, [message.contact.first_name, message.contact.last_name]))
        yield f"[contact: {name}, {message.contact.phone_number}]"
    if message.poll is not None:
        choices = " / ".join(str(one.text) for one in message.poll.options[:_MAX_CHOICES])
        yield f"[poll: {message.poll.question} ({choices})]"
    if message.dice is not None:
        yield f"[{message.dice.emoji} shows {message.dice.value}]"
    if message.sticker is not None:
        yield f"[sticker {message.sticker.emoji or ''}".rstrip() + "]"
    if message.game is not None:
        yield f"[game: {message.game.title}]"
    if message.story is not None:
        yield "[a story, which bots can't see]"


def _files(message: Message) -> Iterator[InboundFile]:
    if message.photo:
        # The sizes of one picture; the last one is the largest.
        yield _file(message.photo[-1], message, "photo", "jpg", "image/jpeg")
    if message.animation is not None:
        yield _file(message.animation, message, "animation", "mp4", "video/mp4")
    elif message.document is not None:  # an animation comes as a document as well
        yield _file(message.document, message, "document", "", "")
    if message.voice is not None:
        yield _file(message.voice, message, "voice", "ogg", "audio/ogg")
    if message.audio is not None:
        yield _file(message.audio, message, "audio", "mp3", "audio/mpeg")
    if message.video is not None:
        yield _file(message.video, message, "video", "mp4", "video/mp4")
    if message.video_note is not None:
        yield _file(message.video_note, message, "video-note", "mp4", "video/mp4")
    if message.sticker is not None:
        kind = _sticker(message.sticker)
        yield _file(message.sticker, message, "sticker", kind, _STICKERS[kind])


def _sticker(sticker: Sticker) -> str:
    return "webm" if sticker.is_video else "tgs" if sticker.is_animated else "webp"


def _file(of: Any, message: Message, word: str, ending: str, media_type: str) -> InboundFile:
    name = getattr(of, "file_name", None) or f"{word}-{message.message_id}{'.' if ending else ''}{ending}"
    size = of.file_size
    if not isinstance(of.file_id, str):
        raise TypeError("a file's id is no text")
    return InboundFile(
        of.file_id,
        str(name),
        str(getattr(of, "mime_type", None) or media_type),
        size if isinstance(size, int) and size >= 0 else None,
    )
