"""A real Matrix homeserver (Synapse, SQLite, loopback) and the people on it, for the tests of the Matrix channel."""
