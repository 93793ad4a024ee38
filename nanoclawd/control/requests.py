"""io.nanoclaw.Requests: the gateway has somebody decide about a request of an agent. On a socket of its own."""

import pwd
from typing import Annotated, Final

import msgspec

from nanoclawd.control.api import RequestsBackend
from nanoclawd.control.bounds import KIB, Bounds
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.methods import Methods, Parameters, Replies, Streaming
from nanoclawd.control.values import HeldRequest, Peer, RequestAnswer
from nanoclawd.control.varlink_server import VarlinkServer
from nanoclawd.errors import Refused

REQUESTS: Final = "io.nanoclaw.Requests"
GATEWAY: Final = "nanoclaw-gateway"
_BOUNDS: Final = Bounds(frame_bytes=128 * KIB, idle_seconds=30.0, connections=96, connections_per_user=96)

type _Text = Annotated[str, msgspec.Meta(max_length=300)]


class _Hold(Parameters, frozen=True):
    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16,64}\Z")]
    group: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]
    rule: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    host: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9._:-]{1,255}\Z")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    preview: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    session: _Text | None = None
    scheme: Annotated[str, msgspec.Meta(pattern=r"\Ahttps?\Z")] | None = None
    method: Annotated[str, msgspec.Meta(pattern=r"\A[A-Z][A-Z-]{0,19}\Z")] | None = None
    path: Annotated[str, msgspec.Meta(max_length=16 * KIB)] | None = None
    outside: _Text | None = None

    def request(self) -> HeldRequest:
        """Return what is asked about."""
        return HeldRequest(
            id=self.id,
            group=self.group,
            session=self.session,
            rule=self.rule,
            scheme=self.scheme,
            host=self.host,
            port=self.port,
            method=self.method,
            path=self.path,
            preview=self.preview,
            seconds=self.seconds,
            outside=self.outside,
        )


def methods(backend: RequestsBackend, uid: int) -> Methods:
    """Return the methods, for callers of one uid."""

    async def hold(caller: Peer, call: _Hold, replies: Replies) -> None:
        if caller.uid != uid:
            raise Refused("this is for the gateway alone")

        async def tell(answer: RequestAnswer) -> None:
            await replies.send(answer)

        await replies.send(await backend.hold(call.request(), tell), last=True)

    return {f"{REQUESTS}.Hold": Streaming(_Hold, hold)}


class RequestsServer(VarlinkServer):
    """Serves it to the gateway."""

    def __init__(self, backend: RequestsBackend, uid: int | None = None) -> None:
        """Prepare.

        Args:
            backend: decides.
            uid: whose calls are answered (default: the gateway's user, nobody's where there is none).
        """
        super().__init__(
            methods(backend, _gateway_uid() if uid is None else uid), Introspection("nanoclawd", ["Requests"]), _BOUNDS
        )


def _gateway_uid() -> int:
    try:
        return pwd.getpwnam(GATEWAY).pw_uid
    except KeyError:
        return -1
