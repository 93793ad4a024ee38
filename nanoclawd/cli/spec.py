"""What a command is made of. The parser, tables, completion and the manual are all made from these.

Named tuples and nothing else, because ``ncl --help`` imports this.
"""

from typing import Literal, NamedTuple

type Kind = Literal["text", "file", "count", "number", "seconds", "flag", "switch", "list"]
"""How a parameter is written. file: a text, or @ and the name of a file that holds it; count: a number from 0; number:
any whole number; flag: stands or does not; list: an option
that may stand several times, each with a text; switch: ``--x``, ``--no-x``, or neither."""

type Form = Literal["text", "ago", "size", "yes", "list", "place", "doing", "card", "kind", "local", "short"]
"""How a column shows its field; see :mod:`nanoclawd.cli.forms`."""

type Answers = Literal["many", "one", "words", "nothing"]
"""What a method's reply has for people: a list, one object, only what ``says`` makes of it, or nothing at all."""

REQUIRED = "required"
"""Value of ``Parameter.need`` of an option that must be given."""

OPTIONAL = "optional"


class Parameter(NamedTuple):
    """A positional argument, or an option where ``option`` says so.

    Attributes:
        name: of the method's parameter.
        help: one line.
        option: such as ``--group``; empty for a positional argument.
        short: a second, short spelling.
        value: how help names the value; by default the name in capitals.
        kind: how it is written.
        choices: all values that there are.
        of: what completes it: a resource's name, or one of completion's own.
        need: a positional is required unless this is OPTIONAL, an option is optional unless this is REQUIRED.
        default: what is taken where nothing is given.
        rivals: name of a set of options of which exactly one is given.
    """

    name: str
    help: str
    option: str = ""
    short: str = ""
    value: str = ""
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    of: str = ""
    need: str = ""
    default: object = None
    rivals: str = ""

    @property
    def metavar(self) -> str:
        """How help names the value."""
        return self.value or self.name.upper().replace("_", "-")


class Column(NamedTuple):
    """A column of a table."""

    field: str
    head: str = ""
    form: Form = "text"

    @property
    def title(self) -> str:
        """What stands above it."""
        return (self.head or self.field.replace("_", " ")).upper()


class Verb(NamedTuple):
    """A command of a resource, or one that stands alone.

    Attributes:
        name: the word.
        help: one line.
        methods: of ``io.nanoclaw``, e.g. ``Chats.List``; the first is called unless ``run`` calls them itself.
        parameters: in the order of the command line.
        answers: what the reply has.
        says: sentence for people, ``str.format`` with what was given and what was replied; left out where a field that
            it names is null. ``{restarted:session}`` says a number with its noun.
        done: what JSON output calls it where the method replies nothing.
        run: ``module:function`` of a handler of its own.
        changes: at least one of the options must be given.
        about: sentences for the manual and ``--help``, more than ``help`` says.
        examples: command lines with what they do.
        patience: how many seconds its reply may take; 0: as many as any other's.
    """

    name: str
    help: str
    methods: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    answers: Answers = "one"
    says: str = ""
    done: str = ""
    run: str = ""
    changes: bool = False
    about: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    patience: float = 0.0


class Resource(NamedTuple):
    """A kind of object.

    Attributes:
        name: the word, plural.
        help: one line.
        one: key of a reply with one object.
        many: key of a reply with several.
        columns: of the table.
        ids: fields that name an object, for completion; ``place`` is ``channel:chat``.
        called: fields that describe an object to people, for completion.
        empty: what is said where there are none.
        verbs: the first one is what the bare resource does.
    """

    name: str
    help: str
    one: str
    many: str
    columns: tuple[Column, ...]
    verbs: tuple[Verb, ...]
    empty: str
    ids: tuple[str, ...] = ("id",)
    called: tuple[str, ...] = ()


class Command(NamedTuple):
    """A verb with the resource that it belongs to, if any: what the parser hands to the program."""

    verb: Verb
    resource: Resource | None = None

    @property
    def words(self) -> str:
        """As it is typed after ``ncl``."""
        return f"{self.resource.name} {self.verb.name}" if self.resource else self.verb.name
