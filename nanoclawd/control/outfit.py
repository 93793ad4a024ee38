"""io.nanoclaw.Packages, Mcp, Skills and Mounts: what agent groups are given."""

from typing import Annotated

import msgspec

from nanoclawd.control.api import McpBackend, MountsBackend, PackagesBackend, SkillsBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary, Word
from nanoclawd.control.values import Caller, McpServer
from nanoclawd.store.package_names import check_requested

PACKAGES = "io.nanoclaw.Packages"
MCP = "io.nanoclaw.Mcp"
SKILLS = "io.nanoclaw.Skills"
MOUNTS = "io.nanoclaw.Mounts"

type Names = Annotated[list[Word], msgspec.Meta(max_length=100)]
type Text = Annotated[str, msgspec.Meta(max_length=4096)]
type Texts = Annotated[list[Text], msgspec.Meta(max_length=100)]


class _List(Listing, frozen=True):
    group: Name | None = None


class _Packages(Parameters, frozen=True):
    group: Name
    apt: Names | None = None
    npm: Names | None = None
    pip: Names | None = None

    def by_manager(self) -> dict[str, tuple[str, ...]]:
        """Return the names by manager."""
        return {"apt": tuple(self.apt or ()), "npm": tuple(self.npm or ()), "pip": tuple(self.pip or ())}


class _Install(_Packages, frozen=True):
    reason: Text | None = None


def packages(backend: PackagesBackend) -> Methods:
    """Return the methods of io.nanoclaw.Packages."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"packages": await backend.list(call.group, call.bound)}

    async def add(caller: Caller, call: _Packages) -> object:
        return {"packages": await backend.add(caller, call.group, call.by_manager())}

    async def remove(caller: Caller, call: _Packages) -> object:
        return {"packages": await backend.remove(caller, call.group, call.by_manager())}

    async def install(caller: Caller, call: _Install) -> object:
        found, restarted = await backend.install(caller, call.group, call.by_manager())
        return {"packages": found, "restarted": restarted}

    return {
        f"{PACKAGES}.List": Unary(_List, list_all),
        f"{PACKAGES}.Add": Unary(_Packages, add, _check_packages),
        f"{PACKAGES}.Remove": Unary(_Packages, remove, _check_packages),
        f"{PACKAGES}.Install": Unary(_Install, install, _check_packages),
    }


class _Named(Parameters, frozen=True):
    group: Name
    name: Name


class _Server(_Named, frozen=True):
    program: Text | None = None
    args: Texts | None = None
    env: Texts | None = None
    url: Text | None = None
    instructions: Text | None = None

    def server(self) -> McpServer:
        """Return the server that is described."""
        return McpServer(
            self.group,
            self.name,
            self.program or "",
            self.args or [],
            self.env or [],
            self.url or "",
            self.instructions or "",
        )


class _InstallServer(_Server, frozen=True):
    reason: Text | None = None


def mcp(backend: McpBackend) -> Methods:
    """Return the methods of io.nanoclaw.Mcp."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"servers": await backend.list(call.group, call.bound)}

    async def add(caller: Caller, call: _Server) -> object:
        return {"server": await backend.add(caller, call.server())}

    async def remove(caller: Caller, call: _Named) -> object:
        await backend.remove(caller, call.group, call.name)
        return {}

    async def install(caller: Caller, call: _InstallServer) -> object:
        server, restarted = await backend.install(caller, call.server())
        return {"server": server, "restarted": restarted}

    def check(call: _Server) -> None:
        backend.check(call.server())

    return {
        f"{MCP}.List": Unary(_List, list_all),
        f"{MCP}.Add": Unary(_Server, add, check),
        f"{MCP}.Remove": Unary(_Named, remove),
        f"{MCP}.Install": Unary(_InstallServer, install, check),
    }


def skills(backend: SkillsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Skills."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"skills": await backend.list(call.group, call.bound)}

    return {f"{SKILLS}.List": Unary(_List, list_all)}


def _check_packages(call: _Packages) -> None:
    check_requested(call.by_manager())


class _AddMount(Parameters, frozen=True):
    group: Name
    path: Reference
    name: Name | None = None
    writable: bool | None = None


def mounts(backend: MountsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Mounts."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"mounts": await backend.list(call.group, call.bound)}

    async def add(caller: Caller, call: _AddMount) -> object:
        return {"mount": await backend.add(caller, call.group, call.path, call.name, writable=bool(call.writable))}

    async def remove(caller: Caller, call: _Named) -> object:
        await backend.remove(caller, call.group, call.name)
        return {}

    return {
        f"{MOUNTS}.List": Unary(_List, list_all),
        f"{MOUNTS}.Add": Unary(_AddMount, add),
        f"{MOUNTS}.Remove": Unary(_Named, remove),
    }
