"""A Matrix channel while it is set up: asks for what is new, for ever, and notes how far all of it is handed in."""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from functools import partial
from typing import Any, Final

from nanoclawd.channels.adapter import Health, HealthState
from nanoclawd.channels.matrix.account import Account
from nanoclawd.channels.matrix.backlog import Backlog
from nanoclawd.channels.matrix.intake import Intake
from nanoclawd.channels.matrix.keys import Keys
from nanoclawd.channels.matrix.login import log_in
from nanoclawd.channels.matrix.options import Options
from nanoclawd.channels.matrix.own_loop import HostElsewhere
from nanoclawd.channels.matrix.pace import Pace
from nanoclawd.channels.matrix.requests import RateLimited, Requests, TokenRefused, place
from nanoclawd.channels.matrix.rooms import Rooms
from nanoclawd.channels.matrix.sealed import SealedEvents
from nanoclawd.channels.matrix.sending import Sender
from nanoclawd.channels.matrix.state import Store
from nanoclawd.channels.matrix.timeline import timeline_of
from nanoclawd.errors import NanoclawError, NotFound, Refused, Unavailable

log = logging.getLogger(__name__)

_LAG_SECONDS: Final = 120.0
_QUIET_SAVE_SECONDS: Final = 30.0
_INVITATION_TRIES: Final = 5
_FILTER: Final = json.dumps(
    {
        "presence": {"not_types": ["*"]},
        "account_data": {"types": ["m.direct"]},
        "room": {
            "account_data": {"not_types": ["*"]},
            "ephemeral": {"not_types": ["*"]},
            "timeline": {"limit": 100},
        },
    },
    separators=(",", ":"),
)


class Session:
    """Made by :meth:`begin`; all of it runs in the channel's own loop."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.sender = Sender(account)
        self.rooms = Rooms(account)
        self.ready = asyncio.Event()
        """Set after the first sync: it is known who is in which room."""
        self._sealed = SealedEvents(account, self.sender.notice)
        self._intake = Intake(account, self.rooms, self._sealed, self.sender.notice)
        self._backlog = Backlog()
        self._asked_since = account.progress.since
        self._known_rooms = set(account.progress.rooms)
        self._anew = False
        """Whether the server has refused the token: what is new is found by each room's last event."""
        self._synced_at = 0.0
        self._saved_at = 0.0
        self._trouble = ""
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def begin(
        cls, name: str, options: Options, secret: str, store: Store, host: HostElsewhere, pace: Pace
    ) -> "Session":
        """Log in and begin to listen.

        Raises:
            NanoclawError: the account can't be logged in.
        """
        device = await log_in(name, options, secret, store)
        keys = Keys(device, store, encryption=options.encryption, seconds=pace.request)
        requests = Requests(device.address, device.token, seconds=pace.request)
        session = cls(Account(name, options, device, requests, keys, store, store.progress(), host, pace))
        session._tasks = [  # its own
            asyncio.create_task(session._listen(), name=f"sync of {name}"),
            asyncio.create_task(session._open_sealed(), name=f"keys of {name}"),
        ]
        return session

    async def end(self) -> None:
        """Disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._backlog.stop()
        await self.account.requests.close()
        await self.account.keys.close()

    async def until_ready(self) -> None:
        """Wait for the first sync."""
        await self.ready.wait()

    def health(self) -> Health:
        """Tell how the channel is. From any thread."""
        if not self.ready.is_set():
            return Health(HealthState.STARTING, self._trouble or "reads which rooms the account is in")
        lag = time.monotonic() - self._synced_at
        told = [self._encryption(), f"last sync {lag:.0f} s ago"]
        if self._backlog.open:
            told.append(f"{self._backlog.open} rooms with messages under way")
        if self.account.progress.sealed:
            told.append(f"{len(self.account.progress.sealed)} messages wait for their keys")
        if self.account.progress.invites:
            told.append(f"{len(self.account.progress.invites)} invitations are open (invites:)")
        if self._intake.left_out:
            told.append(f"older messages of {len(self._intake.left_out)} rooms were left out (max_missed:)")
        if lag > _LAG_SECONDS:
            return Health(HealthState.DEGRADED, "; ".join([self._trouble or "the homeserver is silent", *told]))
        return Health(HealthState.OK, "; ".join(told))

    def _encryption(self) -> str:
        keys = self.account.keys
        if keys.encrypts:
            return f"encrypts, as device {self.account.device.device_id} with the key {keys.fingerprint}"
        if self.account.options.encryption:
            return "does not encrypt: python3-olm is not installed (apt install python3-olm)"
        return "does not encrypt: switched off (encryption:)"

    async def whoami(self) -> str:
        """Return as whom the homeserver knows the account's token. Raises as ``Requests.ask``."""
        answer = await self.account.requests.ask("GET", place("account", "whoami"))
        return str(answer.get("user_id"))

    def new_keys(self) -> None:
        """Keys have come: something may be readable now."""
        self.account.has_new_keys = True
        self.account.sealed_news.set()

    async def _listen(self) -> None:
        pause = 1.0
        while True:
            await self._backlog.has_room()
            try:
                await self._sync()
                pause, self._trouble = 1.0, ""
                continue
            except TokenRefused as error:
                self.account.host.lost(error.message)
                return
            except RateLimited as error:
                self._trouble, wait = error.message, error.retry_after
            except (NotFound, Refused) as error:
                self._trouble, wait = error.message, self._begin_anew(pause)
                pause = min(pause * 2, self.account.pace.longest_pause)
            except NanoclawError as error:
                self._trouble, wait = error.message, pause
                pause = min(pause * 2, self.account.pace.longest_pause)
            except Exception as error:
                log.exception("a sync failed")
                self._trouble, wait = f"a sync failed: {type(error).__name__}", pause
                pause = min(pause * 2, self.account.pace.longest_pause)
            # The server tells nobody when it is back; the wait grows and is bounded, or is what it has said.
            await asyncio.sleep(wait)

    def _begin_anew(self, pause: float) -> float:
        """Do without a token that the server refuses; return how long to wait.

        What is refused without it as well is refused for something else: next time it is asked for with it again.
        """
        self._anew = bool(self._asked_since)
        if not self._anew:
            self._asked_since = self.account.progress.since
            return pause
        log.warning("the homeserver refuses the sync's token: all rooms are read from their last known event")
        self._asked_since = ""
        return 0.0

    async def _sync(self) -> None:
        pace, first = self.account.pace, self._anew or not self.ready.is_set()
        query = {"filter": _FILTER, "timeout": "0" if first else f"{pace.long_poll * 1000:.0f}"}
        if self._anew:
            # Synapse keeps its answers for some minutes, for who asks the same again: an old one is of no use here.
            query["timeout"] = str(1 + secrets.randbelow(1000))
        if self._asked_since:
            query["since"] = self._asked_since
        if first:
            query["full_state"] = "true"
        seconds = pace.first_sync if first else pace.long_poll + pace.grace
        raw = await self.account.requests.ask("GET", place("sync"), query=query, seconds=seconds)
        token = raw.get("next_batch")
        if not isinstance(token, str) or not token:
            raise Unavailable("the homeserver's sync has no token")
        opened = await self.account.keys.take_in(raw)
        self.rooms.learn_direct(raw)
        if self._anew:
            self.account.keys.begin_anew()
        await self._queue(raw, token, opened)
        self._asked_since, self._anew = token, False
        self._synced_at = time.monotonic()
        try:
            await self.account.keys.keep_up()
        except Unavailable as error:
            log.info("keys are due again: %s", error.message)
        self.account.synced.set()
        if _object(raw.get("to_device")).get("events"):
            self.new_keys()
        if first:
            self.ready.set()
            await self.rooms.accept_again()

    async def _queue(self, raw: dict[str, Any], token: str, opened: dict[str, dict[str, Any]]) -> None:
        """Queue what a sync brought, by room; when all of it is done with, the token is kept."""
        told = raw.get("rooms")
        rooms: dict[str, Any] = told if isinstance(told, dict) else {}
        joined, invited, left = (_object(rooms.get(kind)) for kind in ("join", "invite", "leave"))
        since, known, progress = self._asked_since, self._known_rooms, self.account.progress
        if self._anew:
            left = dict.fromkeys(known - joined.keys()) | left  # it is told of the others only
        self._known_rooms = (known | joined.keys()) - left.keys()
        self._backlog.begin(partial(self._finished, token, set(self._known_rooms), bool(joined or invited or left)))
        for room_id, room in joined.items():
            mark = progress.mark_of(room_id) if self._anew else None
            timeline = timeline_of(room_id, room, since, is_new=room_id not in known, mark=mark)
            state = _object(_object(room).get("state")).get("events")
            work = partial(self._intake.room, timeline, state if isinstance(state, list) else [], opened)
            self._backlog.add(room_id, work)
        for room_id in left:
            self.account.keys.leave(room_id)
        for room_id, invitation in invited.items():
            if isinstance(invitation, dict):
                self._backlog.add(room_id, partial(self._invited, room_id, invitation))
        self._backlog.end()

    async def _invited(self, room_id: str, invitation: dict[str, Any]) -> None:
        for attempt in range(_INVITATION_TRIES):
            try:
                await self.rooms.invited(room_id, invitation)
            except Unavailable as error:
                log.info("an invitation waits: %s", error.message)
                # The server tells nobody when it is back; bounded by the tries.
                await asyncio.sleep(2.0**attempt)
            else:
                return
        # It is kept, and accepted after the next start.

    def _finished(self, token: str, rooms: set[str], has_news: bool) -> None:
        """Keep how far everything is handed in; of syncs that brought nothing only some."""
        progress = self.account.progress
        progress.since, progress.rooms = token, rooms
        if has_news or time.monotonic() - self._saved_at > _QUIET_SAVE_SECONDS:
            self._saved_at = time.monotonic()
            self.account.save()

    async def _open_sealed(self) -> None:
        """Try again what could not be decrypted when keys have come, and tell people when it is time to."""
        await self.ready.wait()
        self.account.has_new_keys = True  # they may have come just before an end
        while True:
            await self._sealed.try_again(self._intake.event)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.account.pace.key_patience if self._sealed.waits else None):
                    await self.account.sealed_news.wait()
            self.account.sealed_news.clear()


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
