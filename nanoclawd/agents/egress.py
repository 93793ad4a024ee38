"""Where agents may go, as operators say it: rules are checked, written, and published to the gateway at once."""

import logging
import re
import sys
import time
from dataclasses import dataclass, replace
from typing import Final

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.agents.service import AgentService
from nanoclawd.egress.addresses import special
from nanoclawd.egress.rules import ANY, Asked, Decision, Rate, Rule, decide, needs_inside, overridden, parse_pattern
from nanoclawd.egress.targets import (
    HTTP_PORT,
    HTTPS_PORT,
    BadTarget,
    Target,
    is_address,
    parse_authority,
    parse_url,
    path_readings,
)
from nanoclawd.errors import InvalidName, Refused
from nanoclawd.store import egress as rows
from nanoclawd.store import resolve
from nanoclawd.store.database import Database
from nanoclawd.store.egress import EgressRow, NewRule

log = logging.getLogger(__name__)

ALL: Final = "all"
"""In the place of a group's name; a group that is called so is named by its id."""

MAX_METHODS: Final = 20
MAX_PATH_CHARACTERS: Final = 1000
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,19}", re.ASCII)
_LASTING: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/(s|sec|m|min|h|hour)", re.ASCII)
_SIZE: Final = re.compile(r"([1-9][0-9]{0,8})([KMG]?)(?:i?B)?", re.ASCII)
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3}
_PORT: Final = re.compile(r"(.*?):([0-9]{1,5})", re.ASCII)
_NARROWER: Final = {
    "allow": "ncl egress allow GROUP '*.NAME'",
    "ask": "ncl egress ask GROUP '*.NAME'",
    "deny": "ncl egress deny GROUP '*.NAME'",
}
_SCHEMES: Final = {"http": HTTP_PORT, "https": HTTPS_PORT}


@dataclass(frozen=True, slots=True)
class Wish:
    """A rule as somebody asks for it.

    Attributes:
        host: ``HOST``, ``HOST:PORT``, a pattern in the place of the host, or an address that begins with http:// or
            https://.
        methods: empty: all.
        private: the host may be in the machine's own network.
        lasting: how long it holds, like ``30m``; empty: for ever.
        rate: how often, like ``30/min``; empty: no bound.
        max_body: of what the agent sends, like ``10M``; empty: no bound.
        max_download: of what it gets, likewise.
    """

    host: str
    methods: tuple[str, ...] = ()
    private: bool = False
    lasting: str = ""
    rate: str = ""
    max_body: str = ""
    max_download: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What would become of a request: what it asks for, what the rules say, and a word about the address."""

    asked: Asked
    decision: Decision
    note: str


class EgressRules:
    """The rules. A change holds for new requests when the call returns, and ends what it no longer allows."""

    def __init__(self, database: Database, agents: AgentService) -> None:
        self._database = database
        self._agents = agents

    async def put(self, group: str, action: str, wish: Wish, by: str) -> tuple[EgressRow, int | None]:
        """Write a rule; return it, and the number of the one whose place it takes.

        Raises:
            NotFound: there is no such group.
            InvalidName: a part of the wish can't be read.
            Refused: it speaks of what can't be enforced.
            TooLarge: there are too many rules.
            Unavailable: it is written, and could not be published; the next change does it.
        """
        wanted = read(wish, action)
        found, before = await self._database.run(_put, group, wanted, by)
        await self._agents.publish_egress()
        log.info("%s wrote egress %s for %s", by, found.rule, found.rule.group or "all groups")
        return found, before

    async def about(self, group: str, host: str) -> Target:
        """Return the host that a group's agent wants to reach, if somebody can be asked about it.

        Raises:
            NotFound: there is no such group.
            InvalidName: it is no host, or not one that an agent may ask for.
            Refused: the rules say something about it already.
        """
        target = _wanted(host)
        await self._database.run(_check_undecided, group, target, _port_of(host, target))
        return target

    async def grant(self, group: str, host: str, lasting: str, by: str) -> EgressRow:
        """Let a group's agent reach a host that it has asked for, and somebody has allowed.

        Args:
            group: its name or id.
            host: as :meth:`about` takes it.
            lasting: how long, like ``30m``; empty: for ever.
            by: who asked.

        Raises:
            NotFound, InvalidName, Refused: as :meth:`about`; the rules may have changed since then.
            TooLarge: there are too many rules.
            Unavailable: it is written, and could not be published; the next change does it.
        """
        target = _wanted(host)
        wanted = NewRule(None, "allow", target.host, _port_of(host, target), expires_at=_expiry(lasting))
        found = await self._database.run(_grant, group, target, wanted, by)
        await self._agents.publish_egress()
        log.info("%s was given egress %s", by, found.rule)
        return found

    async def remove(self, number: int, by: str) -> EgressRow:
        """Take a rule away, and end what it allowed.

        Raises:
            NotFound: there is none of this number.
            Unavailable: it is gone, and that could not be published; the next change does it.
        """
        found = await self._database.run(rows.remove, number)
        await self._agents.publish_egress()
        log.info("%s removed egress %s of %s", by, found.rule, found.rule.group or "all groups")
        return found

    async def listed(self, group: str | None) -> list[EgressRow]:
        """Return the rules of a group with those of all groups, or all rules.

        Raises:
            NotFound: there is no such group.
        """
        return await self._database.run(_listed, group)

    async def try_out(self, group: str, url: str, method: str | None) -> tuple[str, Tried]:
        """Return the group's name, and what would become of a request.

        Raises:
            NotFound: there is no such group.
            InvalidName: the address can't be read.
        """
        asked = read_request(url, method)
        folder, found = await self._database.run(_of, group)
        rules = [one.rule for one in found]
        if asked.scheme == "https" and not needs_inside(rules, folder, asked.target):
            # Nobody looks into it: a tunnel is what the gateway decides about.
            asked = Asked(asked.target)
        decision = decide(rules, folder, asked, time.time())
        return folder, Tried(asked, decision, _note(asked.target, decision))


def read(wish: Wish, action: str) -> NewRule:
    """Return the rule that is wished for, for no group yet.

    Raises:
        InvalidName: a part of it can't be read.
        Refused: it speaks of what can't be enforced.
    """
    host, port, path = _read_host(wish.host)
    methods = tuple(dict.fromkeys(method.upper() for method in wish.methods))
    if len(methods) > MAX_METHODS or not all(_METHOD.fullmatch(method) for method in methods):
        raise InvalidName("methods are words like GET or POST")
    if (methods or path) and host == ANY:
        if port == HTTPS_PORT:
            raise Refused(
                "methods and paths of https are seen of hosts that a rule names only, not of every host: each of them"
                " would have to be looked into",
                hint=_NARROWER[action],
            )
        # Of every host only plain http can be meant; the rule must not touch https.
        port = port or HTTP_PORT
    private = wish.private
    if private and action == "deny":
        raise InvalidName("--private is for rules that allow, or ask")
    if action != "deny" and is_address(host) and special(host):
        if port is None:
            raise Refused(f"{host} is {special(host)}: the rule has to name the port", hint=f"{host}:PORT")
        private = True
    if private and (host.startswith("*") or port is None):
        raise Refused("--private needs exactly one host and one port", hint="HOST:PORT --private")
    if action == "deny" and (wish.rate or wish.max_body or wish.max_download):
        raise InvalidName("--rate, --max-body and --max-download are for rules that allow, or ask")
    return NewRule(
        None,
        action,
        host,
        port,
        methods,
        path,
        private,
        _expiry(wish.lasting),
        read_rate(wish.rate),
        _size(wish.max_body),
        _size(wish.max_download),
    )


def read_request(text: str, method: str | None = None) -> Asked:
    """Return what a request for an address would ask of the gateway; without a scheme it is https.

    Raises:
        InvalidName: it can't be read.
    """
    try:
        if text.startswith("http://"):
            target, path = parse_url(text)
            return Asked(target, (method or "GET").upper(), path)
        if text.startswith("https://"):
            target, path = parse_url(text, "https")
            return Asked(target, (method or "GET").upper(), path, "https")
        return Asked(parse_authority(text, HTTPS_PORT), (method or "GET").upper(), "/", "https")
    except BadTarget as error:
        raise InvalidName(str(error)) from None


def _wanted(text: str) -> Target:
    """Return what an agent may ask for: one host on the internet, as far as that can be told.

    Raises:
        InvalidName: it is something else.
    """
    scheme, found, rest = text.partition("://")
    port = _SCHEMES.get(scheme.lower()) if found else HTTPS_PORT
    named = rest.partition("/")[0] if found else text
    if port is None:
        raise InvalidName(f"{text[:80]!r} begins with neither http:// nor https://")
    try:
        target = parse_authority(named, port)
    except BadTarget as error:
        raise InvalidName(str(error)) from None
    if is_address(target.host) and (words := special(target.host)):
        raise InvalidName(f"{target.host} is {words}: that is for the owner to allow, unasked")
    return target


def _port_of(text: str, target: Target) -> int | None:
    """Return the port of a rule: none where an agent has named neither a port nor a scheme."""
    return target.port if "://" in text or _PORT.fullmatch(text) else None


def _read_host(text: str) -> tuple[str, int | None, str]:
    scheme, found, rest = text.partition("://")
    port, path = None, ""
    if found:
        if scheme.lower() not in _SCHEMES:
            raise InvalidName(f"{text[:80]!r} begins with neither http:// nor https://")
        port = _SCHEMES[scheme.lower()]
        rest, slash, path = rest.partition("/")
        path = slash + path if path else ""
    else:
        rest = text
    named = _PORT.fullmatch(rest)
    if named is not None:
        rest, port = named[1], int(named[2])
        if not 0 < port <= 65_535:  # noqa: PLR2004  # of 16 bits
            raise InvalidName(f"{port} is no port")
    if path and (
        len(path) > MAX_PATH_CHARACTERS or path_readings(path) != (path,) or not path.isascii() or "?" in path
    ):
        raise InvalidName(
            f"a rule's path is a plain prefix of at most {MAX_PATH_CHARACTERS} characters: no query, no semicolon, no"
            " dot segments, nothing encoded"
        )
    try:
        return parse_pattern(rest), port, path
    except BadTarget as error:
        raise InvalidName(str(error)) from None


def _expiry(lasting: str) -> str | None:
    if not lasting:
        return None
    found = _LASTING.fullmatch(lasting)
    if found is None:
        raise InvalidName("--for takes a number with s, m, h or d: 30m, 2h, 7d")
    return now_text(plus_seconds=int(found[1]) * _UNITS[found[2]])


def read_rate(text: str) -> Rate | None:
    """Return how often something may be, None of an empty text.

    Raises:
        InvalidName: it can't be read.
    """
    if not text:
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise InvalidName("--rate takes a number for each s, min or h: 5/s, 30/min, 100/h")
    return Rate(int(found[1]), {"s": 1, "m": 60, "h": 3600}[found[2][0]])  # type: ignore[arg-type]  # those three


def _size(text: str) -> int | None:
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidName("--max-body and --max-download take a number of bytes, or one with K, M or G: 500K, 10M, 1G")
    return int(found[1]) << 10 * _POWERS[found[2]]


def _put(connection: apsw.Connection, group: str, wanted: NewRule, by: str) -> tuple[EgressRow, int | None]:
    group_id = None if group == ALL else resolve.group(connection, group).id
    return rows.put(connection, replace(wanted, agent_group_id=group_id), by)


def _grant(connection: apsw.Connection, group: str, target: Target, wanted: NewRule, by: str) -> EgressRow:
    group_id = _check_undecided(connection, group, target, wanted.port)
    return rows.put(connection, replace(wanted, agent_group_id=group_id), by)[0]


def _check_undecided(connection: apsw.Connection, group: str, target: Target, port: int | None) -> str:
    """See to it that no rule speaks of a host already, or of a part of it, and return the group's id.

    Raises:
        Refused: one does. What denies is the owner's word, and what asks needs no other permission.
    """
    found = resolve.group(connection, group)
    rules = [row.rule for row in rows.listed(connection, found.folder)]
    decision = decide(rules, found.folder, Asked(target, "GET", "/", "https"), time.time())
    if decision.allowed:
        raise Refused(f"{target} is allowed already: {decision.reason}")
    if decision.asks:
        raise Refused(f"nobody has to be asked beforehand: {decision.reason}")
    if decision.rule is not None:
        raise Refused(f"{decision.reason}: that is the owner's word, which a request does not change")
    # A rule for the very host would come before one of a pattern, which denies a method or one of the ports.
    wanted = Rule(sys.maxsize, "allow", target.host, found.folder, port)
    if (other := overridden(rules, wanted, time.time())) is not None:
        verb = "denies" if other.action == "deny" else "asks about"
        raise Refused(f"{other} {verb} a part of it: that is the owner's word, which a request does not change")
    return found.id


def _listed(connection: apsw.Connection, group: str | None) -> list[EgressRow]:
    return rows.listed(connection, None if group is None else resolve.group(connection, group).folder)


def _of(connection: apsw.Connection, group: str) -> tuple[str, list[EgressRow]]:
    folder = resolve.group(connection, group).folder
    return folder, rows.listed(connection, folder)


def _note(target: Target, decision: Decision) -> str:
    """Return what the gateway will say of the address, as far as that can be told from here."""
    rule = decision.rule
    if rule is None or rule.action == "deny" or rule.private:
        return ""
    if not is_address(target.host):
        return "its name has to have an address on the internet"
    words = special(target.host)
    return f"but {target.host} is {words}: the gateway refuses it" if words else ""
