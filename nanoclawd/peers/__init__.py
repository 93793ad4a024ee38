"""Agents that talk to each other, and agents that agents have asked for."""
