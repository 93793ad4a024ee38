"""Tells when a caller goes whose connection nobody reads at the moment.

What an agent sends on while its request is held stays in the kernel, behind which the end of the connection is not seen
by reading. epoll(7) sees it all the same.
"""

import asyncio
import select
from collections.abc import Iterator
from contextlib import contextmanager

from nanoclawd.gateway.wire import Wire


@contextmanager
def leaving(wire: Wire) -> Iterator[None]:
    """Have the wire say that it is gone, within the block, also while it is not read."""
    found = wire.find_socket()
    if found is None:
        yield
        return
    loop = asyncio.get_running_loop()
    with select.epoll() as watch:
        watch.register(found.fileno(), select.EPOLLRDHUP)
        loop.add_reader(watch.fileno(), _left, loop, watch.fileno(), wire)
        try:
            yield
        finally:
            loop.remove_reader(watch.fileno())


def _left(loop: asyncio.AbstractEventLoop, watch: int, wire: Wire) -> None:
    loop.remove_reader(watch)
    wire.leave()
