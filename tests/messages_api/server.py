"""The server: what a client of Anthropic's meets, and what a test asks about it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from . import checks, script

_WORDS = {
    400: ("invalid_request_error", "the request is not acceptable"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "your account may not use this model"),
    413: ("request_too_large", "the request is too large"),
    429: ("rate_limit_error", "this request would exceed your account's rate limit"),
    500: ("api_error", "internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
_KEPT_REQUESTS = 200
MAX_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class MessagesApi:
    """One scripted API.

    Attributes:
        key: the API key that it accepts, in x-api-key or as a bearer token.
        token: the OAuth token that it accepts, with the beta's flag.
        seen: what was asked, as ``GET /_seen`` gives it.
        faults: what was wrong with that.
    """

    key: str
    token: str = "no-token"
    seen: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    played: Counter[tuple[str, int]] = field(default_factory=Counter)
    credentials: set[str] = field(default_factory=set)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def application(self) -> web.Application:
        """Return the server's application."""
        application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        application.add_routes(
            [
                web.post("/v1/messages", self._messages),
                web.post("/v1/messages/count_tokens", self._count),
                web.get("/v1/models", self._models),
                web.get("/_seen", self._report),
                web.get("/_body", self._last_body),
                web.post("/_reset", self._reset),
                web.post("/_credentials", self._change_credentials),
            ]
        )
        return application

    async def _report(self, _request: web.Request) -> web.Response:
        report = {"requests": self.seen, "faults": self.faults, "credentials": sorted(self.credentials)}
        return web.json_response(report)

    async def _last_body(self, _request: web.Request) -> web.Response:
        return web.json_response(self.bodies[-1] if self.bodies else None)

    async def _reset(self, _request: web.Request) -> web.Response:
        for kept in (self.seen, self.faults, self.played, self.credentials, self.bodies):
            kept.clear()
        return web.json_response({})

    async def _change_credentials(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self.key, self.token = wanted.get("key", self.key), wanted.get("token", self.token)
        return web.json_response({})

    async def _models(self, request: web.Request) -> web.Response:
        if not self._accepts(request.headers):
            return error(401)
        return web.json_response({"data": [{"type": "model", "id": "claude-scripted"}], "has_more": False})

    async def _count(self, request: web.Request) -> web.Response:
        if not self._accepts(request.headers):
            return error(401)
        return web.json_response({"input_tokens": 1234})

    def _accepts(self, headers: Mapping[str, str]) -> bool:
        key, bearer = headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")
        self.credentials.update(value for value in (key, bearer) if value)
        if key == self.key:
            return True
        return bearer == self.token and checks.OAUTH_BETA in headers.get("anthropic-beta", "").split(",")

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        if not self._accepts(request.headers):
            return error(401, words=f"invalid x-api-key: {request.headers.get('x-api-key')}")
        body = await request.json()
        faults = checks.of_headers(request.headers) + checks.of_body(body)
        self.faults += faults
        if faults:
            return error(400, words="; ".join(faults))
        conversation = script.read(body["messages"])
        self._note(request, body, conversation)
        if script.POISON in json.dumps(body["messages"]):
            return error(400, words="messages: this content is not acceptable")
        return await _Turn(self, request, body, conversation).play()

    def _note(self, request: web.Request, body: dict[str, Any], conversation: script.Conversation) -> None:
        system = body.get("system") or ""
        self.seen.append(
            {
                "model": body["model"],
                "effort": (body.get("output_config") or {}).get("effort"),
                "system": system if isinstance(system, str) else "\n".join(block["text"] for block in system),
                "tools": [tool["name"] for tool in body.get("tools") or []],
                "said": conversation.said,
                "results": conversation.results,
                "turns": conversation.turns,
                "beta": request.headers.get("anthropic-beta", ""),
                "compaction": conversation.is_compaction,
            }
        )
        del self.seen[:-_KEPT_REQUESTS]
        self.bodies[:] = [body]


@dataclass(slots=True)
class _Turn:
    api: MessagesApi
    request: web.Request
    body: dict[str, Any]
    conversation: script.Conversation
    stream: web.StreamResponse | None = None

    async def play(self) -> web.StreamResponse:
        if self.conversation.is_compaction:
            return await self._answer("<analysis>all of it</analysis>\n<summary>the scripted summary</summary>")
        waiting = self.conversation.steps  # so many calls of tools were played already
        directives = self.conversation.directives()
        for number, directive in enumerate(directives):
            name, rest = directive.name, directive.rest
            if name == "@tool":
                if not waiting:
                    beside = directives[number - 1] if number else directive
                    words = beside.rest if beside.name == "@beside" else ""
                    return await self._call([rest, *_side_by_side(directives[number + 1 :])], words)
                waiting -= 1
            elif waiting:
                continue
            elif name == "@say":
                return await self._answer(self._filled(rest))
            elif name == "@count":
                count, _, seconds = rest.partition(" ")
                text = " ".join(map(str, range(1, int(count) + 1)))
                return await self._answer(text, pieces=int(count), seconds=float(seconds or 0))
            elif name == "@slow":
                await asyncio.sleep(float(rest))  # as slow as a test wants it
            elif name not in {"@and", "@beside"} and (name in {"@always", "@stall"} or self._first_time(number)):
                return await self._fail(name, rest)
        if self.conversation.results:
            return await self._answer("\n".join(self.conversation.results))
        return await self._answer(self.conversation.echo())

    def _first_time(self, number: int) -> bool:
        key = (self.conversation.said, number)
        self.api.played[key] += 1
        return self.api.played[key] == 1

    def _filled(self, text: str) -> str:
        system = self.body.get("system") or ""
        end = (system if isinstance(system, str) else system[-1]["text"]).strip().rpartition("\n\n")[2]
        values = {"{results}": " | ".join(self.conversation.results), "{turns}": str(self.conversation.turns)}
        for name, value in {**values, "{system}": end.splitlines()[0]}.items():
            text = text.replace(name, value)
        return text.replace("\\n", "\n")

    async def _fail(self, name: str, rest: str) -> web.StreamResponse:
        if name in {"@status", "@always"}:
            status, _, after = rest.strip().partition(" ")
            return error(int(status), after=after.strip())
        await self._begin()
        await self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        await self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": "I was going to"})
        if name == "@stall":
            await asyncio.Event().wait()
        if name == "@broken-sse":
            await self.response.write(b"event: content_block_delta\ndata: {no json\n\n")
            await self.response.write_eof()
        elif self.request.transport is not None:
            self.request.transport.close()
        return self.response

    async def _call(self, calls: list[str], beside: str) -> web.StreamResponse:
        blocks = []
        for call in calls:
            name, _, text = call.strip().partition(" ")
            blocks.append((name, self.conversation.with_results(text.strip()) or "{}"))
        if not self.body.get("stream"):
            raise web.HTTPBadRequest(text="tools are called in a stream only")
        await self._begin()
        if beside:
            await self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            await self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": beside})
            await self._event("content_block_stop", index=0)
        for index, (name, text) in enumerate(blocks, start=1 if beside else 0):
            number = f"toolu_{self.conversation.turns}_{self.conversation.steps}_{index}"
            block = {"type": "tool_use", "id": number, "name": name, "input": {}}
            await self._event("content_block_start", index=index, content_block=block)
            for piece in re.findall(r".{1,40}", text, re.DOTALL):
                delta = {"type": "input_json_delta", "partial_json": piece}
                await self._event("content_block_delta", index=index, delta=delta)
            await self._event("content_block_stop", index=index)
        return await self._end("tool_use")

    async def _answer(self, text: str, pieces: int = 2, seconds: float = 0) -> web.StreamResponse:
        usage = {"input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 30}
        usage["cache_creation_input_tokens"] = 40
        if not self.body.get("stream"):
            block = {"type": "text", "text": text}
            return web.json_response({**self._message(usage), "content": [block], "stop_reason": "end_turn"})
        await self._begin(usage)
        await self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        async for piece in _pieces(text, pieces):
            await self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
            await asyncio.sleep(seconds / pieces)  # as slow as a test wants it
        await self._event("content_block_stop", index=0)
        return await self._end("end_turn")

    def _message(self, usage: dict[str, int]) -> dict[str, Any]:
        number = f"msg_{self.conversation.turns}_{self.conversation.steps}_{len(self.api.seen)}"
        message = {"id": number, "type": "message", "role": "assistant", "model": self.body["model"]}
        return {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}

    @property
    def response(self) -> web.StreamResponse:
        if self.stream is None:
            raise RuntimeError("not begun")
        return self.stream

    async def _begin(self, usage: dict[str, int] | None = None) -> None:
        self.stream = web.StreamResponse(headers={"content-type": "text/event-stream", "request-id": "req_scripted"})
        await self.stream.prepare(self.request)
        counts = usage or {"input_tokens": 100, "output_tokens": 1}
        await self._event("message_start", message=self._message(counts))

    async def _end(self, reason: str) -> web.StreamResponse:
        delta = {"stop_reason": reason, "stop_sequence": None}
        await self._event("message_delta", delta=delta, usage={"output_tokens": 20})
        await self._event("message_stop")
        await self.response.write_eof()
        return self.response

    async def _event(self, kind: str, **content: Any) -> None:
        data = json.dumps({"type": kind, **content})
        await self.response.write(f"event: {kind}\ndata: {data}\n\n".encode())


async def _pieces(text: str, count: int) -> AsyncGenerator[str]:
    size = max(1, -(-len(text) // count))
    for start in range(0, len(text), size):
        yield text[start : start + size]
        await asyncio.sleep(0)


def _side_by_side(directives: list[script.Directive]) -> list[str]:
    found = []
    for directive in directives:
        if directive.name != "@and":
            break
        found.append(directive.rest)
    return found


def error(status: int, *, words: str = "", after: str = "") -> web.Response:
    """Return an error as the API would."""
    kind, message = _WORDS[status]
    headers = {"request-id": "req_scripted"} | ({"retry-after": after} if after else {})
    content = {"type": "error", "error": {"type": kind, "message": words or message}, "request_id": "req_scripted"}
    return web.json_response(content, status=status, headers=headers)
