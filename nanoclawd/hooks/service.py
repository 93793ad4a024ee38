"""Hooks as operators handle them. A secret is shown once, when it is made."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import InvalidName, Refused
from nanoclawd.hooks.intake import NAME, HookIntake
from nanoclawd.hooks.listening import Listening
from nanoclawd.hooks.places import chat_for
from nanoclawd.hooks.proof import BEARER, DEFAULT_HEADER, HMAC, hashed, new_secret
from nanoclawd.hooks.secret_files import SecretFiles
from nanoclawd.store import hooks, resolve
from nanoclawd.store.database import Database
from nanoclawd.store.hooks import Hook
from nanoclawd.store.names import new_id
from nanoclawd.store.transaction import together

MAX_HOOKS: Final = 200
"""Of one group."""

DEFAULT_RATE: Final = 30
MAX_RATE: Final = 6000
_HEADER: Final = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new hook is to be like; None was not given.

    Attributes:
        to: the chat in which the agent answers; None: the only one that it hears.
        auth: bearer (which is the default) or hmac-sha256.
        header: where the token or the signature is.
        rate: messages a minute.
    """

    name: str
    group: str
    to: str | None = None
    auth: str | None = None
    header: str | None = None
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A hook with the secret that it has from now on."""

    hook: Hook
    secret: str


class HookService:
    """All hooks."""

    def __init__(
        self,
        database: Database,
        intake: HookIntake,
        secret_files: SecretFiles,
        listening: Callable[[], Awaitable[Listening]],
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            intake: takes what is sent to them.
            secret_files: the secrets of callers who sign.
            listening: tells where hooks are reached.
        """
        self._database = database
        self._intake = intake
        self._secrets = secret_files
        self.listening = listening

    async def start(self) -> None:
        """Read the secrets of callers who sign."""
        signed = {hook.id for hook in await self._database.run(hooks.listed) if hook.auth == HMAC}
        await asyncio.to_thread(self._secrets.load, signed)

    async def create(self, wish: Wish, creator: str) -> Made:
        """Make a hook.

        Raises:
            InvalidName: the name, the kind of proof or the header is none.
            NotFound: there is no such group or chat.
            Refused: the agent does not hear the chat, or has too many hooks.
            AlreadyExists: there is a hook of this name.
            Unavailable: the secret can't be stored.
        """
        auth = wish.auth or BEARER
        header = (wish.header or DEFAULT_HEADER.get(auth, "")).lower()
        rate = DEFAULT_RATE if wish.rate is None else wish.rate
        _check(wish.name, auth, header, rate)
        secret, hook_id = new_secret(), new_id("hk")
        # The file comes first: a hook never lacks its secret, and a file without a hook goes with the next start.
        if auth == HMAC:
            await asyncio.to_thread(self._secrets.put, hook_id, secret)
        try:
            hook = await self._database.run(_add, wish, hook_id, auth, header, rate, secret, creator)
        except BaseException:
            await asyncio.to_thread(self._secrets.remove, hook_id)
            raise
        return Made(hook, secret)

    async def rotate(self, name: str) -> Made:
        """Give a hook another secret; the one that it had is worth nothing from now on. Raises as :meth:`create`."""
        hook, secret = await self._database.run(hooks.by_name, name), new_secret()
        if hook.auth == HMAC:
            await asyncio.to_thread(self._secrets.put, hook.id, secret)
        else:
            await self._database.run(hooks.set_secret, hook.id, hashed(secret))
        return Made(await self._database.run(hooks.by_name, name), secret)

    async def enable(self, name: str, *, enabled: bool) -> Hook:
        """Have a hook take messages, or none.

        Raises:
            NotFound: there is no such hook.
        """
        hook = await self._database.run(hooks.by_name, name)
        await self._database.run(lambda connection: hooks.enable(connection, hook.id, enabled=enabled))
        return await self._database.run(hooks.by_name, name)

    async def delete(self, name: str) -> Hook:
        """Delete a hook with its secret.

        Raises:
            NotFound: there is no such hook.
        """
        hook = await self._database.run(hooks.by_name, name)
        await self._database.run(hooks.delete, hook.id)
        await asyncio.to_thread(self._secrets.remove, hook.id)
        self._intake.pace.forget(hook.id)
        return hook

    async def ticket(self, name: str) -> tuple[Hook, str]:
        """Return a token that lets one request in within a minute, to try the way.

        Raises:
            NotFound: there is no such hook.
            Refused: it is disabled.
        """
        hook = await self._database.run(hooks.by_name, name)
        if not hook.enabled:
            raise Refused(f"hook {name} is disabled", hint=f"ncl hooks enable {name}")
        return hook, self._intake.tickets.issue(hook.id)


def _check(name: str, auth: str, header: str, rate: int) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidName(f"{name[:40]!r} can't be a hook's name: 1 to 63 of a-z, 0-9 and dashes between them")
    if auth not in DEFAULT_HEADER:
        raise InvalidName(f"{auth[:40]!r} is no proof of a hook: {' or '.join(DEFAULT_HEADER)}")
    if _HEADER.fullmatch(header) is None:
        raise InvalidName(f"{header[:40]!r} is no header's name")
    if not 1 <= rate <= MAX_RATE:
        raise InvalidName(f"a hook takes 1 to {MAX_RATE} messages a minute")


def _add(
    connection: apsw.Connection,
    wish: Wish,
    hook_id: str,
    auth: str,
    header: str,
    rate: int,
    secret: str,
    creator: str,
) -> Hook:
    with together(connection):
        group = resolve.group(connection, wish.group)
        chat = chat_for(connection, group, wish.to)
        if hooks.count_of(connection, group.id) >= MAX_HOOKS:
            raise Refused(f"{group.folder} has {MAX_HOOKS} hooks", hint=f"ncl hooks list --group {group.folder}")
        hook = Hook(
            id=hook_id,
            name=wish.name,
            agent_group_id=group.id,
            group=group.folder,
            chat_id=chat.id,
            channel_type=chat.channel_type,
            platform_id=chat.platform_id,
            auth=auth,
            header=header,
            secret_hash=hashed(secret) if auth == BEARER else None,
            per_minute=rate,
            enabled=True,
            accepted=0,
            last_at=None,
            created_by=creator,
            created_at=now_text(),
        )
        return hooks.add(connection, hook)
