"""Hooks: how other programs reach an agent."""

from nanoclawd.cli.catalogue.common import GROUP, LIMIT, OF_GROUP
from nanoclawd.cli.spec import REQUIRED, Column, Parameter, Resource, Verb

_HOOK = Parameter("hook", "the hook's name", of="hooks")

HOOKS = Resource(
    "hooks",
    "webhooks: how other programs (CI, home automation, scripts) reach an agent",
    "hook",
    "hooks",
    (
        Column("name"),
        Column("group"),
        Column("chat", "answers in", "place"),
        Column("auth"),
        Column("enabled", form="yes"),
        Column("listening", "reached", "yes"),
        Column("accepted"),
        Column("last_at", "last", "ago"),
        Column("url"),
    ),
    (
        Verb("list", "list the hooks", ("Hooks.List",), (OF_GROUP, LIMIT), "many"),
        Verb("get", "show one hook", ("Hooks.Get",), (_HOOK,)),
        Verb(
            "create",
            "make a hook, and print its URL and its secret this once",
            ("Hooks.Create",),
            (
                Parameter("name", "its name: 1 to 63 of a-z, 0-9 and dashes"),
                GROUP._replace(option="--group", short="-g", need=REQUIRED),
                Parameter(
                    "to", "the chat in which the agent answers (default: the only one it hears)", "--to", of="chats"
                ),
                Parameter(
                    "auth",
                    "how the sender proves itself: the secret in a header, or a signature of the body",
                    "--auth",
                    choices=("bearer", "hmac-sha256"),
                ),
                Parameter(
                    "header",
                    "where the secret or the signature is (default: Authorization, or X-Hub-Signature-256)",
                    "--header",
                    value="NAME",
                ),
                Parameter("rate", "take so many messages a minute (default: 30)", "--rate", value="N", kind="count"),
            ),
            run="hooks:create",
            about="What is sent to the URL goes into the conversation that the agent has in the chat, and is answered"
            " there. It is data, never a command or an answer to a card. Nothing listens until nanoclaw-hooks.socket is"
            " enabled; the command says so.",
            examples=(
                ("ncl hooks create ci --group main", "let scripts and curl reach an agent"),
                (
                    "ncl hooks create forge --group main --auth hmac-sha256 --to telegram:-1001",
                    "take what GitHub sends, and answer in a group",
                ),
            ),
        ),
        Verb(
            "rotate",
            "give a hook another secret, and print it this once",
            ("Hooks.Rotate",),
            (_HOOK,),
            run="hooks:rotate",
            about="The secret that it had is worth nothing from then on.",
        ),
        Verb("disable", "have a hook take nothing until it is enabled", ("Hooks.Disable",), (_HOOK,)),
        Verb("enable", "have a disabled hook take messages again", ("Hooks.Enable",), (_HOOK,)),
        Verb("delete", "delete a hook with its secret", ("Hooks.Delete",), (_HOOK,), "nothing", done="deleted"),
        Verb(
            "test",
            "send a sample event to a hook, by its URL",
            ("Hooks.Test",),
            (_HOOK,),
            run="hooks:test",
            about="It takes the way of any other sender's, from this machine, but needs no secret. The agent answers in"
            " the hook's chat.",
        ),
    ),
    "no hooks; try: ncl hooks create NAME --group GROUP",
    ids=("name",),
    called=("group",),
)

RESOURCES = (HOOKS,)
