"""Hooks: what CI systems, home automations and scripts say to an agent, by HTTP and with a secret."""
