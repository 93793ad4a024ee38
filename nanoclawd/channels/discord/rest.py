"""The requests that a channel makes, and what is said of those that fail."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiohttp
import discord
import yarl
from discord.http import Route

from nanoclawd.channels.discord import wire
from nanoclawd.channels.discord.client import DiscordClient
from nanoclawd.errors import NanoclawError, NotFound, Refused, Unavailable
from nanoclawd.sessions.ports import Attachment, Undelivered

PAGE: Final = 100
FILE_HOSTS: Final = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
"""Where the service keeps files: nothing else is fetched, whatever a message says."""

UNKNOWN_MESSAGE: Final = 10008

_BLOCK_BYTES: Final = 64 * 1024
_GONE: Final = frozenset({401, 403, 404, 410})
_FILE_SECONDS: Final = 30.0
_SERVER_FAULT: Final = 500
_TOO_MANY: Final = 429
_NOT_FOUND: Final = 404
_TRANSIENT: Final = frozenset({401, 408, 425})
_OK: Final = 200
_UNTYPED: Final = "application/octet-stream"

FAILURES: Final = (discord.DiscordException, OSError, aiohttp.ClientError, TimeoutError)
"""What a request can end with."""


class Rest:
    """Requests of one connected client. Each may raise what is in :data:`FAILURES`."""

    def __init__(self, client: DiscordClient, api: str | None) -> None:
        self._client = client
        self._api = None if api is None else yarl.URL(api)

    async def gateway(self) -> wire.GatewayBot:
        """Return where the gateway is."""
        return wire.read(await self._ask(Route("GET", "/gateway/bot")), wire.GatewayBot)

    async def me(self) -> wire.User:
        """Return the bot."""
        return wire.read(await self._ask(Route("GET", "/users/@me")), wire.User)

    async def application(self) -> wire.Application:
        """Return the bot's application."""
        return wire.read(await self._ask(Route("GET", "/oauth2/applications/@me")), wire.Application)

    async def channel(self, channel_id: str) -> wire.Channel:
        """Return a channel, thread or direct chat."""
        route = Route("GET", "/channels/{channel_id}", channel_id=channel_id)
        return wire.read(await self._ask(route), wire.Channel)

    async def direct(self, user_id: str) -> wire.Channel:
        """Return the direct chat with a person."""
        body = {"recipient_id": user_id}
        return wire.read(await self._ask(Route("POST", "/users/@me/channels"), json=body), wire.Channel)

    async def after(self, channel_id: str, message_id: int) -> list[dict[str, Any]]:
        """Return up to 100 messages that came after one, the oldest first, unread."""
        route = Route("GET", "/channels/{channel_id}/messages", channel_id=channel_id)
        found = await self._ask(route, params={"after": str(message_id), "limit": str(PAGE)})
        whole = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        return sorted(whole, key=lambda one: _number(one.get("id")))

    async def post(
        self, channel_id: str, body: dict[str, Any], nonce: str | None, files: Sequence[Attachment] = ()
    ) -> str:
        """Post a message; return its id. What is posted again with the same nonce is the same message."""
        if nonce is not None:
            body = body | {"nonce": nonce, "enforce_nonce": True}
        return await self._with_files(
            Route("POST", "/channels/{channel_id}/messages", channel_id=channel_id), body, files
        )

    async def change(
        self, channel_id: str, message_id: str, body: dict[str, Any], files: Sequence[Attachment] = ()
    ) -> None:
        """Change a message of ours; its files are these then."""
        await self._with_files(_message("PATCH", channel_id, message_id), body, files)

    async def _with_files(self, route: Route, body: dict[str, Any], files: Sequence[Attachment]) -> str:
        if not files:
            return _id(await self._ask(route, json=body))
        known = [{"id": number, "filename": file.name} for number, file in enumerate(files)]
        whole = json.dumps(body | {"attachments": known}, ensure_ascii=False)
        form: list[dict[str, Any]] = [{"name": "payload_json", "value": whole, "content_type": "application/json"}]
        sent: list[discord.File] = []
        for number, file in enumerate(files):
            file.file.seek(0)
            one = discord.File(file.file, filename=file.name)  # type: ignore[arg-type]  # any readable that can seek
            sent.append(one)
            named = {"name": f"files[{number}]", "filename": file.name, "content_type": _UNTYPED}
            form.append({**named, "value": one.fp})
        try:
            return _id(await self._ask(route, form=form, files=sent))
        finally:
            for one in sent:
                one.close()  # gives the file back as it was: it is the host's to close

    async def delete(self, channel_id: str, message_id: str) -> None:
        """Delete a message of ours."""
        await self._ask(_message("DELETE", channel_id, message_id))

    async def react(self, channel_id: str, message_id: str, emoji: str) -> None:
        """React to a message."""
        await self._ask(_message("PUT", channel_id, message_id, "/reactions/{emoji}/@me", emoji=emoji))

    async def typing(self, channel_id: str) -> None:
        """Show that somebody writes."""
        await self._ask(Route("POST", "/channels/{channel_id}/typing", channel_id=channel_id))

    async def join(self, thread_id: str) -> None:
        """Become a member of a thread."""
        await self._ask(Route("PUT", "/channels/{channel_id}/thread-members/@me", channel_id=thread_id))

    async def register(self, application_id: str, commands: Sequence[dict[str, Any]]) -> None:
        """Register slash commands, unless they are."""
        place = {"application_id": application_id}
        found = await self._ask(Route("GET", "/applications/{application_id}/commands", **place))
        known = {(one.get("name"), one.get("description")) for one in found if isinstance(one, dict)}
        if known != {(one["name"], one["description"]) for one in commands}:
            await self._ask(Route("PUT", "/applications/{application_id}/commands", **place), json=list(commands))

    async def answer(self, interaction: wire.Interaction, body: dict[str, Any]) -> None:
        """Answer an interaction, within three seconds of it."""
        # These names make a bucket of its own of it: one that stalls is in nobody's way.
        place = {"webhook_id": interaction.id, "webhook_token": interaction.token}
        await self._ask(Route("POST", "/interactions/{webhook_id}/{webhook_token}/callback", **place), json=body)

    async def follow_up(self, application_id: str, interaction: wire.Interaction, body: dict[str, Any]) -> None:
        """Say something more to an interaction, within 15 minutes of it."""
        place = {"webhook_id": application_id, "webhook_token": interaction.token}
        await self._ask(Route("POST", "/webhooks/{webhook_id}/{webhook_token}", **place), json=body)

    async def file(self, channel_id: str, message_id: str, file_id: str) -> AsyncIterator[bytes]:
        """Give a message's file in pieces, by an address that is asked for anew: they expire.

        Raises:
            Unavailable: not now.
            NanoclawError: it is gone, or not for us.
        """
        try:
            found = wire.read(await self._ask(_message("GET", channel_id, message_id)), wire.Message)
            forwarded = [one for snapshot in found.message_snapshots for one in snapshot.message.attachments]
            url = next((one.url for one in (*found.attachments, *forwarded) if one.id == file_id), "")
            async for piece in self._download(url):
                yield piece
        except FAILURES as error:
            raise told(error) from error

    async def _download(self, url: str) -> AsyncIterator[bytes]:
        if not url:
            raise NotFound("the message has this file no more")
        place = yarl.URL(url)
        session = self._client.http.session
        if not self._is_ours(place) or session is None:
            raise Refused("the platform says that the file is somewhere else than where it keeps files")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_FILE_SECONDS, sock_read=_FILE_SECONDS)
        async with session.get(place, timeout=timeout, allow_redirects=False) as response:
            if response.status in _GONE:
                raise NotFound("the platform has this file no more")
            if response.status != _OK:
                raise Unavailable(f"the platform gives no file now ({response.status})")
            async for piece in response.content.iter_chunked(_BLOCK_BYTES):
                yield piece

    def _is_ours(self, place: yarl.URL) -> bool:
        if self._api is not None:
            return place.origin() == self._api.origin()
        return place.scheme == "https" and place.host in FILE_HOSTS

    async def _ask(self, route: Route, **options: Any) -> Any:
        return await self._client.http.request(route, **options)


def is_away(error: BaseException) -> bool:
    """Tell whether a request failed because of the network or of Discord as a whole, and not for what it asked."""
    if isinstance(error, discord.HTTPException):
        return error.status >= _SERVER_FAULT
    return isinstance(error, OSError | aiohttp.ClientError)


def undelivered(error: BaseException) -> Undelivered:
    """Return what a failed request means for a delivery."""
    match error:
        case discord.RateLimited():
            return Undelivered("Discord asks to wait", retry_after=error.retry_after)
        case discord.HTTPException(status=status) if status == _TOO_MANY:
            return Undelivered("Discord asks to wait", retry_after=_seconds(error))
        case discord.HTTPException(status=status) if status >= _SERVER_FAULT or status in _TRANSIENT:
            return Undelivered(f"Discord has trouble ({status})")
        case discord.HTTPException():
            return Undelivered(f"Discord refuses it: {_words(error)}", permanent=True)
        case discord.DiscordException():
            return Undelivered(f"Discord has trouble: {type(error).__name__}")
        case _:
            return Undelivered(f"Discord can't be reached: {type(error).__name__}")


def told(error: BaseException) -> NanoclawError:
    """Return a failed request as an error: for good, or for now."""
    if isinstance(error, discord.HTTPException) and error.status == _NOT_FOUND:
        return NotFound(f"Discord has it no more: {_words(error)}")
    found = undelivered(error)
    return Refused(found.reason) if found.permanent else Unavailable(found.reason)


def _message(method: str, channel_id: str, message_id: str, rest: str = "", **more: str) -> Route:
    path = "/channels/{channel_id}/messages/{message_id}" + rest
    return Route(method, path, channel_id=channel_id, message_id=message_id, **more)


def _words(error: discord.HTTPException) -> str:
    return f"{error.text or error.status} ({error.code})" if error.code else str(error.text or error.status)


def _seconds(error: discord.HTTPException) -> float | None:
    try:
        return max(0.0, float(error.response.headers["Retry-After"]))
    except (KeyError, ValueError, AttributeError):
        return None


def _id(found: object) -> str:
    return wire.read(found, wire.Posted).id


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and wire.is_id(text) else 0
