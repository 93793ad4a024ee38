"""All methods that the control socket serves, of all interfaces."""

from nanoclawd.control import (
    appliance,
    approvals,
    channels,
    chat,
    chats,
    egress,
    groups,
    hooks,
    images,
    outfit,
    people,
    routing,
    secrets,
    sessions,
    tasks,
    usage,
)
from nanoclawd.control.api import Backend
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.methods import Methods


def methods_of(backend: Backend, bounds: Bounds) -> Methods:
    """Return the methods by their full names."""
    return {
        **appliance.methods(backend.appliance),
        **groups.methods(backend.groups),
        **sessions.methods(backend.sessions),
        **images.methods(backend.images),
        **outfit.packages(backend.packages),
        **outfit.mcp(backend.mcp),
        **outfit.skills(backend.skills),
        **outfit.mounts(backend.mounts),
        **chat.methods(backend.chat, bounds),
        **chats.chats(backend.chats),
        **chats.wirings(backend.wirings),
        **chats.destinations(backend.destinations),
        **people.users(backend.users),
        **people.roles(backend.roles),
        **people.members(backend.members),
        **approvals.approvals(backend.approvals),
        **approvals.questions(backend.questions),
        **channels.channels(backend.channels),
        **routing.routing(backend.routing),
        **tasks.methods(backend.tasks),
        **hooks.methods(backend.hooks),
        **usage.usage(backend.usage),
        **usage.peers(backend.peer_links),
        **egress.methods(backend.egress),
        **secrets.methods(backend.secrets),
    }
