"""``ncl chat``: a terminal gets a conversation, anything else one message."""

import argparse
import asyncio
import sys

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import socket_path
from nanoclawd.cli.files import upload
from nanoclawd.cli.link import Link, check_size
from nanoclawd.cli.outcome import CommandError


def chat(given: argparse.Namespace) -> int:
    """Talk to a group's agent."""
    link = Link(socket_path(given.socket), given.group)
    if given.message is not None or given.file:
        return _one(given, link, given.message or "")
    if not sys.stdin.isatty():
        return _one(given, link, _standard_input())
    if given.json:
        raise CommandError(outcome.USAGE, "--json goes with --message", "ncl chat --json --message TEXT")
    from nanoclawd.cli.screen import converse  # prompt_toolkit is heavy, and only a person at a terminal needs it

    return asyncio.run(converse(link))


def _one(given: argparse.Namespace, link: Link, text: str) -> int:
    from nanoclawd.cli.one_shot import ask

    text = check_size(text, alone=not given.file)
    files = upload(link.path, given.file) if given.file else []
    answer = asyncio.run(ask(link, text, given.timeout, quiet=given.json, files=files))
    if given.json:
        show.as_json(
            {
                "message_id": answer.message_id,
                "state": answer.state,
                "replies": answer.replies,
                "notices": answer.notices,
            }
        )
    if answer.state != "completed":
        if not given.json and not answer.notices:
            show.complain("ncl: the agent could not answer")
        return outcome.ERROR
    return outcome.OK


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().rstrip("\n")
    except UnicodeDecodeError:
        raise CommandError(outcome.REFUSED, "standard input is not UTF-8") from None
