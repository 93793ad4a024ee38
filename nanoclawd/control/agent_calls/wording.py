"""A call as an approver reads it: the command line, the method and every parameter; nothing cut, nothing invisible."""

import json
import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from nanoclawd.control.agent_calls.scope import AgentCaller, Judged

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPACE: Final = "Zs"


def command_line(method: str, parameters: Mapping[str, Any]) -> str:
    """Return a call as it would be typed."""
    interface, _, verb = method.removeprefix("io.nanoclaw.").partition(".")
    words = ["ncl", interface.lower(), _dashed(verb)]
    for name, value in parameters.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(_word(value))
    return " ".join(words)


def title(caller: AgentCaller, judged: Judged) -> str:
    """Return a card's title."""
    interface, _, verb = judged.method.removeprefix("io.nanoclaw.").partition(".")
    return f"{caller.group} asks: ncl {interface.lower()} {_dashed(verb)}"


def body(caller: AgentCaller, judged: Judged) -> str:
    """Return a card's text: all of the call, and what it does."""
    lines = [
        f"The agent {caller.group} asks for this, in its session {caller.session_id}:",
        "",
        command_line(judged.method, judged.parameters),
        "",
        f"Method: {judged.method}",
    ]
    for name, value in judged.parameters.items():
        shown = judged.shown.get(name)
        lines.append(f"{name}: {_value(value)}" + (f" ({visible(shown)})" if shown else ""))
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


def _word(value: object) -> str:
    return shlex.quote(_value(value))


def _value(value: object) -> str:
    if isinstance(value, str):
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=True))


def _spelled(char: str) -> str:
    category = unicodedata.category(char)
    if category in _HIDDEN or (category == _SPACE and char != " "):
        return char.encode("unicode_escape").decode("ascii")
    return char


def _dashed(verb: str) -> str:
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in verb).lstrip("-")
