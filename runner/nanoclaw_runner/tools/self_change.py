"""What the agent wants changed of itself. A person is asked; what came of it is told as a message, after a restart."""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, structs

from nanoclaw_runner.desk import Desk
from nanoclaw_runner.tool_error import HostError, ToolError
from nanoclaw_runner.tools.base import Tool

_INSTALL: Final = "io.nanoclaw.Packages.Install"
_ADD_SERVER: Final = "io.nanoclaw.Mcp.Install"
_REQUEST: Final = "io.nanoclaw.Egress.Request"
_PENDING: Final = "ApprovalPending"
_MAX_PACKAGES: Final = 20

type _Names = Annotated[tuple[str, ...], Meta(max_length=_MAX_PACKAGES)]
type _Reason = Annotated[str, Meta(min_length=1, max_length=1000, description="why, for whoever decides")]


class InstallPackages(Struct, frozen=True):
    """Arguments of ``install_packages``."""

    reason: _Reason
    apt: Annotated[_Names, Meta(description="Debian packages, without versions")] = ()
    npm: Annotated[_Names, Meta(description="npm packages, installed globally, without versions")] = ()
    pip: Annotated[_Names, Meta(description="Python packages, without versions")] = ()


class AddMcpServer(Struct, frozen=True):
    """Arguments of ``add_mcp_server``."""

    name: Annotated[str, Meta(description="what its tools' names begin with: a-z, 0-9, - and _")]
    reason: _Reason
    command: Annotated[str, Meta(description="the program that is the server; or give a url")] = ""
    args: Annotated[tuple[str, ...], Meta(description="its arguments")] = ()
    env: Annotated[dict[str, str], Meta(description="variables of the program; no secrets: people see them")] = {}
    url: Annotated[str, Meta(description="ENDPOINT/PATH, where ENDPOINT is one that the operator has set up")] = ""


class RequestAccess(Struct, frozen=True):
    """Arguments of ``request_access``."""

    host: Annotated[str, Meta(min_length=1, max_length=300, description="HOST or HOST:PORT, exactly one")]
    reason: _Reason


def tools(desk: Desk) -> list[Tool[Any]]:
    """Return the tools of this family."""

    async def install_packages(wanted: InstallPackages) -> str:
        if not (wanted.apt or wanted.npm or wanted.pip):
            raise ToolError("name at least one package")
        given = {name: value for name, value in structs.asdict(wanted).items() if value}
        return await _asked(desk, "install_packages", wanted, _INSTALL, given)

    async def add_mcp_server(wanted: AddMcpServer) -> str:
        given = {name: value for name, value in structs.asdict(wanted).items() if value}
        if wanted.command:
            given["program"] = given.pop("command")
        if wanted.env:
            given["env"] = [f"{name}={value}" for name, value in wanted.env.items()]
        return await _asked(desk, "add_mcp_server", wanted, _ADD_SERVER, given)

    async def request_access(wanted: RequestAccess) -> str:
        return await _asked(desk, "request_access", wanted, _REQUEST, structs.asdict(wanted))

    return [
        Tool(
            "request_access",
            "Ask for access to a host on the network that you were refused. A person decides, and for how long; you are"
            " told. Nothing is allowed when this returns.",
            RequestAccess,
            request_access,
        ),
        Tool(
            "install_packages",
            "Ask for packages to be installed into your image. A person decides; then the image is built, you are"
            " restarted and told to verify. Nothing is installed when this returns.",
            InstallPackages,
            install_packages,
        ),
        Tool(
            "add_mcp_server",
            "Ask for an MCP server. A person decides; then you are restarted with it and told to verify. Its program"
            " has to be in your image: install it first.",
            AddMcpServer,
            add_mcp_server,
        ),
    ]


async def _asked(desk: Desk, tool: str, wanted: Struct, method: str, parameters: dict[str, object]) -> str:
    """Make a call that somebody is asked about; that it waits is no error to the agent."""
    try:
        await desk.call(method, parameters, desk.key(tool, wanted))
    except HostError as error:
        if not error.name.endswith(_PENDING):
            raise
        return f"Not done yet: {error}. Tell the people here that it waits; do not ask for it again."
    return "Done."
