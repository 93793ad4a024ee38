"""Who calls, and what the caller may ask for.

The kernel says the caller's uid (SO_PEERCRED). Each agent group has a uid of its own inside its containers; the user
namespace of the user ``nanoclaw`` maps it to one on the host; the daemon publishes which group it is. Whatever is not
known and allowed is refused.
"""

import contextlib
import os
import pwd
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from nanoclawd.config import Endpoint
from nanoclawd.config.values import EndpointName
from nanoclawd.egress.rules import Rule
from nanoclawd.egress.secrets import Secret
from nanoclawd.errors import NanoclawError, Unavailable
from nanoclawd.gateway.refusals import Refusal

MAX_AGENTS_BYTES = 4 * 1024 * 1024
"""A longer agents.json is refused, and everybody with it."""

# Letters, digits and a few marks: no percent sign, hence nothing is encoded and the text that is compared is the text
# that is sent. A query may stand behind the path; APIs use it for versions and flags.
_TARGET = re.compile(
    r"/(?P<endpoint>[a-z0-9][a-z0-9-]{0,30})/(?P<path>[A-Za-z0-9._/-]{1,200})(?:\?(?P<query>[A-Za-z0-9._~=&-]{0,256}))?",
    re.ASCII,
)
_METHODS = frozenset({"GET", "POST"})


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent group as the daemon publishes it; ``uid`` is the one inside its containers.

    Attributes:
        id: its own id, and ``name`` what people call it: published where a gateway outside has to know it.
    """

    uid: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    group: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?\Z")]
    endpoints: Annotated[tuple[EndpointName, ...], msgspec.Meta(max_length=100)]
    id: Annotated[str, msgspec.Meta(pattern=r"\A(?:[a-z0-9][a-z0-9-]{0,49})?\Z")] = ""
    name: Annotated[str, msgspec.Meta(max_length=255)] = ""


class _AgentsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # 1 had no rules: a daemon that is older than this gateway goes on serving models.
    version: Literal[1, 2, 3]
    agents: Annotated[tuple[Agent, ...], msgspec.Meta(max_length=10_000)]
    egress: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=10_000)] = ()
    secrets: Annotated[tuple[Secret, ...], msgspec.Meta(max_length=1000)] = ()


@dataclass(frozen=True, slots=True)
class SubordinateRange:
    """One range of /etc/subuid: ``count`` uids of the host from ``start``."""

    start: int
    count: int


def subordinate_ranges(user: str, path: Path = Path("/etc/subuid")) -> list[SubordinateRange]:
    """Return a user's ranges in the file's order, which is the order in which podman maps them.

    Raises:
        NanoclawError: the user has none, or the file cannot be read.
    """
    names = {user}
    with contextlib.suppress(KeyError):
        names.add(str(pwd.getpwnam(user).pw_uid))
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise NanoclawError(f"{path}: {error.strerror}") from error
    ranges = []
    for line in lines:
        name, _, numbers = line.strip().partition(":")
        start, _, count = numbers.partition(":")
        if name in names and start.isdecimal() and count.isdecimal() and int(count) > 0:
            ranges.append(SubordinateRange(int(start), int(count)))
    if not ranges:
        raise NanoclawError(
            f"{path} gives user {user} no subordinate uids", hint="sudo /usr/libexec/nanoclawd/host-setup install"
        )
    return ranges


def container_uid(host_uid: int, ranges: list[SubordinateRange]) -> int | None:
    """Return the uid inside a rootless container, or None where the host's uid is no subordinate one."""
    first = 1  # 0 in the container is the user itself
    for found in ranges:
        if found.start <= host_uid < found.start + found.count:
            return first + host_uid - found.start
        first += found.count
    return None


class AgentDirectory:
    """The published agents by their uid on the host; read again whenever the daemon published a new file.

    Attributes:
        edition: another number whenever what is known has changed.
    """

    def __init__(self, path: Path, ranges: list[SubordinateRange]) -> None:
        self._path = path
        self._ranges = ranges
        self.edition = 0
        self._seen: tuple[int, int, int] | None = None
        self._by_uid: Mapping[int, Agent] = {}
        self._rules: Mapping[str, tuple[Rule, ...]] = {}
        self._secrets: Mapping[str, tuple[Secret, ...]] = {}
        self._inside: frozenset[str] = frozenset()

    def find(self, host_uid: int) -> Agent:
        """Return the caller's agent group.

        Raises:
            Refusal: nobody known, or no usable file.
        """
        try:
            self._refresh()
        except Unavailable as error:
            raise Refusal(503, "gateway_unavailable", error.message, retry=True) from error
        uid = container_uid(host_uid, self._ranges)
        agent = self._by_uid.get(uid) if uid is not None else None
        if agent is None:
            raise Refusal(403, "unknown_caller", f"uid {host_uid} belongs to no agent group")
        return agent

    def everyone(self) -> tuple[Agent, ...]:
        """Return all agent groups.

        Raises:
            Refusal: no usable file.
        """
        try:
            self._refresh()
        except Unavailable as error:
            raise Refusal(503, "gateway_unavailable", error.message, retry=True) from error
        return tuple(self._by_uid.values())

    def rules_of(self, agent: Agent) -> tuple[Rule, ...]:
        """Return the rules of a group and of all groups, as they were when an agent was found last."""
        return self._rules.get(agent.group, ())

    def secrets_of(self, agent: Agent) -> tuple[Secret, ...]:
        """Return the secrets that a group's requests can have, as they were when an agent was found last."""
        return self._secrets.get(agent.group, ())

    def inside(self) -> frozenset[str]:
        """Return the hosts and patterns, of all groups, whose TLS connections may have to be looked into."""
        with contextlib.suppress(Unavailable):
            self._refresh()
        return self._inside

    @property
    def is_current(self) -> bool:
        """Whether what was read last is what the daemon has published last. Costs microseconds."""
        try:
            now = os.lstat(self._path)
        except OSError:
            return False
        return (now.st_ino, now.st_mtime_ns, now.st_size) == self._seen

    def _refresh(self) -> None:
        if self.is_current:
            return
        # A few microseconds on a tmpfs: not worth a thread. NONBLOCK, so that no FIFO in its place holds the loop.
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._forget()
            raise Unavailable(f"the daemon has not published its agents ({error.strerror})") from error
        try:
            now = os.fstat(file)
            seen = (now.st_ino, now.st_mtime_ns, now.st_size)
            if seen == self._seen:
                return
            self._forget()
            if not stat.S_ISREG(now.st_mode) or now.st_size > MAX_AGENTS_BYTES:
                raise Unavailable(f"{self._path} is no file of at most {MAX_AGENTS_BYTES} bytes")
            content = os.read(file, MAX_AGENTS_BYTES + 1)
        finally:
            os.close(file)
        try:
            published = msgspec.json.decode(content, type=_AgentsFile)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(f"{self._path} cannot be used: {error}") from error
        by_uid = {agent.uid: agent for agent in published.agents}
        if len(by_uid) != len(published.agents):
            raise Unavailable(f"{self._path} names a uid twice")
        self._rules = {
            agent.group: tuple(rule for rule in published.egress if rule.group in (None, agent.group))
            for agent in published.agents
        }
        self._secrets = {
            agent.group: tuple(secret for secret in published.secrets if secret.is_for(agent.group))
            for agent in published.agents
        }
        self._inside = frozenset(
            {place.host for secret in published.secrets for place in secret.places if place.scheme == "https"}
            | {rule.host for rule in published.egress if rule.is_of_inside}
        )
        self._by_uid, self._seen = by_uid, seen

    def _forget(self) -> None:
        # Fail closed: a group that was deleted must not live on in an old copy.
        self.edition += 1
        self._by_uid, self._rules, self._secrets, self._seen = {}, {}, {}, None
        self._inside = frozenset()


@dataclass(frozen=True, slots=True)
class Route:
    """Where an allowed request goes."""

    name: str
    endpoint: Endpoint
    url: str


def route(agent: Agent, method: str, target: str, endpoints: Mapping[str, Endpoint]) -> Route:
    """Return where a caller's request goes.

    Args:
        agent: the caller.
        method: HTTP method.
        target: the request's target as it was sent, undecoded: ``/ENDPOINT/PATH``.
        endpoints: those of the configuration.

    Raises:
        Refusal: something about it is unknown or not allowed.
    """
    if method not in _METHODS:
        raise Refusal(405, "method_not_allowed", "only GET and POST are forwarded")
    found = _TARGET.fullmatch(target)
    if not found:
        raise Refusal(400, "bad_target", "expected /ENDPOINT/PATH of plain letters, digits, dots and dashes")
    name, path, query = found["endpoint"], found["path"], found["query"]
    if name not in agent.endpoints:
        raise Refusal(403, "endpoint_not_allowed", f"agent group {agent.group} may not use endpoint {name}")
    endpoint = endpoints.get(name)
    if endpoint is None:
        raise Refusal(404, "unknown_endpoint", f"config.yaml has no endpoint {name}")
    if path not in endpoint.allowed_paths():
        allowed = ", ".join(endpoint.allowed_paths())
        raise Refusal(403, "path_not_allowed", f"endpoint {name} forwards only {allowed}")
    return Route(name, endpoint, f"{endpoint.address()}/{path}" + (f"?{query}" if query else ""))
