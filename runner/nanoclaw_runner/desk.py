"""Where rows are written while the agent works: what it says before its answer, asks of people, or asks of the host."""

import json
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.doorbell import Doorbell
from nanoclaw_runner.intake import Batch, Intake
from nanoclaw_runner.store.outbox import Outbox, Reply

CONTROL: Final = "control"


class Desk:
    """Writes single rows, each at once and for good: a turn that is repeated writes them again.

    Attributes:
        asked: the batch that is being answered, None between turns.
    """

    def __init__(self, outbox: Outbox, intake: Intake, doorbell: Doorbell) -> None:
        self.asked: Batch | None = None
        self._outbox = outbox
        self._intake = intake
        self._doorbell = doorbell

    def write(self, kind: str, content: str, to: Address | None = None) -> int:
        """Write a row for a chat, by default the one that is being answered; return the row's number.

        Raises:
            apsw.Error: it could not be written (the disk is full).
        """
        if self.asked is None:
            return self._write(Reply(content=content, address=to, kind=kind))
        here = self._intake.reply_address(self.asked)
        reference = self.asked.asked_by.id if to in {None, here} else None
        return self._write(Reply(content=content, in_reply_to=reference, address=to or here, kind=kind))

    def ask_host(self, request_id: str, frame: str) -> None:
        """Write a call of the host's control interface; its reply comes as a row, if it comes.

        Raises:
            apsw.Error: it could not be written.
        """
        call = {"action": CONTROL, "requestId": request_id, "frame": frame}
        self._write(Reply(content=json.dumps(call, ensure_ascii=False), kind="system"))

    def _write(self, reply: Reply) -> int:
        number = self._outbox.add(reply, self._intake.highest_seq())
        self._doorbell.ring()
        return number
