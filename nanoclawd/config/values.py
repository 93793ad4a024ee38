"""The kinds of values in the configuration file.

Each is an annotated type: msgspec checks type, bounds and pattern; the description is what an error says was expected;
``parse`` in ``extra`` turns a person's spelling (``512M``, ``auto``) into the value, by raising ValueError where it
cannot.
"""

import os
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024**4}
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)(?:iB|B)?", re.ASCII)
_MAX_SIZE = 2**60
_BUILTIN_DEFAULT_AWAKE_PER_CPU = 4


def parse_size(value: object) -> object:
    """Return the bytes that ``512M``, ``2GiB`` or a plain number says (units of 1024); other types as they are.

    Raises:
        ValueError: a text that is no size.
    """
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if not found:
        raise ValueError(value)
    return int(found[1]) * _UNITS[found[2]]


def half_of_memory() -> int:
    """Return half of this machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def default_awake() -> int:
    """Return how many sessions may be awake at once on this machine: four a processor, from 4 to 64."""
    return min(64, max(4, _BUILTIN_DEFAULT_AWAKE_PER_CPU * (os.process_cpu_count() or 1)))


def parse_budget(value: object) -> object:
    """As :func:`parse_size`; ``auto`` is half of the machine's memory."""
    return half_of_memory() if value == "auto" else parse_size(value)


def parse_awake(value: object) -> object:
    """Return the number as it is, ``auto`` as :func:`default_awake`."""
    return default_awake() if value == "auto" else value


def parse_url(value: object) -> object:
    """Return an http(s) URL without its trailing slashes.

    Raises:
        ValueError: another scheme, no host, a bad port, or parts that no endpoint needs: user, query, fragment.
    """
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(value)
    if parts.query or parts.fragment or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError(value)
    return value.rstrip("/")


def _size(lowest: int, description: str, parse: Any = parse_size) -> Meta:
    return Meta(ge=lowest, le=_MAX_SIZE, description=description, extra={"parse": parse})


type Awake = Annotated[int, Meta(ge=1, le=10_000, description="an integer ≥ 1 or auto", extra={"parse": parse_awake})]
type Budget = Annotated[int, _size(64 * MIB, "a size ≥ 64M or auto", parse_budget)]
type MemorySize = Annotated[int, _size(32 * MIB, "a size ≥ 32M like 512M")]
type DiskSize = Annotated[int, _size(0, "a size like 500M")]
type BodySize = Annotated[int, _size(64 * KIB, "a size ≥ 64K like 8M")]
type Tasks = Annotated[int, Meta(ge=16, le=100_000, description="an integer ≥ 16")]
type Connections = Annotated[int, Meta(ge=1, le=1000, description="an integer from 1 to 1000")]
type Seconds = Annotated[float, Meta(ge=1, le=86_400, description="seconds, from 1 to 86400")]
type WatchdogSeconds = Annotated[float, Meta(ge=5, le=3600, description="seconds, from 5 to 3600")]
type Switch = Annotated[bool, Meta(description="true or false")]
type Word = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_-]{0,30}\Z", description="a name of a-z, 0-9, - and _")]
type Level = Annotated[str, Meta(max_length=30, description="debug, info, warning or error")]

type EndpointName = Annotated[
    str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,30}\Z", description="a name of a-z, 0-9 and -, at most 31 characters")
]
type ChannelName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?\Z",
        description="a name of a-z, 0-9 and - that begins and ends with a letter or digit, at most 31 characters",
    ),
]
type GroupName = Annotated[
    str, Meta(pattern=r"\A[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?\Z", description="an agent group's name")
]
type Policy = Annotated[
    Literal["strict", "request_approval", "public"], Meta(description="strict, request_approval or public")
]
type PromptStyle = Annotated[Literal["addressed", "plain"], Meta(description="addressed or plain")]
type ContextTokens = Annotated[int, Meta(ge=1024, le=10_000_000, description="an integer ≥ 1024")]
type ToolCalls = Annotated[int, Meta(ge=1, le=10_000, description="an integer from 1 to 10000")]
type PeerHops = Annotated[int, Meta(ge=1, le=1000, description="an integer from 1 to 1000")]
type PeerRate = Annotated[int, Meta(ge=1, le=10_000, description="an integer from 1 to 10000")]
type DailyTokens = Annotated[int, Meta(ge=0, le=10**12, description="a number of tokens; 0: no bound")]
type DailyCost = Annotated[float, Meta(ge=0, le=1_000_000, description="dollars, like 2.50; 0: no bound")]
type PlainValue = Annotated[
    bool | int | float | str | None, Meta(description="true, false, a number, a text or nothing; quote what is a text")
]
type Hours = Annotated[float, Meta(ge=0.001, le=8760, description="hours, from 0.001 to 8760")]
type CredentialName = Annotated[
    str, Meta(pattern=r"\A[a-z0-9-]{1,64}\Z", description="a credential's name, of a-z, 0-9 and -")
]
type ProjectId = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,100}\Z", description="a project's id, of letters, digits, - and _")
]
type SecretMode = Annotated[Literal["selective", "all"], Meta(description="selective or all")]
type ModelSpec = Annotated[
    str,
    Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,30}/[!-~]{1,200}\Z", description="ENDPOINT/MODEL like embedded/smollm2"),
]
type Url = Annotated[
    str,
    Meta(pattern=r"\A[!-~]{1,500}\Z", description="an http:// or https:// address", extra={"parse": parse_url}),
]
type AbsolutePath = Annotated[str, Meta(pattern=r"\A/[^\x00-\x1f\x7f]{0,200}\Z", description="an absolute path")]
type SocketPath = Annotated[
    str, Meta(pattern=r"\A/[!-~]{1,106}\Z", description="the absolute path of a unix socket, at most 107 characters")
]
type BasePath = Annotated[
    str, Meta(pattern=r"\A(/[A-Za-z0-9._~-]+)*\Z", description="a path like /v1, without a slash at its end")
]
type ApiPath = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,7}\Z",
        description="a path like chat/completions",
    ),
]
type Api = Annotated[Literal["openai", "anthropic", "mcp"], Meta(description="openai, anthropic or mcp")]
type Auth = Annotated[Literal["bearer", "x-api-key", "oauth"], Meta(description="bearer, x-api-key or oauth")]
type ImageName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}\Z", description="an image's name")]
type NetworkName = Annotated[
    str, Meta(pattern=r"\A[a-z0-9][A-Za-z0-9._-]{0,62}\Z", description="a podman network's name like host")
]
