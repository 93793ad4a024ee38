"""Serve the in-memory backend until SIGTERM."""

import asyncio
import signal
import sys
from pathlib import Path

from memory_backend import Memory
from memory_backend.listening import listening_socket
from nanoclawd.control.server import ControlServer


async def main(path: str, state: str | None = None) -> None:
    memory = Memory(Path(state) if state else None)
    await memory.open()
    server = ControlServer(memory)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await server.start(listening_socket(path))
    print("ready", flush=True)
    await stop.wait()
    await server.stop()
    await memory.close()


Path(sys.argv[1]).unlink(missing_ok=True)
asyncio.run(main(*sys.argv[1:]))
