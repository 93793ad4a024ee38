"""Completion: commands from the catalogue, ids from the daemon, in the shells that it is for."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from varlink_stub import Stub

from memory_backend.process import Daemon
from nanoclawd.cli.catalogue import RESOURCES, TOP, commands
from nanoclawd.cli.spec import Verb

SEPARATOR = "\x0b"


def _completed(socket: str, line: str, environment: dict[str, str], shell: str = "bash") -> set[str]:
    """Ask as argcomplete's shell functions ask."""
    with tempfile.NamedTemporaryFile() as answer:
        subprocess.run(
            [sys.executable, "-m", "nanoclawd.cli"],
            env={
                **environment, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": SEPARATOR, "_ARGCOMPLETE_SHELL": shell,
                "_ARGCOMPLETE_STDOUT_FILENAME": answer.name, "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
                "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n", "COMP_LINE": line, "COMP_POINT": str(len(line)),
                "COMP_TYPE": "9", "NANOCLAW_CONTROL_SOCKET": socket,
            },
            stderr=subprocess.DEVNULL, timeout=30, check=False,
        )  # fmt: skip
        found = answer.read().decode()
    return {word.strip() for word in found.split(SEPARATOR) if word.strip()}


def test_commands_verbs_and_options_are_those_of_the_catalogue(daemon: Daemon):
    """What completion offers is what the parser takes: both are made from the catalogue."""
    ask = str(daemon.socket), daemon.environment
    assert _completed(ask[0], "ncl ", ask[1]) == {entry.name for entry in TOP}
    for resource in (RESOURCES["wirings"], RESOURCES["approvals"]):
        assert _completed(ask[0], f"ncl {resource.name} ", ask[1]) >= {verb.name for verb in resource.verbs}
    (create,) = [command.verb for command in commands() if command.words == "wirings create"]
    options = {parameter.option for parameter in create.parameters if parameter.option}
    assert _completed(ask[0], "ncl wirings create a b --", ask[1]) == {*options, "--json", "--help"}
    assert _completed(ask[0], "ncl wirings create a b --engage m", ask[1]) == {"mention", "mention-sticky"}


def test_ids_come_from_the_daemon(daemon: Daemon):
    """Groups, chats, sessions, approvals and their options, while somebody types."""
    ask = str(daemon.socket), daemon.environment
    daemon.ncl("destinations", "add", "main", "--chat", "Family", "--name", "home")
    (waiting,) = daemon.json("approvals")
    assert _completed(ask[0], "ncl groups get ", ask[1]) >= {"main"}
    assert _completed(ask[0], "ncl sessions get aaaa", ask[1]) == {"aaaabbbbcccc", "aaaaddddeeee"}
    assert _completed(ask[0], "ncl chats get telegram:-1", ask[1]) == {"telegram:-100200"}
    assert _completed(ask[0], f"ncl approvals decide {waiting['id']} ", ask[1]) >= {"allow", "deny"}
    assert _completed(ask[0], "ncl destinations remove main h", ask[1]) == {"home"}
    assert _completed(ask[0], "ncl wirings list --group m", ask[1]) == {"main"}
    assert _completed(ask[0], "ncl channels conversations t", ask[1]) == {"telegram", "terminal"}
    assert _completed(ask[0], "ncl channels add c", ask[1]) == {"carrier"}


def test_without_a_daemon_there_is_nothing_to_offer(tmp_path: Path, daemon: Daemon):
    assert _completed(str(tmp_path / "none"), "ncl groups get x", daemon.environment) == set()


def test_no_name_of_a_stranger_reaches_the_shells_line(stub: Stub, daemon: Daemon):
    """Names are chosen by strangers: what a shell or a terminal would obey is not offered."""
    for name in ("a$(reboot)", "a;b", "a b", "a\x1b[31m", "a\u202eb", "a*"):
        users = [{"id": name, "display_name": "x"}, {"id": "abc", "display_name": "\x1b[2J\x0b"}]
        stub.replies["Users.List"] = {"users": users}
        assert _completed(stub.path, "ncl users get a", daemon.environment) == {"abc"}


def _installed(daemon: Daemon) -> dict[str, str]:
    """Have ncl in PATH, as the package installs it."""
    program = daemon.directory / "bin" / "ncl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m nanoclawd.cli "$@"\n')
    program.chmod(0o755)
    return {
        **daemon.environment,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(daemon.directory),
        "TERM": "dumb",
    }


def _registered(shell: str) -> str:
    words = ["register-python-argcomplete", "--shell", shell, "ncl"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


BASH = """
COMP_LINE='ncl sessions get aaaab' COMP_POINT=22 COMP_TYPE=9 COMP_WORDBREAKS=$' \\t\\n"'
_python_argcomplete ncl
echo "${COMPREPLY[@]}"
"""
FISH = "complete --do-complete 'ncl sessions get aaaab'"
ZSH = """
autoload -U is-at-least
_describe() { print -l ${(P)2}; }
BUFFER='ncl sessions get aaaab' CURSOR=22 words=(ncl sessions get aaaab)
_python_argcomplete
"""


@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("zsh", "compdef() {};\n"), ("fish", FISH)])
def test_the_shells_complete_an_id(daemon: Daemon, shell: str, script: str):
    """bash, zsh and fish, with the functions that the package installs."""
    if shutil.which(shell) is None:
        pytest.fail(f"the builder has no {shell}")
    code = f"{script}{_registered(shell)}{ZSH}" if shell == "zsh" else f"{_registered(shell)}\n{script}"
    done = subprocess.run(
        [shell, "-c", code], env=_installed(daemon), capture_output=True, text=True, timeout=60, check=False
    )
    assert "aaaabbbbcccc" in done.stdout, done
    assert "aaaaddddeeee" not in done.stdout


def test_every_verb_of_the_help_is_a_command():
    assert {entry.name for entry in TOP if isinstance(entry, Verb)} == {
        "status", "doctor", "setup", "chat", "explain", "fetch", "usage", "version",
    }  # fmt: skip
