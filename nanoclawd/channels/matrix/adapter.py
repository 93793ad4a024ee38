"""The Matrix channel's adapter: the daemon's side of it. What talks to the homeserver runs in a thread of its own."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    Account,
    BaseAdapter,
    Capabilities,
    ChannelPlaces,
    Conversation,
    Health,
    HealthState,
    Host,
)
from nanoclawd.channels.credentials import read_token
from nanoclawd.channels.live import LiveAnswers, LivePace
from nanoclawd.channels.matrix import media
from nanoclawd.channels.matrix.account import PLATFORM
from nanoclawd.channels.matrix.options import Options
from nanoclawd.channels.matrix.own_loop import HostElsewhere, OwnLoop
from nanoclawd.channels.matrix.pace import Pace
from nanoclawd.channels.matrix.requests import RateLimited
from nanoclawd.channels.matrix.sending import MAX_TEXT, TYPING_SECONDS
from nanoclawd.channels.matrix.session import Session
from nanoclawd.channels.matrix.state import Store
from nanoclawd.channels.reach import Reach, ReachPace
from nanoclawd.errors import NanoclawError, NotFound, Refused, TooLarge, Unavailable
from nanoclawd.sessions.ports import Delivered, Outgoing, PartialText, Progress, Text, Undelivered

_READY_SECONDS: Final = 30.0
"""So long a setup waits for the first sync; a longer one goes on, and deliveries wait for it."""

_LIVE_SECONDS: Final = 3.0
_DELIVER_SECONDS: Final = 40.0
_FETCH_SECONDS: Final = 110.0


class MatrixAdapter(BaseAdapter):
    """One account on one homeserver."""

    platform = PLATFORM
    capabilities = Capabilities(
        threads=True,
        edits=True,
        reactions=True,
        idempotent=True,
        typing_seconds=TYPING_SECONDS,
        max_text=MAX_TEXT,
        max_attachment=MAX_BYTES,
    )

    def __init__(self, name: str, options: Options, places: ChannelPlaces, pace: Pace | None = None) -> None:
        """Prepare; ``pace`` says how long things may take."""
        self.name = name
        self._options = options
        self._pace = pace or Pace(long_poll=float(options.poll_seconds))
        self._directory = places.state
        self._own: OwnLoop | None = None
        self._session: Session | None = None
        self._host: Host | None = None
        self._reach = Reach(name, ReachPace(longest=self._pace.longest_pause, answer=self._pace.request))
        self._watch: asyncio.Task[None] | None = None
        self._live = LiveAnswers(self, LivePace(every=2.0, longest=MAX_TEXT - 100), places.state / "live.json")

    async def setup(self, inbound: Host) -> None:
        """Log in (once), and read which rooms the account is in.

        Raises:
            NanoclawError: the account can't be logged in, or the server not be reached.
        """
        secret = read_token(self.name)
        store = Store(self._directory)
        await asyncio.to_thread(self._directory.mkdir, 0o700, parents=True, exist_ok=True)
        await self._live.open()
        self._own = OwnLoop.borrow()
        self._host = inbound
        host = HostElsewhere(inbound, self._own)
        self._session = await self._own.run(Session.begin(self.name, self._options, secret, store, host, self._pace))
        self._watch = asyncio.create_task(self._tell_when_ready(self._own, self._session), name=f"start of {self.name}")
        await asyncio.wait({self._watch}, timeout=_READY_SECONDS)

    async def teardown(self) -> None:
        """Disconnect, after what is being shown was ended, if that does not take long."""
        own, session = self._own, self._session
        if self._watch is not None:
            self._watch.cancel()
        await self._reach.close()
        try:
            if session is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LIVE_SECONDS):
                        await self._live.close()
        finally:
            self._watch = self._session = self._own = self._host = None
            if own is not None:
                # To its end in any case: two that listen for one account would write each other's progress.
                await asyncio.shield(asyncio.create_task(_end(own, session), name=f"end of {self.name}"))

    def health(self) -> Health:
        """Tell how the account is: whether it encrypts, and how old what it knows is."""
        session = self._session
        return session.health() if session is not None else Health(HealthState.STARTING)

    def reachable(self, address: Address) -> bool:
        """Tell whether it is known yet which rooms the account is in, and whether requests are answered."""
        session = self._session
        if session is not None and session.ready.is_set():
            return self._reach.is_there(address)
        self._reach.wait(address)
        return False

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once."""
        own, session = self._parts()
        shown = None
        if isinstance(outgoing.body, Text) and any(file.size > MAX_BYTES for file in outgoing.body.files):
            return Undelivered(f"a file may have {MAX_BYTES // 1024**2} MiB", permanent=True)
        try:
            async with asyncio.timeout(_DELIVER_SECONDS):
                if isinstance(outgoing.body, Text) and outgoing.body.text.strip() and not outgoing.is_notice:
                    shown = await self._live.finish(outgoing.address, outgoing.in_reply_to)
                outcome = await own.run(session.sender.deliver(outgoing, shown))
        except RateLimited as error:
            return Undelivered(error.message, retry_after=error.retry_after)
        except (NotFound, Refused, TooLarge) as error:
            return Undelivered(error.message, permanent=True)
        except TimeoutError:
            self._reach.failed()
            return Undelivered("the homeserver does not answer in time")
        except Unavailable as error:
            self._reach.failed()
            return Undelivered(error.message)
        except NanoclawError as error:
            return Undelivered(error.message)
        if shown is not None:
            await self._live.settled(outgoing.address, outgoing.in_reply_to)
        return outcome

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give a file's content."""
        own, session = self._parts()
        pieces = media.download(session.account, reference)
        ends = asyncio.get_running_loop().time() + _FETCH_SECONDS
        try:
            while True:
                async with asyncio.timeout_at(ends):
                    piece = await own.run(_next(pieces))
                if not piece:
                    return
                yield piece
        except TimeoutError:
            raise Unavailable("the homeserver does not send the file in time") from None
        finally:
            own.start_soon(lambda: asyncio.ensure_future(pieces.aclose()))

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show an answer in the making."""
        session = self._session
        if isinstance(progress, PartialText) and session is not None and session.ready.is_set():
            self._live.show(address, progress)

    async def set_typing(self, address: Address) -> None:
        """Show that the agent is at work."""
        await self._typing(address, on=True)

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Show that it is at work no more; what is left of an answer that was not finished is taken back."""
        del completed
        await self._live.withdraw(address, message_id)
        await self._typing(address, on=False)

    async def open_dm(self, handle: str) -> str | None:
        """Return the direct chat with a person (``@name:server``), made if there is none."""
        own, session = self._parts()
        return await own.run(session.rooms.direct(handle))

    async def account(self) -> Account:
        """Ask the homeserver, now, as whom the adapter is connected."""
        own, session = self._parts()
        name = await own.run(session.whoami())
        pair = f"ncl channels pair {self.name}"
        return Account(
            name, f"{pair} shows a code; invite {name} to a direct chat in your Matrix app, and send it there."
        )

    async def conversations(self) -> Sequence[Conversation]:
        """Return the rooms that the account is in."""
        own, session = self._parts()
        return await own.run(session.rooms.conversations())

    async def chat_name(self, platform_id: str) -> str | None:
        """Return a room's shown name."""
        for one in await self.conversations():
            if one.platform_id == platform_id:
                return one.name
        return None

    async def export_keys(self, passphrase: str) -> bytes:
        """Return the keys of all rooms as a file, as other clients import them. Raises as ``Keys.export``."""
        own, session = self._parts()
        return await own.run(session.account.keys.export(passphrase))

    async def import_keys(self, content: bytes, passphrase: str) -> int:
        """Learn keys from a file that another client has exported. Raises as ``Keys.bring_in``."""
        own, session = self._parts()
        new = await own.run(session.account.keys.bring_in(content, passphrase))
        own.start_soon(session.new_keys)
        return new

    # An answer in the making (nanoclawd.channels.live.Editor).

    async def begin(self, address: Address, text: str, name: str) -> str | None:
        """Send the beginning of an answer."""
        own, session = self._parts()
        return await own.run(session.sender.begin(address, text, f"live.{name}"))

    async def change(self, address: Address, message_id: str, text: str) -> None:
        """Replace it by more of the answer."""
        own, session = self._parts()
        await own.run(session.sender.change(address.platform_id, message_id, text, f"live.{secrets.token_hex(8)}"))

    async def remove(self, address: Address, message_id: str) -> None:
        """Take back what was shown of an answer that does not come; again it is the same redaction."""
        own, session = self._parts()
        with contextlib.suppress(Refused, NotFound):  # it is gone, or the account from the room
            await own.run(session.sender.withdraw(address.platform_id, message_id, f"{message_id}.withdrawn"[-200:]))

    async def _typing(self, address: Address, *, on: bool) -> None:
        own, session = self._parts()
        # A room that the account is in no more, or a homeserver that is away: a sign that is not shown harms nobody.
        with contextlib.suppress(Refused, NotFound, Unavailable):
            await own.run(session.sender.typing(address.platform_id, on=on))

    async def _tell_when_ready(self, own: OwnLoop, session: Session) -> None:
        await own.run(session.until_ready())
        if self._host is not None:
            self._reach.open(lambda: own.run(session.whoami()), self._host.reachable_again)
            self._live.resume()

    def _parts(self) -> tuple[OwnLoop, Session]:
        if self._own is None or self._session is None:
            raise Unavailable(f"channel {self.name} is not connected")
        return self._own, self._session


async def _next(pieces: AsyncGenerator[bytes]) -> bytes:
    """Return the next piece, empty at the end."""
    return await anext(pieces, b"")


async def _end(own: OwnLoop, session: Session | None) -> None:
    try:
        if session is not None:
            await own.run(session.end())
    finally:
        await own.give_back()
