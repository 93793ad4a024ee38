"""Agents: their groups, sessions and images."""

from nanoclawd.cli.catalogue.common import FOLLOW, GROUP, INSTRUCTIONS, LIMIT, LINES, OF_GROUP, SESSION, SOME_IMAGE
from nanoclawd.cli.catalogue.outfit import BUILD_SECONDS
from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

_NAME = GROUP._replace(name="name")
_NEW_NAME = Parameter("name", "1 to 31 of a-z, 0-9 and -")
_SCOPES = ("disabled", "group", "global")
_SETTINGS = (
    Parameter("provider", "what runs the agent, such as openai or claude", "--provider", value="P"),
    Parameter("model", "its model", "--model", value="ENDPOINT/MODEL"),
    INSTRUCTIONS,
    Parameter("display_name", "the name that people see", "--display-name", value="TEXT"),
    Parameter("cli_scope", "what the agent may ask of the appliance by ncl", "--cli-scope", choices=_SCOPES),
)

_UPDATED = (
    *_SETTINGS,
    Parameter("effort", "how much the model is to think: low, medium, high, xhigh or max", "--effort", value="WORD"),
    Parameter(
        "max_messages", "messages in one prompt at most; 0: the default", "--max-messages", value="N", kind="count"
    ),
    Parameter("skills", "its skills: all, none, or names with commas between them", "--skills", value="NAMES"),
    Parameter("daily_tokens", "tokens that it may use in a day; none: no limit", "--daily-tokens", value="N"),
    Parameter("daily_cost", "dollars that it may cost in a day; none: no limit", "--daily-cost", value="N"),
)

GROUPS = Resource(
    "groups",
    "agents: each one's configuration, workspace and sessions",
    "group",
    "groups",
    (
        Column("name"),
        Column("provider"),
        Column("model"),
        Column("cli_scope"),
        Column("sessions"),
        Column("awake"),
    ),
    (
        Verb("list", "list all groups", ("Groups.List",), (LIMIT,), "many"),
        Verb("get", "show one group", ("Groups.Get",), (_NAME,)),
        Verb(
            "create",
            "create a group",
            ("Groups.Create",),
            (_NEW_NAME, *_SETTINGS),
            about="What is left out follows the configuration file.",
        ),
        Verb(
            "update",
            "change a group's settings; an empty value goes back to the default",
            ("Groups.Update",),
            (_NAME, *_UPDATED),
            changes=True,
            about="Running sessions keep what they started with until the group is restarted.",
        ),
        Verb(
            "scope",
            "say what a group's agent may ask of the appliance",
            ("Groups.Update",),
            (
                _NAME,
                Parameter(
                    "cli_scope", "nothing, about its own group, or about everything", value="SCOPE", choices=_SCOPES
                ),
            ),
            about="Whatever an agent wants to change, beyond its own tasks, waits for an approval in every scope.",
        ),
        Verb(
            "delete",
            "delete a group with its sessions and workspace",
            ("Groups.Delete",),
            (_NAME, Parameter("force", "even if it has sessions", "--force", kind="flag")),
            "nothing",
            done="deleted",
        ),
        Verb(
            "restart",
            "restart a group's running sessions",
            ("Groups.Restart",),
            (
                _NAME,
                Parameter("rebuild", "build the group's own image first", "--rebuild", kind="flag"),
                Parameter(
                    "message",
                    "told to each restarted session, which begins again at once; @FILE reads a file",
                    "--message",
                    value="TEXT",
                    kind="file",
                ),
            ),
            "words",
            says="{restarted:running session} restarted",
            about="Sessions that sleep are left alone. Where the image can't be built, nothing is restarted.",
            patience=BUILD_SECONDS,
        ),
    ),
    "no groups yet; try: ncl setup",
    ids=("name",),
    called=("display_name",),
)

SESSIONS = Resource(
    "sessions",
    "one conversation each, in a container of its own while awake",
    "session",
    "sessions",
    (
        Column("id"),
        Column("group"),
        Column("chat", form="place"),
        Column("thread"),
        Column("state"),
        Column("last_active", "active", "ago"),
        Column("pending"),
        Column("status", "doing", "doing"),
    ),
    (
        Verb(
            "list",
            "list sessions, the last active first",
            ("Sessions.List",),
            (
                OF_GROUP,
                Parameter(
                    "state",
                    "only in this state; closed ones are listed only so",
                    "--state",
                    choices=("asleep", "waiting", "waking", "awake", "stopping", "quarantined", "closed"),
                ),
                LIMIT,
            ),
            "many",
        ),
        Verb("get", "show one session", ("Sessions.Get",), (SESSION,)),
        Verb(
            "stop",
            "end a session's container now",
            ("Sessions.Stop",),
            (SESSION,),
            about="A turn in progress counts as a failed try and is tried again.",
        ),
        Verb(
            "close",
            "end a session for good; the next message in its chat begins another",
            ("Sessions.Close",),
            (SESSION,),
            about="Messages that wait are not answered. Its files stay readable.",
        ),
        Verb(
            "reset",
            "release a quarantined session; its damaged database is moved aside",
            ("Sessions.Reset",),
            (SESSION,),
            says="the damaged database is kept at {moved_to}",
        ),
        Verb(
            "logs",
            "show a session's log, with your own rights to the journal",
            ("Sessions.Get",),
            (SESSION, FOLLOW, LINES),
            run="logs:logs",
        ),
    ),
    "no sessions yet; a chat makes one: ncl chat",
    called=("group", "place"),
)

IMAGES = Resource(
    "images",
    "container images, built on this machine",
    "image",
    "images",
    (
        Column("name"),
        Column("state"),
        Column("size", form="size"),
        Column("built_at", "built", "ago"),
        Column("reference"),
        Column("detail"),
    ),
    (
        Verb("list", "list the images", ("Images.List",), answers="many"),
        Verb(
            "build",
            "build an image, or all that are needed; steps that have not changed are not repeated",
            ("Images.Build",),
            (SOME_IMAGE,),
            run="images:build",
        ),
    ),
    "no images",
    ids=("name",),
    called=("state",),
)

RESOURCES = (GROUPS, SESSIONS, IMAGES)
