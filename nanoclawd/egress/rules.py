"""Rules, and which of them decides about a request: the gateway enforces it, ``ncl egress test`` explains it.

The most specific rule that fits decides. More specific is, in this order: the longer host pattern (an exact host before
any pattern), a rule of the group before one of all groups, a named port, the longer path, named methods. Among equals
one that denies wins, then one that asks. Where no rule fits, the answer is no.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from nanoclawd.egress.targets import HTTP_PORT, HTTPS_PORT, BadTarget, Target, is_address, parse_host, path_readings

ANY: Final = "*"
"""The pattern of every name; no address fits it."""

DEFAULT_PORTS: Final = frozenset({HTTP_PORT, HTTPS_PORT})
"""The ports of a rule that names none."""

_EXACT: Final = 1000
_SEVERITY: Final[Mapping[str, int]] = MappingProxyType({"allow": 0, "ask": 1, "deny": 2})

type Action = Literal["allow", "deny", "ask"]
type Scheme = Literal["http", "https"]
type Bytes = Annotated[int, msgspec.Meta(ge=1, le=2**50)]


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often: so many requests in each so many seconds, as many of them at once."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    seconds: Literal[1, 60, 3600]

    def __str__(self) -> str:
        return f"{self.count}/{_UNITS[self.seconds]}"


_UNITS: Final[Mapping[int, str]] = MappingProxyType({1: "s", 60: "min", 3600: "h"})


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule, also as the daemon publishes it.

    Attributes:
        id: its number.
        action: ``ask`` holds a request until somebody with the right to it has decided.
        host: an exact host in its one form, ``*.`` before a name (what is below it), or ``*``.
        group: the agent group's folder; None: all groups.
        port: None: 80 and 443.
        methods: none: all.
        path: prefix of the path.
        private: the host may have an address of the machine's own network, or be the machine.
        until: seconds since 1970; None: for ever.
        rate: of requests, or of connections that nobody looks into; None: no bound.
        max_sent: bytes of a request's body, or from the agent in a tunnel; None: no bound.
        max_received: bytes of an answer's body, or to the agent in a tunnel; None: no bound.
    """

    id: int
    action: Action
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    group: str | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    methods: Annotated[tuple[str, ...], msgspec.Meta(max_length=20)] = ()
    path: str = ""
    private: bool = False
    until: float | None = None
    rate: Rate | None = None
    max_sent: Bytes | None = None
    max_received: Bytes | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it speaks of parts of a request that a tunnel hides."""
        return bool(self.methods or self.path)

    @property
    def is_of_inside(self) -> bool:
        """Whether it can need a look into TLS connections."""
        asks = self.action == "ask" and self.port in (None, HTTPS_PORT)
        return (self.is_narrow or asks) and self.host != ANY and self.port != HTTP_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port is not None else ""
        methods = f" {','.join(self.methods)}" if self.methods else ""
        return f"rule {self.id} ({self.action}{methods} {host}{port}{self.path})"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is about.

    Attributes:
        method: None in a tunnel, which hides it.
        path: with or without its query; None in a tunnel.
        scheme: what is spoken with the host; of a tunnel it says nothing.
        override: the method that a host may take it for because of a header: it is judged as both.
    """

    target: Target
    method: str | None = None
    path: str | None = None
    scheme: Scheme = "http"
    override: str | None = None

    @property
    def is_tunnel(self) -> bool:
        """Whether nobody can see what it asks for."""
        return self.method is None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request, and why.

    Attributes:
        allowed: it may go on.
        rule: the one that decided; None: none fits.
        reason: a part of a sentence.
        asks: somebody has to decide first; not allowed until then.
        approval: the id of the approval by which somebody has allowed it.
        approved_until: when that ends, in seconds since 1970; None: with the request.
    """

    allowed: bool
    rule: Rule | None
    reason: str
    asks: bool = False
    approval: str = ""
    approved_until: float | None = None

    @property
    def may_be_private(self) -> bool:
        """Whether the host may have an address that is not on the internet."""
        return self.allowed and self.rule is not None and self.rule.private

    @property
    def until(self) -> float | None:
        """When the permission ends."""
        of_rule = self.rule.until if self.rule is not None else None
        return min((one for one in (of_rule, self.approved_until) if one is not None), default=None)

    def approved(self, approval: str, until: float | None) -> "Decision":
        """Return what a decision that asks has become by somebody's word."""
        reason = f"{self.rule} asks, and approval {approval} allows it"
        return replace(self, allowed=True, asks=False, reason=reason, approval=approval, approved_until=until)


def parse_pattern(text: str) -> str:
    """Return a host pattern in its one form: ``*``, ``*.`` and a name, or a host.

    Raises:
        BadTarget: it is none of them.
    """
    if text == ANY:
        return text
    if not text.startswith("*."):
        return parse_host(text)
    name = parse_host(text[2:])
    if is_address(name):
        raise BadTarget("there is nothing below an address")
    return f"*.{name}"


def fits_host(pattern: str, host: str) -> bool:
    """Tell whether a host fits a pattern."""
    if not pattern.startswith("*"):
        return pattern == host
    return not is_address(host) and (pattern == ANY or host.endswith(pattern[1:]))


def decide(rules: Iterable[Rule], group: str, asked: Asked, now: float) -> Decision:
    """Decide about a request of an agent group.

    Args:
        rules: all of them, or at least those of the group and of all groups.
        group: the agent group's folder.
        asked: what it wants.
        now: seconds since 1970; rules that are over by then are none.
    """
    fitting = [rule for rule in rules if _fits(rule, group, asked, now)]
    if not fitting:
        return Decision(False, None, "no rule allows it")
    rule = max(fitting, key=_rank)
    if rule.action == "allow":
        return Decision(True, rule, f"{rule} allows it")
    if rule.action == "ask":
        return Decision(False, rule, f"{rule} wants somebody to decide about it first", asks=True)
    if asked.is_tunnel and rule.is_narrow:
        return Decision(False, rule, f"{rule} denies a part of it, and a tunnel hides which part is meant")
    return Decision(False, rule, f"{rule} denies it")


def needs_inside(rules: Iterable[Rule], group: str, target: Target, now: float | None = None) -> bool:
    """Tell whether the rules say something about an https host that only the request itself can answer.

    That is where a rule about methods or a path could decide, or one that asks, so that whoever is asked sees what is
    asked for. Of ``*`` there is none: nobody looks into everything. A rule that asks about a port of its own is about
    the connection, unless it names methods or a path: what is spoken there need not be https.

    Args:
        rules: all of them, or at least those of the group and of all groups.
        group: the agent group's folder.
        target: whereto a tunnel is asked for.
        now: seconds since 1970 (default: this moment).
    """
    if target.port == HTTP_PORT:
        return False
    moment = time.time() if now is None else now
    concerned = sorted((rule for rule in rules if _concerns(rule, group, target, moment)), key=_rank, reverse=True)
    for rule in concerned:
        if rule.is_narrow:
            if rule.host != ANY:
                return True
            continue
        # This one decides about whatever has come so far.
        return rule.action == "ask" and rule.host != ANY and target.port == HTTPS_PORT
    return False


def may_be_allowed(rules: Iterable[Rule], group: str, target: Target, now: float) -> bool:
    """Tell whether some request to a host is not denied; the parameters are those of :func:`needs_inside`."""
    return any(rule.action != "deny" and _concerns(rule, group, target, now) for rule in rules)


def overridden(rules: Iterable[Rule], wanted: Rule, now: float) -> Rule | None:
    """Return a rule that denies or asks, and that would not any more if there were another one; None: there is none.

    Args:
        rules: those that there are.
        wanted: the other one: of one group, for one host.
        now: seconds since 1970.
    """
    ports = DEFAULT_PORTS if wanted.port is None else {wanted.port}
    for rule in rules:
        concerned = any(_concerns(rule, wanted.group or "", Target(wanted.host, port), now) for port in ports)
        if rule.action != "allow" and concerned and _rank(rule) < _rank(wanted):
            return rule
    return None


def _concerns(rule: Rule, group: str, target: Target, now: float) -> bool:
    """Tell whether a rule can fit a request to a host, whatever its method and path."""
    if rule.group not in (None, group) or (rule.until is not None and rule.until <= now):
        return False
    if target.port != rule.port and (rule.port is not None or target.port not in DEFAULT_PORTS):
        return False
    return fits_host(rule.host, target.host)


def _fits(rule: Rule, group: str, asked: Asked, now: float) -> bool:
    if not _concerns(rule, group, asked.target, now):
        return False
    if not rule.is_narrow:
        return True
    # What can't be seen is taken for the worse: a tunnel, or a path that a server may read in another way.
    denies = rule.action != "allow"
    if asked.method is None or asked.path is None:
        return denies
    methods = {asked.method, asked.override or asked.method}
    if rule.methods and not (methods & set(rule.methods) if denies else methods <= set(rule.methods)):
        return False
    return not rule.path or _begins(asked.path, rule.path, denies=denies)


def _begins(path: str, prefix: str, *, denies: bool) -> bool:
    """Tell whether a path begins with a rule's: in every reading where that allows, in any where it does not.

    Some servers do not tell large letters from small ones; so neither does what denies.
    """
    readings = path_readings(path)
    if denies:
        return not readings or any(one.lower().startswith(prefix.lower()) for one in readings)
    return bool(readings) and all(one.startswith(prefix) for one in readings)


def _rank(rule: Rule) -> tuple[int, bool, bool, int, bool, int, int]:
    host = len(rule.host) if rule.host.startswith("*") else _EXACT
    return (
        host,
        rule.group is not None,
        rule.port is not None,
        len(rule.path),
        bool(rule.methods),
        _SEVERITY[rule.action],
        -rule.id,
    )
