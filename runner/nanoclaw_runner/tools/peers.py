"""Having other agents made: asked of the host, which asks whoever may decide about all agents (W-26)."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from nanoclaw_runner.desk import Desk
from nanoclaw_runner.tools.base import HostError, Tool

_PENDING: Final = "io.nanoclaw.Appliance.ApprovalPending"


class CreateAgent(Struct, frozen=True):
    """Arguments of ``create_agent``."""

    name: Annotated[str, Meta(min_length=1, max_length=200, description="its name, as people see it")]
    instructions: Annotated[
        str, Meta(description="who it is and what it does: its whole system prompt, 3000 characters at most")
    ]


def tools(desk: Desk) -> list[Tool[Any]]:
    """Return the tools."""

    async def create_agent(given: CreateAgent) -> str:
        key = desk.key("create_agent", given)
        parameters = {"name": given.name, "instructions": given.instructions, "key": key}
        try:
            reply = await desk.call("io.nanoclaw.Peers.Create", parameters, key=key)
        except HostError as error:
            if error.name != _PENDING:
                raise
            return str(error)
        return str(reply.get("note", "done"))

    return [
        Tool(
            "create_agent",
            "Ask for another agent to be made, which you can then write to by name as to any destination, and which"
            " can write back. Somebody who may decide that is shown the name and the instructions in full and asked"
            " first; you are told as a message what comes of it, so go on with something else, or end your turn.",
            CreateAgent,
            create_agent,
        )
    ]
