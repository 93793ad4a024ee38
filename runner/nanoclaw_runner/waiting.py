"""Answers that somebody in this process waits for, each by the name of what was asked."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Waiting:
    """Who waits for what. A name may be waited for by several at once: all get the answer."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[str]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    @contextmanager
    def expect(self, name: str) -> Iterator[asyncio.Future[str]]:
        """Give what the answer will be found in; whoever leaves waits no more."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        try:
            yield future
        finally:
            others = self._waiting[name]
            others.remove(future)
            if not others:
                del self._waiting[name]

    def answered(self, name: str, answer: str) -> None:
        """Hand an answer to whom it is for; nobody may be there any more."""
        for future in self._waiting.get(name, ()):
            if not future.done():
                future.set_result(answer)
