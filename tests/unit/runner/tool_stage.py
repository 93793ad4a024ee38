"""A stage for tools: a real runner plays ``!call`` lines, and a test delivers, fails or answers what they write."""

import json
import socket
from collections.abc import Callable
from typing import Any, Final

from runner_stage import Host

from nanoclaw_runner.contract import clock, doorbell

CALL_LINE: Final = "!call {} {}"


class Stage:
    """A runner and the host's hands."""

    def __init__(self, host: Host, **config: object) -> None:
        self.host = host
        host.places.temporary.mkdir(exist_ok=True)
        host.configure(**config)
        host.start_ready()
        self.bell: socket.socket = host.connect()

    def ring(self) -> None:
        self.bell.send(doorbell.RING)

    def calls(self, *calls: tuple[str, dict[str, object]], **place: Any) -> str:
        """Have the agent call tools one after the other; return the id of the message that it answers."""
        text = "\n".join(CALL_LINE.format(tool, json.dumps(arguments)) for tool, arguments in calls)
        identifier = self.host.insert(text, **place)
        self.ring()
        return identifier

    def rows(self) -> list[dict[str, Any]]:
        names = ("id", "seq", "kind", "in_reply_to", "channel_type", "platform_id", "thread_id", "content")
        found = self.host.outbound(f"SELECT {', '.join(names)} FROM messages_out ORDER BY seq")
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return [{**row, "content": json.loads(row["content"])} for row in rows]

    def await_rows(self, count: int) -> list[dict[str, Any]]:
        self.until(lambda: len(self.rows()) >= count)
        return self.rows()

    def until(self, true: Callable[[], bool]) -> None:
        self.host.await_ring_until(self.bell, true)

    def becomes(self, row: dict[str, Any], status: str, *, attempts: int = 1, reason: str | None = None) -> None:
        """Record what has become of a row, as the host does after a drain, and ring."""
        self.host.inbound.execute(
            "INSERT INTO delivered (message_out_id, status, attempts, reason, platform_message_id, changed_at)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (message_out_id) DO UPDATE SET status = ?2, attempts = ?3",
            (row["id"], status, attempts, reason, f"platform-{row['seq']}", clock.now_text()),
        )
        self.ring()

    def answer_question(self, row: dict[str, Any], value: str, *, trigger: bool = True, **more: object) -> str:
        """Store a person's choice, as the host does."""
        content = {
            "type": "question_response",
            "reference": row["content"]["reference"],
            "title": row["content"]["title"],
            "value": value,
            "label": value,
            "userId": "chat:ada",
            "userName": "Ada",
            **more,
        }
        identifier = self.host.insert("", kind="system", content=json.dumps(content), trigger=trigger)
        self.ring()
        return identifier

    def place(self, name: str, platform: str) -> None:
        """Make a destination."""
        self.host.inbound.execute(
            "INSERT INTO destinations (name, display_name, type, channel_type, platform_id) VALUES (?, ?, ?, ?, ?)",
            (name, name.title(), "channel", "chat", platform),
        )

    def answered(self, count: int = 1) -> str:
        """Return the last of so many answers: the rows that finish turns."""

        def finals() -> list[dict[str, Any]]:
            return [row for row in self.rows() if row["kind"] == "chat" and not row["id"].startswith("k-")]

        self.until(lambda: len(finals()) >= count)
        return str(finals()[count - 1]["content"]["text"])
