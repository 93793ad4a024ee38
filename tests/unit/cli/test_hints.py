"""Every command that the appliance tells people to type is one that there is; test_documents.py has the documents."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanoclawd.cli import arguments
from nanoclawd.cli.catalogue import commands

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted([*(ROOT / "nanoclawd").rglob("*.py"), *(ROOT / "runner").rglob("*.py")])
_IN_A_SENTENCE = re.compile(r"(?:[Tt]ry|run|Next|[Ff]orget them): (ncl [a-z][^;()\n]*[^;()\n.: ])")


def _of_python(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are a command line; what is filled in at run time is called X."""
    for node in ast.walk(ast.parse(path.read_text())):
        text = ""
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
            text = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        if re.match(r"ncl [a-z]", text) and "\n" not in text and not text.endswith((" ", ":")):
            yield text
        yield from _IN_A_SENTENCE.findall(text)


COMMANDS = {command.words for command in commands()}
LINES = sorted({line for path in SOURCES for line in _of_python(path)})


@pytest.mark.parametrize("line", LINES)
def test_a_command_that_is_named_exists(line: str, capsys: pytest.CaptureFixture[str]):
    """An error that names the next command names one that is understood."""
    words = [word.strip("[]…") for word in shlex.split(line.partition(";")[0])[1:]]
    if " ".join(words) in COMMANDS:
        return  # only its name
    try:
        arguments.parse(arguments.parser(), [word for word in words if word])
    except SystemExit as end:
        assert end.code == 0, capsys.readouterr().err  # noqa: PT017  # --help ends, too


def test_there_are_hints_to_check():
    assert len(LINES) > 20
