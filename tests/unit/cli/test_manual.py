"""The manual, ``--help`` and the parser say the same, because they are made from the same."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nanoclawd.cli import arguments
from nanoclawd.cli.catalogue import TOP, commands
from nanoclawd.cli.outcome import EXIT_CODES

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = {command.words: command for command in commands()}


@pytest.fixture(scope="module")
def page() -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_DATE_EPOCH": "1776350220"}
    words = [sys.executable, str(ROOT / "packaging" / "man" / "ncl_page.py")]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def read(page: str) -> str:
    """Return the page as people see it, on one line."""
    words = ["mandoc", "-T", "utf8", "-O", "width=500"]
    shown = subprocess.run(words, input=page, capture_output=True, text=True, check=True).stdout
    return " ".join(re.sub(".\b", "", shown).split())


def test_the_daemons_page_is_sound():
    path = ROOT / "packaging" / "man" / "nanoclawd.8"
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)
    # What it refers to need not be installed here.
    assert [line for line in done.stdout.splitlines() if "manual not found" not in line] == []
    assert not done.stderr


def test_the_page_is_sound_and_the_same_sources_make_the_same(page: str):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert ".Dd April 16, 2026" in page


@pytest.mark.parametrize("words", COMMANDS)
def test_manual_help_and_parser_agree(read: str, capsys: pytest.CaptureFixture[str], words: str):
    """Each command with its parameters and its help is in the manual and in --help, and nothing else is parsed."""
    verb = COMMANDS[words].verb
    with pytest.raises(SystemExit) as end:
        arguments.parse(arguments.parser(), [*words.split(), "--help"])
    assert end.value.code == 0
    helped = " ".join(capsys.readouterr().out.split())
    start = read.index(f" {words} ", read.index(" COMMANDS "))
    described = read[start : start + 3000]
    for text in (verb.help, verb.about, *(one.help for one in verb.parameters)):
        # The formatter of --help breaks a line after a hyphen.
        assert text.rstrip(".")[1:] in helped.replace("- ", "-") or text.rstrip(".")[1:] in helped, text
    for text in (verb.help, *(one.help for one in verb.parameters if one.option)):
        assert text.rstrip(".")[1:].replace(". ", ".").replace(" ", "") in described.replace(". ", ".").replace(
            " ", ""
        ), text
    made = _parser_of(words)
    options = {name for action in made._actions for name in action.option_strings}
    declared = {"-h", "--help", "--json"}
    for one in verb.parameters:
        declared |= {one.option, one.short} - {""}
        if one.kind == "switch":
            declared.add(one.option.replace("--", "--no-", 1))
    assert options == declared
    assert all(option in described for option in declared - {"-h", "--help", "--json"})


def _parser_of(words: str) -> arguments.Parser:
    made: arguments.Parser = arguments.parser()  # type: ignore[assignment]
    for word in words.split():
        (commands_of,) = [action for action in made._actions if hasattr(action, "add_parser")]
        made = commands_of.choices[word]  # type: ignore[index]
    return made


def test_the_top_lists_every_command_and_the_exit_codes(read: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        arguments.parse(arguments.parser(), ["--help"])
    helped = " ".join(capsys.readouterr().out.split())
    for entry in TOP:
        assert f" {entry.name} {entry.help} " in helped
    for code, text in EXIT_CODES:
        assert f"{code} {text}" in helped
        assert f"{code} {text[0].upper()}{text[1:]}." in read
