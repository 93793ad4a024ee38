"""The session contract: what host and container agree on, and nothing else.

The host writes ``in/inbound.db`` and only reads ``out/outbound.db``; the container does the reverse. The doorbell
carries no state. Both sides import these modules, so that neither can drift from the other.
"""

CONTRACT_VERSION = 1
"""Stored in ``PRAGMA user_version`` of both session databases and in ``agent.json``.

The daemon speaks this version and the one before, so that an upgrade never strands a running turn.
"""
