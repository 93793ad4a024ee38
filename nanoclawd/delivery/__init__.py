"""Delivery: from a session's rows to the channel they are addressed to."""
