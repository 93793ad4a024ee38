"""The command line."""

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from nanoclawd.cli.outcome import EXPLAINED, USAGE

DEFAULT_GROUP = "main"
DEFAULT_TIMEOUT = 300.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"ncl: {message}\nTry: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser; the parsed ``run`` is ``module:function`` of the command."""
    top = _Parser(
        prog="ncl",
        description="Talk to your agents and look after the appliance that runs them.",
        epilog=EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--socket", metavar="PATH", help="control socket (default: /run/nanoclawd/control.sock)")
    top.add_argument("--json", action="store_true", help="print JSON; may stand after the command too")
    shared = _Parser(add_help=False, allow_abbrev=False)
    shared.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(
        group: "argparse._SubParsersAction[_Parser]", name: str, run: str, text: str
    ) -> argparse.ArgumentParser:
        made = group.add_parser(name, help=text, description=text, parents=[shared], allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    def family(name: str, text: str) -> "argparse._SubParsersAction[_Parser]":
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        return made.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    command(commands, "status", "status:status", "show how the appliance is")
    command(commands, "doctor", "doctor:doctor", "check this machine and the appliance, and say what to mend")
    made = command(commands, "setup", "setup:setup", "create the first agent, build the images, try it out")
    made.add_argument("--group", metavar="NAME", help="the agent group to create (default: main)")
    made.add_argument("--provider", metavar="P", help="its provider")
    made.add_argument("--model", metavar="ENDPOINT/MODEL", help="its model")
    made.add_argument("--yes", action="store_true", help="ask nothing")
    made = command(commands, "chat", "chat:chat", "talk to an agent; without a terminal, send standard input")
    made.add_argument("group", nargs="?", default=DEFAULT_GROUP, metavar="GROUP", help="agent group (default: main)")
    made.add_argument("--message", "-m", metavar="TEXT", help="send this, print the replies, and end")
    made.add_argument(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT,
        metavar="S",
        help="seconds to wait for the replies to one message (default: 300)",
    )

    groups = family("groups", "agent groups: an agent's configuration, workspace and sessions")
    command(groups, "list", "groups:list_all", "list all groups")
    for name, run, text in (
        ("get", "groups:get", "show one group"),
        ("create", "groups:create", "create a group"),
        ("update", "groups:update", "change a group's settings; an empty value goes back to the default"),
        ("delete", "groups:delete", "delete a group with its sessions and workspace"),
        ("restart", "groups:restart", "restart a group's running sessions"),
    ):
        made = command(groups, name, run, text)
        made.add_argument("name", metavar="NAME")
        if name in {"create", "update"}:
            made.add_argument("--provider", metavar="P")
            made.add_argument("--model", metavar="ENDPOINT/MODEL")
            made.add_argument("--instructions", metavar="TEXT", help="the agent's system prompt; @FILE reads a file")
        if name == "delete":
            made.add_argument("--force", action="store_true", help="even if it has sessions")

    sessions = family("sessions", "sessions: one conversation each, in a container of its own while awake")
    made = command(sessions, "list", "sessions:list_all", "list sessions, the last active first")
    made.add_argument("--group", metavar="NAME", help="only this group's")
    for name, run, text in (
        ("get", "sessions:get", "show one session"),
        ("stop", "sessions:stop", "end a session's container now"),
        ("reset", "sessions:reset", "release a quarantined session; its damaged database is moved aside"),
        ("logs", "logs:logs", "show a session's log, with your own rights to the journal"),
    ):
        made = command(sessions, name, run, text)
        made.add_argument("id", metavar="ID", help="the session's id or the beginning of it")
        if name == "logs":
            made.add_argument("--follow", "-f", action="store_true", help="go on with new lines")
            made.add_argument("--lines", "-n", type=_count, default=100, metavar="N", help="how many (default: 100)")

    images = family("images", "container images, built on this machine")
    command(images, "list", "images:list_all", "list the images")
    made = command(images, "build", "images:build", "build an image, or all that are missing")
    made.add_argument("name", nargs="?", metavar="NAME")
    command(commands, "version", "version:version", "show the versions of ncl and of the running daemon")
    return top


def handler(run: str) -> object:
    """Import the module of a command and return its function."""
    module, _, function = run.partition(":")
    return getattr(import_module(f"nanoclawd.cli.{module}"), function)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value
