"""Channels: the accounts by which people and agents reach each other."""

from nanoclawd.cli.catalogue.common import CHANNEL, FOLLOW, LINES
from nanoclawd.cli.spec import OPTIONAL, REQUIRED, Column, Parameter, Resource, Verb

_OPTIONS = Parameter(
    "options", "an option of its type, KEY=VALUE; may be repeated", "--option", "-o", value="KEY=VALUE", kind="list"
)

_PAIRED = (
    Parameter(
        "group", "the agent that is to answer (default: the default one, or the only one)", "--group", of="groups"
    ),
    Parameter(
        "role",
        "what they become where there is an owner already (default: member)",
        "--role",
        choices=("member", "admin"),
    ),
)
_PAIRING = (
    "The first person who sends the code in a direct chat becomes the owner, where there is none; their chat is "
    "connected to the agent. A code is valid for ten minutes, and five wrong guesses end it."
)

CHANNELS = Resource(
    "channels",
    "chat accounts by which people and agents reach each other",
    "channel",
    "channels",
    (
        Column("name"),
        Column("type"),
        Column("state"),
        Column("since", form="ago"),
        Column("last_event_at", "last event", "ago"),
        Column("backlog", "to deliver"),
        Column("set_aside", "set aside"),
        Column("detail"),
        Column("hint", "try"),
    ),
    (
        Verb("list", "list the channels and how they are", ("Channels.List",), answers="many"),
        Verb(
            "show",
            "show one channel: how it is, what it can, its options, and events that could not be handled",
            ("Channels.Show",),
            (CHANNEL,),
            run="channels:show_one",
        ),
        Verb("types", "list the types of channels that can be added", ("Channels.Types",), run="channels:types"),
        Verb(
            "add",
            "add an account; asks what its type needs, and says what to do next",
            (
                *("Channels.List", "Channels.Setup", "Channels.Add", "Credentials.Put", "Channels.Enable"),
                *("Channels.Remove", "Channels.Test"),
            ),
            (
                Parameter("type", "the kind of account, as ncl channels types lists them", of="types"),
                Parameter("name", "the first part of addresses on it (default: the type)", need=OPTIONAL),
                _OPTIONS,
                Parameter("disabled", "only write it down; ncl channels enable has it work", "--disabled", kind="flag"),
            ),
            run="channels:add",
            about="Its secret is asked for without being shown, or read from standard input where that is no terminal; "
            "it is stored encrypted, for the daemon alone. The daemon is restarted for it, conversations go on.",
            examples=(
                ("ncl channels add telegram", "have your agents on Telegram"),
                ("ncl channels add telegram telegram-work", "add a second account of Telegram"),
            ),
        ),
        Verb(
            "pair",
            "make a person known there: shows a code, and waits until they send it to the account",
            ("Channels.Pair", "Channels.AwaitPairing"),
            (CHANNEL, *_PAIRED),
            run="pairing:pair",
            about=_PAIRING,
            examples=(
                ("ncl channels pair telegram", "make yourself known on Telegram, and the owner where there is none"),
            ),
        ),
        Verb(
            "test",
            "see now whether a channel works, and as whom it is connected",
            ("Channels.Test",),
            (CHANNEL,),
            run="channels:test",
            about="One that is down is tried once more. Ends with 1 if it does not work.",
        ),
        Verb(
            "login",
            "store a channel's secret anew, and see whether it works",
            ("Channels.Show", "Channels.Setup", "Credentials.Put", "Channels.Test"),
            (CHANNEL,),
            run="channels:login",
        ),
        Verb(
            "update",
            "change options of a channel that was added; it connects anew",
            ("Channels.Update",),
            (CHANNEL, _OPTIONS._replace(help="an option; KEY= takes it away; may be repeated", need=REQUIRED)),
        ),
        Verb("enable", "have a channel work again that was disabled", ("Channels.Enable",), (CHANNEL,)),
        Verb(
            "disable",
            "disconnect a channel that was added",
            ("Channels.Disable",),
            (CHANNEL,),
            about="What agents say there waits until it is enabled.",
        ),
        Verb(
            "remove",
            "remove a channel that was added, with its secret and all that it has kept",
            ("Channels.Show", "Channels.Remove", "Credentials.List", "Credentials.Delete"),
            (CHANNEL,),
            run="channels:remove",
            about="Its chats and their wirings stay.",
        ),
        Verb(
            "logs",
            "show what was logged about a channel",
            ("Channels.Show",),
            (CHANNEL, FOLLOW, LINES),
            run="channels:read_logs",
            about="With your own right to read the journal (the group systemd-journal, or root).",
        ),
        Verb(
            "clear",
            "forget the events of a channel that could not be handled",
            ("Channels.Clear",),
            (CHANNEL,),
            "words",
            "{cleared:event} forgotten",
        ),
        Verb(
            "keys",
            "save the keys that decrypt what was said on a channel, or read them from a file",
            ("Channels.ExportKeys", "Channels.ImportKeys", "Chat.Upload"),
            (
                Parameter("what", "export or import", choices=("export", "import")),
                CHANNEL,
                Parameter("file", "the file, as Matrix apps export and import them", of="files"),
            ),
            run="channels:keys",
            about="The passphrase of the file is asked for without being shown, or read from standard input where that "
            "is no terminal. A file that is there is not written over; one that is made is readable by you alone.",
            examples=(
                ("ncl channels keys export matrix keys.txt", "keep a channel's keys somewhere else"),
                (
                    "ncl channels keys import matrix element-keys.txt",
                    "read what was said before the account had a device here",
                ),
            ),
        ),
        Verb(
            "conversations",
            "list the chats that a channel's account is in",
            ("Channels.Conversations",),
            (CHANNEL,),
            run="listings:conversations",
        ),
    ),
    "no channels",
    ids=("name",),
    called=("type", "state"),
)

TELEGRAM = CHANNELS._replace(
    name="telegram",
    help="Telegram bots: short for some of ncl channels",
    verbs=(
        Verb("list", "list the channels of Telegram", ("Channels.List",), run="pairing:list_telegram"),
        Verb(
            "pair",
            "make a person known to a bot: the same as ncl channels pair",
            ("Channels.List", "Channels.Pair", "Channels.AwaitPairing"),
            (
                Parameter("channel", "which one (default: the only one of Telegram)", of="channels", need=OPTIONAL),
                *_PAIRED,
            ),
            run="pairing:pair_telegram",
            about=_PAIRING,
        ),
    ),
    empty="no channels of Telegram",
)

RESOURCES = (CHANNELS, TELEGRAM)
