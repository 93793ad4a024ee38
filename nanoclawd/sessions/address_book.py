"""An agent's destinations as its session's tools see them."""

import apsw

from nanoclawd.sessions.inbound import Destination
from nanoclawd.store import destinations


def address_book(connection: apsw.Connection, agent_group_id: str) -> list[Destination]:
    """Read where an agent may write to beside its session's own chat."""
    return [
        Destination(
            name=found.local_name,
            display_name=found.display_name,
            type=found.target_type,
            channel_type=found.channel_type,
            platform_id=found.platform_id,
            agent_group=found.target_group,
        )
        for found in destinations.of_group(connection, agent_group_id)
    ]
