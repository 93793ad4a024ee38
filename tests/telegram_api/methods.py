"""The methods of the Bot API that a request can name; each takes the request's parameters and returns its result."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import rules
from .formatting import parsed
from .limits import Limits
from .rules import ApiError, bad_request, units
from .world import Chat, File, Json, World

_NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content"
    " and reply markup of the message"
)
_SENDING = {"Photo": "photo", "Document": "document", "Voice": "voice", "Audio": "audio", "Video": "video"}
_MEDIA_TYPES = {"photo": "image/jpeg", "voice": "audio/ogg"}


@dataclass(frozen=True)
class Upload:
    """A part of a multipart request with a file in it."""

    name: str
    media_type: str
    content: bytes


class Methods:
    """What needs no waiting: all but getUpdates and webhooks."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world = world
        self.limits = limits

    def find(self, name: str) -> Callable[[Json], Any] | None:
        """Return a method. [Making requests] "All methods in the Bot API are case-insensitive"."""
        known = {one.removeprefix("do_").replace("_", ""): one for one in dir(self) if one.startswith("do_")}
        if name.lower().startswith("send") and name[4:].capitalize() in _SENDING:
            kind = _SENDING[name[4:].capitalize()]
            return lambda given: self._send_file(kind, given)
        found = known.get(name.lower())
        return None if found is None else getattr(self, found)

    def do_get_me(self, _given: Json) -> Any:
        return self.world.me

    def do_get_chat(self, given: Json) -> Any:
        """[getChat] "Returns a ChatFullInfo object on success."""
        chat = self.world.chat(given.get("chat_id"))
        return {**chat.shown(), "accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": _gifts()}

    def do_send_message(self, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        text, entities = self._text(given, "text", rules.MAX_TEXT, "message is too long")
        if not text:
            # [sendMessage, text] "1-4096 characters"
            raise bad_request("message text is empty")
        content = {"text": text, **({"entities": entities} if entities else {})}
        return self._put(chat, content, given)

    def do_edit_message_text(self, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        message = self._own(chat, given, "message to edit not found")
        if "text" not in message:
            raise bad_request("there is no text in the message to edit")
        text, entities = self._text(given, "text", rules.MAX_TEXT, "MESSAGE_TOO_LONG")
        if not text:
            raise bad_request("message text is empty")
        return self._change(chat, message, {"text": text}, "entities", entities, given)

    def do_edit_message_caption(self, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        message = self._own(chat, given, "message to edit not found")
        text, entities = self._text(given, "caption", rules.MAX_CAPTION, "message caption is too long")
        return self._change(chat, message, {"caption": text}, "caption_entities", entities, given)

    def do_edit_message_reply_markup(self, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        message = self._own(chat, given, "message to edit not found")
        return self._change(chat, message, {}, "entities", message.get("entities", []), given)

    def do_delete_message(self, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        message = self.world.message(chat, given.get("message_id"), "message to delete not found")
        del chat.messages[message["message_id"]]
        self.world.news.set()
        return True

    def do_set_message_reaction(self, given: Json) -> Any:
        """[setMessageReaction, reaction] "bots can set up to one reaction per message"; an empty list removes it."""
        chat = self.world.chat(given.get("chat_id"))
        message = self.world.message(chat, given.get("message_id"), "message to react not found")
        wanted = given.get("reaction") or []
        if len(wanted) > 1:
            raise bad_request("REACTIONS_TOO_MANY")
        emoji = [one.get("emoji") for one in wanted]
        if not set(emoji) <= rules.REACTIONS:
            raise bad_request("REACTION_INVALID")
        reactions = message.setdefault("reactions", {})
        reactions.pop("bot", None)
        if emoji:
            reactions["bot"] = emoji[0]
        self.world.news.set()
        return True

    def do_answer_callback_query(self, given: Json) -> Any:
        clicked = self.world.clicks.get(str(given.get("callback_query_id")))
        old = clicked is not None and time.monotonic() - clicked.at > rules.CALLBACK_SECONDS
        if clicked is None or clicked.is_answered or old:
            raise bad_request("query is too old and response timeout expired or query ID is invalid")
        text = given.get("text")
        if text is not None and len(str(text)) > rules.MAX_ANSWER:
            raise bad_request("MESSAGE_TOO_LONG")
        clicked.answer, clicked.is_answered = text, True
        self.world.news.set()
        return True

    def do_send_chat_action(self, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        if given.get("action") not in rules.ACTIONS:
            raise bad_request("wrong parameter action in request")
        thread = self._thread(chat, given)
        chat.actions.append((given["action"], thread, time.monotonic()))
        self.world.news.set()
        return True

    def do_get_file(self, given: Json) -> Any:
        """[getFile] "On success, a File object is returned. The file can then be downloaded via the link
        …/<file_path>"."""
        file = self.world.files.get(str(given.get("file_id")))
        if file is None:
            raise bad_request("wrong file_id or the file is temporarily unavailable")
        if file.size > rules.MAX_DOWNLOAD:
            raise bad_request("file is too big")
        about = {"file_id": file.id, "file_unique_id": file.unique_id, "file_size": file.size}
        return {**about, "file_path": f"documents/{file.id}"}

    def do_get_my_commands(self, _given: Json) -> Any:
        """[getMyCommands] "If commands aren't set, an empty list is returned"."""
        return self.world.commands

    def do_set_my_commands(self, given: Json) -> Any:
        commands = given.get("commands") or []
        if len(commands) > rules.MAX_COMMANDS:
            raise bad_request("BOT_COMMANDS_TOO_MUCH")
        for one in commands:
            # [BotCommand, command] "1-32 characters. Can contain only lowercase English letters, digits and
            # underscores."
            name = one["command"]
            if not (
                1 <= len(name) <= 32 and name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
            ):
                raise bad_request("BOT_COMMAND_INVALID")
            # [BotCommand, description] "1-256 characters"
            if not 1 <= len(one["description"]) <= 256:
                raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
        self.world.commands = list(commands)
        return True

    # What they have in common.

    def _send_file(self, kind: str, given: Json) -> Any:
        chat = self.world.chat(given.get("chat_id"))
        caption, entities = self._text(given, "caption", rules.MAX_CAPTION, "message caption is too long")
        file = self._file(kind, given.get(kind))
        about: Json = {
            "file_id": file.id,
            "file_unique_id": file.unique_id,
            "file_size": file.size,
            "file_name": file.name,
        }
        body: Any = about
        if kind == "photo":
            body = [{**about, "width": 800, "height": 600}]
        elif kind in {"voice", "audio", "video"}:
            body = {**about, "duration": 1, **({"width": 1, "height": 1} if kind == "video" else {})}
        content = {kind: body, "files": [file.id], "sent": kind}
        if caption:
            content |= {"caption": caption, **({"caption_entities": entities} if entities else {})}
        return self._put(chat, content, given)

    def _file(self, kind: str, given: Any) -> File:
        """[Sending files]: by a file_id, by a URL, or "Post the file using multipart/form-data"."""
        if isinstance(given, Upload):
            if len(given.content) > rules.MAX_UPLOAD:
                raise ApiError(413, "Request Entity Too Large")
            if kind == "photo" and len(given.content) > rules.MAX_PHOTO:
                raise bad_request("file is too big")
            if not given.content:
                raise bad_request("file must be non-empty")
            return self.world.keep(given.content, given.name, _MEDIA_TYPES.get(kind, given.media_type))
        found = self.world.files.get(str(given))
        if found is None:
            raise bad_request("wrong file identifier/HTTP URL specified")
        return found

    def _text(self, given: Json, key: str, most: int, problem: str) -> tuple[str, list[Json]]:
        source = given.get(key) or ""
        if not isinstance(source, str):
            raise bad_request(f"{key} must be a string")
        text, entities = parsed(source, given.get("parse_mode"))
        if units(text) > most:
            raise bad_request(problem)
        # Observed: white space at the ends is taken away, and characters that nobody sees are dropped.
        return "".join(one if one >= " " or one == "\n" else " " for one in text).strip(), entities

    def _put(self, chat: Chat, content: Json, given: Json) -> Json:
        thread = self._thread(chat, given)
        markup = self._markup(given)
        replied = given.get("reply_parameters") or {}
        if replied:
            target = chat.messages.get(replied.get("message_id", 0))
            # [ReplyParameters, allow_sending_without_reply] "Pass True if the message should be sent even if the
            # specified
            # message to be replied to is not found"
            if target is None and not replied.get("allow_sending_without_reply"):
                raise bad_request("message to be replied not found")
            if target is not None:
                content["reply_to_message"] = {key: value for key, value in target.items() if key != "reply_to_message"}
        self.limits.take(chat.shown())
        me = {key: self.world.me[key] for key in ("id", "is_bot", "first_name", "username")}
        message = self.world.add_message(chat, me, {**content, **markup}, thread=thread)
        self.world.news.set()
        return message

    def _thread(self, chat: Chat, given: Json) -> int | None:
        """[sendMessage, message_thread_id] "Unique identifier for the target message thread (topic) of the forum; for
        forum
        supergroups only"."""
        thread = given.get("message_thread_id")
        if thread is None:
            return None
        if not chat.is_forum or int(thread) not in chat.topics:
            raise bad_request("message thread not found")
        return int(thread)

    def _markup(self, given: Json) -> Json:
        """[InlineKeyboardButton] "Exactly one of the optional fields must be used to specify type of the button"."""
        markup = given.get("reply_markup")
        if not markup:
            return {}
        for row in markup.get("inline_keyboard", []):
            for button in row:
                kinds = {"callback_data", "url"} & set(button)
                if len(kinds) != 1 or not button.get("text"):
                    raise bad_request(
                        "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
                    )
                data = button.get("callback_data")
                if data is not None and not 1 <= len(data.encode()) <= rules.MAX_CALLBACK_DATA:
                    raise bad_request("BUTTON_DATA_INVALID")
        return {"reply_markup": markup} if markup.get("inline_keyboard") else {}

    def _own(self, chat: Chat, given: Json, missing: str) -> Json:
        message = self.world.message(chat, given.get("message_id"), missing)
        if message["from"]["id"] != self.world.me["id"]:
            raise bad_request("message can't be edited")
        return message

    def _change(self, chat: Chat, message: Json, new: Json, key: str, entities: list[Json], given: Json) -> Json:
        markup = self._markup(given)
        keys = [*new, key, "reply_markup"]
        wanted = {**new, **({key: entities} if entities else {}), **markup}
        if {one: message[one] for one in keys if one in message} == wanted:
            raise bad_request(_NOT_MODIFIED)
        self.limits.take(chat.shown())
        for one in keys:
            message.pop(one, None)
        message |= {**wanted, "edit_date": int(time.time())}
        self.world.news.set()
        return message


def _gifts() -> Json:
    return dict.fromkeys(("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription"), False)
