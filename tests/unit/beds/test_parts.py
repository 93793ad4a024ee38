"""What `in-beds` makes of what was typed, of what pytest said, and of how its parts ended."""

import json
from pathlib import Path

import pytest

from bed.bedlib import parts
from bed.bedlib.parts import Counts, Outcome, Part

GOOD = Counts(passed=3)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    system = tmp_path / "tests" / "system"
    system.mkdir(parents=True)
    for name, lines in (("test_short.py", 1), ("test_long.py", 9), ("test_middle.py", 5)):
        (system / name).write_text("#\n" * lines)
    return tmp_path


def outcome(status: int = 0, counts: Counts | None = GOOD, output: str = "", name: str = "test_a.py") -> Outcome:
    return Outcome(Part(f"tests/{name}", (f"tests/{name}",)), "test-1", status, counts, 2.5, output)


@pytest.mark.parametrize(
    ("words", "paths", "options"),
    [
        ([], [], []),
        (["-k", "names or channels"], [], ["-k", "names or channels"]),
        (["tests/system/test_long.py"], ["tests/system/test_long.py"], []),
        (["/src/tests/system/test_long.py::test_x[a/b]"], ["tests/system/test_long.py::test_x[a/b]"], []),
        (["tests/system/", "-x"], ["tests/system"], ["-x"]),
        (["--deselect", "tests/system/test_long.py"], [], ["--deselect", "tests/system/test_long.py"]),
        (["-k", "tests/system"], [], ["-k", "tests/system"]),
        (["tests/system/test_absent.py"], [], ["tests/system/test_absent.py"]),
    ],
)
def test_paths_and_options_are_told_apart(repository: Path, words: list[str], paths: list[str], options: list[str]):
    assert parts.split(words, repository) == (paths, options)


def test_files_with_selected_tests_are_read_from_either_form_of_the_list():
    short = "tests/system/test_a.py: 3\ntests/system/test_b.py: 1\n\n2 deselected\n"
    long = "tests/system/test_a.py::test_1\ntests/system/test_a.py::test_2[x.py: 7]\n\n2 tests collected\n"
    assert [(one.file, one.tests) for one in parts.collected(short, ["tests/system"])] == [
        ("tests/system/test_a.py", 3),
        ("tests/system/test_b.py", 1),
    ]
    assert [(one.file, one.tests) for one in parts.collected(long, ["tests/system"])] == [("tests/system/test_a.py", 2)]


def test_of_a_file_only_the_tests_are_run_that_were_named():
    paths = ["tests/test_a.py::test_1", "tests/test_a.py::test_2", "tests/test_b.py", "tests/test_b.py::test_1"]
    found = parts.collected("tests/test_a.py: 2\ntests/test_b.py: 4\n", paths)
    assert [one.targets for one in found] == [
        ("tests/test_a.py::test_1", "tests/test_a.py::test_2"),
        ("tests/test_b.py",),
    ]


def test_without_a_list_every_file_of_the_paths_is_a_part(repository: Path):
    found = parts.uncollected(["tests/system"], repository)
    assert [Path(one.file).stem for one in found] == ["test_long", "test_middle", "test_short"]
    single = parts.uncollected(["tests/system/test_long.py::test_x"], repository)
    assert single == [Part("tests/system/test_long.py", ("tests/system/test_long.py::test_x",))]


def test_the_longest_is_first_and_one_that_was_never_timed_before_it(repository: Path):
    found = parts.uncollected(["tests/system"], repository)

    def order(durations: dict[str, float]) -> list[str]:
        return [Path(one.file).stem for one in parts.in_order(found, durations, repository)]

    assert order({}) == ["test_long", "test_middle", "test_short"]
    assert order({"tests/system/test_short.py": 9.0, "tests/system/test_long.py": 1.5}) == [
        "test_middle",
        "test_short",
        "test_long",
    ]


def test_what_a_file_imports_from_beside_it_counts_if_nothing_is_timed(repository: Path):
    system = repository / "tests" / "system"
    (system / "stage.py").write_text("from system.test_short import x\n" + "#\n" * 20)
    (system / "tools.py").write_text("#\n" * 30)
    (system / "test_short.py").write_text("from system.stage import x\nfrom system.absent import y\n")
    (system / "test_middle.py").write_text("from system import stage, tools\n")
    order = [
        Path(one.file).stem for one in parts.in_order(parts.uncollected(["tests/system"], repository), {}, repository)
    ]
    assert order == ["test_middle", "test_short", "test_long"]


def test_durations_are_kept_of_what_went_well(tmp_path: Path):
    path = tmp_path / "build" / "durations.json"
    parts.write_durations(path, [outcome(name="test_a.py"), outcome(status=1, name="test_b.py")])
    parts.write_durations(path, [outcome(name="test_c.py")])
    assert parts.read_durations(path) == {"tests/test_a.py": 2.5, "tests/test_c.py": 2.5}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "b"}', '{"a": null}'])
def test_durations_that_cannot_be_read_are_unknown(tmp_path: Path, text: str):
    path = tmp_path / "durations.json"
    path.write_text(text)
    assert parts.read_durations(path) == {}
    parts.write_durations(path, [outcome()])
    assert json.loads(path.read_text()) == {"tests/test_a.py": 2.5}


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ('<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>', Counts(3, 1, 2, 3)),
        ('<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>', Counts()),
        ("<testsuites/>", None),
        ('<testsuites><testsuite tests="9"', None),
        ('<testsuites><testsuite tests="many"/></testsuites>', None),
        ("", None),
    ],
)
def test_a_report_counts_only_if_it_is_whole(tmp_path: Path, text: str, counts: Counts | None):
    path = tmp_path / "report.xml"
    path.write_text(text)
    assert parts.read_report(path) == counts
    assert parts.read_report(tmp_path / "absent.xml") is None


@pytest.mark.parametrize(
    ("one", "good"),
    [
        (outcome(), True),
        (outcome(5, Counts()), True),
        (outcome(5, None), True),
        (outcome(1, Counts(2, failed=1)), False),
        (outcome(2, Counts(errors=1)), False),
        (outcome(0, None), False),
        (outcome(0, Counts(2, errors=1)), False),
        (outcome(-9, None), False),
        (outcome(3, GOOD), False),
    ],
)
def test_a_part_is_good_only_with_a_report_that_says_so(one: Outcome, good: bool):
    assert one.good is good
    assert ("FAILED" in one.line(1, 1, 0)) is not good


def test_a_line_says_where_how_and_how_long():
    line = outcome(1, Counts(2, failed=1)).line(7, 53, 20)
    assert line == " 7/53  test-1  FAILED  tests/test_a.py          2.5 s  2 passed, 1 failed (exit status 1)"
    assert "pytest crashed (exit status -11)" in outcome(-11, None).line(7, 53, 20)


OUTPUT = """\
============================= test session starts ==============================
collected 2 items

src/tests/system/test_a.py .s                                            [100%]

=============================== warnings summary ===============================
test_a.py::test_1
  /usr/lib/x.py:3: DeprecationWarning: old

-- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html
=========================== short test summary info ============================
SKIPPED [1] test_a.py:4: no such thing here
not checked here: that memory is limited
================== 1 passed, 1 skipped, 1 warning in 0.01s ===================
"""


def test_what_pytest_remarks_at_its_end_is_seen_once():
    plain = "collected 1 item\n\ntest_b.py . [100%]\nnot checked here: a second thing\n===== 1 passed in 0.01s =====\n"
    failed = "E   assert 1 == 2\nnot checked here: a third thing\n===== 1 failed in 0.01s =====\n"
    run = [outcome(1, Counts(failed=1), failed), outcome(output=OUTPUT), outcome(output=OUTPUT), outcome(output=plain)]
    assert parts.remarks(run) == [
        "test_a.py::test_1",
        "  /usr/lib/x.py:3: DeprecationWarning: old",
        "SKIPPED [1] test_a.py:4: no such thing here",
        "not checked here: that memory is limited",
        "not checked here: a second thing",
        "not checked here: a third thing",
    ]


def test_the_end_of_a_run_is_told_in_one_line_and_one_status():
    empty, failed, crashed = outcome(5, Counts()), outcome(1, Counts(2, 1, 0, 4)), outcome(-9, None)
    assert parts.status_of([outcome(), empty], 2) == 0
    assert parts.status_of([empty, empty], 2) == 5
    assert parts.status_of([outcome()], 2) == 1, "a part was not run"
    assert parts.status_of([outcome(), crashed], 2) == 1
    assert parts.summary([outcome(), failed, crashed], 4, 2, 61.2) == (
        "5 passed, 1 failed, 4 skipped, 1 file whose pytest crashed, 1 file not run"
        " in 61 s (4 files, 2 beds; exit status 1)"
    )
    assert parts.summary([outcome(), empty], 2, 1, 8.0) == "3 passed in 8 s (2 files, 1 bed; exit status 0)"
