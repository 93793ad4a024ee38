"""The catalogue against the interface files: every method has a command, every command fits its method (W-68)."""

import json
from typing import Any

import pytest
from varlink.scanner import _Array, _Maybe
from varlink_stub import BY_THEMSELVES, INTERFACES, METHODS, Stub, an_example, resolved

from nanoclawd.cli.__main__ import main
from nanoclawd.cli.catalogue import RESOURCES, commands
from nanoclawd.cli.spec import REQUIRED, Command, Parameter

COMMANDS = {command.words: command for command in commands()}
DANGEROUS = ("\x1b", "\x07", "\u202e", "\u202c", "\x9b")

DASHES = "mg-0a1b-2c3d-no"
WORDS = {"count": "3", "number": "-2", "seconds": "1", "text": DASHES, "file": DASHES, "list": DASHES}
VALUES: dict[str, Any] = {
    "count": 3,
    "number": -2,
    "seconds": 1.0,
    "text": DASHES,
    "file": DASHES,
    "flag": True,
    "switch": True,
    "list": [DASHES],
}


def test_every_method_has_a_command():
    """W-68: nothing that the daemon can do is out of an operator's reach."""
    reached = {method for command in COMMANDS.values() for method in command.verb.methods}
    assert reached == set(METHODS)


def test_every_object_has_the_verbs_that_its_interface_has():
    """W-68: a verb for each object, named as its method is."""
    exceptions = {"Users.Dms": "dms list", "Routing.Dropped": "dropped list", "Channels.Setup": "channels add"}
    exceptions["Channels.AwaitPairing"] = "channels pair"
    exceptions["Channels.ExportKeys"] = exceptions["Channels.ImportKeys"] = "channels keys"
    for method in METHODS:
        interface, _, name = method.partition(".")
        if interface.lower() in RESOURCES and method not in exceptions:
            assert f"{interface.lower()} {name.lower()}" in COMMANDS
    assert set(exceptions.values()) <= set(COMMANDS)


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_can_be_given(method: str):
    """W-68: un-denying, closing, priorities and scopes are options, not nulls for a database."""
    if method.startswith("Chat."):
        return
    given = {
        one.name for command in COMMANDS.values() if method in command.verb.methods for one in command.verb.parameters
    }
    if method == "Routing.ExplainMessage":
        given.add("id")  # --message
    if method == "Channels.AwaitPairing":
        given.add("pairing")  # the one that the same command has begun
    if method == "Credentials.Put":
        given.add("value")  # asked for: a command line is no place for a secret
    if method in ("Channels.ExportKeys", "Channels.ImportKeys"):
        given |= {"passphrase", "upload"}  # asked for; and the file that was uploaded before
    assert set(METHODS[method].in_type.fields) <= given


@pytest.mark.parametrize("words", [words for words in COMMANDS if not COMMANDS[words].verb.run])
def test_a_command_gives_what_its_method_takes(words: str):
    command = COMMANDS[words]
    wanted = METHODS[command.verb.methods[0]].in_type.fields
    interface = command.verb.methods[0].partition(".")[0]
    for parameter in command.verb.parameters:
        declared = wanted[parameter.name]
        assert type(an_example(interface, declared)) is type(VALUES[parameter.kind]), parameter.name
        if not isinstance(declared, _Maybe):
            assert not parameter.option or parameter.need == REQUIRED
    needed = {name for name, declared in wanted.items() if not isinstance(declared, _Maybe)}
    assert needed <= {parameter.name for parameter in command.verb.parameters}


@pytest.mark.parametrize("name", RESOURCES)
def test_columns_and_ids_are_fields(name: str):
    resource = RESOURCES[name]
    method = resource.verbs[0].methods[0]
    interface = method.partition(".")[0]
    listed = METHODS[method].out_type.fields[resource.many]
    assert isinstance(listed, _Array)
    fields = set(resolved(interface, listed.element_type).fields) | {"place"}
    assert {column.field for column in resource.columns} <= fields
    assert {*resource.ids, *resource.called} <= fields
    for verb in resource.verbs:
        if verb.answers == "one" and not verb.run:
            assert resource.one in METHODS[verb.methods[0]].out_type.fields, verb.name


def test_choices_are_those_of_the_interface():
    states = INTERFACES["Sessions"].members["SessionState"].type.fields
    (state,) = [one for one in COMMANDS["sessions list"].verb.parameters if one.name == "state"]
    assert state.choices == tuple(states)


def _line(command: Command, *, options: bool) -> tuple[list[str], dict[str, Any]]:
    """Return a command line that gives all positionals, and options; and what is to be sent."""
    words, sent = command.words.split(), {}
    rivals: set[str] = set()
    for parameter in command.verb.parameters:
        wanted = options or not parameter.option or parameter.need == REQUIRED or parameter.rivals
        if not wanted or parameter.rivals in rivals or (command.words == "explain" and parameter.name == "message"):
            continue
        rivals |= {parameter.rivals} - {""}
        words += _words(parameter)
        sent[parameter.name] = parameter.choices[0] if parameter.choices else VALUES[parameter.kind]
    return words, sent


def _words(parameter: Parameter) -> list[str]:
    if parameter.kind in {"flag", "switch"}:
        return [parameter.option]
    value = parameter.choices[0] if parameter.choices else WORDS[parameter.kind]
    return [parameter.option, value] if parameter.option else [value]


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["plain", "json"])
@pytest.mark.parametrize("options", [False, True], ids=["bare", "full"])
@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in BY_THEMSELVES])
def test_a_call_is_right_and_the_worst_reply_is_printed_clean(
    stub: Stub, capsys: pytest.CaptureFixture[str], words: str, options: bool, flags: tuple[str, ...]
):
    """W-30: an id with dashes is one word in every position. W-34: plain text is plain, JSON is JSON."""
    command = COMMANDS[words]
    line, sent = _line(command, options=options or words == "explain" or command.verb.changes)
    code = main(["--socket", stub.path, *line, *flags])
    shown = capsys.readouterr()
    assert not stub.faults
    if not command.verb.run:
        assert stub.calls == [(command.verb.methods[0], sent)]
    assert {name for name, _ in stub.calls} <= set(command.verb.methods)
    assert not [mark for mark in DANGEROUS if mark in shown.out + shown.err]
    if words in {"approvals approve", "approvals reject"}:
        assert code == 5  # none of the stub's options is plainly meant
    elif words != "doctor":
        assert code == 0, shown
        assert not shown.err
    if flags:
        json.loads(shown.out)
    elif not command.verb.run and command.verb.answers != "nothing":
        assert "red" in shown.out or "3" in shown.out
        assert not shown.out.startswith(('"', "[", "{"))


@pytest.mark.parametrize("words", [f"{name} {verb}" for name in RESOURCES for verb in ("list", "")])
def test_the_bare_name_of_an_object_lists(stub: Stub, words: str):
    first = RESOURCES[words.split(maxsplit=1)[0]].verbs[0]
    assert main(["--socket", stub.path, *words.split()]) == 0
    assert stub.calls[0] == (first.methods[0], {})
    assert {name for name, _ in stub.calls} <= set(first.methods)


def test_a_list_that_may_be_cut_says_so(stub: Stub, capsys: pytest.CaptureFixture[str]):
    """The stub lists two: a bound of two may have cut it."""
    for limit, said in (("2", True), ("3", False)):
        assert main(["--socket", stub.path, "users", "list", "--limit", limit]) == 0
        assert ("--limit N" in capsys.readouterr().err) is said


def test_a_daemon_of_another_version_is_told_from_a_fault(stub: Stub, capsys: pytest.CaptureFixture[str]):
    stub.replies["Users.List"] = {"people": []}
    assert main(["--socket", stub.path, "users"]) == 1
    assert "Try: ncl version" in capsys.readouterr().err


def test_nothing_found_is_a_sentence(stub: Stub, capsys: pytest.CaptureFixture[str]):
    """W-34: an empty list is words for people, and an empty list for programs."""
    for name, resource in RESOURCES.items():
        stub.replies[resource.verbs[0].methods[0]] = {resource.many: []}
        assert main(["--socket", stub.path, name]) == 0
        assert capsys.readouterr().out == f"{resource.empty}\n"
        assert main(["--socket", stub.path, name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []
