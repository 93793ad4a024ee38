"""What a client of the way out gets in place of an answer: which host, which rule, and who can change that."""

from http import HTTPStatus
from typing import Final

import msgspec

from nanoclawd.egress.rules import DEFAULT_PORTS, Asked, Decision
from nanoclawd.egress.targets import Target

PROXY: Final = "nanoclaw"
AWAY_SECONDS: Final = 10
"""What a client is told to wait while the gateway outside is away."""

_JSON: Final = b"application/json"


class Denial(Exception):  # noqa: N818  # an answer, not a fault
    """A request that goes no further.

    Attributes:
        status: HTTP status.
        kind: a word for programs.
        message: sentences for a person; no secret is in them.
        outcome: what the audit calls it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        outcome: str = "refused",
        brief: str = "",
        retry_after: int | None = None,
    ) -> None:
        """Say no.

        Args:
            status: HTTP status.
            kind: a word for programs.
            message: sentences for a person.
            outcome: what the audit calls it.
            brief: the status line's words, all that some clients show of an answer to CONNECT.
            retry_after: seconds after which asking again can help.
        """
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.outcome = outcome
        self.retry_after = retry_after
        self._brief = brief

    def head_and_body(self, accept: bytes) -> tuple[list[tuple[str, str]], bytes, bytes]:
        """Return headers, reason phrase and body, as the client's Accept header wants it."""
        if _JSON in accept.lower():
            kind = "application/json"
            body = msgspec.json.encode({"type": "error", "error": {"message": self.message, "type": self.kind}})
        else:
            kind, body = "text/plain; charset=utf-8", f"{PROXY}: {self.message}\n".encode()
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            # RFC 9209: tells an answer of ours from one of the host's.
            ("Proxy-Status", f"{PROXY}; error={_ERRORS.get(self.kind, 'http_request_denied')}"),
            ("Connection", "close"),
        ]
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        return headers, self.reason(), body

    def reason(self) -> bytes:
        """Return the status line's words."""
        return (self._brief or HTTPStatus(self.status).phrase).encode("ascii", "replace")


_ERRORS: Final = {
    "unknown_name": "dns_error",
    "name_timeout": "dns_timeout",
    "unreachable": "destination_unavailable",
    "timeout": "connection_timeout",
    "address_not_allowed": "destination_ip_prohibited",
    "bad_request": "http_request_error",
    "broke_off": "connection_terminated",
    "onecli_away": "destination_unavailable",
    "onecli_refused": "destination_unavailable",
    "answer_too_large": "http_response_body_size",
    "certificate": "tls_certificate_error",
    "tls": "tls_protocol_error",
    "encoded_answer": "http_response_content_coding",
}


def by_rule(group: str, asked: Asked, decision: Decision) -> Denial:
    """Return the denial of a request that the rules refuse."""
    allow = _command(group, asked.target)
    return Denial(
        403,
        "egress_denied",
        f"agent group {group} may not reach {asked.target}: {decision.reason}. Its owner can allow it: {allow}"
        f"{_ask(asked, decision)}",
        brief=f"Forbidden by nanoclaw; the owner can: {allow}",
    )


def by_address(group: str, target: Target, words: str) -> Denial:
    """Return the denial of a host whose address is not on the internet."""
    allow = f"ncl egress allow {group} {target} --private"
    return Denial(
        403,
        "address_not_allowed",
        f"{words}, which no agent may reach unless its owner allows exactly this host and port: {allow}",
        brief=f"Forbidden by nanoclaw; the owner can: {allow}",
    )


def away(message: str) -> Denial:
    """Return the answer while the gateway outside is away."""
    return Denial(
        503,
        "onecli_away",
        f"{message}. It is tried again all the time; ask again later",
        outcome="away",
        brief="Service Unavailable: OneCLI is away; nanoclaw tries again",
        retry_after=AWAY_SECONDS,
    )


def malformed(message: str, status: int = 400) -> Denial:
    """Return the answer to what can't be read, or read in one way only."""
    return Denial(status, "bad_request", message, outcome="malformed")


def _ask(asked: Asked, decision: Decision) -> str:
    """Return how the agent itself can have its owner asked; a rule that denies is the owner's word already."""
    return "" if decision.rule is not None else f"; you can ask for it: ncl egress request {_named(asked.target)}"


def _command(group: str, target: Target) -> str:
    return f"ncl egress allow {group} {_named(target)}"


def _named(target: Target) -> str:
    named = str(target)
    return named.rpartition(":")[0] if target.port in DEFAULT_PORTS else named
