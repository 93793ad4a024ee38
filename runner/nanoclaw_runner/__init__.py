"""What runs inside a session's container, and the contract that it shares with the host.

Only :mod:`nanoclaw_runner.contract` is imported by the host daemon. Nothing in this package may depend on a host-only
library: the tree is mounted read-only into containers and runs on the image's own Python.
"""
