"""Which secret goes where, as operators say it: bindings are checked, written, and published to the gateway at once.

The values are none of the daemon's business: ``ncl`` hands them to the program that seals them.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import apsw

from nanoclawd.agents.egress import ALL
from nanoclawd.agents.service import AgentService
from nanoclawd.egress.addresses import special
from nanoclawd.egress.rules import Asked, Decision, Rule, decide
from nanoclawd.egress.secret_wishes import place_text, read_name, read_oauth, read_places, read_style
from nanoclawd.egress.secrets import Place, Scheme, Secret
from nanoclawd.egress.targets import HTTPS_PORT, BadTarget, Target, is_address, parse_url
from nanoclawd.errors import InvalidName, NotFound
from nanoclawd.store import agent_groups, egress, resolve
from nanoclawd.store import secrets as rows
from nanoclawd.store.database import Database
from nanoclawd.store.secrets import Exchange, NewSecret, SecretRow

log = logging.getLogger(__name__)

MAX_GROUPS: Final = 50
"""Named one by one; for more there is ``all``."""

_BELOW: Final = "any"
"""Stands for a name below a pattern, where rules are asked about one."""

_HOME_DOMAINS: Final = (".lan", ".local", ".internal", ".home.arpa", ".home")
"""Names that routers give in a network of one's own."""


@dataclass(frozen=True, slots=True)
class SecretWish:
    """A binding as somebody asks for it.

    Attributes:
        hosts: ``HOST``, with a port, a path, and ``http://`` before it where that is meant.
        groups: names or ids; exactly ``all``: every group.
        style: ``bearer``, ``basic:USER``, ``header:NAME``, ``query:NAME``, ``cookie:NAME`` or ``placeholder``.
        exchange: of an OAuth account.
    """

    name: str
    hosts: tuple[str, ...]
    groups: tuple[str, ...]
    style: str
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """A host of a secret that a group's agents can't reach, and what to type so that they can."""

    group: str
    place: Place
    allow: str


@dataclass(frozen=True, slots=True)
class Known:
    """A binding, and where the rules of egress are in its way."""

    row: SecretRow
    closed: tuple[Closed, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What would become of one group's request.

    Attributes:
        fits: whether the secret is put into it.
        asks: somebody is asked first.
        reason: of the rules of egress.
        allow: what to type where they deny it.
    """

    group: str
    url: str
    fits: bool
    allowed: bool
    asks: bool
    reason: str
    allow: str


class SecretBindings:
    """The bindings. A change holds for new requests when the call returns."""

    def __init__(self, database: Database, agents: AgentService) -> None:
        self._database = database
        self._agents = agents

    async def check(self, wish: SecretWish) -> tuple[Known, bool]:
        """Return the binding that would be, and whether it would take the place of one; nothing is changed.

        Raises:
            NotFound: there is no such group.
            InvalidName: a part of the wish can't be read.
        """
        return await self._database.run(_checked, wish)

    async def bind(self, wish: SecretWish, by: str) -> tuple[Known, bool]:
        """Write a binding; return it, and whether it took the place of one.

        Raises:
            NotFound: there is no such group.
            InvalidName: a part of the wish can't be read.
            TooLarge: there are too many secrets.
            Unavailable: it is written, and could not be published; the next change does it.
        """
        found, replaced = await self._database.run(_bound, wish, by)
        await self._agents.publish_secrets()
        log.info("%s bound secret %s to %d hosts", by, wish.name, len(found.row.secret.places))
        return found, replaced

    async def renewed(self, name: str, by: str) -> Known:
        """Note who gave a secret another value, and when.

        Raises:
            NotFound: there is none of this name.
        """
        return await self._database.run(lambda connection: _known(connection, rows.renewed(connection, name, by)))

    async def remove(self, name: str, by: str) -> Known:
        """Take a binding away: no request gets it any more.

        Raises:
            NotFound: there is none of this name.
            Unavailable: it is gone, and that could not be published; the next change does it.
        """
        row = await self._database.run(rows.remove, name)
        await self._agents.publish_secrets()
        log.info("%s removed secret %s", by, row.secret.name)
        return Known(row, ())

    async def listed(self, group: str | None) -> list[Known]:
        """Return the bindings of a group with those of all groups, or all bindings.

        Raises:
            NotFound: there is no such group.
        """
        return await self._database.run(_listed, group)

    async def get(self, name: str) -> Known:
        """Return one binding.

        Raises:
            NotFound: there is none of this name.
        """
        return await self._database.run(lambda connection: _known(connection, rows.by_name(connection, name)))

    async def try_out(self, name: str, url: str | None, group: str | None) -> list[Trial]:
        """Return what would become of requests, of each group that is meant: to an address, or to each of its hosts.

        Raises:
            NotFound: there is no such secret, or no such group.
            InvalidName: the address can't be read.
        """
        return await self._database.run(_tried, name, url, group)


def _checked(connection: apsw.Connection, wish: SecretWish) -> tuple[Known, bool]:
    """Write a wish where it leaves nothing behind: each rule that holds for writing holds here, too."""
    connection.execute("SAVEPOINT secret_check")
    try:
        return _bound(connection, wish, "")
    finally:
        connection.execute("ROLLBACK TO secret_check")
        connection.execute("RELEASE secret_check")


def _bound(connection: apsw.Connection, wish: SecretWish, by: str) -> tuple[Known, bool]:
    wanted = _read(connection, wish)
    try:
        rows.by_name(connection, wanted.name)
        replaced = True
    except NotFound:
        replaced = False
    return _known(connection, rows.put(connection, wanted, by)), replaced


def _read(connection: apsw.Connection, wish: SecretWish) -> NewSecret:
    try:
        name, places = read_name(wish.name), read_places(wish.hosts)
        style, parameter = read_style(wish.style)
        if wish.exchange is not None:
            read_oauth(wish.exchange.token_url, wish.exchange.client_id, scope=wish.exchange.scope)
    except BadTarget as error:
        raise InvalidName(str(error)) from None
    groups = tuple(dict.fromkeys(wish.groups))
    if not 0 < len(groups) <= MAX_GROUPS:
        raise InvalidName(f"a secret is for 1 to {MAX_GROUPS} groups, or for all", hint="--group all")
    if ALL in groups and len(groups) > 1:
        raise InvalidName("a secret is for all groups, or for those that are named")
    ids = None if groups == (ALL,) else tuple({resolve.group(connection, group).id: None for group in groups})
    return NewSecret(name, places, ids, style, parameter, wish.exchange)


def _listed(connection: apsw.Connection, group: str | None) -> list[Known]:
    folder = None if group is None else resolve.group(connection, group).folder
    return [_known(connection, row) for row in rows.listed(connection, folder)]


def _known(connection: apsw.Connection, row: SecretRow) -> Known:
    rules = [found.rule for found in egress.listed(connection)]
    now = time.time()
    closed = [
        Closed(group, place, _how_to_allow(group, _target(place)))
        for group in _groups(connection, row.secret)
        for place in row.secret.places
        if _is_closed(decide(rules, group, _asked(place), now))
    ]
    return Known(row, tuple(closed))


def _tried(connection: apsw.Connection, name: str, url: str | None, group: str | None) -> list[Trial]:
    secret = rows.by_name(connection, name).secret
    rules = [found.rule for found in egress.listed(connection)]
    groups = list(_groups(connection, secret)) if group is None else [resolve.group(connection, group).folder]
    if url is not None:
        scheme: Scheme = "http" if url.startswith("http://") else "https"
        try:
            target, path = parse_url(url if "://" in url else f"https://{url}", scheme)
        except BadTarget as error:
            raise InvalidName(str(error)) from None
        asked = [(url, Asked(target, "GET", path, scheme))]
    else:
        asked = [(place_text(place), _asked(place)) for place in secret.places]
    return [_trial(secret, rules, folder, shown, one) for folder in groups for shown, one in asked]


def _trial(secret: Secret, rules: list[Rule], group: str, url: str, asked: Asked) -> Trial:
    path = (asked.path or "").partition("?")[0]
    fits = any(place.fits(asked.scheme, asked.target) and place.fits_path(path) for place in secret.places)
    decision = decide(rules, group, asked, time.time())
    allow = _how_to_allow(group, asked.target) if _is_closed(decision) else ""
    return Trial(group, url, fits and secret.is_for(group), decision.allowed, decision.asks, decision.reason, allow)


def _is_closed(decision: Decision) -> bool:
    return not decision.allowed and not decision.asks


def _groups(connection: apsw.Connection, secret: Secret) -> Iterator[str]:
    if secret.groups is not None:
        yield from secret.groups
    else:
        yield from (group.folder for group in agent_groups.every(connection))


def _asked(place: Place) -> Asked:
    host = f"{_BELOW}{place.host[1:]}" if place.host.startswith("*") else place.host
    return Asked(Target(host, place.port), "GET", place.path or "/", place.scheme)


def _target(place: Place) -> Target:
    return Target(place.host, place.port)


def _how_to_allow(group: str, target: Target) -> str:
    """Return the command that lets a group's agents go there; a machine of the own network needs one word more."""
    host = target.host
    own = bool(special(host)) if is_address(host) else "." not in host or host.endswith(_HOME_DOMAINS)
    if own:
        return f"ncl egress allow {group} {target} --private"
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if target.port == HTTPS_PORT else f"{bracketed}:{target.port}"
    return f"ncl egress allow {group} " + (f"'{authority}'" if host.startswith("*") else authority)
