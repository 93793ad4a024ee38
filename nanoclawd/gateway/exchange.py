"""One request on its way out: what it asks for, and what the audit will tell of it."""

import re
import time
from dataclasses import dataclass, field, replace
from typing import Final

import h11

from nanoclawd.egress.rules import Asked
from nanoclawd.egress.targets import HTTPS_PORT, BadTarget, Target, parse_authority, parse_url
from nanoclawd.gateway import denials
from nanoclawd.gateway.audit import Record
from nanoclawd.gateway.caller import Connect
from nanoclawd.gateway.door.kept import Kept

_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,19}", re.ASCII)
_OTHER_PATHS: Final = frozenset({b"x-original-url", b"x-rewrite-url"})
_OTHER_METHODS: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
_UNKNOWN: Final = Target("-", 0)


@dataclass(frozen=True, slots=True)
class Within:
    """A connection that is looked into, as its requests know it.

    Attributes:
        target: the host in whose place they are heard.
        session: whose they are, where that can be told.
        kept: the host's connections between them.
    """

    target: Target
    session: str
    kept: Kept = field(default_factory=Kept)


class Exchange:
    """One request on its way, as the audit will tell it.

    Attributes:
        carried: what went through; a tunnel's own counts take its place.
        within: the connection in which the request was heard; None: it was sent to a proxy.
        session: whose it is, where that can be told.
        approval: by which somebody has allowed it.
        was_inside: of a tunnel, whether the requests in it have records of their own.
    """

    def __init__(self, request: h11.Request | Connect, uid: int, within: Within | None = None) -> None:
        self.request = request
        self.uid = uid
        self.within = within
        self.was_inside = False
        self.session = within.session if within is not None else ""
        self.group = self.approval = ""
        self.is_tunnel = request.method == b"CONNECT"
        self.accept = next((value for name, value in request.headers if name == b"accept"), b"")
        self.outcome = "left"
        self.status = 0
        self.rule = 0
        self.sent = self.received = 0
        self.carried: object = None
        self._begun = time.monotonic()
        self._asked = Asked(_UNKNOWN, "-", "")

    def read(self) -> Asked:
        """Return what is asked for.

        Raises:
            Denial: it can't be told.
        """
        try:
            self._asked = self._read(self.request.target.decode("ascii", "replace"))
        except BadTarget as error:
            raise denials.malformed(str(error)) from None
        return self._asked

    @property
    def target(self) -> Target:
        """The host that is asked, once that was read."""
        return self._asked.target

    @property
    def authority(self) -> str:
        """The host, as its Host header says it."""
        return self.target.authority if self.within is None else self.target.authority_by(HTTPS_PORT)

    def _read(self, text: str) -> Asked:
        if self.is_tunnel:
            names = {name for name, _ in self.request.headers}
            if names & {b"content-length", b"transfer-encoding"}:
                raise denials.malformed("CONNECT has no body")
            if self.within is not None:
                self.is_tunnel = False
                raise denials.malformed("there is no tunnel within a tunnel", 405)
            return Asked(parse_authority(text))
        method = self.request.method.decode("ascii", "replace")
        if not _METHOD.fullmatch(method) or method == "TRACE":
            raise denials.malformed("this method is not forwarded", 405)
        if self.within is not None:
            return self._read_inside(self.within.target, method, text)
        if text.startswith("https://"):
            raise denials.malformed("https is reached by CONNECT: HTTPS_PROXY is an http:// address, too")
        target, path = parse_url(text)
        self._asked = Asked(target, method, path)
        return replace(self._asked, override=self._override(method))

    def _override(self, method: str) -> str | None:
        """Return the method that some hosts take in place of the request's own, as a header says; None: no other one.

        Raises:
            Denial: it can't be read, or a header names another path, too.
        """
        found = None
        for name, value in self.request.headers:
            if not name.startswith((b"x-", b"x_")):
                continue
            # Behind CGI, and in what learned from it, an underscore is a dash.
            plain = name.replace(b"_", b"-")
            if plain in _OTHER_PATHS:
                raise denials.malformed(f"{plain.decode()} names another path than the request does: ask for that path")
            if plain in _OTHER_METHODS:
                other = value.decode("latin-1").strip().upper()
                if found not in (None, other) or not _METHOD.fullmatch(other):
                    raise denials.malformed(f"{plain.decode()} names no method, or there are two of them")
                found = other
        return None if found == method else found

    def _read_inside(self, inside: Target, method: str, text: str) -> Asked:
        """Return what is asked of the host that the tunnel was opened for, and of no other one."""
        self._asked = Asked(inside, method, "/", "https")
        named = next((value for name, value in self.request.headers if name == b"host"), b"")
        if parse_authority(named.decode("ascii", "replace"), HTTPS_PORT) != inside:
            raise denials.malformed(f"the tunnel is to {inside}, and the request is for another host", 421)
        if not text.startswith("/"):
            raise denials.malformed("within a tunnel a request names a path")
        _, path = parse_url(f"https://{inside.authority_by(HTTPS_PORT)}{text}", "https")
        return Asked(inside, method, path, "https", self._override(method))

    def record(self) -> Record:
        """Return what the audit writes."""
        counts = self.carried or self
        return Record(
            group=self.group,
            host=self._asked.target.host,
            port=self._asked.target.port,
            method="CONNECT" if self.is_tunnel else self._asked.method or "-",
            path=(self._asked.path or "").partition("?")[0],
            rule=self.rule,
            outcome=self.outcome,
            sent=getattr(counts, "sent", 0),
            received=getattr(counts, "received", 0),
            milliseconds=round((time.monotonic() - self._begun) * 1000),
            status=self.status,
            session=self.session,
            approval=self.approval,
        )
