"""Routing: from a chat's event to the sessions of the agents that hear it."""
