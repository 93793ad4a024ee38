"""`in-beds` with a program in place of the bed's: it runs what it is told to here, with pytest itself."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bed.bedlib import side_by_side
from bed.bedlib.settings import BedError, Settings
from bed.bedlib.side_by_side import Run

TESTS = Path(__file__).parents[2]

# A bed is a file of its name; what it has at /src and /out is beside it.
BED = """\
#!/bin/sh
beds=$(dirname "$0")
case $1 in
    down) rm -f "$beds/$BED_NAME.up" ;;
    up)
        [ ! -e "$beds/$BED_NAME.broken" ] || { echo "no room"; exit 1; }
        echo up >"$beds/$BED_NAME.up"
        echo "$BED_NAME" >>"$beds/booted" ;;
    exec)
        [ -e "$beds/$BED_NAME.up" ] || { echo "the bed is not up"; exit 1; }
        shift 2
        here=$BED_HOME/out/$BED_NAME
        for word in "$@"; do
            [ -z "$begun" ] && { begun=1; set --; }
            case $word in
                /src/*) word=$SOURCES/${word#/src/} ;;
                --junit-xml=/out/*) word=--junit-xml=$here/${word#--junit-xml=/out/} ;;
            esac
            set -- "$@" "$word"
        done
        cd "$SOURCES" && exec "$@" ;;
esac
"""
CONFTEST = """\
def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("not checked here: the weather")
"""


@dataclass
class Stage:
    """A repository with tests, and two beds that do not exist yet."""

    home: Path
    names: tuple[str, ...] = ("t-1", "t-2")
    options: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    keep: bool = False
    sources: Path = field(init=False)

    def __post_init__(self) -> None:
        self.sources = self.home / "repository"
        (self.sources / "tests").mkdir(parents=True)
        (self.sources / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
        self.write("conftest.py", CONFTEST)
        program = self.home / "bed"
        program.write_text(BED)
        program.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        (self.sources / "tests" / name).write_text(text)

    @property
    def durations(self) -> Path:
        return self.home / "durations.json"

    def plan(self) -> Run:
        return Run(
            [Settings(name, self.home) for name in self.names],
            self.home / "bed",
            ["tests"],
            self.options,
            self.asides,
            keep=self.keep,
            durations=self.durations,
            repository=self.sources,
        )

    def run(self) -> int:
        return asyncio.run(self.plan().run())

    def left_up(self) -> list[str]:
        return sorted(path.stem for path in self.home.glob("*.up"))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    built = Stage(tmp_path)
    monkeypatch.setenv("SOURCES", str(built.sources))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return built


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return capfd.readouterr().out.splitlines()


def meeting(fifo: Path, mode: str) -> str:
    """Return a test that ends only if another one opens the other end of the pipe."""
    body = ["signal.alarm(60)", f"open({str(fifo)!r}, {mode!r}).close()", "signal.alarm(0)"]
    return "import signal\ndef test_meets():\n" + "".join(f"    {line}\n" for line in body)


def test_files_run_side_by_side_each_once_and_are_told_as_they_end(stage: Stage, capfd: pytest.CaptureFixture[str]):
    os.mkfifo(stage.home / "pipe")
    stage.write("test_reads.py", meeting(stage.home / "pipe", "r"))
    stage.write("test_writes.py", meeting(stage.home / "pipe", "w"))
    stage.write("test_third.py", "def test_a(): pass\ndef test_b(): pass\n")
    assert stage.run() == 0
    said = lines(capfd)
    assert [line.split()[0] for line in said[:3]] == ["1/3", "2/3", "3/3"]
    assert {(line.split()[2], line.split()[3]) for line in said[:3]} == {
        ("ok", f"tests/test_{name}.py") for name in ("reads", "writes", "third")
    }
    met = {line.split()[1] for line in said[:3] if "third" not in line}
    assert met == {"t-1", "t-2"}
    assert said[3] == "not checked here: the weather"
    assert said[4].startswith("4 passed in ")
    assert said[4].endswith("(3 files, 2 beds; exit status 0)")
    assert len(said) == 5
    assert stage.left_up() == []
    assert set(side_by_side.parts.read_durations(stage.durations)) == {
        f"tests/test_{name}.py" for name in ("reads", "writes", "third")
    }


def test_what_failed_is_shown_whole_and_the_rest_is_run(stage: Stage, capfd: pytest.CaptureFixture[str]):
    stage.write("test_bad.py", "def test_bad():\n    print('said before')\n    assert 1 == 2\n" + "#\n" * 99)
    stage.write("test_good.py", "def test_good(): pass\n")
    assert stage.run() == 1
    said = "\n".join(lines(capfd))
    assert "said before" in said
    assert "assert 1 == 2" in said
    assert "2/2" in said
    assert "1 passed, 1 failed in" in said


def test_a_file_that_cannot_be_imported_is_a_failure_of_its_own(stage: Stage, capfd: pytest.CaptureFixture[str]):
    stage.write("test_bad.py", "import no_such_module\n")
    stage.write("test_good.py", "def test_good(): pass\n")
    assert stage.run() == 1
    said = "\n".join(lines(capfd))
    assert "No module named 'no_such_module'" in said
    assert "1 passed, 1 error in" in said


def test_the_first_failure_ends_the_run_if_that_was_asked_for(stage: Stage, capfd: pytest.CaptureFixture[str]):
    stage.names, stage.options = ("t-1",), ("-x",)
    stage.write("test_bad.py", "def test_bad(): assert False\n" + "#\n" * 99)
    stage.write("test_good.py", "def test_good(): pass\n")
    assert stage.run() == 1
    assert "1 failed, 1 file not run in" in lines(capfd)[-1]


def test_a_selection_leaves_out_the_files_without_any(stage: Stage, capfd: pytest.CaptureFixture[str]):
    stage.options = ("-k", "wanted")
    stage.write("test_a.py", "def test_wanted(): pass\ndef test_other(): pass\n")
    stage.write("test_b.py", "def test_other(): pass\n")
    assert stage.run() == 0
    said = lines(capfd)
    assert said[0].split()[:4] == ["1/1", "t-1", "ok", "tests/test_a.py"]
    assert "1 passed in" in said[-1]
    assert (stage.home / "booted").read_text().split() == ["t-1"], "no bed more than there are files"
    assert not stage.durations.exists(), "a part of a file says nothing of the whole"


def test_a_selection_of_nothing_is_a_failure(stage: Stage, capfd: pytest.CaptureFixture[str]):
    stage.options = ("-k", "nothing")
    stage.write("test_a.py", "def test_other(): pass\n")
    assert stage.run() == 5
    assert lines(capfd) == ["no test was selected"]
    assert stage.left_up() == []


def test_options_that_pytest_does_not_know_are_told(stage: Stage):
    stage.options = ("--no-such-option",)
    with pytest.raises(BedError, match="unrecognized arguments: --no-such-option"):
        stage.run()
    assert stage.left_up() == []


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_crash_of_pytest_is_a_failure_that_is_told(stage: Stage, capfd: pytest.CaptureFixture[str], end: str):
    stage.write("test_bad.py", f"import os\ndef test_bad(): {end}\n" + "#\n" * 99)
    stage.write("test_good.py", "def test_good(): pass\n")
    assert stage.run() == 1
    said = lines(capfd)
    assert any("FAILED" in line and "pytest crashed" in line for line in said)
    assert "1 passed, 1 file whose pytest crashed in" in said[-1]


def test_the_end_of_a_bed_ends_the_run_and_removes_the_other(stage: Stage):
    stage.write(
        "test_bad.py", f"import os\ndef test_bad():\n    os.unlink({str(stage.home / 't-1.up')!r})\n    os._exit(1)\n"
    )
    stage.names = ("t-1",)
    with pytest.raises(BedError, match="bed 't-1' ended while tests/test_bad"):
        stage.run()
    assert stage.left_up() == []


@pytest.mark.parametrize("name", ["t-1", "t-2"])
def test_a_bed_that_does_not_come_up_ends_the_run(stage: Stage, name: str):
    (stage.home / f"{name}.broken").touch()
    os.mkfifo(stage.home / "pipe")  # nobody ever opens the other end
    stage.write("test_a.py", f"def test_waits(): open({str(stage.home / 'pipe')!r}).close()\n")
    stage.write("test_b.py", "def test_b(): pass\n")
    with pytest.raises(BedError, match=f"the bed '{name}' did not come up"):
        stage.run()
    assert stage.left_up() == []


def test_beds_are_left_up_if_wished(stage: Stage, capfd: pytest.CaptureFixture[str]):
    stage.keep = True
    stage.names = ("t-1",)
    stage.write("test_a.py", "def test_a(): pass\n")
    assert stage.run() == 0
    assert stage.left_up() == ["t-1"]
    assert "BED_NAME=t-1 tests/bed/bed shell" in capfd.readouterr().err


def test_commands_run_beside_the_beds_in_turn(stage: Stage, capfd: pytest.CaptureFixture[str]):
    pipe = stage.home / "pipe"
    os.mkfifo(pipe)
    stage.names = ("t-1",)
    stage.write("test_meets.py", meeting(pipe, "r"))
    stage.asides = (
        f": >{pipe}; echo in $BED_NAME",
        "echo 'not checked here: the tide'; echo; echo '== 3 passed in 1.00s (0:00:01) =='; echo done",
    )
    assert stage.run() == 0
    said = lines(capfd)
    told = [line for line in said if line.startswith("beside")]
    assert [line.split()[1] for line in told] == ["ok", "ok"]
    assert told[0].endswith(" s  in t-1-b"), "a bed that is nobody else's"
    assert told[1].endswith(" s  3 passed in 1.00s (0:00:01)")
    assert "not checked here: the tide" in said


def test_a_failure_beside_the_beds_is_shown_whole_and_is_one_of_the_run(
    stage: Stage, capfd: pytest.CaptureFixture[str]
):
    stage.write("test_a.py", "def test_a(): pass\n")
    stage.asides = ("echo why it failed; echo at last; exit 3",)
    assert stage.run() == 1
    said = lines(capfd)
    assert any(line.startswith("beside  FAILED") and line.endswith("(exit status 3)") for line in said)
    assert "why it failed" in said
    assert "1 passed, failed beside them: echo why" in said[-1]


DRIVER = """\
import asyncio, sys
from pathlib import Path
from bed.bedlib import side_by_side
from bed.bedlib.settings import Settings
home = Path(sys.argv[1])
beds = [Settings(name, home) for name in ("t-1", "t-2")]
aside = f"trap 'rm {home}/aside; exit 1' TERM; touch {home}/aside; : >{home}/begun; sleep 60 & wait"
where = {"durations": home / "durations.json", "repository": home / "repository"}
run = side_by_side.Run(beds, home / "bed", ["tests"], asides=[aside], **where)
sys.exit(asyncio.run(side_by_side.until_told(run)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_tests_and_removes_its_beds(stage: Stage, number: signal.Signals):
    pipe, begun, aside = (stage.home / name for name in ("pipe", "begun", "aside"))
    os.mkfifo(pipe)
    os.mkfifo(begun)
    stage.write(
        "test_a.py",
        f"def test_tells_and_waits():\n    open({str(pipe)!r}, 'w').close()\n    input = open({str(pipe)!r}).read()\n",
    )
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, stage.home], env=os.environ | {"PYTHONPATH": str(TESTS)}, stderr=subprocess.PIPE
    ) as process:
        pipe.open().close()  # the test runs
        begun.open().close()  # so does what is beside it
        assert aside.exists()
        assert stage.left_up() == ["t-1"]
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in said
    assert stage.left_up() == []
    assert not aside.exists(), "what ran beside the beds could clean up"
    # the test that waited for a writer is gone: nobody has the pipe open
    with pytest.raises(OSError, match="No such device or address"):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)


def test_the_number_of_beds_and_their_names_come_from_the_environment():
    assert [bed.name for bed in side_by_side.beds_named("3", "test")] == ["test-1", "test-2", "test-3"]
    assert [bed.name for bed in side_by_side.beds_named("1", "test")] == ["test"]
    for wrong in ("0", "-1", "many", "10", "1.5"):
        with pytest.raises(BedError, match="is no number of beds"):
            side_by_side.beds_named(wrong, "test")


@pytest.fixture
def in_fresh_bed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BED_NAME", "t-1")
    monkeypatch.setenv("BED_HOME", str(stage.home))
    return Path(shutil.copy2(TESTS / "bed" / "in-fresh-bed", stage.home))


@pytest.mark.parametrize("keep", ["", "1"])
def test_a_command_in_a_fresh_bed_has_its_status_passed_on(stage: Stage, in_fresh_bed: Path, keep: str):
    ended = subprocess.run([in_fresh_bed, "sh", "-c", "exit 7"], env=os.environ | {"KEEP": keep}, check=False)
    assert ended.returncode == 7
    assert stage.left_up() == (["t-1"] if keep else [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fresh_bed_is_removed_if_its_command_is_interrupted(stage: Stage, in_fresh_bed: Path, number: signal.Signals):
    begun = stage.home / "begun"
    os.mkfifo(begun)
    # a shell that runs the tests in the background has them ignore SIGINT, and no shell below can trap it then
    words = ["env", "--default-signal=INT", in_fresh_bed, "sh", "-c", f"exec sleep 60 >{begun}"]
    with subprocess.Popen(words, start_new_session=True) as process:
        begun.open().close()
        assert stage.left_up() == ["t-1"]
        os.killpg(process.pid, number)
        assert process.wait(timeout=60) == 130
    assert stage.left_up() == []
