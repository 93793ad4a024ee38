"""Runs a command that the catalogue says all about: one call, and what it replies."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nanoclawd.cli import forms, outcome, show
from nanoclawd.cli.catalogue.common import DEFAULT_LIMIT
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import CALL_SECONDS, Client, socket_path
from nanoclawd.cli.outcome import CommandError
from nanoclawd.cli.spec import Command, Resource, Verb


def run(given: argparse.Namespace) -> int:
    """Call the command's method and print the reply."""
    command: Command = given.command
    parameters = wire(command, given)
    with Client(socket_path(given.socket), command.verb.patience or CALL_SECONDS) as client:
        reply = client.call(command.verb.methods[0], **parameters)
    tell(command, parameters, reply, as_json=given.json)
    return outcome.OK


def wire(command: Command, given: argparse.Namespace) -> dict[str, object]:
    """Return what was given as the method takes it."""
    found: dict[str, object] = {}
    hint = f"ncl {command.words} --help"
    for parameter in command.verb.parameters:
        value = getattr(given, parameter.name)
        if value is None or (parameter.kind == "flag" and not value):
            continue
        found[parameter.name] = _file_text(value, hint) if parameter.kind == "file" else value
    return found


def tell(command: Command, parameters: Mapping[str, object], reply: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a reply.

    Raises:
        CommandError: it has not what the catalogue says of it.
    """
    verb, resource = command
    if resource is None:
        raise ValueError(f"{verb.name} has no resource to show")
    wanted = {"many": resource.many, "one": resource.one}.get(verb.answers)
    if wanted is not None and wanted not in reply:
        raise CommandError(
            outcome.ERROR, "nanoclawd's reply is not understood: is it of another version?", "ncl version"
        )
    if as_json:
        show.as_json(_for_programs(verb, resource, parameters, reply))
        return
    if verb.answers == "many":
        forms.table(resource, reply[resource.many])
        if len(reply[resource.many]) == parameters.get("limit", DEFAULT_LIMIT):
            show.complain("There may be more: --limit N lists as many as you say.")
    elif verb.answers == "nothing":
        show.say(
            f"{verb.done}: {', '.join(clean_line(str(value)) for value in parameters.values() if value is not True)}"
        )
    else:
        _say(verb, {**parameters, **reply})
    if verb.answers == "one":
        forms.details(reply[resource.one])


def _file_text(argument: str, hint: str) -> str:
    """Return an argument, or what the file after its ``@`` holds; ``@-`` is standard input.

    Raises:
        CommandError: there is no such file, or no text in it.
    """
    if not argument.startswith("@"):
        return argument
    try:
        return sys.stdin.read() if argument == "@-" else Path(argument[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(outcome.USAGE, f"{argument[1:]}: {error.strerror or error}", hint) from None
    except ValueError:
        raise CommandError(outcome.USAGE, f"{argument[1:]}: no text in UTF-8", hint) from None


def _for_programs(verb: Verb, resource: Resource, parameters: Mapping[str, object], reply: Mapping[str, Any]) -> object:
    """Return the list or the object itself; what has more than that as it came."""
    if verb.answers == "many":
        return reply[resource.many]
    if verb.answers == "nothing":
        return {verb.done: dict(parameters)}
    if verb.answers == "one" and len(reply) == 1:
        return reply[resource.one]
    return reply


def _say(verb: Verb, known: Mapping[str, Any]) -> None:
    """Print the command's sentence, unless something in it is missing."""
    if not verb.says:
        return
    try:
        show.say(verb.says.format_map({name: _spoken(value) for name, value in known.items() if value is not None}))
    except KeyError:
        return


class _Number(int):
    """A number that a sentence may say with a noun: ``{restarted:session}``."""

    def __format__(self, noun: str) -> str:
        return show.counted(self, noun) if noun else str(int(self))


def _spoken(value: object) -> object:
    return _Number(value) if isinstance(value, int) and not isinstance(value, bool) else value
