"""``ncl explain``: what the router makes of a message, step by step."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.forms import place
from nanoclawd.cli.outcome import CommandError
from nanoclawd.cli.verbs import wire

_EVENT = ("channel", "chat", "sender", "text")
_OF_EVENT = (*_EVENT, "thread", "mention", "group")
_MARKS = {"pass": "✓", "stop": "✗", "note": "·"}
_TEXT_CHARACTERS = 300

_ACTIONS = {
    "route": "each agent decides for itself",
    "register": "the chat is connected to the default agent first",
    "reply": "the appliance answers",
    "ask": "somebody who may is asked first",
    "drop": "dropped",
    "ignore": "ignored, and not counted",
    "answer": "it answers an open card",
    "name": "it is the name that an approval waits for",
    "engage": "the agent answers",
    "accumulate": "kept as context, no answer",
    "command": "a command: the agent's runner answers it",
    "stop-turn": "the running turn is ended",
}


def explain(given: argparse.Namespace) -> int:
    """Print decisions."""
    decisions = _asked(given)
    if given.json:
        show.as_json(decisions if given.message is not None else decisions[0])
        return outcome.OK
    for number, decision in enumerate(decisions):
        if number:
            show.say("")
        show.say("\n".join(_lines(decision, given.text)))
    return outcome.OK


def _asked(given: argparse.Namespace) -> Sequence[Mapping[str, Any]]:
    parameters = {name: value for name, value in wire(given.command, given).items() if name != "message"}
    with_event = [name for name in _OF_EVENT if name in parameters]
    if given.message is not None:
        if with_event:
            raise CommandError(
                outcome.USAGE, "--message stands alone: it is a message that came already", "ncl explain --help"
            )
        with Client(socket_path(given.socket)) as client:
            found: list[dict[str, Any]] = client.call("Routing.ExplainMessage", id=given.message)["decisions"]
        return found
    missing = [f"--{name}" for name in _EVENT if name not in parameters]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise CommandError(
            outcome.USAGE,
            f"{', '.join(missing)} {are} missing: say who writes what and where, or --message ID",
            "ncl explain --channel terminal --chat alice/main --sender terminal:alice --text hello",
        )
    with Client(socket_path(given.socket)) as client:
        return [client.call("Routing.Explain", **parameters)["decision"]]


def _lines(decision: Mapping[str, Any], text: str | None) -> list[str]:
    where = clean_line(place(decision))
    if decision.get("thread"):
        where += f", thread {clean_line(decision['thread'])}"
    said = f" writes “{clean_line(text, _TEXT_CHARACTERS)}”" if text is not None else ""
    message = f" (message {clean_line(decision['message'])})" if text is None and decision.get("message") else ""
    steps = [*decision["steps"], *(step for wiring in decision["wirings"] for step in wiring["steps"])]
    widths = _Widths(steps)
    return [
        f"{clean_line(decision.get('sender') or 'somebody whom the channel does not name')}{said} in {where}{message}",
        "",
        *(widths.line(step) for step in decision["steps"]),
        *_outcome(decision),
        *(line for wiring in decision["wirings"] for line in ("", *_wiring(wiring, widths))),
    ]


def _wiring(wiring: Mapping[str, Any], widths: "_Widths") -> list[str]:
    return [
        f"agent {clean_line(wiring['group'])} (wiring {clean_line(wiring['wiring'])})",
        *(widths.line(step) for step in wiring["steps"]),
        *_outcome(wiring),
    ]


def _outcome(decided: Mapping[str, Any]) -> list[str]:
    """Return the result and the rule that it is owed to."""
    action, reason = str(decided["action"]), decided.get("reason")
    words = _ACTIONS.get(action, action)
    deciding = decided["deciding"]
    lines = [f"→ {words}{f' ({clean_line(reason)})' if reason else ''}"]
    if action != "route":
        lines.append(f"  because {clean_line(deciding['reason'])} [{clean_line(deciding['rule'])}]")
    if decided.get("session_mode") and action in {"engage", "accumulate", "command"}:
        session = decided.get("session")
        lines.append(
            f"  session: {clean_line(session) if session else 'a new one'} ({clean_line(decided['session_mode'])})"
        )
    if decided.get("answer"):
        lines.append(f"  answer: {clean_line(decided['answer'])}")
    if decided.get("reply"):
        lines.append(f"  the person is told: {clean_line(decided['reply'], _TEXT_CHARACTERS)}")
    return lines


class _Widths:
    """Aligns the steps of all wirings alike."""

    def __init__(self, steps: Sequence[Mapping[str, Any]]) -> None:
        self._name = max((len(clean_line(step["name"])) for step in steps), default=0)

    def line(self, step: Mapping[str, Any]) -> str:
        mark = _MARKS.get(step["outcome"], "?")
        reason = clean_line(step["reason"], _TEXT_CHARACTERS)
        rule = f"  [{clean_line(step['rule'])}]" if step.get("rule") else ""
        return f"  {mark} {clean_line(step['name']).ljust(self._name)}  {reason}{rule}"
