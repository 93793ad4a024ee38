"""Rules, and which of them decides about a request: the gateway enforces it, ``ncl egress test`` explains it.

The most specific rule that fits decides. More specific is, in this order: the longer host pattern (an exact host before
any pattern), a rule of the group before one of all groups, a named port, the longer path, named methods. Among equals
one that denies wins. Where no rule fits, the answer is no.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from nanoclawd.egress.targets import HTTP_PORT, HTTPS_PORT, BadTarget, Target, is_address, parse_host, settled_path

ANY: Final = "*"
"""The pattern of every name; no address fits it."""

DEFAULT_PORTS: Final = frozenset({HTTP_PORT, HTTPS_PORT})
"""The ports of a rule that names none."""

_EXACT: Final = 1000

type Action = Literal["allow", "deny", "ask"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule, also as the daemon publishes it.

    Attributes:
        id: its number.
        action: ``ask`` is for rules of a later version; it refuses.
        host: an exact host in its one form, ``*.`` before a name (what is below it), or ``*``.
        group: the agent group's folder; None: all groups.
        port: None: 80 and 443.
        methods: of plain http only; none: all.
        path: prefix of the path, of plain http only.
        private: the host may have an address of the machine's own network, or be the machine.
        until: seconds since 1970; None: for ever.
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

    @property
    def is_narrow(self) -> bool:
        """Whether it speaks of parts of a request that a tunnel hides."""
        return bool(self.methods or self.path)

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
    """

    target: Target
    method: str | None = None
    path: str | None = None

    @property
    def is_tunnel(self) -> bool:
        """Whether nobody can see what it asks for."""
        return self.method is None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a request, and why.

    Attributes:
        rule: the one that decided; None: none fits.
        reason: a part of a sentence.
    """

    allowed: bool
    rule: Rule | None
    reason: str

    @property
    def may_be_private(self) -> bool:
        """Whether the host may have an address that is not on the internet."""
        return self.allowed and self.rule is not None and self.rule.private

    @property
    def until(self) -> float | None:
        """When the permission ends."""
        return self.rule.until if self.rule is not None else None


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
        return Decision(False, rule, f"{rule} wants somebody to be asked, which this version can't")
    if asked.is_tunnel and rule.is_narrow:
        return Decision(False, rule, f"{rule} denies a part of it, and a tunnel hides which part is meant")
    return Decision(False, rule, f"{rule} denies it")


def _fits(rule: Rule, group: str, asked: Asked, now: float) -> bool:
    if rule.group not in (None, group) or (rule.until is not None and rule.until <= now):
        return False
    if asked.target.port != rule.port and (rule.port is not None or asked.target.port not in DEFAULT_PORTS):
        return False
    if not fits_host(rule.host, asked.target.host):
        return False
    if not rule.is_narrow:
        return True
    # What can't be seen is taken for the worse: a tunnel, or a path that a server may read in another way.
    denies = rule.action != "allow"
    if asked.method is None or asked.path is None:
        return denies
    if rule.methods and asked.method not in rule.methods:
        return False
    path = settled_path(asked.path)
    return denies if rule.path and path is None else (path or "").startswith(rule.path)


def _rank(rule: Rule) -> tuple[int, bool, bool, int, bool, bool, int]:
    host = len(rule.host) if rule.host.startswith("*") else _EXACT
    return (
        host,
        rule.group is not None,
        rule.port is not None,
        len(rule.path),
        bool(rule.methods),
        rule.action != "allow",
        -rule.id,
    )
