"""Channels: where people talk to agents."""
