"""Parameters that many commands have."""

from nanoclawd.cli.spec import OPTIONAL, Parameter

DEFAULT_LIMIT = 200
"""The daemon's own, where none is given."""

LIMIT = Parameter("limit", f"how many to list at most (default: {DEFAULT_LIMIT})", "--limit", value="N", kind="count")

GROUP = Parameter("group", "the agent group: its name or id", of="groups")

OF_GROUP = Parameter("group", "only of this agent group", "--group", of="groups")

INSTRUCTIONS = Parameter(
    "instructions",
    "its system prompt; @FILE reads a file, @- standard input",
    "--instructions",
    value="TEXT",
    kind="file",
)

CHAT = Parameter("chat", "the chat: its id, CHANNEL:PLATFORM-ID, or name", of="chats")

OF_CHAT = Parameter("chat", "only of this chat", "--chat", of="chats")

CHANNEL = Parameter("channel", "the channel's name", of="channels")

OF_CHANNEL = Parameter("channel", "only of this channel", "--channel", of="channels")

USER = Parameter("user", "the person: PLATFORM:HANDLE, or the name shown", of="users")

OF_USER = Parameter("user", "only of this person", "--user", of="users")

SESSION = Parameter("id", "the session's id or the beginning of it", of="sessions")

FOLLOW = Parameter("follow", "go on with new lines", "--follow", "-f", kind="flag")

LINES = Parameter("lines", "how many (default: 100)", "--lines", "-n", value="N", kind="count", default=100)

SOME_IMAGE = Parameter("name", "the image (default: all that are needed)", of="images", need=OPTIONAL)
