"""``python3 -m nanoclaw_runner``: what a session's container runs."""

import asyncio
import logging
import os
import signal
import sys
from types import FrameType

import apsw

from nanoclaw_runner import log, reports, skills, startup
from nanoclaw_runner.contract.agent_config import AgentConfig, from_json
from nanoclaw_runner.conversation import Conversation
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Intake
from nanoclaw_runner.places import Places
from nanoclaw_runner.relay import Relay
from nanoclaw_runner.standing import FILE, Standing
from nanoclaw_runner.store.inbox import Inbox
from nanoclaw_runner.store.outbox import ContractError, Outbox
from nanoclaw_runner.supervision import Supervision

EXIT_OK = 0
EXIT_CANNOT_START = 2
GRACE_SECONDS = 0.7
"""An end that takes longer (a blocked loop, a thread that waits for a name server) is made short."""

_log = logging.getLogger("nanoclaw_runner")


def main(places: Places | None = None) -> int:
    """Run the session; return the exit code."""
    log.set_up()
    try:
        inherited = startup.first_act()
        where = places or Places()
        config, problem = _configuration(where)
        outbox = Outbox(where.outbound_db)
        dropped = outbox.drop_claims()
    except (startup.StartError, ContractError, OSError, ValueError, apsw.Error) as error:
        # The operator needs the sentence, not our traceback.
        _log.error("cannot start: %s", error)
        return EXIT_CANNOT_START
    if dropped:
        _log.info("%d messages were left unfinished and are taken up again", len(dropped))
    try:
        asyncio.run(_serve(config, where, outbox, inherited, problem))
    except asyncio.CancelledError:
        _log.info("ended by SIGTERM")
    finally:
        outbox.close()
    return EXIT_OK


def _configuration(places: Places) -> tuple[AgentConfig, str]:
    """Return the configuration and what is wrong with it: an agent with the defaults beats one that is dead."""
    try:
        return from_json(places.agent_config.read_text(encoding="utf-8")), ""
    except (OSError, ValueError) as error:
        problem = f"the configuration cannot be read, and the defaults hold: {error}"
        _log.warning("%s", problem)
        return AgentConfig(), problem


async def _serve(
    config: AgentConfig, places: Places, outbox: Outbox, inherited: startup.Inherited, problem: str
) -> None:
    _end_on_sigterm()
    supervision = Supervision(inherited.notifier, inherited.watchdog_seconds)
    relay = Relay(places.control_socket)
    intake = Intake(Inbox(places.inbound_db), outbox, config.max_messages_per_prompt)
    doorbell = Doorbell(inherited.doorbell, on_ring=intake.changed.set)
    desk = Desk(outbox, intake, doorbell)
    await relay.open(desk)
    doorbell.open()
    supervision.ready()
    _log.info("ready %.3f s after the start of its process", startup.age())
    skills.link(skills.available(places.skills, config.skills), places.home / ".claude" / "skills")
    standing = Standing(outbox)
    if problem:
        standing.begins("configuration", places.agent_config.name, FILE)
        outbox.add(reports.trouble("configuration", problem, places.agent_config.name), intake.highest_seq())
    if problem or standing.readable(intake.highest_seq):
        doorbell.ring()
    conversation = Conversation(
        config, places, intake=intake, outbox=outbox, doorbell=doorbell, supervision=supervision, desk=desk
    )
    await conversation.run()
    supervision.stopping()
    _log.info("idle for %.0f s, ending", config.idle_seconds)
    _arm_hard_end()


def _end_on_sigterm() -> None:
    """Cancel the conversation on SIGTERM; its claims stay, and the next runner takes them up.

    A plain handler, not the loop's: it also runs while the loop is blocked, and then the alarm ends the process.
    """
    loop = asyncio.get_running_loop()
    conversation = asyncio.current_task()

    def end(_signal: int, _frame: FrameType | None) -> None:
        _arm_hard_end()
        if conversation is not None:
            loop.call_soon_threadsafe(conversation.cancel)

    signal.signal(signal.SIGTERM, end)


def _arm_hard_end() -> None:
    signal.signal(signal.SIGALRM, lambda _signal, _frame: os._exit(EXIT_OK))
    signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
