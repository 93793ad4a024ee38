"""``ncl images``."""

import argparse
import time
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path


def list_all(given: argparse.Namespace) -> int:
    """Print the images."""
    with Client(socket_path(given.socket)) as client:
        found = client.call("Images.List")["images"]
    if given.json:
        show.as_json(found)
        return outcome.OK
    show.table(("name", "state", "size", "built", "reference", "detail"), [_row(one) for one in found], "no images")
    return outcome.OK


def build(given: argparse.Namespace) -> int:
    """Build images with progress."""
    with Client(socket_path(given.socket)) as client:
        done = run_build(client, given.name, quiet=given.json)
    if given.json:
        show.as_json({"built": done})
    return outcome.OK


def run_build(client: Client, name: str | None, *, quiet: bool = False) -> list[str]:
    """Build and print stages and lines; return the images that are there now.

    Raises:
        CommandError: the build failed.
    """
    began = time.monotonic()
    done: list[str] = []
    for piece in client.stream("Images.Build", name=name):
        if piece["event"] == "done":
            done.append(piece["image"])
        if quiet:
            continue
        passed = show.duration(time.monotonic() - began)
        if piece["event"] == "stage":
            show.say(f"[{piece['stage']}/{piece['stages']}] {piece['image']}: {clean_line(piece['text'])} ({passed})")
        elif piece["event"] == "line":
            show.say(f"      {clean_line(piece['text'])}")
        else:
            show.say(f"[{piece['stage']}/{piece['stages']}] {piece['image']}: ready ({passed})")
    return done


def _row(image: dict[str, Any]) -> tuple[object, ...]:
    built = show.ago(image["built_at"]) if image.get("built_at") else ""
    weight = show.size(image["size"]) if image.get("size") is not None else ""
    return image["name"], image["state"], weight, built, image["reference"], image.get("detail")
