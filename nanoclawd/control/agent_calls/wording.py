"""A call as an approver reads it: the command line, the method and every parameter; nothing cut, nothing invisible."""

import json
import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from nanoclaw_runner.contract.cards import literal
from nanoclawd.cli import catalogue
from nanoclawd.cli.spec import Command
from nanoclawd.control.agent_calls.scope import AgentCaller, Judged

_COMMANDS: Final[Mapping[str, tuple[Command, ...]]] = {
    method: tuple(one for one in catalogue.commands() if one.verb.methods[:1] == (method,) and not one.verb.run)
    for method in {one.verb.methods[0] for one in catalogue.commands() if one.verb.methods}
}
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPACE: Final = "Zs"
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and a symbol that show nothing, whatever their category says."""

_SELECTORS: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def command_line(method: str, parameters: Mapping[str, Any]) -> str:
    """Return a call as it is typed."""
    command = _command(method, parameters)
    known = {one.name: one for one in command.verb.parameters} if command else {}
    places = [_value(parameters[name]) for name, one in known.items() if not one.option and name in parameters]
    options: list[str] = []
    for name, value in parameters.items():
        found = known.get(name)
        if found is None or found.option:
            options += _option(found.option if found else f"--{name.replace('_', '-')}", value)
    # What begins with a dash would be an option anywhere else.
    dashed = any(place.startswith("-") for place in places)
    words = [*options, "--", *places] if dashed else [*places, *options]
    return " ".join(("ncl", _name(method, command), *map(shlex.quote, words)))


def title(caller: AgentCaller, judged: Judged) -> str:
    """Return a card's title."""
    return f"{caller.group} asks: ncl {_name(judged.method, _command(judged.method, judged.parameters))}"


def body(caller: AgentCaller, judged: Judged) -> str:
    """Return a card's text: all of the call, and what it does."""
    lines = [
        f"The agent {caller.group} asks for this, in its session {caller.session_id}:",
        "",
        literal(command_line(judged.method, judged.parameters)),
        "",
        f"Method: {judged.method}",
    ]
    for name, value in judged.parameters.items():
        shown = judged.shown.get(name)
        lines.append(f"{name}: {literal(_value(value))}" + (f" ({literal(visible(shown))})" if shown else ""))
    lines += ["", judged.rule.effect]
    if judged.beyond:
        lines.append(f"It reaches beyond {caller.group}: only an owner or an administrator of everything may allow it.")
    return "\n".join(lines)


def visible(text: str) -> str:
    r"""Return a text on one line in which nothing is hidden: controls, marks and odd spaces are spelled out.

    >>> visible("a\nb\u202e")
    'a\\nb\\u202e'
    """
    return "".join(_spelled(char) for char in text)


def _command(method: str, parameters: Mapping[str, Any]) -> Command | None:
    """Return the command that makes this call, of several the first that takes all of its parameters."""
    of_method = _COMMANDS.get(method.removeprefix("io.nanoclaw."), ())
    fitting = (one for one in of_method if parameters.keys() <= {known.name for known in one.verb.parameters})
    return next(fitting, None)


def _name(method: str, command: Command | None) -> str:
    """Return a command's words; a method that no command calls has those of its own name."""
    if command is not None:
        return command.words
    interface, _, verb = method.removeprefix("io.nanoclaw.").partition(".")
    return f"{visible(interface).lower()} {visible(verb).lower()}"


def _option(option: str, value: object) -> list[str]:
    if value is True:
        return [option]
    if isinstance(value, list):
        return [word for one in value for word in _option(option, one)]
    if value is False:
        return [option.replace("--", "--no-", 1)]
    text = _value(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _value(value: object) -> str:
    if isinstance(value, str):
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=True))


def _spelled(char: str) -> str:
    category = unicodedata.category(char)
    hidden = category in _HIDDEN or char in _BLANK or any(ord(char) in selectors for selectors in _SELECTORS)
    if hidden or (category == _SPACE and char != " "):
        return char.encode("unicode_escape").decode("ascii")
    return char
