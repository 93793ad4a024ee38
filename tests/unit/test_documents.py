"""What the documents name is there: commands, options, links, settings, files, units, tools."""

import contextlib
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from nanoclawd.cli import arguments
from nanoclawd.cli.catalogue import commands
from nanoclawd.config import Config, load

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SKILLS = sorted((ROOT / "skills").glob("*/*.md"))
PLAIN = [
    *(
        ROOT / "config" / "config.yaml",
        ROOT / "units" / "nanoclawd.catalog",
        ROOT / "packaging" / "man" / "nanoclawd.8",
    ),
    *sorted((ROOT / "units").glob("*.socket")),
]
TOOLS = ROOT / "runner" / "nanoclaw_runner" / "tools"
SOURCES: Final = ("", "docs", "nanoclawd", "nanoclawd/gateway", "runner/nanoclaw_runner", "tests/bench/benchlib")
"""Where the files that a document names begin."""

_NAMES = {command.words for command in commands()} | {command.words.split()[0] for command in commands()}
_OPTIONS = (
    {name for command in commands() for one in command.verb.parameters for name in (one.option, one.short) if name}
    | {one.option for one in arguments.GENERAL}
    | {"--help"}
)
_SETTINGS = {field.name for field in msgspec.structs.fields(Config)}
_UNIT = re.compile(r"\bnanoclaw(?:d|-[a-z]+)*\.(?:service|socket)\b")
_FILE = re.compile(r"[a-z_]+(?:/[a-z_.-]+)+\.(?:py|yaml|json|conf|md)|[a-z_]+\.py")
_SEPARATED = re.compile(r"&&|\|\||[|;]\s")


@functools.cache
def tokens(path: Path) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(path.read_text()))


def inline(path: Path, kind: str) -> Iterator[Token]:
    for token in tokens(path):
        yield from (one for one in token.children or () if one.type == kind)


def blocks(path: Path) -> Iterator[str]:
    """Yield the code blocks of a document, fenced or indented."""
    yield from (token.content for token in tokens(path) if token.type in {"fence", "code_block"})


def commands_in(text: str) -> Iterator[str]:
    """Yield the lines of a shell that begin with ncl, without what a comment says."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in _SEPARATED.split(re.split(r"(?:^|\s)#\s", line)[0]):
            if part.strip().startswith("ncl "):
                yield part.strip()


def written_commands() -> Iterator[tuple[str, str]]:
    """Yield every command that somebody may copy, with where it stands."""
    for path in (*DOCUMENTS, *SKILLS):
        for found in (*blocks(path), *(one.content.replace("\n", " ") for one in inline(path, "code_inline"))):
            yield from ((path.name, command) for command in commands_in(found))
    for path in PLAIN:
        for found in re.findall(r"(?:: {1,4}|^ {4}|; |`)(ncl [a-z][^`;()\n]*)", path.read_text(), re.MULTILINE):
            yield path.name, found.rstrip(" .,")


@pytest.mark.parametrize(("place", "line"), sorted(set(written_commands())))
def test_a_command_that_can_be_copied_is_understood(place: str, line: str, capsys: pytest.CaptureFixture[str]):
    """[-f] may be left out, … and what is in capitals is to be filled in; a name alone is a name."""
    words = [word.strip("[]…") for word in shlex.split(re.sub(r"@[A-Z_]+@", "X", line))[1:]]
    words = [word for word in words if word]
    if " ".join(words) in _NAMES:
        return
    try:
        arguments.parse(arguments.parser(), words)
    except SystemExit as end:
        pytest.fail(f"{place}: {line}\n{capsys.readouterr().err}") if end.code else None


def test_there_are_commands_to_check():
    places = [place for place, _ in set(written_commands())]
    for name in ("README.md", "operations.md", "egress.md", "secrets.md", "channels.md", "config.yaml", "SKILL.md"):
        assert places.count(name) > 1, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_options_that_are_named_exist(path: Path):
    """An option in the running text, without its command; those of other programs have theirs before them."""
    named = [one.content for one in inline(path, "code_inline") if one.content.startswith("--")]
    foreign = {"--cert", "--local"}  # pip's, the Bot API server's
    assert {text.split()[0].partition("=")[0] for text in named} - foreign <= _OPTIONS


def anchors(path: Path) -> set[str]:
    """Return a document's anchors, as forges make them."""
    headings = (tokens(path)[at + 1].content for at, one in enumerate(tokens(path)) if one.type == "heading_open")
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    for link in inline(path, "link_open"):
        target, _, anchor = str(link.attrs["href"]).partition("#")
        if "://" in target:
            continue
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def test_every_document_is_found_from_the_first_one():
    linked = {str(link.attrs["href"]).partition("#")[0] for link in inline(ROOT / "README.md", "link_open")}
    assert {f"docs/{path.name}" for path in DOCUMENTS[1:]} <= linked


def settings() -> Iterator[tuple[str, str]]:
    """Yield the code blocks that are a piece of the configuration file."""
    for path in DOCUMENTS:
        for block in blocks(path):
            with contextlib.suppress(yaml.YAMLError):
                said = yaml.safe_load(block)
                if isinstance(said, dict) and said.keys() <= _SETTINGS:
                    yield path.name, block


@pytest.mark.parametrize(("place", "block"), settings())
def test_an_example_of_the_configuration_can_be_loaded(tmp_path: Path, place: str, block: str):
    (tmp_path / "config.yaml").write_text(block)
    assert load(tmp_path / "config.yaml") != Config(), place


def test_there_are_settings_to_check():
    assert {"README.md", "agents.md", "channels.md", "onecli.md", "operations.md"} <= {name for name, _ in settings()}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_of_the_sources_that_are_named_exist(path: Path):
    """`permissions/held.py` is below the package that the text is about; a mere name is looked for everywhere."""
    for code in inline(path, "code_inline"):
        if not _FILE.fullmatch(code.content):
            continue
        places = (ROOT / place / code.content for place in SOURCES)
        known = any(place.exists() for place in places) or (
            "/" not in code.content and any(ROOT.glob(f"[nrt]*/**/{code.content}"))
        )
        assert known or code.content.startswith("build/"), code.content


@pytest.mark.parametrize("path", [*DOCUMENTS, *PLAIN], ids=lambda path: path.name)
def test_units_that_are_named_exist(path: Path):
    units = {unit.name for unit in (ROOT / "units").rglob("*.*")} | {"nanoclaw-model.service", "nanoclaw-model.socket"}
    assert set(_UNIT.findall(path.read_text())) <= units


def test_every_tool_of_agents_is_described():
    described = {one.content for one in inline(ROOT / "docs" / "agents.md", "code_inline")}
    tools = {name for path in TOOLS.glob("*.py") for name in re.findall(r'Tool\(\s*"([a-z_]+)"', path.read_text())}
    assert len(tools) > 10
    assert tools <= described


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_targets_of_make_that_are_named_exist(path: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    codes = [*blocks(path), *(one.content for one in inline(path, "code_inline"))]
    assert {name for code in codes for name in re.findall(r"(?:^|sudo )make ([a-z-]+)", code, re.MULTILINE)} <= targets
