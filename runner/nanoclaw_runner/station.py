"""What turns work with: one object for the life of a runner."""

from dataclasses import dataclass

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Intake
from nanoclaw_runner.scribe import Scribe
from nanoclaw_runner.standing import Standing
from nanoclaw_runner.store.outbox import Outbox
from nanoclaw_runner.supervision import Supervision
from nanoclaw_runner.tool_watch import ToolWatch
from nanoclaw_runner.tools.base import Toolbox


@dataclass(frozen=True, slots=True)
class Station:
    """The parts of a runner.

    Attributes:
        intake: gives the batches.
        outbox: takes the rows.
        doorbell: is rung for each of them, and shows answers in the making.
        supervision: hears each sign of life.
        desk: is told what is being answered; its book names the places.
        scribe: writes the prompts.
        tools: counts the calls of a turn.
        watch: knows which tool runs.
        standing: knows which troubles are not over.
    """

    config: AgentConfig
    intake: Intake
    outbox: Outbox
    doorbell: Doorbell
    supervision: Supervision
    desk: Desk
    scribe: Scribe
    tools: Toolbox
    watch: ToolWatch
    standing: Standing
