"""The control socket: Varlink interfaces ``io.nanoclaw.*`` for operators, and what they need from the daemon's core."""
