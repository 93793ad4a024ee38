"""Events whose keys are not there (yet): kept, asked for, told to people, and handed in when a key comes."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nanoclawd.channels.matrix.account import Account
from nanoclawd.channels.matrix.reading import Malformed
from nanoclawd.channels.matrix.state import MAX_SEALED, Sealed
from nanoclawd.errors import NanoclawError

log = logging.getLogger(__name__)

_LONGEST_SECONDS: Final = 7 * 24 * 3600.0
_WORDS: Final = (
    "I can't read what you have just sent: it is encrypted, and your app has not given me the key. "
    "Please send it again. If that does not help, log out and in again in your app, or talk to me in another room."
)
_NO_ENCRYPTION: Final = (
    "I can't read encrypted messages here: the appliance has no library for it, or its encryption is switched off."
)


class SealedEvents:
    """Keeps them in the account's progress, so that they outlive the daemon."""

    def __init__(self, account: Account, tell: Callable[..., Awaitable[None]]) -> None:
        """Prepare; ``tell(room_id, text, transaction)`` sends a notice."""
        self._account = account
        self._tell = tell

    def keep(self, room_id: str, source: dict[str, Any]) -> None:
        """Keep an event that can't be read yet; again does nothing."""
        kept = self._account.progress.sealed
        if any(one.event.get("event_id") == source.get("event_id") for one in kept):
            return
        log.warning("no key for event %.300r in %s", source.get("event_id"), room_id)
        kept.append(Sealed(room_id, source, time.time()))
        del kept[:-MAX_SEALED]
        self._account.save()
        self._account.sealed_news.set()

    async def try_again(self, hand_in: Callable[..., Awaitable[None]]) -> None:
        """Hand in what can be read by now, with ``hand_in(room_id, event_id, event, opened)``; tell of the others."""
        account, now = self._account, time.time()
        has_new_keys, account.has_new_keys = account.has_new_keys, False
        for one in list(account.progress.sealed):
            try:
                opened = account.keys.open(one.room, one.event) if has_new_keys else None
            except Malformed as error:
                log.warning("event %.300r is left out: %s", one.event.get("event_id"), error)
                self._forget(one)
                continue
            if opened is not None:
                await hand_in(one.room, str(one.event.get("event_id")), one.event, opened)
                self._forget(one)
            elif now - one.since > _LONGEST_SECONDS:
                self._forget(one)
            elif not one.told and now - one.since >= account.pace.key_patience:
                await self._tell_of(one)

    @property
    def waits(self) -> bool:
        """Whether there are events of which nobody was told yet."""
        return any(not one.told for one in self._account.progress.sealed)

    async def _tell_of(self, sealed: Sealed) -> None:
        """Tell people, once for each room and each of its keys, and ask other devices for the key."""
        account = self._account
        content = sealed.event.get("content")
        session = content.get("session_id") if isinstance(content, dict) else None
        kept = account.progress.sealed
        same = [one for one in kept if one.room == sealed.room and _session(one) == session]
        try:
            if not any(one.told for one in same):
                await account.keys.request(sealed.room, sealed.event)
                words = _WORDS if account.keys.encrypts else _NO_ENCRYPTION
                await self._tell(sealed.room, words, f"no-key.{session}")
        except NanoclawError as error:
            log.info("nobody is told of an unreadable message yet: %s", error.message)
            return
        for number, one in enumerate(kept):
            if one in same:
                kept[number] = Sealed(one.room, one.event, one.since, told=True)
        account.save()

    def _forget(self, sealed: Sealed) -> None:
        kept = self._account.progress.sealed
        kept[:] = [one for one in kept if one.event.get("event_id") != sealed.event.get("event_id")]
        self._account.save()


def _session(sealed: Sealed) -> object:
    content = sealed.event.get("content")
    return content.get("session_id") if isinstance(content, dict) else None
