"""``ncl channels``: adding an account, and looking after it."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nanoclawd.cli import credentials, files, forms, logs, outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

_TEST_SECONDS = 100.0
"""An attempt to connect has 60, and what was before it is ended first."""
_LONG = 400


def add(given: argparse.Namespace) -> int:
    """Ask what the type needs, store the secret, write the channel down, and see whether it works."""
    name = given.name or given.type
    tell = _silent if given.json else show.say
    with Client(socket_path(given.socket)) as client:
        if any(one["name"] == name for one in client.call("Channels.List")["channels"]):
            hint = f"ncl channels show {name}" if given.name else f"ncl channels add {given.type} ANOTHER-NAME"
            raise CommandError(outcome.ERROR, f"there is a channel {name} already", hint)
        asked = client.call("Channels.Setup", type=given.type)["setup"]
        if asked.get("hint"):
            tell(asked["hint"])
        options = [*(given.options or []), *_answers(asked, given.options or [])]
        waits = given.disabled or bool(asked.get("secret"))
        # Disabled, so that nothing is tried before its secret is there; its options are judged before that is asked.
        client.call("Channels.Add", name=name, type=given.type, options=options, disabled=waits)
    if asked.get("secret"):
        try:
            text = credentials.ask_secret(asked["secret"])
        except (CommandError, KeyboardInterrupt, EOFError):
            with Client(socket_path(given.socket)) as client:
                client.call("Channels.Remove", channel=name)
            tell("\nNothing was added.")
            raise
        _store(given, name, text, tell)
    if given.disabled:
        tell(f"added, and disabled: {name}\nNext: ncl channels enable {name}")
        return outcome.OK
    if asked.get("secret"):
        with Client(socket_path(given.socket)) as client:
            client.call("Channels.Enable", channel=name)
    return _conclude(given, name, f"added: {name}")


def login(given: argparse.Namespace) -> int:
    """Store a channel's secret anew, and see whether it works."""
    tell = _silent if given.json else show.say
    with Client(socket_path(given.socket)) as client:
        channel = client.call("Channels.Show", channel=given.channel)["channel"]
        asked = client.call("Channels.Setup", type=channel["type"])["setup"]
    if not asked.get("secret"):
        raise CommandError(outcome.REFUSED, f"a channel of the type {channel['type']} has no secret")
    if asked.get("hint"):
        tell(asked["hint"])
    _store(given, given.channel, credentials.ask_secret(asked["secret"]), tell)
    return _conclude(given, given.channel, f"stored: {asked['secret']} of {given.channel}")


def test(given: argparse.Namespace) -> int:
    """See whether a channel works, now."""
    return _conclude(given, given.channel, "")


def remove(given: argparse.Namespace) -> int:
    """Remove a channel with what it has kept, and its secret."""
    with Client(socket_path(given.socket)) as client:
        origin = client.call("Channels.Show", channel=given.channel)["channel"]["origin"]
        client.call("Channels.Remove", channel=given.channel)
    name = f"nanoclawd.{given.channel}"
    # One of the configuration file that has its name goes on, with the secret.
    secret = origin != "both" and any(one["name"] == name for one in credentials.call(given, "List")["credentials"])
    if secret:
        credentials.call(given, "Delete", name=name)
    if given.json:
        show.as_json({"removed": {"channel": given.channel}, "secret": secret})
    else:
        show.say(f"removed: {clean_line(given.channel)}{', with its secret' if secret else ''}")
    return outcome.OK


def show_one(given: argparse.Namespace) -> int:
    """Print all about a channel."""
    with Client(socket_path(given.socket)) as client:
        found = client.call("Channels.Show", channel=given.channel)
    if given.json:
        show.as_json(found)
        return outcome.OK
    forms.details({**found["channel"], "detail": found["channel"]["detail"] or None, "options": found["options"]})
    if found["events"]:
        show.say("\nEvents that could not be handled, each given up after three tries; the platform repeats none:")
        for event in found["events"]:
            reason, raw = (clean_line(event[name], _LONG) for name in ("reason", "raw"))
            show.say(f"  {clean_line(event['id'])}  {show.ago(event['at'])}: {reason}\n    {raw}")
        show.say(f"Forget them: ncl channels clear {clean_line(given.channel)}")
    return outcome.OK


def keys(given: argparse.Namespace) -> int:
    """Save a channel's keys in a file, or have it learn those of one."""
    return _export_keys(given) if given.what == "export" else _import_keys(given)


def types(given: argparse.Namespace) -> int:
    """Print the types of channels that can be added."""
    with Client(socket_path(given.socket)) as client:
        found = client.call("Channels.Types")["types"]
    if given.json:
        show.as_json(found)
    else:
        show.table(("type", "add one"), [(one, f"ncl channels add {one}") for one in found], "no types are installed")
    return outcome.OK


def read_logs(given: argparse.Namespace) -> int:
    """Print what the daemon logged about a channel, and who stored its secret."""
    with Client(socket_path(given.socket)) as client:
        name = client.call("Channels.Show", channel=given.channel)["channel"]["name"]
    return logs.follow(given, [f"NANOCLAW_CHANNEL={name}", *logs.of_services("nanoclawd", "nanoclaw-credentials")])


def _export_keys(given: argparse.Namespace) -> int:
    path = Path(given.file).expanduser()
    if path.exists():
        raise CommandError(outcome.REFUSED, f"{given.file} is there already", "name another file")
    passphrase = credentials.ask_secret("passphrase", twice=True)
    with Client(socket_path(given.socket), _TEST_SECONDS) as client:
        found = client.stream("Channels.ExportKeys", channel=given.channel, passphrase=passphrase)
        text = "".join(reply["part"] for reply in found)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123  # with a mode
            file.write(text)
    except OSError as error:
        raise CommandError(outcome.ERROR, f"{given.file}: {error.strerror or error}") from None
    if given.json:
        show.as_json({"exported": {"channel": given.channel, "file": str(path), "size": len(text)}})
    else:
        show.say(f"saved in {clean_line(str(path))}: whoever has it and the passphrase can read what was said")
    return outcome.OK


def _import_keys(given: argparse.Namespace) -> int:
    (file,) = files.upload(socket_path(given.socket), [given.file])
    passphrase = credentials.ask_secret("passphrase")
    with Client(socket_path(given.socket), _TEST_SECONDS) as client:
        new = client.call("Channels.ImportKeys", channel=given.channel, passphrase=passphrase, upload=file["upload"])[
            "new"
        ]
    if given.json:
        show.as_json({"imported": {"channel": given.channel, "new": new}})
    else:
        show.say(
            f"read; {new} keys are new. What they decrypt comes in now." if new else "read; all of them were known"
        )
    return outcome.OK


def _answers(asked: dict[str, Any], given: Iterable[str]) -> list[str]:
    """Return the options that were asked for, as KEY=VALUE.

    Raises:
        CommandError: nobody can be asked, and one that is needed was not given.
    """
    known = {one.partition("=")[0] for one in given}
    answers = []
    for question in asked["questions"]:
        if question["option"] in known:
            continue
        value = _answer(question)
        if value:
            answers.append(f"{question['option']}={value}")
    return answers


def _answer(question: dict[str, Any]) -> str:
    default = question.get("default") or ""
    if not sys.stdin.isatty():
        if question["required"] and not default:
            raise CommandError(
                outcome.USAGE, f"the {question['text']} is missing", f"--option {question['option']}=VALUE"
            )
        return default
    if question.get("hint"):
        show.say(question["hint"])
    shown = f"{question['text'][:1].upper()}{question['text'][1:]}"
    while True:
        value = input(clean_line(f"{shown}{f' [{default}]' if default else ''}: ") + " ").strip() or default
        if value or not question["required"]:
            return value


def _store(given: argparse.Namespace, name: str, secret: str, tell: Callable[[str], None]) -> None:
    tell("Storing it, encrypted. The daemon is restarted for it; conversations go on.")
    credentials.store(given, f"nanoclawd.{name}", secret)


def _conclude(given: argparse.Namespace, name: str, done: str) -> int:
    """Wait until it is known whether a channel works, and say so.

    Raises:
        CommandError: it does not; with what to do about it.
    """
    tell = _silent if given.json else show.say
    if done:
        tell(f"{done}\nConnecting …")
    with Client(socket_path(given.socket), _TEST_SECONDS) as client:
        found = client.call("Channels.Test", channel=name)
    channel = found["channel"]
    if channel["state"] not in {"ok", "degraded"}:
        raise CommandError(
            outcome.ERROR,
            f"channel {name} is {channel['state']}: {channel['detail']}",
            channel.get("hint") or f"ncl channels logs {name}",
        )
    if given.json:
        show.as_json(found)
        return outcome.OK
    tell(f"Channel {name} is up" + (f", as {found['account']}." if found.get("account") else "."))
    if channel["state"] == "degraded":
        tell(f"But: {channel['detail']}" + (f" Try: {channel['hint']}" if channel.get("hint") else ""))
    if found.get("next_step"):
        tell(f"Next: {found['next_step']}")
    return outcome.OK


def _silent(_text: str) -> None:
    """Say nothing: with --json the only output is the result."""
