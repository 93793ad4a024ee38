"""Command lines: ids of every form, mistyped words, and what is said then."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from varlink_stub import Stub

from memory_backend.process import Daemon
from nanoclawd.cli.__main__ import main


@pytest.mark.parametrize(
    ("line", "parameter", "value"),
    [
        (["chats", "get", "mg-1f2e-3d4c"], "chat", "mg-1f2e-3d4c"),
        (["chats", "get", "telegram:-1001234"], "chat", "telegram:-1001234"),
        (["chats", "get", "-1001234"], "chat", "-1001234"),
        (["chats", "get", "--json", "mg-1-2-3"], "chat", "mg-1-2-3"),
        (["--json", "chats", "get", "mg-1-2-3"], "chat", "mg-1-2-3"),
        (["chats", "get", "--", "-x-y"], "chat", "-x-y"),
        (["wirings", "update", "--engage", "mention", "mga-1-2"], "wiring", "mga-1-2"),
        (["wirings", "update", "mga-1-2", "--engage=mention"], "wiring", "mga-1-2"),
        (["wirings", "list", "--chat", "telegram:-1001234"], "chat", "telegram:-1001234"),
        (["wirings", "list", "--chat=-x"], "chat", "-x"),
        (["wirings", "--chat", "telegram:-1001234"], "chat", "telegram:-1001234"),
        (["--json", "sessions", "--json", "--state", "closed"], "state", "closed"),
        (["users", "get", "terminal:a-b"], "user", "terminal:a-b"),
        (["users", "update", "matrix:@a-b:c-d.org", "--name", ""], "display_name", ""),
        (["roles", "grant", "admin", "x:list", "--group", "get"], "user", "x:list"),
        (["groups", "get", "list"], "name", "list"),
        (["sessions", "close", "a-session-id"], "id", "a-session-id"),
        (["questions", "answer", "k3f", "2"], "option", "2"),
        (["approvals", "decide", "k3f-a", "connect:my-agent"], "option", "connect:my-agent"),
        (["wirings", "create", "c", "g", "--priority", "-5"], "priority", -5),
        (["chats", "create", "telegram", "-100", "--no-is-group"], "is_group", False),
        (["chats", "create", "telegram", "-100", "--is-group"], "chat", "-100"),
        (
            ["explain", "--channel", "t", "--chat", "-1", "--sender", "", "--text", "-x y", "--no-mention"],
            "text",
            "-x y",
        ),
        (["explain", "--channel", "t", "--chat", "-1", "--sender", "", "--text", "x"], "sender", ""),
        (["explain", "--message", "-100:7:main"], "id", "-100:7:main"),
    ],
)
def test_an_id_with_dashes_is_a_word_like_any_other(stub: Stub, line: list[str], parameter: str, value: object):
    """W-30: ids, names and numbers that look like commands, options or ranges arrive as they were written."""
    assert main(["--socket", stub.path, *line]) == 0
    assert not stub.faults
    assert stub.calls[0][1][parameter] == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["wirngs"], "did you mean wirings?"),
        (["approval"], "did you mean approvals?"),
        (["dropped-messages"], "did you mean dropped?"),
        (["wirings", "crate"], "did you mean create?"),
        (["sessions", "rest"], "did you mean reset?"),
        (["approvals", "k3fa"], "to show one: ncl approvals get k3fa"),
        (["wirings", "update", "x", "--engag", "mention"], "did you mean --engage?"),
        (["wirings", "update", "x", "--engage", "mentions"], "did you mean mention"),
        (["wirings", "update", "x"], "nothing to change: give one of --engage, --pattern"),
        (["wirings", "--chatt", "x"], "did you mean --chat?"),
        (["wirings", "update", "x", "-y", "--engage", "mention"], "a value that begins with a dash stands after --"),
        (["chats", "get", "a", "b"], "'b' is too much"),
        (["chats", "get", ""], "CHAT is empty"),
        (["roles", "grant", "admn", "x:y"], "did you mean admin?"),
        (["members", "add", "main"], "required: USER"),
        (["destinations", "add", "main"], "--chat"),
        (["destinations", "add", "main", "--chat", "a", "--agent", "b"], "not allowed with"),
        (["wirings", "list", "--limit", "many"], "must be a whole number"),
        (["wirings", "create", "c", "g", "--priority", "99999999999999999999"], "must be a whole number"),
        (["explain", "--chat", "x"], "--channel, --sender, --text are missing"),
        (["explain", "--message", "x", "--text", "y"], "--message stands alone"),
        (["groups", "create", "x", "--instructions", "@/nonexistent"], "/nonexistent"),
        (["groups", "\x1b[31mwork\u202e"], "there is no"),
        (["chats", "get", "x", "\x1b[31mwork\u202e"], "is too much"),
        (["chats", "get", "x", "--\x1b[31mwork\u202e"], "there is no option"),
        (["users", "update", "x", "--name", "a", "--limit", "\x1b]0;x\x07"], "there is no option --limit"),
        (["users", "list", "--limit", "\x1b]0;x\x07"], "must be a whole number"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_what_was_meant(
    stub: Stub, capsys: pytest.CaptureFixture[str], line: list[str], said: str
):
    try:
        code: object = main(["--socket", stub.path, *line])
    except SystemExit as end:
        code = end.code
    shown = capsys.readouterr()
    assert code == 2, shown
    assert said in shown.err
    assert "Try: ncl" in shown.err
    assert not shown.out
    assert not stub.calls
    assert not [mark for mark in ("\x1b", "\u202e", "\x07") if mark in shown.err]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (("Chats.NotFound", {"message": "no chat 'famly'", "hint": "did you mean Family?"}), 1, "Did you mean Family?"),
        (("Chats.NotFound", {"message": "there is no chat 'x'", "hint": "ncl chats list"}), 1, "Try: ncl chats list"),
        (("Chats.NotFound", {"message": "no\x1b[2J", "hint": "did you mean \x1b[31m\u202ebad?"}), 1, "you mean bad?"),
        (("Chats.InvalidName", {"message": "m can mean several", "hint": None}), 5, "ncl: m can mean several"),
        (("Appliance.ApprovalPending", {"message": "it waits", "hint": None, "approval": "k3fa"}), 6, "ncl: it waits"),
        (("Chats.InvalidParameter", {"parameter": "limit"}), 5, "does not take this limit"),
        (("Chats.MethodNotFound", {"method": "x"}), 1, "of another version"),
    ],
)  # fmt: skip
def test_the_daemons_word_about_an_error_is_shown(
    stub: Stub, capsys: pytest.CaptureFixture[str], error: tuple[str, dict[str, object]], code: int, said: str
):
    """W-34: a message is a line of text, not JSON in quotes."""
    stub.errors["Chats.Get"] = error
    assert main(["--socket", stub.path, "chats", "get", "x"]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert not shown.out
    assert not [mark for mark in ("\x1b", "\u202e") if mark in shown.err]


def test_what_is_not_utf_8_is_refused(stub: Stub, capsys: pytest.CaptureFixture[str]):
    """A command line can hold any bytes."""
    assert main(["--socket", stub.path, "chats", "get", "a\udcff"]) == 5
    assert "not UTF-8" in capsys.readouterr().err


def _approval(*values: str) -> dict[str, object]:
    return {"approval": {"id": "k3fa", "options": [{"label": value.upper(), "value": value} for value in values]}}


@pytest.mark.parametrize(
    ("words", "options", "decided"),
    [
        (["approve"], ("allow", "deny", "deny-always"), "allow"),
        (["approve"], ("connect:main", "new-agent", "deny", "deny-always"), "connect:main"),
        (["approve"], ("connect:main", "connect:work", "deny"), None),
        (["approve"], ("new-agent", "deny"), None),
        (["approve"], (), None),
        (["reject"], ("allow", "deny", "deny-always"), "deny"),
        (["reject", "--for-good"], ("allow", "deny", "deny-always"), "deny-always"),
        (["reject", "--for-good"], ("allow", "deny"), None),
    ],
)
def test_approve_and_reject_take_the_option_that_is_plainly_meant(
    stub: Stub, capsys: pytest.CaptureFixture[str], words: list[str], options: tuple[str, ...], decided: str | None
):
    """Where several would allow it, all are named, and none is guessed."""
    stub.replies["Approvals.Get"] = _approval(*options)
    stub.replies["Approvals.Decide"] = {**_approval(), "message": "done"}
    code = main(["--socket", stub.path, "approvals", words[0], "k3f", *words[1:]])
    shown = capsys.readouterr()
    if decided is not None:
        assert (code, shown.out) == (0, "done\n")
        assert stub.calls[-1] == ("Approvals.Decide", {"approval": "k3fa", "option": decided})
        return
    assert code == 5
    assert [name for name, _ in stub.calls] == ["Approvals.Get"]
    assert "Try: ncl approvals" in shown.err
    assert all(option.upper() in shown.err for option in options)


def test_a_command_of_the_appliance_says_so_where_its_modules_are_missing(
    stub: Stub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Inside a container there is only a part of the package."""
    monkeypatch.delitem(sys.modules, "nanoclawd.cli.doctor", raising=False)
    for module in [name for name in sys.modules if name.startswith("nanoclawd.doctor")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "nanoclawd.doctor.finding", None)
    assert main(["--socket", stub.path, "doctor"]) == 5
    assert "on the appliance itself only" in capsys.readouterr().err


_LISTING = """
import sys
from nanoclawd.cli.__main__ import main
try:
    main(["--help"])
except SystemExit:
    print(*sys.modules)
"""


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path):
    """``ncl --help`` within 100 ms, and without the libraries that single commands need."""
    done = subprocess.run([sys.executable, "-c", _LISTING], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    heavy = {
        "asyncio",
        "dataclasses",
        "inspect",
        "json",
        "socket",
        "tabulate",
        "msgspec",
        "argcomplete",
        "prompt_toolkit",
        "difflib",
    }
    assert not modules & heavy
    assert not [
        name
        for name in modules
        if name.startswith("nanoclawd") and not name.startswith("nanoclawd.cli") and "." in name
    ]

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)  # compiled once, as a package is when it is installed

    def passed() -> float:
        """Return the processor's seconds: what else this machine does is left out."""
        before = os.times()
        words = [sys.executable, "-m", "nanoclawd.cli", "--help"]
        subprocess.run(words, stdout=subprocess.DEVNULL, env=environment, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(passed() for _ in range(5)) < 0.1


def test_setup_claims_ownership_and_says_so(daemon: Daemon):
    """The first who sets the appliance up becomes its owner; nobody after that."""
    me = f"terminal:{pwd.getpwuid(os.getuid()).pw_name}"
    first = daemon.json("setup", "--yes")
    assert first["owner"]["user"] == me
    assert daemon.json("setup", "--yes")["owner"] is None
    assert [role["user"] for role in daemon.json("roles", "list") if role["role"] == "owner"] == [me]
    assert b"an owner already: " + me.encode() in daemon.ncl("roles", "claim").stdout
