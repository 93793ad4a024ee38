"""Where messages come from, who hears them, and where agents may write."""

from nanoclawd.cli.catalogue.common import (
    CHANNEL,
    CHAT,
    GROUP,
    LIMIT,
    OF_CHANNEL,
    OF_CHAT,
    OF_GROUP,
    OF_USER,
)
from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

_CHAT_SETTINGS = (
    Parameter("name", "its shown name; an empty one takes it away", "--name", value="TEXT"),
    Parameter("is_group", "several people can write there, or only one", "--is-group", kind="switch"),
    Parameter(
        "unknown_sender_policy",
        "what happens to people without access",
        "--unknown-senders",
        choices=("strict", "request_approval", "public"),
    ),
)
_WIRING = Parameter("wiring", "the wiring: its id or the beginning of it, or CHAT/GROUP", of="wirings")
_WIRING_SETTINGS = (
    Parameter(
        "engage_mode",
        "what makes the agent answer: a text, a mention, or a mention and then everything in its thread",
        "--engage",
        choices=("pattern", "mention", "mention-sticky"),
    ),
    Parameter(
        "engage_pattern", "regular expression for --engage pattern (a dot alone: everything)", "--pattern", value="RE"
    ),
    Parameter(
        "sender_scope",
        "everybody whom the chat admits, or people whom the group knows",
        "--scope",
        choices=("all", "known"),
    ),
    Parameter(
        "ignored_message_policy",
        "what becomes of a message that is not for the agent: context for when one is, or nothing",
        "--ignored",
        choices=("drop", "accumulate"),
    ),
    Parameter(
        "session_mode",
        "one conversation for the chat, for each thread, or for all chats of the agent",
        "--session",
        choices=("shared", "per-thread", "agent-shared"),
    ),
    Parameter("priority", "the highest comes first", "--priority", value="N", kind="number"),
)
_LOCAL_NAME = Parameter("name", "the name that the agent uses", of="destinations")

CHATS = Resource(
    "chats",
    "the places on the channels where people write, private or for many",
    "chat",
    "chats",
    (
        Column("id"),
        Column("chat", form="place"),
        Column("name"),
        Column("is_group", "kind", "kind"),
        Column("unknown_sender_policy", "unknown senders"),
        Column("groups", "agents", "list"),
        Column("denied_at", "denied", "ago"),
    ),
    (
        Verb("list", "list the chats", ("Chats.List",), (OF_CHANNEL, OF_GROUP, LIMIT), "many"),
        Verb("get", "show one chat", ("Chats.Get",), (CHAT,)),
        Verb(
            "create",
            "make a chat known before anything was written in it",
            ("Chats.Create",),
            (CHANNEL, Parameter("chat", "the platform's id of the chat", of="addresses"), *_CHAT_SETTINGS),
        ),
        Verb("update", "change a chat", ("Chats.Update",), (CHAT, *_CHAT_SETTINGS), changes=True),
        Verb("delete", "delete a chat with its wirings", ("Chats.Delete",), (CHAT,), "nothing", done="deleted"),
        Verb(
            "undeny",
            "forget that somebody refused to connect this chat",
            ("Chats.Undeny",),
            (CHAT,),
            about="The next message in it that is for an agent asks again.",
        ),
    ),
    "no chats yet; the first message in one makes it known",
    ids=("place", "id"),
    called=("name",),
)

WIRINGS = Resource(
    "wirings",
    "which agent hears a chat, when it speaks up, and whom it listens to",
    "wiring",
    "wirings",
    (
        Column("id"),
        Column("chat", form="place"),
        Column("chat_name", "name"),
        Column("group"),
        Column("engage_mode", "engage"),
        Column("engage_pattern", "pattern"),
        Column("sender_scope", "scope"),
        Column("ignored_message_policy", "ignored"),
        Column("session_mode", "session"),
        Column("priority"),
    ),
    (
        Verb("list", "list the wirings", ("Wirings.List",), (OF_CHAT, OF_GROUP, LIMIT), "many"),
        Verb("get", "show one wiring", ("Wirings.Get",), (_WIRING,)),
        Verb(
            "create",
            "have a group's agent hear a chat; it may write there from then on",
            ("Wirings.Create",),
            (CHAT, GROUP, *_WIRING_SETTINGS),
            about="What is left out is what suits the chat: an agent hears everything in a chat of two, and a mention "
            "elsewhere.",
            examples=(
                (
                    "ncl wirings create telegram:-1001 work --engage mention --ignored accumulate",
                    "have an agent listen and answer when it is mentioned",
                ),
            ),
        ),
        Verb("update", "change a wiring", ("Wirings.Update",), (_WIRING, *_WIRING_SETTINGS), changes=True),
        Verb(
            "delete",
            "take a wiring away, and the destination that it made",
            ("Wirings.Delete",),
            (_WIRING,),
            "nothing",
            done="deleted",
        ),
    ),
    "no wirings: no agent hears anything; try: ncl wirings create CHAT GROUP",
    called=("place", "group"),
)

DESTINATIONS = Resource(
    "destinations",
    "an agent's address book, and all that it may write to",
    "destination",
    "destinations",
    (
        Column("group"),
        Column("name"),
        Column("type"),
        Column("chat", form="place"),
        Column("agent"),
        Column("display_name", "shown as"),
    ),
    (
        Verb("list", "list the destinations", ("Destinations.List",), (OF_GROUP, LIMIT), "many"),
        Verb(
            "add",
            "allow an agent to write to a chat, or to another group's agent",
            ("Destinations.Add",),
            (
                GROUP,
                CHAT._replace(option="--chat", rivals="target"),
                Parameter("agent", "the other agent group", "--agent", value="GROUP", of="groups", rivals="target"),
                Parameter("name", "the name that the agent uses (default: made from the target's)", "--name"),
            ),
        ),
        Verb(
            "remove",
            "take a destination away",
            ("Destinations.Remove",),
            (GROUP, _LOCAL_NAME),
            "nothing",
            done="removed",
        ),
    ),
    "no destinations: agents answer where they are asked, and write nowhere else",
    ids=("name",),
    called=("group", "display_name"),
)

DROPPED = Resource(
    "dropped",
    "people whose messages were not heard, and why",
    "dropped",
    "dropped",
    (
        Column("chat", form="place"),
        Column("user"),
        Column("sender_name", "name"),
        Column("reason"),
        Column("group"),
        Column("message_count", "messages"),
        Column("last_seen", "last", "ago"),
    ),
    (
        Verb(
            "list",
            "list what was dropped, the latest first",
            ("Routing.Dropped",),
            (OF_CHANNEL, OF_CHAT, OF_USER, LIMIT),
            "many",
            about="For each chat and person how often, and the most specific reason. ncl explain says more about one "
            "message.",
        ),
    ),
    "nothing was dropped",
    ids=(),
)

RESOURCES = (CHATS, WIRINGS, DESTINATIONS, DROPPED)
