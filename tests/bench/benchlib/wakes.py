"""What it costs to wake a process that waits for a message: a program that is told something, and answers."""

import os
import socket
import time


class Wakes:
    """Another process at the other end of a socket, which sends back what it gets."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._child = os.fork()
        if self._child == 0:
            self._socket.close()
            while said := other.recv(64):
                other.send(said)
            os._exit(0)
        other.close()

    def seconds(self, count: int) -> float:
        """Return how long so many wakes take, one after the other: an even number, there and back."""
        begun = time.perf_counter()
        for _ in range(count // 2):
            self._socket.send(b"!")
            self._socket.recv(64)
        return time.perf_counter() - begun

    def close(self) -> None:
        """Have the other process end."""
        self._socket.close()
        os.waitpid(self._child, 0)
