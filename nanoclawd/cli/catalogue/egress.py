"""Which hosts agents may reach."""

from nanoclawd.cli.catalogue.common import LIMIT, OF_GROUP
from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

_GROUP = Parameter("group", "the agent group: its name or id, or all for all groups", of="groups")
_HOST = Parameter(
    "host", "HOST, HOST:PORT, *.NAME (what is below it), * (every name), or an http:// or https:// address"
)
_METHOD = Parameter("methods", "only this method; may be given several times", "--method", value="METHOD", kind="list")
_PRIVATE = Parameter(
    "private", "the host may be in this machine's own network, or this machine", "--private", kind="flag"
)
_BOUNDS = (
    Parameter("rate", "how many requests, like 5/s, 30/min or 100/h", "--rate", value="N/UNIT"),
    Parameter("max_body", "bytes that a request may send, like 500K, 10M or 1G", "--max-body", value="SIZE"),
    Parameter("max_download", "bytes that an answer may have, likewise", "--max-download", value="SIZE"),
)
_FOR = Parameter(
    "lasting", "how long it holds, like 30m, 2h or 7d (default: until it is removed)", "--for", value="TIME"
)
_RULE = Parameter("rule", "the rule's number", kind="count", of="egress")
_SAYS = "in place of rule {replaced}"

EGRESS = Resource(
    "egress",
    "which hosts agents may reach, and where they went",
    "rule",
    "rules",
    (
        Column("id"),
        Column("group"),
        Column("action"),
        Column("host"),
        Column("port"),
        Column("methods", form="list"),
        Column("path"),
        Column("private", form="yes"),
        Column("rate"),
        Column("max_body", form="size"),
        Column("max_download", form="size"),
        Column("expires_at", "until"),
        Column("created_by", "by"),
    ),
    (
        Verb(
            "list",
            "list the rules",
            ("Egress.List",),
            (OF_GROUP, LIMIT),
            "many",
            about="A group's rules come with those of all groups. The most specific one that fits decides: the longer"
            " host pattern first (an exact host before any pattern), then a rule of the group before one of all, then a"
            " named port, the longer path, named methods; among equals deny wins. What no rule allows is denied.",
        ),
        Verb(
            "allow",
            "let an agent reach a host",
            ("Egress.Allow",),
            (
                _GROUP,
                _HOST,
                _METHOD,
                _PRIVATE,
                _FOR,
                *_BOUNDS,
            ),
            says=_SAYS,
            about="Without a port it is 80 and 443. --private needs one host and one port. For methods, and the path of"
            " an address, the gateway looks into https connections to this host, with a certificate of its own; not of"
            " every host (*).",
            examples=(
                ("ncl egress allow main example.org", "let an agent reach a host, by https and http"),
                ("ncl egress allow main '*.example.org' --for 2h", "let it reach what is below a name, for two hours"),
                ("ncl egress allow main nas.lan:8443 --private", "let it reach a machine of your own network"),
                ("ncl egress allow main https://example.org/api/ --method GET", "let it read a part of a site"),
                (
                    "ncl egress allow main example.org --rate 30/min --max-body 10M",
                    "bound how often it asks, and how much it sends",
                ),
            ),
        ),
        Verb(
            "ask",
            "hold requests to a host until somebody has decided",
            ("Egress.Ask",),
            (_GROUP, _HOST, _METHOD, _PRIVATE, _FOR, *_BOUNDS),
            says=_SAYS,
            about="A card goes to whoever may decide about the agent, with method, host, path and the beginning of the"
            " body: allow once, for an hour, or not. What nobody decides in time (gateway.hold) is refused. Of every"
            " host (*), and of a port of its own without methods or a path, the card shows host and port only.",
            examples=(
                ("ncl egress ask main https://api.example.org/ --method POST", "be asked before something is changed"),
                ("ncl egress ask main '*'", "be asked about every host that no other rule names"),
            ),
        ),
        Verb(
            "request",
            "for agents: have somebody asked whether you may reach a host",
            ("Egress.Request",),
            (
                Parameter("host", "HOST or HOST:PORT"),
                Parameter("reason", "why, for whoever decides", "--reason"),
                OF_GROUP._replace(help="your own agent group, which is the default"),
            ),
            about="Inside a container. Whoever may decide gets a card with the choices once (ten minutes), an hour,"
            " always and no; what came of it is told to the agent as a message.",
        ),
        Verb(
            "deny",
            "keep an agent from a host that another rule allows",
            ("Egress.Deny",),
            (_GROUP, _HOST, _METHOD, _FOR),
            says=_SAYS,
            about="Connections that are open end before their next byte.",
        ),
        Verb(
            "remove",
            "take a rule away",
            ("Egress.Remove",),
            (_RULE,),
            "nothing",
            done="removed",
            about="Connections that only this rule allowed end before their next byte.",
        ),
        Verb(
            "test",
            "say what would become of a request, and which rule decides",
            ("Egress.Test",),
            (
                _GROUP._replace(help="the agent group: its name or id"),
                Parameter("url", "the address, or HOST:PORT; without http:// it is https"),
                Parameter("method", "where the gateway sees it (default: GET)", "--method"),
            ),
            run="egress:test",
        ),
        Verb(
            "log",
            "show what agents asked for, with your own rights to the journal",
            ("Groups.Get",),
            (
                OF_GROUP._replace(name="name"),
                Parameter("follow", "go on with new ones", "--follow", "-f", kind="flag"),
                Parameter("lines", "how many (default: 100)", "--lines", "-n", value="N", kind="count", default=100),
            ),
            run="logs:egress",
            about="One line for each request when it is over: what was asked for, what came of it, bytes and time. A"
            " group that asks for more than five in a second has what is beyond summed up by host.",
        ),
        Verb(
            "summary",
            "add up what agents asked for in a day, with your own rights to the journal",
            ("Groups.Get",),
            (
                OF_GROUP._replace(name="name"),
                Parameter("day", "YYYY-MM-DD, or yesterday (default: today)", "--day"),
            ),
            run="egress_summary:summary",
            about="By group and host: requests, how many of them were not passed on, how many somebody has allowed by a"
            " card, and bytes each way.",
        ),
    ),
    "no rules: agents reach the configured endpoints, and nothing else; try: ncl egress allow GROUP HOST",
    called=("action", "host"),
)

RESOURCES = (EGRESS,)
