"""Secrets that agents' requests get at the door."""

from nanoclawd.cli.catalogue.common import LIMIT, OF_GROUP
from nanoclawd.cli.spec import OPTIONAL, REQUIRED, Column, Parameter, Resource, Verb

_NAME = Parameter("name", "the secret's name: a-z, 0-9 and -", of="secret")

SECRET = Resource(
    "secret",
    "accounts that agents use: put into their requests on the way out, never seen by an agent",
    "secret",
    "secrets",
    (
        Column("name"),
        Column("hosts", form="list"),
        Column("groups", form="list"),
        Column("style", "as"),
        Column("placeholder"),
        Column("changed_at", "stored"),
        Column("changed_by", "by"),
    ),
    (
        Verb(
            "list",
            "list secrets, where they go and whether they have a value; no value is ever shown",
            ("Secrets.List", "Credentials.List"),
            (OF_GROUP, LIMIT),
            "many",
            run="secrets:list_all",
        ),
        Verb(
            "set",
            "store a secret and bind it to hosts and groups, in place of an earlier one",
            ("Secrets.Bind", "Secrets.Check", "Credentials.Put"),
            (
                _NAME,
                Parameter(
                    "hosts",
                    "where it goes: HOST, HOST:PORT, *.NAME, with /PATH behind it; by https unless http:// stands"
                    " before it; may be given several times",
                    "--host",
                    value="HOST",
                    kind="list",
                    need=REQUIRED,
                ),
                Parameter(
                    "groups",
                    "in whose requests: an agent group's name or id, or all; may be given several times",
                    "--group",
                    value="GROUP",
                    kind="list",
                    of="groups",
                    need=REQUIRED,
                ),
                Parameter(
                    "style",
                    "bearer (default), basic:USER, header:NAME, query:NAME, cookie:NAME, or placeholder: where the"
                    " agent writes nanoclaw-secret-NAME",
                    "--as",
                    value="STYLE",
                ),
                Parameter(
                    "token_url",
                    "the secret is a refresh token, and access tokens are asked for here",
                    "--token-url",
                    value="URL",
                ),
                Parameter("client_id", "the id of the OAuth client", "--client-id", value="ID"),
                Parameter("scope", "the OAuth scope that is asked for", "--scope"),
                Parameter(
                    "client_secret",
                    "the OAuth client has a secret: ask for that, too (standard input: a second line)",
                    "--ask-client-secret",
                    kind="flag",
                ),
            ),
            run="secrets:set_value",
            about="The value is asked for without being shown, or read from standard input where that is no terminal."
            " It is encrypted, and only the gateway can read it: it puts it into requests to these hosts and no others,"
            " and cuts it out of what they answer. Whether an agent may reach the host is for ncl egress to say.",
            examples=(
                ("ncl secret set github --host api.github.com --group main", "let main use an account at GitHub"),
                (
                    "ncl secret set house --host http://homeassistant.lan:8123 --group main",
                    "sign main in at a machine of your own network, without encryption",
                ),
                (
                    "ncl secret set maps --host maps.example.com/v1 --group all --as query:key",
                    "give every agent a key that stands in the query",
                ),
                (
                    "ncl secret set m --host a.example --group main --token-url https://b.example/t --client-id ID",
                    "use an OAuth account by its refresh token",
                ),
            ),
        ),
        Verb(
            "rotate",
            "give a secret another value; where it goes stays as it is, and is shown first",
            ("Secrets.Renewed", "Secrets.Get", "Credentials.Put"),
            (_NAME,),
            run="secrets:rotate",
        ),
        Verb(
            "remove",
            "take a secret from all requests, and delete its value",
            ("Secrets.Remove", "Credentials.List", "Credentials.Delete"),
            (_NAME,),
            "nothing",
            run="secrets:remove",
        ),
        Verb(
            "test",
            "say what would become of requests: may they go out, and do they get the secret",
            ("Secrets.Test", "Secrets.Get", "Credentials.List"),
            (
                _NAME,
                Parameter("url", "an address (default: each of its hosts)", need=OPTIONAL),
                OF_GROUP._replace(help="as this agent group (default: each that has it)"),
            ),
            run="secrets:test",
            about="No request is made: to try a secret is to send it.",
        ),
    ),
    "no secrets: agents' requests go out as they are; try: ncl secret set NAME --host HOST --group GROUP",
    ids=("name",),
    called=("style",),
)

RESOURCES = (SECRET,)
