#!/usr/bin/python3
"""Writes the manual page ncl(1) from the commands that the program itself is made from.

Run while the package is built: ``PYTHONPATH=. packaging/man/ncl_page.py > debian/ncl.1``. The page's date is that of
SOURCE_DATE_EPOCH, so that the same sources make the same page.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator

from nanoclawd.cli.arguments import GENERAL
from nanoclawd.cli.catalogue import TOP
from nanoclawd.cli.outcome import EXIT_CODES
from nanoclawd.cli.spec import OPTIONAL, REQUIRED, Parameter, Resource, Verb

_BEFORE = """\
.Dd {date}
.Dt NCL 1
.Os
.Sh NAME
.Nm ncl
.Nd talk to the nanoclaw appliance and look after it
.Sh SYNOPSIS
.Nm
.Op Fl -socket Ar PATH
.Op Fl -json
.Ar command
.Op Ar argument ...
.Nm
.Ar command
.Fl -help
.Sh DESCRIPTION
.Nm
asks the daemon
.Xr nanoclawd 8
over its control socket.
It never reads or writes the daemon's databases itself.
Who may use it is a matter of the group
.Li nanoclaw-admin .
.Pp
An object is named by its id, by a beginning of the id that no other has, or by the name that people use: a chat by
.Ar CHANNEL : Ns Ar PLATFORM-ID
or its shown name, a person by
.Ar PLATFORM : Ns Ar HANDLE ,
an agent group by its name.
A name or id that begins with a dash stands after
.Fl - .
The kind of an object alone lists what there is:
.Ql ncl chats
is
.Ql ncl chats list .
What the commands show of the journal, they read with the caller's own rights: as root, or as a member of the group
.Li systemd-journal .
.Pp
These options may stand before any command,
.Fl -json
after it, too:
"""

_AFTER = """\
.Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev NANOCLAW_CONTROL_SOCKET
The control socket, where
.Fl -socket
is not given.
.It Ev NANOCLAW_CREDENTIALS_SOCKET
The socket that takes secrets, where it is not beside the control socket.
.El
.Sh FILES
.Bl -tag -width Ds
.It Pa /run/nanoclawd/control.sock
The daemon's control socket.
.It Pa /run/nanoclawd/credentials.sock
Where secrets go.
.It Pa ~/.local/state/nanoclaw/
What was typed in
.Ql ncl chat .
.El
"""

_LAST = """\
.Pp
Permit somebody to use it, from their next login on:
.Dl # usermod -aG nanoclaw-admin alice
.Sh SEE ALSO
.Xr varlinkctl 1 ,
.Xr nanoclawd 8
"""


def page(moment: float) -> str:
    """Return the page, dated."""
    date = time.strftime("%B %d, %Y", time.gmtime(moment)).replace(" 0", " ")
    return "\n".join([*_BEFORE.format(date=date).splitlines(), *_lines(), *_LAST.splitlines()]) + "\n"


def _lines() -> Iterator[str]:
    yield from _options(GENERAL)
    yield ".Sh COMMANDS"
    for entry in TOP:
        if isinstance(entry, Verb):
            yield ".Bl -tag -width Ds"
            yield from _verb(entry, None)
            yield ".El"
    for entry in TOP:
        if isinstance(entry, Resource):
            yield f".Ss {entry.name}"
            yield from _prose(entry.help)
            yield ".Bl -tag -width Ds"
            for verb in entry.verbs:
                yield from _verb(verb, entry)
            yield ".El"
    yield from _AFTER.splitlines()
    yield ".Sh EXIT STATUS"
    yield ".Bl -tag -width Ds -compact"
    for code, text in EXIT_CODES:
        yield f".It {code}"
        yield from _prose(text)
    yield ".El"
    yield ".Sh EXAMPLES"
    for number, (line, text) in enumerate(example for verb in _verbs() for example in verb.examples):
        if number:
            yield ".Pp"
        yield from _prose(text, end=":")
        yield f".Dl $ {_escaped(line)}"


def _verbs() -> Iterator[Verb]:
    for entry in TOP:
        if isinstance(entry, Verb):
            yield entry
        else:
            yield from entry.verbs


def _verb(verb: Verb, resource: Resource | None) -> Iterator[str]:
    words = f"{resource.name} {verb.name}" if resource else verb.name
    shown = " ".join(_synopsis(parameter) for parameter in verb.parameters)
    yield f".It Cm {words} {shown}".rstrip()
    yield from _prose(verb.help)
    if verb.about:
        yield from _prose(verb.about)
    described = [one for one in verb.parameters if one.option or one.need == OPTIONAL or one.choices]
    if described:
        yield from _options(described)


def _synopsis(parameter: Parameter) -> str:
    if not parameter.option:
        value = _positional(parameter)
        return f"Oo {value} Oc" if parameter.need == OPTIONAL else value
    shown = _option(parameter)
    return shown if parameter.need == REQUIRED else f"Oo {shown} Oc"


def _options(parameters: Iterable[Parameter]) -> Iterator[str]:
    yield ".Bl -tag -width Ds -compact"
    for parameter in parameters:
        yield f".It {_option(parameter)}"
        if parameter.short:
            yield f"Or {_escaped(parameter.short)}:"
        yield from _prose(parameter.help)
    yield ".El"


def _positional(parameter: Parameter) -> str:
    if parameter.choices:
        return " | ".join(f"Cm {_word(choice)}" for choice in parameter.choices)
    return f"Ar {_word(parameter.metavar)}"


def _option(parameter: Parameter) -> str:
    if not parameter.option:
        return _positional(parameter)
    name = parameter.option.removeprefix("-")
    if parameter.kind == "switch":
        return f"Fl {name} | Fl -no-{name.removeprefix('-')}"
    if parameter.kind == "flag":
        return f"Fl {name}"
    if parameter.choices:
        return f"Fl {name} " + " | ".join(f"Cm {_word(choice)}" for choice in parameter.choices)
    return f"Fl {name} Ar {_word(parameter.metavar)}"


def _prose(text: str, end: str = ".") -> Iterator[str]:
    """Yield a text as sentences, a line each, as mdoc wants them."""
    for sentence in f"{text[:1].upper()}{text[1:]}".split(". "):
        line = _escaped(sentence.rstrip("."))
        yield f"{line}{end}" if line[:1] not in {".", "'"} else f"\\&{line}{end}"


def _escaped(text: str) -> str:
    """Return a text that roff takes literally."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def _word(text: str) -> str:
    r"""Return an argument of a macro; ``\&`` keeps mdoc from taking a short word for a macro or for punctuation."""
    return f"\\&{_escaped(text)}" if len(text) <= 3 else _escaped(text)  # noqa: PLR2004  # no macro is longer


if __name__ == "__main__":
    sys.stdout.write(page(float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))
