"""Shell completion by argcomplete; ids and names come from the daemon while somebody types."""

import argparse
import re
from collections.abc import Mapping
from typing import Any

from argcomplete import autocomplete
from argcomplete.completers import FilesCompleter, SuppressCompleter

from nanoclawd.cli import forms
from nanoclawd.cli.catalogue import RESOURCES
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError
from nanoclawd.cli.spec import Resource

_SECONDS = 1.0
_LIMIT = 1000
_DESCRIPTION_CHARACTERS = 50
_TYPEABLE = re.compile(r"[\w@%+=:,./#-]{1,200}")
"""What may reach a shell's command line. Chats and people choose their names themselves: anything else is left out."""


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end the program."""
    for action in _actions(parser):
        kind = getattr(action, "of", "")
        if kind:
            made = FilesCompleter() if kind == "files" else _Completer(kind)  # type: ignore[no-untyped-call]
            action.completer = made  # type: ignore[attr-defined]  # where argcomplete looks
    nothing = SuppressCompleter()  # type: ignore[no-untyped-call]
    autocomplete(parser, always_complete_options=False, default_completer=nothing)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return all actions of a parser and of its commands."""
    found = list(parser._actions)  # noqa: SLF001  # argparse has no public way to look at what was added
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for made in action.choices.values():
                found += _actions(made)
    return found


class _Completer:
    """Names the objects of a kind."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, *, prefix: str, parsed_args: argparse.Namespace, **_more: object) -> dict[str, str]:
        """Return what can stand here, with what it is; nothing where the daemon cannot be asked."""
        try:
            with Client(socket_path(getattr(parsed_args, "socket", None)), _SECONDS) as client:
                found = self._found(client, parsed_args)
        except CommandError:
            return {}
        return {word: text for word, text in found.items() if word.startswith(prefix) and _TYPEABLE.fullmatch(word)}

    def _found(self, client: Client, given: argparse.Namespace) -> dict[str, str]:
        if self._kind == "options":
            return _options(client, given)
        if self._kind == "addresses":
            chats = client.call("Chats.List", channel=getattr(given, "channel", None), limit=_LIMIT)["chats"]
            return {str(one["chat"]): clean_line(one.get("name") or "", _DESCRIPTION_CHARACTERS) for one in chats}
        if self._kind == "types":
            return dict.fromkeys(map(str, client.call("Channels.Types")["types"]), "")
        resource = RESOURCES[self._kind]
        return _named(resource, _listed(client, resource, given))


def _listed(client: Client, resource: Resource, given: argparse.Namespace) -> list[Mapping[str, Any]]:
    verb = resource.verbs[0]
    parameters: dict[str, object] = {}
    if "limit" in {parameter.name for parameter in verb.parameters}:
        parameters["limit"] = _LIMIT
    if resource.name == "destinations":
        # The only ones whose name means something within a group only.
        parameters["group"] = getattr(given, "group", None)
    found: list[Mapping[str, Any]] = client.call(verb.methods[0], **parameters)[resource.many]
    return found


def _named(resource: Resource, records: list[Mapping[str, Any]]) -> dict[str, str]:
    return {
        _field(one, field): clean_line(" ".join(_field(one, name) for name in resource.called), _DESCRIPTION_CHARACTERS)
        for one in records
        for field in resource.ids
    }


def _options(client: Client, given: argparse.Namespace) -> dict[str, str]:
    """Return the options of the approval or question that the command line names."""
    if approval := getattr(given, "approval", None):
        card = client.call("Approvals.Get", approval=approval)["approval"]
    else:
        card = client.call("Questions.Get", question=getattr(given, "question", None))["question"]
    return {str(one["value"]): clean_line(str(one["label"]), _DESCRIPTION_CHARACTERS) for one in card["options"]}


def _field(record: Mapping[str, Any], name: str) -> str:
    return forms.place(record) if name == "place" else str(record.get(name) or "")
