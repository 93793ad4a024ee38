"""io.nanoclaw.Images: what containers are made of, and building it."""

from contextlib import aclosing

from nanoclawd.control.api import ImagesBackend
from nanoclawd.control.methods import Methods, Name, NoParameters, Parameters, Replies, Streaming, Unary
from nanoclawd.control.values import BuildEvent, BuildProgress, Peer
from nanoclawd.errors import Unavailable

INTERFACE = "io.nanoclaw.Images"


class _Build(Parameters, frozen=True):
    name: Name | None = None


def methods(backend: ImagesBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_peer: Peer, _call: NoParameters) -> object:
        return {"images": await backend.list()}

    async def build(peer: Peer, call: _Build, replies: Replies) -> None:
        held: BuildProgress | None = None  # a "done" may be the last one, and only the last reply ends a Varlink stream
        async with aclosing(backend.build(peer, call.name)) as progress:
            async for piece in progress:
                if held:
                    await replies.send(held)
                    held = None
                if piece.event is BuildEvent.DONE:
                    held = piece
                else:
                    await replies.send(piece)
        if held is None:
            raise Unavailable("the build ended without an image", hint="journalctl -u nanoclawd")
        await replies.send(held, last=True)

    return {
        f"{INTERFACE}.List": Unary(NoParameters, list_all),
        f"{INTERFACE}.Build": Streaming(_Build, build),
    }
