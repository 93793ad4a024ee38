"""The command gate: which texts are commands, who may give them, and what they become.

Commands are understood here and nowhere else: a runner takes them from control rows, never from a text (W-4). So a
spelling that this gate does not know can only ever be a text.
"""

import unicodedata
from dataclasses import dataclass

import regex

from nanoclawd.routing.decision import Action, Command, CommandClass, Outcome, Step
from nanoclawd.store.roles import Standing

COMMANDS = {
    "help": CommandClass.OPEN,
    "start": CommandClass.OPEN,
    "whoami": CommandClass.OPEN,
    "status": CommandClass.OPEN,
    "stop": CommandClass.KNOWN,
    "clear": CommandClass.ADMIN,
    "compact": CommandClass.ADMIN,
    "context": CommandClass.ADMIN,
    "cost": CommandClass.ADMIN,
    "files": CommandClass.ADMIN,
    "login": CommandClass.FILTERED,
    "logout": CommandClass.FILTERED,
    "doctor": CommandClass.FILTERED,
    "config": CommandClass.FILTERED,
    "remote-control": CommandClass.FILTERED,
}
_ALIASES = {"start": "help"}

# What has no shape of its own: format and control characters, unassigned and private ones, fillers, selectors.
_SHAPELESS = r"\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Default_Ignorable_Code_Point}"
_INVISIBLE = regex.compile(rf"[{_SHAPELESS}]+")
_FIRST_WORD = regex.compile(rf"[\s{_SHAPELESS}]*+(?P<word>(?P<first>\S)\S*+)(?P<rest>.*+)", regex.DOTALL)


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate makes of a command: an action, the step that says why, and words where the appliance answers."""

    action: Action
    step: Step
    reply: str = ""


def parse(text: str) -> Command | None:
    """Return the command that a text begins with, or None."""
    match = _FIRST_WORD.match(text)
    if match is None or unicodedata.normalize("NFKC", match["first"]) != "/":
        return None
    # A compatibility form may have hidden white space within the word.
    word = plain(match["word"]).split()[0]
    name = word[1:].partition("@")[0]
    kind = COMMANDS.get(name)
    return None if kind is None else Command(_ALIASES.get(name, name), match["rest"].strip(), kind)


def plain(word: str) -> str:
    """Return a word as it is meant: one form for each letter, no case, nothing invisible."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _INVISIBLE.sub("", word)).casefold())
    return str(_INVISIBLE.sub("", folded))


def check(command: Command, standing: Standing, agent_group_id: str, group: str, *, with_others: bool) -> Gate:
    """Decide what becomes of a command that an agent engaged on; ``with_others``: others talk in the same session."""
    rule = f"command /{command.name}: {command.kind}"
    match command.kind:
        case CommandClass.OPEN:
            return Gate(Action.REPLY, Step("command", Outcome.PASS, "the appliance answers it", rule))
        case CommandClass.KNOWN:
            if not with_others or standing.may_access(agent_group_id):
                return Gate(Action.STOP_TURN, Step("command", Outcome.PASS, "the running turn is ended", rule))
            reason = f"where others talk to it too, it takes a member of {group}"
        case CommandClass.ADMIN:
            if standing.may_administer(agent_group_id):
                reason = f"the sender is {standing.role_in(agent_group_id)}; the agent's runner carries it out"
                return Gate(Action.COMMAND, Step("command", Outcome.PASS, reason, rule))
            reason = f"it takes an admin of {group}"
        case CommandClass.FILTERED:
            reason = "it is not for chats"
            words = f"`/{command.name}` is not available in chats. /help shows what is."
            return Gate(Action.REPLY, Step("command", Outcome.STOP, reason, rule), words)
    return Gate(
        Action.REPLY, Step("command", Outcome.STOP, reason, rule), f"You may not use `/{command.name}`: {reason}."
    )
