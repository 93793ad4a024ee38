"""Cards of requests that are held: what is asked for, whole or bounded, and nothing in it hidden."""

from typing import Final

from nanoclaw_runner.contract.cards import Option, literal
from nanoclawd.control.values import HeldRequest
from nanoclawd.permissions import wording
from nanoclawd.permissions.actions import REJECT
from nanoclawd.permissions.approvals import NewRequest
from nanoclawd.store.grants import Scope

ONCE: Final = Option("Allow once", "once", "Allowed once")
HOUR: Final = Option("Allow for an hour", "hour", "Allowed for an hour")
DENY: Final = REJECT
OUTSIDE: Final = "OneCLI"
"""In the place of a rule, where the gateway outside holds a request: that has rules of its own."""


_MAX_PATH_CHARACTERS: Final = 600
_MAX_HOST_CHARACTERS: Final = 100
_MINUTE: Final = 60
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def new_request(action: str, request: HeldRequest, scope: Scope, rule: str) -> NewRequest:
    """Return what is to be asked.

    Args:
        action: of the approval.
        request: waits.
        scope: what a permission for a while would be about.
        rule: the one that holds it, in words.
    """
    whole = f"{request.method} " if request.method else "connections "
    where = f"{request.host}:{request.port}"
    lines = [
        f"The agent {request.group} sends a request, and {rule} holds it until somebody decides:"
        if request.method
        else f"The agent {request.group} wants to connect, and {rule} holds it until somebody decides:",
        "",
        literal(what(request)),
    ]
    if scope.session_id is not None:
        lines.append(f"Session: {scope.session_id}")
    if request.method is None:
        lines.append("Nobody sees what is sent through this connection.")
    elif request.preview:
        lines += ["The body begins:", wording.verbatim(request.preview, 1024)]
    elif request.method not in _WITHOUT_BODY:
        # Who sends it late, or waits to be called for it, must not have it taken for a request without one.
        lines.append("Nothing of a body has come yet. One that comes later goes on unseen.")
    lines += ["", "Once: only this." if request.method else "Once: only this connection."]
    if request.outside is None:
        lines.append(f"For an hour: {whole}of {request.group} to {where}, as far as this rule asks about them.")
    lines += [
        f"Nobody decides within {_lasting(request.seconds)}: it is refused.",
    ]
    named = wording.visible(request.host, _MAX_HOST_CHARACTERS)
    return NewRequest(
        action=action,
        subject=request.id,
        title=f"{request.group} asks: {request.method or 'connect'} {named}",
        body="\n".join(lines),
        options=(ONCE, HOUR, DENY) if request.outside is None else (ONCE, DENY),
        payload=scope.payload() if request.outside is None else {**scope.payload(), "outside": request.outside},
        agent_group_id=scope.agent_group_id,
        session_id=scope.session_id,
        seconds=request.seconds,
    )


def what(request: HeldRequest) -> str:
    """Return a request on one line."""
    host = f"[{request.host}]" if ":" in request.host else request.host
    if request.method is None:
        return f"CONNECT {host}:{request.port}"
    usual = {"http": 80, "https": 443}.get(request.scheme or "")
    port = "" if request.port == usual else f":{request.port}"
    return (
        f"{request.method} {request.scheme}://{host}{port}{wording.visible(request.path or '/', _MAX_PATH_CHARACTERS)}"
    )


def _lasting(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} seconds"
    return f"{seconds / _MINUTE:.0f} minutes"
