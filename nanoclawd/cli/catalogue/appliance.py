"""Commands that stand alone."""

from nanoclawd.cli.catalogue.common import GROUP
from nanoclawd.cli.spec import OPTIONAL, Parameter, Verb

DEFAULT_GROUP = "main"
DEFAULT_TIMEOUT = 300.0

VERBS: tuple[Verb, ...] = (
    Verb(
        "status",
        "show the state of the appliance",
        ("Appliance.Status", "Approvals.List"),
        run="status:status",
        about="Its parts and channels, the sessions that are not asleep, what waits for an approval, and problems.",
    ),
    Verb(
        "doctor",
        "check this machine and the appliance, and say what to fix",
        ("Appliance.Doctor", "Images.List", "Secrets.List", "Credentials.List"),
        run="doctor:doctor",
        about="Its exit status is 1 if there is an error.",
    ),
    Verb(
        "setup",
        "create the first agent, build the images, try it out",
        ("Groups.List", "Groups.Create", "Groups.Update", "Roles.Claim", "Images.List", "Images.Build", "Chat.Send"),
        (
            Parameter("group", "the agent group to create (default: main)", "--group", value="NAME", of="groups"),
            Parameter("provider", "its provider, such as openai or claude", "--provider", value="P"),
            Parameter("model", "its model", "--model", value="ENDPOINT/MODEL"),
            Parameter("yes", "ask nothing", "--yes", kind="flag"),
        ),
        run="setup:setup",
        about="You become the owner if there is none. It may be run again at any time: what is there already stays.",
    ),
    Verb(
        "chat",
        "talk to an agent; without a terminal, send standard input",
        ("Chat.Send", "Chat.Attach", "Chat.Upload"),
        (
            GROUP._replace(help="agent group (default: main)", need=OPTIONAL, default=DEFAULT_GROUP),
            Parameter("message", "send this, print the replies, and end", "--message", "-m", value="TEXT"),
            Parameter(
                "file", "send this file with it; may be repeated", "--file", "-f", value="PATH", kind="list", of="files"
            ),
            Parameter(
                "timeout",
                "seconds to wait for the replies to one message (default: 300)",
                "--timeout",
                value="S",
                kind="seconds",
                default=DEFAULT_TIMEOUT,
            ),
        ),
        run="chat:chat",
        about="Commands such as /help, /status or /stop go to the appliance or the agent, as in any other chat; only "
        "/quit and /exit end the conversation, and /file PATH sends a file. A question is answered with the number of "
        "an option or its words. A message has ten files at most, with 50 MiB together.",
        examples=(
            ("ncl chat --message 'Name three things found in a kitchen.'", "ask one question"),
            ("ncl chat --file report.pdf --message 'What does it say?'", "send a file"),
        ),
    ),
    Verb(
        "fetch",
        "save a file that an agent has sent to your terminal",
        ("Chat.Download",),
        (
            Parameter("file", "its id, as the conversation shows it"),
            Parameter("to", "save it here: a directory or a new file (default: .)", "--to", value="PATH", of="files"),
        ),
        run="files:fetch",
        about="Files are kept for a week. Nothing that is there already is written over.",
    ),
    Verb(
        "explain",
        "say what becomes of a message, step by step, and which rule decides",
        ("Routing.Explain", "Routing.ExplainMessage"),
        (
            Parameter("channel", "the channel that it comes by", "--channel", of="channels"),
            Parameter("chat", "the platform's id of the chat", "--chat", of="addresses"),
            Parameter("thread", "the thread that it is written in", "--thread"),
            Parameter(
                "sender", "who writes it: PLATFORM:HANDLE, or a known person; '' for nobody", "--sender", of="users"
            ),
            Parameter("text", "what is written", "--text"),
            Parameter("mention", "it mentions the agent, or does not", "--mention", kind="switch"),
            Parameter(
                "group", "several people can write there, or not (default: what is known)", "--in-group", kind="switch"
            ),
            Parameter(
                "message", "a message that came already: its platform's id, or a session's", "--message", value="ID"
            ),
        ),
        run="explain:explain",
        about="Changes nothing. Give --channel, --chat, --sender and --text; or --message for one of the last 2000.",
        examples=(
            (
                "ncl explain --channel terminal --chat alice/main --sender terminal:alice --text hello",
                "see what a terminal's message does",
            ),
        ),
    ),
)

LAST: tuple[Verb, ...] = (
    Verb("version", "show the versions of ncl and of the running daemon", ("Appliance.Status",), run="version:version"),
)
