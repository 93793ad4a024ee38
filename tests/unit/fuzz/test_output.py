"""What strangers have written on a terminal and in the journal: never as it is."""

import itertools
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nanoclaw_runner.log import OneLineFormatter as RunnerFormatter
from nanoclawd.cli.__main__ import main
from nanoclawd.cli.catalogue import commands
from nanoclawd.cli.clean import clean, clean_line
from nanoclawd.cli.spec import REQUIRED, Command
from nanoclawd.journal import OneLineFormatter, about
from unit.cli.varlink_stub import BY_THEMSELVES, Stub, serving
from unit.cli.varlink_stub import NASTY as MARKED
from unit.fuzz.hostile import MARKS, SEQUENCES, dangerous, texts

HARD = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
COMMANDS = {one.words: one for one in commands() if one.words not in BY_THEMSELVES}
WORDS = {"count": "3", "number": "-2", "seconds": "1"}


class Strangers(Stub):
    """Everything that the daemon knows was written by strangers."""

    said: Iterator[str]

    def answer(self, frame: bytes) -> dict[str, Any]:
        answer = super().answer(frame)
        return {"parameters": self._rewritten(answer["parameters"])} if "error" not in answer else answer

    def _rewritten(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._rewritten(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._rewritten(one) for one in value]
        return next(self.said) if value == MARKED else value


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[Strangers]:
    with serving(tmp_path) as stub:
        stub.__class__ = Strangers
        assert isinstance(stub, Strangers)
        yield stub


def _line(command: Command, word: str) -> list[str]:
    """Return a command line with what it needs."""
    line, rivals = command.words.split(), set[str]()
    full = command.words == "explain" or command.verb.changes
    for one in command.verb.parameters:
        if one.option and one.need != REQUIRED and not one.rivals and not full:
            continue
        if one.rivals in rivals or one.kind in {"flag", "switch"} or one.name == "message":
            continue
        rivals |= {one.rivals} - {""}
        value = one.choices[0] if one.choices else WORDS.get(one.kind, word)
        line += [one.option, value] if one.option else [value]
    return line


@settings(HARD, max_examples=120)
@given(
    words=st.sampled_from(sorted(COMMANDS)),
    said=st.lists(texts, min_size=1, max_size=6),
    flags=st.sampled_from([(), ("--json",)]),
    broken=st.booleans(),
)
def test_no_command_lets_anything_through(
    strangers: Strangers,
    capsys: pytest.CaptureFixture[str],
    words: str,
    said: list[str],
    flags: tuple[str, ...],
    broken: bool,
):
    """Tables, details, JSON and refusals, whatever names and texts the daemon tells."""
    strangers.said = itertools.cycle(said)
    strangers.errors.clear()
    if broken:
        told = {"message": said[0], "hint": said[-1]}
        strangers.errors = dict.fromkeys(COMMANDS[words].verb.methods, ("Appliance.Failed", told))
    code = main(["--socket", strangers.path, *_line(COMMANDS[words], "x"), *flags])
    shown = capsys.readouterr()
    assert isinstance(code, int)
    assert not dangerous(shown.out + shown.err)
    assert "Traceback" not in shown.err
    if flags and code == 0:
        json.loads(shown.out)


@settings(HARD, max_examples=60)
@given(words=st.sampled_from(sorted(COMMANDS)), word=texts)
def test_what_is_typed_is_answered(strangers: Strangers, capsys: pytest.CaptureFixture[str], words: str, word: str):
    """Also an operator pastes what strangers wrote."""
    strangers.said = itertools.cycle(["x"])
    try:
        code = main(["--socket", strangers.path, *_line(COMMANDS[words], word)])
    except SystemExit as left:
        code = int(left.code or 0)
    assert code in range(10)
    assert not dangerous("".join(capsys.readouterr()))


def _record(text: str, error: bool) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise ValueError(text, text)
        except ValueError:
            info = sys.exc_info()
    record = logging.LogRecord("test", logging.ERROR, __file__, 1, "%s and %r", (text, text), info)
    record.__dict__.update(about(group=text, session=text, channel=text, message=text))
    return record


@settings(HARD)
@given(text=texts, error=st.booleans(), plain=st.booleans())
def test_a_record_is_one_line_of_harmless_text(text: str, error: bool, plain: bool):
    """Arguments, fields and stacks; in the journal and on a terminal, on the host and in a container."""
    line = OneLineFormatter(plain=plain).format(_record(text, error))
    assert not dangerous(line)
    first, *stack = line.split("\n")
    assert all(part.startswith("    ") for part in stack)
    assert bool(stack) == error
    assert len(first.splitlines()) == 1
    for value in about(group=text, message=text).values():
        assert not dangerous(value)
    assert not dangerous(RunnerFormatter("%(message)s").format(_record(text, error)), allowed="\n")


@pytest.mark.parametrize("mark", [*MARKS, *SEQUENCES])
def test_every_mark_is_taken_out(mark: str):
    """Of a table the mark goes; in the journal it is spelled."""
    assert not dangerous(clean(f"a{mark}b"))
    line = OneLineFormatter(plain=False).format(_record(mark, error=False))
    assert mark not in line
    assert line.isprintable()


@settings(HARD)
@given(texts)
@example("\x9d" * 1000 + "x")
@example("\x1b[" * 20_000)
@example("\x1b]" * 20_000)
@example("\x1bP;" * 20_000 + "\x1b")
def test_clean_text_stays_clean(text: str):
    assert not dangerous(clean(text))
    assert clean(clean(text)) == clean(text)
    assert not dangerous(clean_line(text))
    assert len(clean_line(text).splitlines()) <= 1
