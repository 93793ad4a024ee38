"""The inside is what docs/architecture.md says: imports point one way, modules are small, nothing lies about unused."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from nanoclawd.cli.catalogue import commands
from nanoclawd.supervision import runner_tree

ROOT = Path(__file__).parents[2]
HOST = ROOT / "nanoclawd"
RUNNER = ROOT / "runner" / "nanoclaw_runner"
BED = ROOT / "tests" / "bed" / "bedlib"
MOST_LINES = 500

_LAYER = re.compile(r"^\d+\. (`[^:]+`):", re.MULTILINE)
_BY_NAME = frozenset(
    {
        # Called by asyncio or SQLite by these names.
        *("data_received", "pause_writing", "resume_writing"),
        *("xRead", "xFileSize", "xLock", "xUnlock", "xClose", "xSectorSize", "xDeviceCharacteristics", "xFileControl"),
        *("xWrite", "xTruncate", "xSync"),
        # For the importer of an older installation: its promise (F-169…172) is kept already.
        "from_trigger_rules",
        # Looked up in a channel's module: what its type asks whoever adds one.
        "SETUP",
        # For whoever tries a runner beneath another root than a container's.
        "beneath",
    }
)


def sources(*roots: Path) -> list[Path]:
    return [path for root in roots for path in sorted(root.rglob("*.py"))]


def module_name(path: Path) -> str:
    base = RUNNER.parent if path.is_relative_to(RUNNER) else ROOT
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sources(HOST, RUNNER)}


@cache
def imports(name: str) -> frozenset[str]:
    """Return which of our own modules a module imports, at its start or later."""
    found: set[str] = set()
    for node in ast.walk(tree_of(modules()[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            whole = {f"{node.module}.{alias.name}": node.module or "" for alias in node.names}
            found |= {one if one in modules() else module for one, module in whole.items()}
    return frozenset((found & modules().keys()) - {name})


@cache
def layers() -> list[list[str]]:
    """Return the lines of docs/architecture.md's list, lowest first, each name as a module's whole one."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("\n## Layers\n")[2].partition("\n## ")[0]
    lines = [re.findall(r"`([^`]+)`", line) for line in _LAYER.findall(section)]
    return [[one if one.startswith("nanoclaw_runner") else f"nanoclawd.{one}" for one in names] for names in lines]


def unit_of(module: str) -> str:
    """Return the entry of the list that a module belongs to: the longest one that begins its name."""
    entries = [one for names in layers() for one in names if module == one or module.startswith(f"{one}.")]
    assert entries, f"{module} is in no line of docs/architecture.md, Layers"
    return max(entries, key=len)


def test_the_list_names_every_package_and_nothing_else():
    units = {unit_of(name) for name in modules() if name not in ("nanoclawd", "nanoclaw_runner")}
    assert units == {one for names in layers() for one in names}


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down_the_list(module: str):
    if module in ("nanoclawd", "nanoclaw_runner"):
        assert not imports(module)
        return
    rank = {one: number for number, names in enumerate(layers()) for one in names}
    own = unit_of(module)
    wrong = [
        one
        for one in sorted(imports(module) - {"nanoclawd", "nanoclaw_runner"})
        if unit_of(one) != own and rank[unit_of(one)] >= rank[own]
    ]
    assert not wrong, f"{module} imports {', '.join(wrong)}"


def test_the_contract_imports_neither_side():
    for name in modules():
        if name.startswith("nanoclaw_runner.contract"):
            outside = {one for one in imports(name) if not one.startswith("nanoclaw_runner.contract")}
            assert not outside, name


def test_the_host_imports_the_contract_of_the_runner_and_nothing_else():
    for name in modules():
        if name.startswith("nanoclawd."):
            allowed = {"nanoclaw_runner"} if name == "nanoclawd.supervision.runner_tree" else set()
            reached = {one for one in imports(name) if one.startswith("nanoclaw_runner")}
            assert not {one for one in reached - allowed if not one.startswith("nanoclaw_runner.contract")}, name


def test_the_runner_imports_of_the_host_only_what_is_published():
    published = set(runner_tree.everything())
    for name in modules():
        if name.startswith("nanoclaw_runner"):
            for one in imports(name):
                path = modules()[one]
                base = RUNNER.parent if path.is_relative_to(RUNNER) else ROOT
                assert str(path.relative_to(base)) in published, f"{name} imports {one}"


def test_the_command_line_knows_only_itself_and_the_health_checks():
    for name in modules():
        if name.startswith("nanoclawd.cli"):
            of_host = {"nanoclawd.doctor"} if name.endswith((".doctor", ".setup")) else set()
            of_host |= {"nanoclawd.egress"} if name == "nanoclawd.cli.sealing" else set()
            wrong = {unit_of(one) for one in imports(name) - {"nanoclawd"}} - {"nanoclawd.cli"} - of_host
            assert not wrong, f"{name} imports {wrong}"


def test_the_gateway_shares_only_configuration_and_journal_with_the_daemon():
    known = {
        "nanoclawd.gateway",
        "nanoclawd.atomic_file",
        "nanoclawd.config",
        "nanoclawd.egress",
        "nanoclawd.errors",
        "nanoclawd.journal",
        "nanoclawd.paths",
        "nanoclawd.undumpable",
    }
    for name in modules():
        if name.startswith("nanoclawd.gateway"):
            assert {unit_of(one) for one in imports(name)} <= known, name
        elif name.startswith("nanoclawd."):
            assert not {one for one in imports(name) if one.startswith("nanoclawd.gateway")}, name


def test_no_module_imports_itself_by_a_detour():
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        assert name not in way, " → ".join([*way[way.index(name) :], name])
        if name not in done:
            for one in sorted(imports(name)):
                visit(one, [*way, name])
            done.add(name)

    for name in modules():
        visit(name, [])


@pytest.mark.parametrize("path", sources(HOST, RUNNER, BED), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_stays_small(path: Path):
    said = (ast.get_docstring(tree_of(path)) or "").partition("\n")[0]
    assert len(said.split()) >= 2, "a module says in its first line what it is for"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def definitions(path: Path) -> Iterator[str]:
    """Return the names of a module's functions, methods, classes and constants, but not Python's own names."""
    tree = tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        elif isinstance(statement, ast.TypeAlias):
            targets = [statement.name]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def inherited_from_libraries(path: Path) -> Iterator[str]:
    """Return the methods of classes whose base is a library's: it calls them."""
    tree = tree_of(path)
    foreign: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(("nanoclaw", "typing", "abc")):
            foreign |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        if any(ast.unparse(base).partition(".")[0] in foreign for base in bases):
            yield from (one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def uses() -> set[str]:
    """Return every name that the product itself reads, and those that its entry points and commands are called by."""
    found = set(_BY_NAME)
    for path in sources(HOST, RUNNER):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
        found |= set(inherited_from_libraries(path))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [project["scripts"], *project["entry-points"].values()]
    found |= {target.partition(":")[2] for one in entries for target in one.values()}
    return found | {command.verb.run.partition(":")[2] for command in commands()}


def test_nothing_is_defined_that_nothing_uses():
    """By name only: a test's use does not count, as what only tests use belongs to them."""
    used = uses()
    unused = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(HOST, RUNNER)
        for name in definitions(path)
        if name not in used and not (name.startswith("__") and name.endswith("__"))
    ]
    assert not unused, "\n".join(unused)
