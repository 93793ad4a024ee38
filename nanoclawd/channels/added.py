"""Channels that were added by command: their rows, and what becomes of them while the daemon runs."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from nanoclawd.channels.manager import ChannelManager
from nanoclawd.channels.registry import find_setup, known_types
from nanoclawd.channels.setup import ChannelSetup
from nanoclawd.channels.words import in_words
from nanoclawd.config import Channel
from nanoclawd.config.model import RESERVED_CHANNELS
from nanoclawd.config.values import ChannelName, Word
from nanoclawd.errors import AlreadyExists, InvalidName, NanoclawError, NotFound, Refused
from nanoclawd.journal import about
from nanoclawd.store import added_channels as rows
from nanoclawd.store.added_channels import AddedChannel
from nanoclawd.store.database import Database

MAX_OPTIONS: Final = 50

_OPTION = re.compile(r"(?P<key>[a-z][a-z0-9_]{0,40})=(?P<value>.{0,4000})", re.ASCII | re.DOTALL)
_SECRET: Final = re.compile(r"(?:^|_)(?:token|password|passphrase|secret|api_key)$")

log = logging.getLogger(__name__)


class AddedChannels:
    """Adds, changes and removes channels, one at a time, without a restart."""

    def __init__(
        self,
        database: Database,
        channels: ChannelManager,
        setup_of: Callable[[str], ChannelSetup] = find_setup,
        types: Callable[[], Sequence[str]] = known_types,
    ) -> None:
        self._database = database
        self._channels = channels
        self._setup_of = setup_of
        self._types = types
        self._one_by_one = asyncio.Lock()

    async def start(self) -> None:
        """Hand all to the manager, before it starts. One of the configuration file goes before another of its name."""
        for row in await self._database.run(rows.every):
            if self._channels.known(row.name):
                log.warning(
                    "channel %s was added by command, and stands in the configuration file: that one is used."
                    " Next: ncl channels remove %s",
                    row.name,
                    row.name,
                    extra=about(channel=row.name),
                )
                continue
            await self._channels.add(_channel(row), enabled=row.enabled)

    async def every(self) -> Mapping[str, AddedChannel]:
        """Return all rows by name, also of those that a configured channel goes before."""
        return {row.name: row for row in await self._database.run(rows.every)}

    async def types(self) -> Sequence[str]:
        """Return what can be added here."""
        return [one for one in await asyncio.to_thread(self._types) if self._channels.allows(one)]

    async def setup_of(self, kind: str) -> ChannelSetup:
        """Return what a type asks.

        Raises:
            InvalidName: no installed package provides it.
            NanoclawError: its package does not load.
        """
        try:
            return await asyncio.to_thread(self._setup_of, _word(kind))
        except InvalidName as error:
            raise InvalidName(error.message, hint="ncl channels types") from error
        except NanoclawError:
            raise
        except Exception as error:
            log.exception("the package of the channel type %s does not load", kind)
            raise NanoclawError(f"the package of {kind} does not load: {in_words(error)}") from error

    async def add(self, name: str, kind: str, options: Sequence[str], *, enabled: bool) -> AddedChannel:
        """Add a channel; the adapter is made of its options first, so that wrong ones are told at once.

        Raises:
            AlreadyExists: there is one of this name.
            InvalidName: the name, the type or an option is wrong.
            Refused: a secret is among the options.
            NanoclawError: the type's package does not load.
        """
        channel = Channel(type=_word(kind), options=read_given(options), name=_name(name))
        async with self._one_by_one:
            if self._channels.known(name):
                raise AlreadyExists(f"there is a channel {name} already", hint=f"ncl channels show {name}")
            await self._check(channel, f"ncl channels add {kind} {name} --option KEY=VALUE")
            row = await self._database.run(
                lambda connection: rows.create(connection, name, kind, channel.options, enabled=enabled)
            )
            await self._channels.add(channel, enabled=enabled)
        return row

    async def update(self, name: str, options: Sequence[str]) -> AddedChannel:
        """Change options of a channel, and set it up anew; an empty value takes an option away.

        Raises:
            NotFound, Refused: it was not added by command.
            InvalidName: an option is wrong.
        """
        given = read_given(options)
        async with self._one_by_one:
            row = await self._row(name)
            merged = {key: value for key, value in {**row.options, **given}.items() if value != ""}
            channel = Channel(type=row.type, options=merged, name=name)
            await self._check(channel, f"ncl channels update {name} --option KEY=VALUE")
            row = await self._database.run(lambda connection: rows.update(connection, name, options=merged))
            await self._channels.remake(channel)
        return row

    async def switch(self, name: str, *, enabled: bool) -> None:
        """Enable or disable a channel; again does nothing.

        Raises:
            NotFound, Refused: it was not added by command.
        """
        async with self._one_by_one:
            await self._row(name)
            await self._database.run(lambda connection: rows.update(connection, name, enabled=enabled))
            await (self._channels.enable(name) if enabled else self._channels.disable(name))

    async def remove(self, name: str) -> None:
        """Remove a channel with what it has kept; where the configuration file has one of its name, that one stays.

        Raises:
            NotFound, Refused: it was not added by command.
        """
        async with self._one_by_one:
            await self._row(name, shadowed=True)
            await self._database.run(rows.delete, name)
            if self._channels.configured(name) is None:
                await self._channels.remove(name)

    async def _row(self, name: str, *, shadowed: bool = False) -> AddedChannel:
        """Return a channel's row; ``shadowed``: also where a configured one goes before it."""
        configured = self._channels.configured(name)
        try:
            row = await self._database.run(rows.by_name, name)
        except NotFound:
            self._channels.state(name)
            place = configured.place() if configured is not None else "always there"
            raise Refused(
                f"channel {name} was not added by command: {place}",
                hint=None if configured is None else "sudoedit /etc/nanoclawd/config.yaml",
            ) from None
        if configured is not None and not shadowed:
            raise Refused(
                f"channel {name} stands in the configuration file, too, and that one is used: {configured.place()}",
                hint=f"ncl channels remove {name}",
            )
        return row

    async def _check(self, channel: Channel, mending: str) -> None:
        """Return if an adapter can be made; ``mending`` is the command that mends the option KEY."""
        try:
            await self._channels.check(channel)
        except InvalidName as error:
            named = re.match(r"option (\w+)", error.message)
            key = named[1] if named else "KEY"
            hint = "ncl channels types" if key == "type" else mending.replace("KEY", key)
            raise InvalidName(error.message, hint=hint) from error
        except NanoclawError:
            raise
        except Exception as error:
            log.exception("channel %s cannot be made", channel.name, extra=about(channel=channel.name))
            raise NanoclawError(f"channel {channel.name} cannot be made: {in_words(error)}") from error


def read_given(options: Sequence[str]) -> dict[str, Any]:
    """Return options from ``KEY=VALUE``; a value that begins with ``[`` or ``{`` is JSON.

    Raises:
        InvalidName: one is not of that form, or there are too many.
        Refused: one is a secret by its name.
    """
    if len(options) > MAX_OPTIONS:
        raise InvalidName(f"a channel has {MAX_OPTIONS} options at most")
    found: dict[str, Any] = {}
    for one in options:
        match = _OPTION.fullmatch(one)
        if match is None:
            raise InvalidName(
                "an option is KEY=VALUE, with a-z, 0-9 and _ in KEY, and 4000 characters at most in VALUE"
            )
        if _SECRET.search(match["key"]):
            raise Refused(
                f"{match['key']} is a secret, and those are no options: it is asked for, and stored encrypted"
            )
        found[match["key"]] = _value(match["key"], match["value"])
    return found


def _value(key: str, text: str) -> object:
    if not text.startswith(("[", "{")):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidName(f"option {key} begins like a list, and is no JSON") from None


def _channel(row: AddedChannel) -> Channel:
    return Channel(type=row.type, options=row.options, name=row.name)


def _name(name: str) -> str:
    try:
        msgspec.convert(name, ChannelName)
    except msgspec.ValidationError:
        raise InvalidName(
            f"{name[:40]!r} is no name of a channel: at most 31 of a-z, 0-9 and -, with a letter or digit at both ends"
        ) from None
    if name in RESERVED_CHANNELS:
        raise InvalidName(f"{name}: {RESERVED_CHANNELS[name]}")
    return name


def _word(kind: str) -> str:
    try:
        msgspec.convert(kind, Word)
    except msgspec.ValidationError:
        raise InvalidName(f"{kind[:40]!r} is no type of channel", hint="ncl channels types") from None
    return kind
