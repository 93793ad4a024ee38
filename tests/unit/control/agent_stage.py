"""Two agents with their people, and their calls: real approvals, cards and database; sessions are played."""

import json
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from memory_backend import Memory
from nanoclaw_runner.contract.rows import Address, OutboundRow
from nanoclawd.control.agent_calls.service import AgentCalls
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.served import methods_of
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store import agent_groups, chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from unit.permissions.permission_stage import BUTTONS, Platform, Stage

OWNER, ADMIN, STRANGER = "chat:owner", "chat:admin", "chat:stranger"
PENDING = "io.nanoclaw.Appliance.ApprovalPending"

NEVER = {
    "Channels.Add", "Channels.Clear", "Channels.Disable", "Channels.Enable", "Channels.Remove", "Channels.Setup",
    "Channels.Show", "Channels.Test", "Channels.Types", "Channels.Update", "Channels.Pair", "Channels.AwaitPairing",
    "Channels.ExportKeys", "Channels.ImportKeys",
    "Appliance.Doctor", "Approvals.Decide", "Chat.Attach", "Chat.Download", "Chat.Send", "Chat.Upload", "Images.Build",
    "Mounts.Add", "Mounts.Remove", "Questions.Answer", "Roles.Claim", "Hooks.List", "Hooks.Get", "Hooks.Create",
    "Hooks.Rotate", "Hooks.Enable", "Hooks.Disable", "Hooks.Delete", "Hooks.Test",
    "Egress.Allow", "Egress.Ask", "Egress.Deny", "Egress.Remove",
    "Secrets.Get", "Secrets.Check", "Secrets.Bind", "Secrets.Remove",
    "Secrets.Test", "Secrets.Renewed",
}  # fmt: skip
"""Methods that no agent may call, whatever its scope."""


class AgentStage(Stage):
    """The agents ``home`` (with an admin of its own) and ``work``, each with a chat and a session."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, {"chat": Platform("chat", BUTTONS)})
        self.restarted: list[str] = []
        self.rebuilt: list[str] = []
        self.running = True
        self._numbers = count()

    async def open(self) -> None:
        await self.start()
        await self.person(OWNER, "Olga", "owner")
        self.home, self.home_session = await self._agent("home", "team", "hhhhhhhhhhhh")
        self.work, self.work_session = await self._agent("work", "office", "wwwwwwwwwwww")
        await self.person(ADMIN, "Ada", "admin", self.home)
        memory: Any = Memory(database=self.database)
        self.calls = AgentCalls(
            self.database,
            methods_of(memory, Bounds()),
            Introspection(),
            self.permissions.approvals,
            self.mailboxes,
            self._restart,
            self._rebuild,
        )

    async def _agent(self, folder: str, chat: str, session_id: str) -> tuple[AgentGroup, SessionRef]:
        group = await self.group(folder)
        made = await self.database.run(chats.create, "chat", chat, chat.title(), True)
        await self.database.run(chats.wire, made.id, group.id)
        await self.database.run(session_rows.create, group.id, made.id, None, session_id)
        return group, SessionRef(session_id, folder, Address("chat", chat), group.id)

    async def _restart(self, session_id: str, note: NewMessage | None = None) -> bool:
        self.restarted.append(session_id)
        if note is not None:
            await self.mailboxes.deliver_system(session_id, note)
        return self.running

    async def _rebuild(self, group: str) -> bool:
        self.rebuilt.append(group)
        return True

    async def scope(self, scope: str, folder: str = "home") -> None:
        await self.database.run(
            lambda c: c.execute("UPDATE agent_groups SET cli_scope = ? WHERE folder = ?", (scope, folder)).get
        )

    async def raw(self, frame: str, session: SessionRef | None = None) -> dict[str, Any]:
        """Make a call as the container does; return the frame of the reply."""
        session = session or self.home_session
        number = next(self._numbers)
        content = json.dumps({"action": "control", "requestId": f"r{number}", "frame": frame})
        row = OutboundRow(f"out-{number}", 2 * number + 1, "system", "2026-01-01T00:00:00.000Z", content)
        await self.calls.request(session, row)
        await self.rest()
        reply = json.loads(self.mailboxes.rows[session.id, f"control-out-{number}"].content)
        assert (reply["type"], reply["requestId"]) == ("control_reply", f"r{number}")
        found: dict[str, Any] = json.loads(reply["frame"])
        return found

    async def call(self, method: str, session: SessionRef | None = None, /, **parameters: Any) -> dict[str, Any]:
        return await self.raw(json.dumps({"method": f"io.nanoclaw.{method}", "parameters": parameters}), session)

    async def refused(self, method: str, **parameters: Any) -> tuple[str, dict[str, Any]]:
        """Return the name of the error that a call gets, and what it says."""
        reply = await self.call(method, **parameters)
        assert "error" in reply, reply
        return reply["error"].rpartition(".")[2], reply["parameters"]

    async def asked(self, method: str, **parameters: Any) -> str:
        """Make a call that needs somebody's word; return the approval's id."""
        reply = await self.call(method, **parameters)
        assert reply.get("error") == PENDING, reply
        approval_id: str = reply["parameters"]["approval"]
        return approval_id

    async def allowed_by(self, user_id: str, option: str = "allow") -> str:
        """Have somebody press a button of the latest card that there is; return what they are told."""
        card = self.channels["chat"].all_cards()[-1]
        return await self.press(user_id, card, option)

    def note(self, approval_id: str, session: SessionRef | None = None) -> str:
        """Return what the agent was told of an approval."""
        row = self.mailboxes.rows[(session or self.home_session).id, f"command-{approval_id}"]
        assert (row.kind, row.trigger) == ("system", True)
        text: str = json.loads(row.content)["text"]
        return text


type MakeStage = Callable[[], Awaitable[AgentStage]]


async def folders(stage: AgentStage) -> set[str]:
    return {group.folder for group in await stage.database.run(agent_groups.every)}
