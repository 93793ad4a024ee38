"""The command line, made from the catalogue."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from nanoclawd.cli import outcome
from nanoclawd.cli.catalogue import RESOURCES, TOP
from nanoclawd.cli.outcome import EXPLAINED, USAGE, CommandError
from nanoclawd.cli.spec import OPTIONAL, REQUIRED, Command, Parameter, Resource, Verb

GENERAL: tuple[Parameter, ...] = (
    Parameter("socket", "control socket (default: /run/nanoclawd/control.sock)", "--socket", value="PATH", of="files"),
    Parameter("json", "print JSON; may stand after the command too", "--json", kind="flag"),
)

_JSON = Parameter("json", "print JSON", "--json", kind="flag", default=argparse.SUPPRESS)
_MAX_COUNT = 2**31 - 1
_SHOWN_CHARACTERS = 60


class _Formatter(argparse.HelpFormatter):
    """Keeps the line ends of a description; an indented line is a command to copy, and is not broken."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line if line.startswith(" ") else super(_Formatter, self)._fill_text(line, width, indent)
            for line in text.splitlines()
        )


class Parser(argparse.ArgumentParser):
    """Ends with our exit code, and says what was probably meant."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # No option of ours begins with a digit: -100123:7 is somebody's id.
        self._negative_number_matcher = re.compile(r"-\d")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and the next command to type; end."""
        from nanoclawd.cli.clean import clean

        self.print_usage(sys.stderr)
        self.exit(USAGE, f"ncl: {clean(message)}\nTry: {self.prog} --help\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a word that is not among an action's choices, with those that are near it."""
        if action.choices is None or value in action.choices:
            return
        from nanoclawd.cli.clean import clean_line

        known = [str(choice) for choice in action.choices]
        said = clean_line(str(value), _SHOWN_CHARACTERS)
        near = _near(str(value), known)
        if near:
            problem = f"there is no {said!r}: did you mean {' or '.join(near)}?"
        elif isinstance(action, argparse._SubParsersAction) and "get" in known:  # noqa: SLF001  # it has no public name
            problem = f"there is no command {said!r}; to show one: {self.prog} get {said}"
        else:
            problem = f"there is no {said!r}; there is {', '.join(known)}"
        raise argparse.ArgumentError(action if action.option_strings else None, problem)


def parser() -> argparse.ArgumentParser:
    """Return the parser; the parsed ``command`` is the :class:`Command`, and ``maker`` the parser that it is of."""
    top = Parser(
        prog="ncl",
        description="Talk to your agents and look after the appliance that runs them.",
        epilog=EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for parameter in GENERAL:
        _add(top, parameter)
    top.set_defaults(maker=top)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for entry in TOP:
        if isinstance(entry, Verb):
            _command(commands, Command(entry))
        else:
            _family(commands, entry)
    return top


def parse(made: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Read a command line; what is wrong with it ends the program."""
    if not words:
        made.print_help(sys.stderr)
        made.exit(USAGE, "\nTry: ncl status\n")
    given, left = made.parse_known_args(_completed(words))
    if left:
        given.maker.error(_about_unknown(given.maker, left[0]))
    command: Command = given.command
    for problem in _broken_rules(command.verb, given):
        given.maker.error(problem)
    return given


def handler(run: str) -> Any:
    """Import the module of a command and return its function.

    Raises:
        CommandError: this installation of ncl does not have it: inside an agent's container there is only a part.
    """
    module, _, function = run.partition(":")
    try:
        return getattr(import_module(f"nanoclawd.cli.{module}"), function)
    except ModuleNotFoundError as error:
        raise CommandError(
            outcome.REFUSED, f"this command works on the appliance itself only ({error.name} is not here)"
        ) from None


def _completed(words: Sequence[str]) -> list[str]:
    """Return the words with what a bare resource means, where options follow: ``wirings --chat x`` is a list, too."""
    for number, word in enumerate(words):
        resource = RESOURCES.get(word)
        after = next((one for one in words[number + 1 :] if one != "--json"), "")
        if resource and after.startswith("-") and after not in {"-h", "--help"}:
            return [*words[: number + 1], resource.verbs[0].name, *words[number + 1 :]]
        if resource or (not word.startswith("-") and words[number - 1 : number] != ["--socket"]):
            break
    return list(words)


def given_options(verb: Verb, given: argparse.Namespace) -> list[Parameter]:
    """Return the options of a command that were given a value."""
    options = [(one, getattr(given, one.name)) for one in verb.parameters if one.option]
    return [one for one, value in options if value is not None and value is not False]


def _command(commands: "argparse._SubParsersAction[Parser]", command: Command) -> None:
    verb = command.verb
    made = commands.add_parser(
        verb.name,
        help=verb.help,
        description=f"{_sentence(verb.help)} {verb.about}".rstrip(),
        epilog="\n".join(f"to {text}:\n  {line}" for line, text in verb.examples) or None,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    _add(made, _JSON)
    rivals: dict[str, Any] = {}
    for parameter in verb.parameters:
        if parameter.rivals and parameter.rivals not in rivals:
            rivals[parameter.rivals] = made.add_mutually_exclusive_group(required=True)
        _add(rivals.get(parameter.rivals, made), parameter)
    made.set_defaults(command=command, maker=made)


def _family(commands: "argparse._SubParsersAction[Parser]", resource: Resource) -> None:
    first = resource.verbs[0]
    made = commands.add_parser(
        resource.name,
        help=resource.help,
        description=f"{_sentence(resource.help)} Without a command: {first.name}.",
        allow_abbrev=False,
    )
    _add(made, _JSON)
    # What the bare resource does has nothing given.
    given = {parameter.name: parameter.default for parameter in first.parameters}
    made.set_defaults(command=Command(first, resource), maker=made, **given)
    verbs = made.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for verb in resource.verbs:
        _command(verbs, Command(verb, resource))


def _add(made: Any, parameter: Parameter) -> None:
    """Give a parser, or a group in one, a parameter."""
    settings: dict[str, Any] = {"help": parameter.help.replace("%", "%%")}
    if parameter.kind == "flag":
        settings["action"] = "store_true"
    elif parameter.kind == "list":
        settings["action"] = "append"
        settings["metavar"] = parameter.metavar
    elif parameter.kind == "switch":
        settings["action"] = argparse.BooleanOptionalAction
    else:
        settings["metavar"] = parameter.metavar
        if parameter.kind in _TYPES:
            settings["type"] = _TYPES[parameter.kind]
    if parameter.choices:
        settings["choices"] = parameter.choices
        settings["metavar"] = f"{{{','.join(parameter.choices)}}}"
    if parameter.default is not None:
        settings["default"] = parameter.default
    if not parameter.option:
        if parameter.need == OPTIONAL:
            settings["nargs"] = "?"
        made.add_argument(parameter.name, **settings).of = parameter.of
        return
    settings["required"] = parameter.need == REQUIRED
    names = [parameter.option, parameter.short] if parameter.short else [parameter.option]
    made.add_argument(*names, dest=parameter.name, **settings).of = parameter.of


def _broken_rules(verb: Verb, given: argparse.Namespace) -> Iterable[str]:
    """Yield what is wrong with a command line that has all its words."""
    if verb.changes and not given_options(verb, given):
        options = ", ".join(parameter.option for parameter in verb.parameters if parameter.option)
        yield f"nothing to change: give one of {options}"
    for parameter in verb.parameters:
        value = getattr(given, parameter.name)
        if value == "" and not parameter.option:
            yield f"{parameter.metavar} is empty"


def _about_unknown(made: argparse.ArgumentParser, word: str) -> str:
    from nanoclawd.cli.clean import clean_line

    said = clean_line(word, _SHOWN_CHARACTERS)
    if not word.startswith("-"):
        return f"{said!r} is too much"
    options = [name for action in made._actions for name in action.option_strings]  # noqa: SLF001  # no public way
    near = _near(word.partition("=")[0], options)
    if near:
        return f"there is no option {said}: did you mean {' or '.join(near)}?"
    return f"there is no option {said}; a value that begins with a dash stands after --, or as --option=value"


def _near(word: str, known: Sequence[str]) -> list[str]:
    import difflib  # 4 ms that only a mistake costs

    return difflib.get_close_matches(word[:100], known, n=3, cutoff=0.65) or [
        name for name in known if len(word) > 1 and (name.startswith(word) or word.startswith(name))
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number greater than 0")
    return value


def _count(text: str) -> int:
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _number(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]{1,10}", text) or abs(int(text)) > _MAX_COUNT:
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


_TYPES = {"seconds": _seconds, "count": _count, "number": _number}
