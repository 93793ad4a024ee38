"""``ncl secret``: values go to the program that seals them, and where they go to the daemon.

Neither half is of use without the other, ``list`` shows where one is missing, and doing it again mends it.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nanoclawd.cli import credentials, forms, outcome, show
from nanoclawd.cli.catalogue import RESOURCES
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

PREFIX = "nanoclaw-gateway.secret-"
"""As :mod:`nanoclawd.egress.secrets` has it, which is not there in a container."""

_SHORT = 8
_LINES = 2


def list_all(given: argparse.Namespace) -> int:
    """Print which secrets there are, where they go, and whether they have a value."""
    parameters = {name: value for name in ("group", "limit") if (value := getattr(given, name)) is not None}
    with Client(socket_path(given.socket)) as client:
        bound = client.call("Secrets.List", **parameters)["secrets"]
    # Agents are told neither who bound a secret nor whether it has a value.
    agents = bool(bound) and all(one["changed_by"] is None for one in bound)
    stored = {} if agents else _stored(given)
    records = [{**one, "bound": True, **_of_value(stored, one["name"])} for one in bound]
    if given.group is None and stored:
        known = {one["name"] for one in bound}
        records += [
            {"name": name, "hosts": [], "groups": [], "bound": False, **_of_value(stored, name)}
            for name in sorted(stored.keys() - known)
        ]
    if given.json:
        show.as_json(records)
        return outcome.OK
    forms.table(RESOURCES["secret"], [_shown(one) for one in records])
    for one in records:
        if one["stored"] is False:
            show.say(f"{one['name']} has no value. Try: ncl secret rotate {one['name']}")
        elif not one["bound"]:
            show.say(f"{one['name']} goes nowhere. Try: ncl secret set {one['name']} --host HOST --group GROUP")
    _tell_closed(bound)
    return outcome.OK


def set_value(given: argparse.Namespace) -> int:
    """Ask for a secret, store it and bind it."""
    wish = _wish(given)
    with Client(socket_path(given.socket)) as client:
        # What is wrong is said before anything is asked for.
        client.call("Secrets.Check", **wish)
    # As it was typed, and not as the daemon says: in wrong hands it would name hosts and a token server of its own.
    typed = {name: getattr(given, name) for name in ("style", "token_url", "client_id", "scope", "client_secret")}
    content = _content(typed, given.hosts)
    name, reply = _put(given, given.name, content)
    try:
        with Client(socket_path(given.socket)) as client:
            bound = client.call("Secrets.Bind", **wish)
    except CommandError as error:
        raise CommandError(
            error.code, f"{given.name} is stored, and goes nowhere yet: {error.message}", error.hint
        ) from None
    if given.json:
        show.as_json({**bound, "taken": reply["taken"]})
        return outcome.OK
    _say(f"{given.name} is stored, and goes", bound["secret"])
    show.say(credentials.taken(reply, name))
    _tell_closed([bound["secret"]])
    return outcome.OK


def rotate(given: argparse.Namespace) -> int:
    """Ask for another value of a secret and store it."""
    with Client(socket_path(given.socket)) as client:
        found = client.call("Secrets.Get", name=given.name)["secret"]
    # Before the value is given: it is sealed for these hosts.
    _say(f"{given.name} goes", found, show.complain if given.json else show.say)
    content = _content(found, found["hosts"])
    name, reply = _put(given, given.name, content)
    with Client(socket_path(given.socket)) as client:
        found = client.call("Secrets.Renewed", name=given.name)["secret"]
    if given.json:
        show.as_json({"secret": found, "taken": reply["taken"]})
        return outcome.OK
    show.say(f"{given.name} has another value.\n{credentials.taken(reply, name)}")
    return outcome.OK


def remove(given: argparse.Namespace) -> int:
    """Take a secret away: first from the requests, then its value. What is gone already is no fault."""
    missing: CommandError | None = None
    with Client(socket_path(given.socket)) as client:
        try:
            client.call("Secrets.Remove", name=given.name)
        except CommandError as error:
            if error.code != outcome.ERROR:
                raise
            missing = error
    name, stored = PREFIX + given.name, _stored(given)
    if missing is not None and given.name not in (stored or {}):
        raise missing
    reply: dict[str, Any] = {"taken": None}
    text = f"removed: {given.name}; it had no value"
    if stored is None or given.name in stored:
        reply = credentials.call(given, "Delete", name=name)
        text = f"removed: {given.name}\n{credentials.taken(reply, name)}"
    if given.json:
        show.as_json({"removed": {"name": given.name}, **reply})
    else:
        show.say(text)
    return outcome.OK


def test(given: argparse.Namespace) -> int:
    """Print what would become of requests; none is made, because whatever answers would learn the secret."""
    parameters = {name: value for name in ("name", "url", "group") if (value := getattr(given, name)) is not None}
    with Client(socket_path(given.socket)) as client:
        secret = client.call("Secrets.Get", name=given.name)["secret"]
        trials = client.call("Secrets.Test", **parameters)["trials"]
    value = _of_value(_stored(given), given.name)
    if given.json:
        show.as_json({**value, "trials": trials})
        return outcome.OK
    if value["stored"] is None:
        show.say(f"{given.name}: whether it has a value is not known")
    elif value["stored"]:
        show.say(f"{given.name}: stored {forms.moment(value['stored_at'])}")
    else:
        show.say(f"{given.name}: has no value. Try: ncl secret rotate {given.name}")
    if not trials:
        show.say("No group has it.")
    for one in trials:
        put = f"is put in ({secret['style']})" if one["bound"] else "is not put in: it is not for this"
        said = "allowed" if one["allowed"] else "held until somebody allows it" if one["asks"] else "denied"
        show.say(f"{one['group']}: {one['url']}: the request is {said} ({one['reason']}); the secret {put}")
        if one["allow"]:
            show.say(f"  Try: {one['allow']}")
    return outcome.OK


def without_value(given: argparse.Namespace) -> list[str] | None:
    """Return the names of secrets that are bound and have no value; None: there is no secret.

    Raises:
        CommandError: the daemon or the store does not answer.
    """
    with Client(socket_path(given.socket)) as client:
        bound = [str(one["name"]) for one in client.call("Secrets.List", limit=1000)["secrets"]]
    if not bound:
        return None
    stored = {str(one["name"]) for one in credentials.call(given, "List")["credentials"]}
    return [name for name in bound if PREFIX + name not in stored]


def _wish(given: argparse.Namespace) -> dict[str, object]:
    if (given.token_url is None) != (given.client_id is None):
        raise CommandError(outcome.USAGE, "an OAuth account takes --token-url and --client-id", "ncl secret set --help")
    if given.token_url is None and (given.scope or given.client_secret):
        raise CommandError(outcome.USAGE, "--scope and --ask-client-secret are of OAuth accounts", "--token-url URL")
    names = ("name", "hosts", "groups", "style", "token_url", "client_id", "scope", "client_secret")
    return {name: value for name in names if (value := getattr(given, name)) not in (None, False)}


def _content(secret: Mapping[str, Any], hosts: Sequence[str]) -> str:
    """Ask for what is secret and return what is stored.

    Raises:
        CommandError: nothing was given, or it can't be put into a request.
    """
    from nanoclawd.cli import sealing  # 60 ms, and not there in a container, where the daemon has refused by now

    if secret["token_url"] is None:
        value = credentials.ask_secret("secret")
        sealing.check_value(value, secret["style"] or "bearer")
        if len(value) < _SHORT:
            show.complain("A short secret is cut out of answers wherever they happen to have the same letters.")
        return sealing.sealed(hosts, value)
    value, client_secret = _ask_both() if secret["client_secret"] else (credentials.ask_secret("refresh token"), "")
    sealing.check_value(value, "bearer", "refresh token")
    oauth = sealing.oauth_of(secret["token_url"], secret["client_id"] or "", client_secret, secret["scope"] or "")
    return sealing.sealed(hosts, value, oauth)


def _ask_both() -> tuple[str, str]:
    if sys.stdin.isatty():
        return credentials.ask_secret("refresh token"), credentials.ask_secret("client's secret")
    lines = credentials.ask_secret("refresh token").splitlines()
    if len(lines) != _LINES:
        raise CommandError(outcome.USAGE, "standard input has two lines: the refresh token, and the client's secret")
    return lines[0].strip(), lines[1].strip()


def _put(given: argparse.Namespace, name: str, content: str) -> tuple[str, dict[str, Any]]:
    credential = PREFIX + name
    return credential, credentials.store(given, credential, content)


def _stored(given: argparse.Namespace) -> dict[str, str | None] | None:
    """Return when each secret's value was stored; None: the store can't be asked."""
    try:
        found = credentials.call(given, "List")["credentials"]
    except CommandError as error:
        show.complain(f"ncl: whether secrets have values is not known: {error.message}")
        return None
    return {
        str(one["name"]).removeprefix(PREFIX): one["stored_at"] for one in found if str(one["name"]).startswith(PREFIX)
    }


def _of_value(stored: Mapping[str, str | None] | None, name: str) -> dict[str, Any]:
    return {
        "stored": None if stored is None else name in stored,
        "stored_at": None if stored is None else stored.get(name),
    }


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    value = "missing" if record["stored"] is False else forms.moment(record["stored_at"])
    return {**record, "groups": _groups(record), "changed_at": value}


def _groups(secret: Mapping[str, Any]) -> list[str]:
    if not secret.get("bound", True):
        return []
    return ["all"] if secret["groups"] is None else secret["groups"] or ["none"]


def _say(begin: str, secret: Mapping[str, Any], say: Callable[[str], None] = show.say) -> None:
    where, whose = ", ".join(secret["hosts"]), ", ".join(_groups(secret))
    exchanged = f"; {secret['token_url']} is given it for access tokens" if secret["token_url"] is not None else ""
    say(f"{begin} to {where} ({secret['style']}), in requests of: {whose}{exchanged}")


def _tell_closed(bound: Sequence[Mapping[str, Any]]) -> None:
    """Say which agents can't reach a host at all, and what to type."""
    told: dict[str, str] = {}
    for one in bound:
        for closed in one["closed"]:
            told.setdefault(str(closed["allow"]), f"{closed['group']} can't reach {closed['host']} yet.")
    for command, words in told.items():
        show.say(f"{words} Try: {command}")
