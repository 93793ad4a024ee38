"""A daemon's delivery that kills itself at a named point: ``crashing_daemon.py ROOT POINT ROW [shows-once]``.

The chat platform is a file beside the session; what is written there has been said.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from session_stage import Platform, Stage

from nanoclawd.sessions.ports import Delivered, Outgoing

POINTS = ("intent recorded", "platform has it", "in the intent's commit", "in the outcome's commit", "never")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(root: Path, point: str, row: str, shows_once: bool) -> None:
    def deliver(outgoing: Outgoing) -> Delivered:
        if (point, outgoing.id) == ("intent recorded", row):
            die()
        with (root / "platform").open("a") as platform:
            platform.write(f"{outgoing.id}\n")
        if (point, outgoing.id) == ("platform has it", row):
            die()
        if (point, outgoing.id) == ("in the outcome's commit", row):
            die_in_next_commit()
        return Delivered()

    def die_in_next_commit() -> None:
        inbound = stage.files._inbound
        assert inbound is not None
        # Sync and spill what the transaction has written, so that the kill leaves a hot journal behind.
        inbound._connection.set_commit_hook(lambda: inbound._connection.cache_flush() or die() or False)

    stage = Stage(root, Platform(answer=deliver, shows_once=shows_once))
    if point == "in the intent's commit":
        await stage.files.read(lambda inbound: inbound.watermark())
        die_in_next_commit()
    drained = await stage.run("m1")
    while drained.more:
        drained = await stage.run("m1")
    await stage.end()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:] == ["shows-once"]))
