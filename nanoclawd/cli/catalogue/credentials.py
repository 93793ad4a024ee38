"""Credentials: the keys of model endpoints, and the accounts of channels."""

from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

_NAME = Parameter("name", "nanoclaw-gateway.KEY for a key of an endpoint, nanoclawd.CHANNEL for a channel's secret")
_STORED = _NAME._replace(of="credentials")

CREDENTIALS = Resource(
    "credentials",
    "keys of model endpoints and chat accounts, stored encrypted; none is ever shown",
    "credential",
    "credentials",
    (Column("name"), Column("consumer", "for"), Column("stored_at", "stored", "ago")),
    (
        Verb(
            "list",
            "list the names of what is stored",
            ("Credentials.List",),
            answers="many",
            run="credentials:list_all",
        ),
        Verb(
            "put",
            "store a secret, in place of an earlier one",
            ("Credentials.Put",),
            (_NAME,),
            run="credentials:put",
            about="It is asked for without being shown, or read from standard input where that is no terminal. The "
            "service that it is for is restarted; conversations go on. For an account that agents use at a host "
            "there is ncl secret set.",
            examples=(("ncl credentials put nanoclaw-gateway.openai-api-key", "store the key of an endpoint"),),
        ),
        Verb("delete", "delete a secret", ("Credentials.Delete",), (_STORED,), "nothing", run="credentials:delete"),
    ),
    "no credentials are stored",
    ids=("name",),
    called=("consumer",),
)

RESOURCES = (CREDENTIALS,)
