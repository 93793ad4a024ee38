"""The ``ncl`` command: a thin client of the control socket that imports only what a command needs."""
