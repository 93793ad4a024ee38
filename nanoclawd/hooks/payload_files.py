"""Long payloads as files of their message, beside those that channels fetch."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from nanoclawd.atomic_file import write_atomically
from nanoclawd.errors import Unavailable
from nanoclawd.hooks.payload import Payload
from nanoclawd.routing.event import InboundEvent, InboundFile
from nanoclawd.routing.ports import Fetch
from nanoclawd.sessions.received import MODE, Received


class PayloadFiles:
    """Implements :data:`nanoclawd.routing.ports.Fetch`: its own for what hooks took, the channels' for the rest."""

    def __init__(self, staging: Path, of_channels: Fetch) -> None:
        """Prepare.

        Args:
            staging: a directory on the file system of the sessions.
            of_channels: has the files of people's messages at hand.
        """
        self._staging = staging
        self._of_channels = of_channels
        self._held: dict[str, Payload] = {}

    @contextmanager
    def held(self, payload: Payload) -> Generator[tuple[InboundFile, ...]]:
        """Keep a payload in memory while its message is routed; a short one is no file."""
        if not payload.is_long:
            yield ()
            return
        reference = secrets.token_hex(16)
        self._held[reference] = payload
        try:
            yield (InboundFile(reference, f"payload{payload.suffix}", payload.media_type, payload.size),)
        finally:
            del self._held[reference]

    @asynccontextmanager
    async def fetch(self, event: InboundEvent) -> AsyncGenerator[tuple[Received, ...]]:
        """Have a message's files at hand; afterwards they are gone from here.

        Raises:
            Unavailable: they can't be stored now.
        """
        if event.hook is None:
            async with self._of_channels(event) as received:
                yield received
            return
        directory: Path | None = None
        received = ()
        try:
            for file in event.files:
                payload = self._held[file.reference]
                directory = await asyncio.to_thread(_stage, self._staging, file.name, payload)
                received += (Received(file.name, payload.media_type, payload.size, directory / file.name),)
            yield received
        finally:
            if directory is not None:
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _stage(staging: Path, name: str, payload: Payload) -> Path:
    try:
        directory = Path(tempfile.mkdtemp(dir=staging))
        write_atomically(directory / name, payload.text, mode=MODE)
    except OSError as error:
        raise Unavailable(f"a payload can't be stored: {error}", hint="df -h; ncl doctor") from error
    return directory
