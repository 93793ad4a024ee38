"""The numbers and lists of the documentation, and the answer that breaking a rule gets."""

from typing import Any, Final

MAX_TEXT: Final = 4096
"""[sendMessage, text] "Text of the message to be sent, 1-4096 characters after entities parsing"; counted, as
[MessageEntity, offset/length] says of all of them, "in UTF-16 code units"."""
MAX_CAPTION: Final = 1024
"""[sendPhoto, caption] "0-1024 characters after entities parsing"."""
MAX_CALLBACK_DATA: Final = 64
"""[InlineKeyboardButton, callback_data] "Data to be sent in a callback query to the bot when the button is pressed,
1-64 bytes"."""
MAX_DOWNLOAD: Final = 20 * 1024 * 1024
"""[getFile] "For the moment, bots can download files of up to 20MB in size"."""
MAX_UPLOAD: Final = 50 * 1024 * 1024
"""[Sending files] "10 MB max size for photos, 50 MB for other files"."""
MAX_PHOTO: Final = 10 * 1024 * 1024
MAX_ANSWER: Final = 200
"""[answerCallbackQuery, text] "0-200 characters"."""
MAX_COMMANDS: Final = 100
"""[setMyCommands, commands] "At most 100 commands can be specified"."""
MAX_POLL_SECONDS: Final = 50
"""Observed: longer polls are answered after this time."""
CALLBACK_SECONDS: Final = 15.0
"""Observed: a callback query that is answered much later is "too old"."""
DEFAULT_UPDATES: Final = frozenset(
    {"message", "edited_message", "channel_post", "edited_channel_post", "callback_query", "my_chat_member", "poll"}
)
"""[getUpdates, allowed_updates] "Specify an empty list to receive all update types except chat_member,
message_reaction, and
message_reaction_count (default). If not specified, the previous setting will be used."."""
ALL_UPDATES: Final = DEFAULT_UPDATES | {"chat_member", "message_reaction", "message_reaction_count"}
_EMOJI: Final = """❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡
🥱 🥴 😍 🐳 ❤\u200d🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈
😴 😭 🤓 👻 👨\u200d💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿
🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷\u200d♂ 🤷 🤷\u200d♀ 😡"""
REACTIONS: Final = frozenset(_EMOJI.split())
"""[ReactionTypeEmoji, emoji] "Currently, it can be one of …"."""
ACTIONS: Final = frozenset(
    {
        *("typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document"),
        *("choose_sticker", "find_location", "record_video_note", "upload_video_note"),
    }
)
"""[sendChatAction, action]"""
ACTION_SECONDS: Final = 5
"""[sendChatAction] "The status is set for 5 seconds or less (when a message arrives from your bot, Telegram clients
clear its
typing status)"."""


class ApiError(Exception):
    """[Making requests] "an Integer 'error_code' field is also returned … Some errors may also have an optional field
    'parameters' of the type ResponseParameters"."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def bad_request(problem: str, **parameters: Any) -> ApiError:
    return ApiError(400, f"Bad Request: {problem}", **parameters)


def units(text: str) -> int:
    """Return how many UTF-16 code units a text has."""
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
