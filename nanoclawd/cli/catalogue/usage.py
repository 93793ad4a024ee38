"""What agents use, and which of them may write to whom."""

from nanoclawd.cli.catalogue.common import GROUP, INSTRUCTIONS, LIMIT, OF_GROUP
from nanoclawd.cli.spec import OPTIONAL, Column, Parameter, Resource, Verb

PEERS = Resource(
    "peers",
    "agents that may write to other agents",
    "peer",
    "peers",
    (
        Column("group"),
        Column("peer"),
        Column("name", "called"),
        Column("back", "calls back"),
        Column("messages", "today"),
        Column("last_at", "last", "ago"),
    ),
    (
        Verb("list", "list who may write to whom", ("Peers.List",), (OF_GROUP, LIMIT), "many"),
        Verb(
            "create",
            "make an agent that another one can write to",
            ("Peers.Create",),
            (
                GROUP,
                Parameter("name", "its name, as people see it"),
                INSTRUCTIONS,
                Parameter("key", "your own name for it: the same again makes no second agent", "--key", value="TEXT"),
            ),
            says="{note}",
            about="It has the provider and the model of the one that it is made for, which calls it by its name in"
            " small letters; the new one calls that one parent. ncl destinations lets agents that are there write to"
            " each other.",
        ),
    ),
    "no agent may write to another; try: ncl destinations add --help",
    ids=(),
)

USAGE = Resource(
    "usage",
    "what agents have used",
    "usage",
    "usage",
    (
        Column("key", "what"),
        Column("turns"),
        Column("input_tokens", "in"),
        Column("output_tokens", "out"),
        Column("cache_read_tokens", "cached"),
        Column("cache_write_tokens", "to cache"),
        Column("cost", "dollars"),
        Column("tool_calls", "tool calls"),
        Column("seconds"),
    ),
    (),
    "nothing was used, or no provider told it",
    ids=(),
)
"""The table of ``ncl usage``; no resource of its own."""

SHOW = Verb(
    "usage",
    "show what agents have used, in tokens, dollars and time",
    ("Usage.List",),
    (
        OF_GROUP,
        Parameter("session", "only of this session", "--session", of="sessions"),
        Parameter("days", "of the last days (default: 7)", "--days", value="N", kind="count", need=OPTIONAL),
        Parameter("by", "what is added up", "--by", choices=("day", "group", "session", "model")),
        LIMIT,
    ),
    run="listings:usage",
    about="Providers and runners tell these numbers; an agent that lies about itself is caught by the bill only."
    " Limits for a day: ncl groups update --daily-tokens, --daily-cost.",
)

VERBS = (SHOW,)
RESOURCES = (PEERS,)
