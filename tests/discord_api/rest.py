"""The REST API and the CDN."""

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from . import rules
from .gateway import Gateway
from .interactions import Interactions
from .limits import Buckets
from .world import File, World

PREFIX = "/api/v10"
NONCE_SECONDS = 300.0
"""Create Message: "enforce_nonce: If true and nonce is present, it will be checked for uniqueness in the past few
minutes. If another message was created by the same author with the same nonce, that message will be returned and no new
message will be created"."""

_PAGE = 100
_MOMENTS = 5000
_MAX_REQUEST = 100 * 1024 * 1024


@dataclass
class Failure:
    """What the next requests of a kind meet instead of an answer.

    Attributes:
        pattern: of ``METHOD /path``, below the prefix.
        after: the request is carried out first: only its answer gets lost.
        hang: there is no answer at all.
    """

    pattern: str
    status: int = 500
    times: int = 1
    retry_after: float = 0.0
    everywhere: bool = False
    hang: bool = False
    after: bool = False


class ApiError(Exception):
    """An error as the API has it: {"code": …, "message": …, "errors"?: …}."""

    def __init__(self, status: int, code: int, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "message": message}
        if fields:
            self.body["errors"] = {
                name: {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": words}]}
                for name, words in fields.items()
            }


class Rest:
    """All routes."""

    def __init__(self, world: World, gateway: Gateway, interactions: Interactions) -> None:
        self.world = world
        self.gateway = gateway
        self.interactions = interactions
        self.buckets = Buckets()
        self.failures: list[Failure] = []
        self.log: list[tuple[float, str]] = []
        self.came: deque[tuple[float, str, str]] = deque(maxlen=_MOMENTS)
        """When (wall clock) a request to post a message had come, in which channel, and its text."""
        self.repeats: list[str] = []
        """Nonces that came again, and made no second message."""
        self.refusing = False
        self._nonces: dict[str, tuple[float, str, str]] = {}

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application(client_max_size=_MAX_REQUEST)
        here = "/channels/{channel}"
        message = here + "/messages/{message}"
        self._routes: list[tuple[str, str, str, Callable[[web.Request], Awaitable[Any]]]] = [
            ("GET", "/gateway/bot", "gateway", self._gateway_bot),
            ("GET", "/users/@me", "me", self._me),
            ("GET", "/oauth2/applications/@me", "application", self._application),
            ("POST", "/users/@me/channels", "open dm", self._open_dm),
            ("GET", here, "channel", self._channel),
            ("GET", here + "/messages", "GET messages", self._messages),
            ("POST", here + "/messages", "POST messages", self._create),
            ("GET", message, "GET message", self._message),
            ("PATCH", message, "PATCH message", self._edit),
            ("DELETE", message, "DELETE message", self._delete),
            ("PUT", message + "/reactions/{emoji}/@me", "reactions", self._react),
            ("DELETE", message + "/reactions/{emoji}/@me", "reactions", self._unreact),
            ("POST", message + "/threads", "threads", self._start_thread),
            ("PUT", here + "/thread-members/@me", "thread members", self._join),
            ("DELETE", here + "/thread-members/@me", "thread members", self._leave),
            ("POST", here + "/typing", "typing", self._typing),
            ("GET", "/applications/{application}/commands", "commands", self._commands),
            ("PUT", "/applications/{application}/commands", "commands", self._overwrite_commands),
            ("POST", "/interactions/{interaction}/{token}/callback", "", self.interactions.callback),
            ("POST", "/webhooks/{application}/{token}", "", self.interactions.follow_up),
        ]
        for method, path, limit, handler in self._routes:
            application.router.add_route(method, PREFIX + path, self._around(limit, handler))
        application.router.add_get("/attachments/{path:.*}", self._attachment)
        return application

    # What is true of every request.

    def _around(
        self, limit: str, handler: Callable[[web.Request], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            name = f"{request.method} {request.path.removeprefix(PREFIX)}"
            self.log.append((time.monotonic(), name))
            request["came"] = time.time()
            if self.refusing:
                return _error(503, {"message": "upstream connect error", "code": 0})
            failure = next((one for one in self.failures if one.times and re.search(one.pattern, name)), None)
            if failure is not None:
                failure.times -= 1
                if failure.hang and not failure.after:
                    await asyncio.Event().wait()
                if not failure.after:
                    return _failed(failure)
            # Authentication: "Authorization: Bot TOKEN". An interaction's token is in its path.
            if limit and request.headers.get("Authorization") != f"Bot {self.world.token}":
                return _error(401, {"message": "401: Unauthorized", "code": 0})
            headers: dict[str, str] = {}
            if limit:
                headers, wait, everywhere = self.buckets.take(limit, request.match_info.get("channel", ""))
                if wait:
                    return _limited(wait, headers, everywhere=everywhere)
            try:
                answer = await handler(request)
            except ApiError as error:
                return _error(error.status, error.body, headers)
            except (ValueError, TypeError, AttributeError):
                return _error(400, {"code": 50109, "message": "The request body contains invalid JSON."}, headers)
            if failure is not None:
                if failure.hang:
                    await asyncio.Event().wait()
                return _failed(failure)
            if answer is None:
                return web.Response(status=204, headers=headers)
            return _json(answer, headers=headers)

        return handle

    # Places.

    async def _gateway_bot(self, _request: web.Request) -> dict[str, Any]:
        # "url", "shards", "session_start_limit: total, remaining, reset_after (milliseconds), max_concurrency".
        start = {"total": 1000, "remaining": self.gateway.starts_left, "reset_after": 14_400_000, "max_concurrency": 1}
        return {"url": self.gateway.url, "shards": 1, "session_start_limit": start}

    async def _me(self, _request: web.Request) -> dict[str, Any]:
        return dict(self.world.bot)

    async def _application(self, _request: web.Request) -> dict[str, Any]:
        owner = {"id": "1", "username": "owner", "discriminator": "0", "avatar": None}
        more = {"description": "", "icon": None, "bot_public": False, "bot_require_code_grant": False, "owner": owner}
        return self.world.application | more | {"verify_key": "", "team": None}

    async def _open_dm(self, request: web.Request) -> dict[str, Any]:
        wanted = str((await request.json()).get("recipient_id"))
        for name, person in self.world.people.items():
            if person["id"] == wanted:
                return self.world.channels[self.world.dm(name)]
        raise ApiError(400, 50033, "Invalid Recipient(s)")

    async def _channel(self, request: web.Request) -> dict[str, Any]:
        return self._place(request)

    def _place(self, request: web.Request) -> dict[str, Any]:
        found = self.world.channels.get(_snowflake(request, "channel"))
        if found is None:
            raise ApiError(404, 10003, "Unknown Channel")
        return found

    # Messages.

    async def _messages(self, request: web.Request) -> list[dict[str, Any]]:
        """Get Channel Messages: "limit: Max number of messages to return (1-100), default 50"; newest first."""
        messages = list(self.world.messages[self._place(request)["id"]].values())
        limit = int(request.query.get("limit", "50"))
        if not 1 <= limit <= _PAGE:
            raise ApiError(400, 50035, "Invalid Form Body", {"limit": "int value should be between 1 and 100."})
        if "after" in request.query:
            after = int(request.query["after"])
            messages = [one for one in messages if int(one["id"]) > after][:limit]
        elif "before" in request.query:
            messages = [one for one in messages if int(one["id"]) < int(request.query["before"])][-limit:]
        else:
            messages = messages[-limit:]
        return [self._fresh(one) for one in reversed(messages)]

    async def _message(self, request: web.Request) -> dict[str, Any]:
        return self._fresh(self._one(request))

    def _one(self, request: web.Request) -> dict[str, Any]:
        found = self.world.messages[self._place(request)["id"]].get(_snowflake(request, "message"))
        if found is None:
            raise ApiError(404, 10008, "Unknown Message")
        return found

    def _fresh(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message as it is told: "signed URLs … refreshed" whenever the API gives it out, without members."""
        files = [one | {"url": self.world.signed(one["path"])} for one in message["attachments"]]
        return message | {"attachments": files, "reactions": []}

    async def _create(self, request: web.Request) -> dict[str, Any]:
        channel = self._place(request)
        body, files = await _body(request)
        self.came.append((request["came"], str(channel["id"]), str(body.get("content") or "")))
        self._check(body, files, edit=False)
        person = (channel.get("recipients") or [{}])[0]
        if person.get("id") in self.world.unsent_dms:
            raise ApiError(403, 50007, "Cannot send messages to this user")
        nonce = body.get("nonce")
        if nonce is not None and body.get("enforce_nonce"):
            at, place, known = self._nonces.get(str(nonce), (0.0, "", ""))
            if at > time.monotonic() - NONCE_SECONDS and known in self.world.messages.get(place, {}):
                self.repeats.append(str(nonce))
                return self._fresh(self.world.messages[place][known])
        reference = (body.get("message_reference") or {}).get("message_id")
        more = {"components": body.get("components") or [], "embeds": body.get("embeds") or []}
        more |= {"flags": body.get("flags") or 0, "_pings": _pings(body)}
        made = self.world.post(
            channel["id"], self.world.bot, body.get("content") or "", files=files, reply_to=reference, more=more
        )
        if nonce is not None:
            self._nonces[str(nonce)] = (time.monotonic(), channel["id"], made["id"])
        return self._fresh(made)

    async def _edit(self, request: web.Request) -> dict[str, Any]:
        message = self._one(request)
        if message["author"] != self.world.bot:
            raise ApiError(403, 50005, "Cannot edit a message authored by another user")
        body, files = await _body(request)
        self._check(message | body, files, edit=True)
        changes = {key: body[key] or [] for key in ("components", "embeds") if key in body}
        if "content" in body:
            changes["content"] = body["content"] or ""
        if files:
            # "attachments: Attached files to keep and possible descriptions for new files".
            changes["attachments"] = [self.world.attach(message["channel_id"], file) for file in files]
        return self._fresh(self.world.change(message["channel_id"], message["id"], changes))

    def _check(self, body: dict[str, Any], files: list[File], *, edit: bool) -> None:
        found = rules.faults(body, len(files), edit=edit)
        if found:
            raise ApiError(400, 50035, "Invalid Form Body", found)
        if any(len(file.content) > rules.MAX_ATTACHMENT_BYTES for file in files):
            raise ApiError(413, 40005, "Request entity too large")
        if rules.is_empty(body, len(files)):
            raise ApiError(400, 50006, "Cannot send an empty message")

    async def _delete(self, request: web.Request) -> None:
        message = self._one(request)
        self.world.remove(message["channel_id"], message["id"])

    async def _react(self, request: web.Request) -> None:
        message, emoji = self._one(request), unquote(request.match_info["emoji"])
        # Create Reaction: "The emoji must be URL Encoded or the request will fail with a 10014: Unknown Emoji".
        if emoji.isascii():
            raise ApiError(400, 10014, "Unknown Emoji")
        self.world.react(message["channel_id"], message["id"], self.world.bot, emoji)

    async def _unreact(self, request: web.Request) -> None:
        message, emoji = self._one(request), unquote(request.match_info["emoji"])
        message["reactions"] = [one for one in message["reactions"] if one != [self.world.bot["id"], emoji]]

    async def _typing(self, request: web.Request) -> None:
        """Trigger Typing Indicator: "expires after 10 seconds"."""
        self.world.typing.append(self._place(request)["id"])

    # Threads.

    async def _start_thread(self, request: web.Request) -> dict[str, Any]:
        message, body = self._one(request), await request.json()
        if message["id"] in self.world.channels:
            raise ApiError(400, 160004, "A thread has already been created for this message")
        if not 1 <= len(body.get("name") or "") <= _PAGE:
            raise ApiError(400, 50035, "Invalid Form Body", {"name": "Must be between 1 and 100 in length."})
        return self.world.channels[self.world.thread(message["channel_id"], body["name"], message["id"])]

    async def _join(self, request: web.Request) -> None:
        self._members(request).add(self.world.bot["id"])

    async def _leave(self, request: web.Request) -> None:
        self._members(request).discard(self.world.bot["id"])

    def _members(self, request: web.Request) -> set[str]:
        place = self._place(request)
        if place["id"] not in self.world.members:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        return self.world.members[place["id"]]

    # Commands.

    async def _commands(self, _request: web.Request) -> list[dict[str, Any]]:
        return self.world.commands

    async def _overwrite_commands(self, request: web.Request) -> list[dict[str, Any]]:
        """Bulk Overwrite Global Application Commands: "overwriting the existing global command list"."""
        wanted = await request.json()
        for one in wanted:
            # Application Command Naming: "match the following regex ^[-_'\p{L}\p{N}…]{1,32}$ … lowercase".
            if not re.fullmatch(r"[-_a-z0-9]{1,32}", one["name"]) or not 1 <= len(one["description"]) <= _PAGE:
                raise ApiError(400, 50035, "Invalid Form Body", {"name": "Command name is invalid"})
        self.world.commands = [{"id": self.world.snowflake(), "type": 1} | one for one in wanted]
        return self.world.commands

    # The CDN.

    async def _attachment(self, request: web.Request) -> web.StreamResponse:
        stored = self.world.files.get(request.match_info["path"])
        if stored is None or request.query.get("hm") != stored.signature:
            return web.Response(status=404, text="This content is no longer available.")
        if int(request.query.get("ex", "0"), 16) < time.time():
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=stored.content, content_type=stored.media_type)


async def _body(request: web.Request) -> tuple[dict[str, Any], list[File]]:
    """Read a message's body. Uploading Files: multipart, "files[n]", "payload_json"."""
    if not request.content_type.startswith("multipart/"):
        found = await request.json()
        return (found if isinstance(found, dict) else {}), []
    body: dict[str, Any] = {}
    files: list[File] = []
    async for part in await request.multipart():
        content = bytes(await part.read(decode=False))  # type: ignore[union-attr]
        if part.name == "payload_json":  # type: ignore[union-attr]
            body = json.loads(content)
        elif re.fullmatch(r"files\[\d+\]", part.name or ""):  # type: ignore[union-attr]
            kind = part.headers.get("Content-Type", "application/octet-stream")
            files.append(File(part.filename or "unknown", content, kind))  # type: ignore[union-attr]
    return body, files


def _pings(body: dict[str, Any]) -> list[str]:
    """Return who is notified.

    Allowed Mentions: "parse: An array of allowed mention types to parse from the content": roles, users, everyone;
    without the object, everything in the content is parsed.
    """
    allowed = body.get("allowed_mentions")
    kinds = {"users", "roles", "everyone"} if allowed is None else set(allowed.get("parse") or ())
    content = body.get("content") or ""
    found = []
    if "everyone" in kinds and re.search(r"@(everyone|here)", content):
        found.append("everyone")
    if "roles" in kinds:
        found += re.findall(r"<@&(\d+)>", content)
    return found + (re.findall(r"<@!?(\d+)>", content) if "users" in kinds else [])


def _snowflake(request: web.Request, name: str) -> str:
    value = unquote(request.match_info[name])
    if not value.isdecimal():
        raise ApiError(400, 50035, "Invalid Form Body", {name: f'Value "{value}" is not snowflake.'})
    return value


def _error(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return _json(body, status=status, headers=headers)


def _json(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return JSON with the content type that the service has: without a character set."""
    whole = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=whole)


def _failed(failure: Failure) -> web.Response:
    if failure.status != 429:
        return _error(failure.status, {"message": f"{failure.status}: told to fail", "code": 0})
    return _limited(failure.retry_after, {}, everywhere=failure.everywhere)


def _limited(wait: float, headers: dict[str, str], *, everywhere: bool) -> web.Response:
    """429: "retry_after: The number of seconds to wait", "global: … if you are being globally rate limited".

    ``Via`` is not in the documentation: clients know by it that the answer is the service's, not of what is before it.
    """
    more = {"Retry-After": f"{wait:.3f}", "Via": "1.1 google"}
    body = {"message": "You are being rate limited.", "retry_after": wait, "global": everywhere}
    return _error(429, body, headers | more | ({"X-RateLimit-Global": "true"} if everywhere else {}))
