"""Places that an agent may write to, and what it has written there."""

from runner_stage import Host

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.destinations import Destination

ADA = Destination("ada", "Ada Lovelace", Address("loop", "1"))
TEAM = Destination("team", "The team", Address("loop", "2"))
HELPER = Destination("helper", "helper", Address("agent", "helper"))
TERMINAL = Destination("ada", "Ada", Address("cli", "terminal"))
ROWS = "SELECT json_extract(content, '$.text'), channel_type, platform_id, thread_id, in_reply_to FROM messages_out"


def destinations(host: Host, *entries: Destination) -> None:
    for one in entries:
        agent = one.address.channel_type == "agent"
        place = (
            (None, None, one.address.platform_id)
            if agent
            else (one.address.channel_type, one.address.platform_id, None)
        )
        host.inbound.execute(
            "INSERT INTO destinations VALUES (?, ?, ?, ?, ?, ?)",
            (one.name, one.display_name, "agent" if agent else "channel", *place),
        )


def own_chat(host: Host, platform: str) -> None:
    host.inbound.execute("INSERT OR REPLACE INTO session_routing VALUES (1, 'loop', ?, NULL)", (platform,))


def several(host: Host) -> None:
    destinations(host, TERMINAL, TEAM, HELPER)


def rows(host: Host) -> list[tuple[object, ...]]:
    """What was written in chats, with its place."""
    return host.outbound(f"{ROWS} WHERE kind = 'chat' ORDER BY seq")
