"""The server over HTTP: requests of the bot, updates to it, faults, and the tests' own control side."""

import asyncio
import contextlib
import hmac
import inspect
import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from . import rules
from .limits import Limits
from .methods import Methods, Upload
from .moments import Moments
from .people import People
from .rules import ApiError, bad_request
from .world import Json, World

_NUMBERS = {"offset", "limit", "timeout", "message_id", "message_thread_id", "max_connections"}
_CONFLICT = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
_HAS_WEBHOOK = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
_MAX_REQUEST = 80 * 1024 * 1024
_WEBHOOK_PAUSE_SECONDS = 0.2


@dataclass
class Fault:
    """What the next calls of a method meet; ``method`` ``*``: of any.

    Attributes:
        status: they are answered with it, and with ``retry_after``, or with text that is no JSON where ``garbage`` is
        set.
        stall: seconds before they are answered as usual.
        cut: the connection ends without an answer; with ``after``, what was asked for is done first.
    """

    method: str
    times: int = 1
    status: int | None = None
    description: str = "Internal Server Error"
    retry_after: int | None = None
    garbage: bool = False
    stall: float = 0.0
    cut: bool = False
    after: bool = False


class TelegramApi:
    """One Bot API server with one bot."""

    def __init__(self, token: str, limits: Limits | None = None) -> None:
        self.token = token
        self.world = World()
        self.limits = limits or Limits()
        self.people = People(self.world)
        self.methods = Methods(self.world, self.limits)
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.log: list[tuple[str, Json]] = []
        self._lines: Counter[int] = Counter()
        self._sends: list[Json] = []
        self.moments_seen = Moments()
        self._poll: asyncio.Future[None] | None = None
        self._webhook: Json = {}
        self._pushing: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Where it is, as clients' option for the API's base."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Serve on loopback."""
        application = web.Application(client_max_size=_MAX_REQUEST)
        application.add_routes(
            [
                web.route("*", "/bot{token}/{method}", self._call),
                web.get("/file/bot{token}/{path:.+}", self._download),
                web.post("/control", self._control),
            ]
        )
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port or self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        """End; what the world knows stays."""
        if self._pushing is not None:
            self._pushing.cancel()
        if self._poll is not None and not self._poll.done():
            self._poll.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    # What tests do to the service.

    def fault(self, method: str, **about: Any) -> None:
        """Have the next calls of a method meet a fault."""
        self.faults.append(Fault(method, **about))

    def calm(self) -> None:
        """Have no more faults."""
        self.faults.clear()

    def revoke(self, token: str) -> None:
        """[Bot features, BotFather] Revoke the token; another one is valid from now on."""
        self.token = token

    def update(self, content: Json) -> int:
        """Have an update come that is whatever a test says."""
        return self.world.tell_raw(content)

    def limit(self, *, is_on: bool) -> None:
        self.limits.is_on = is_on

    def counts(self) -> Json:
        """Return how often each method was called, how often too often, and how many updates wait."""
        waiting = len(self.world.updates)
        return {"calls": dict(self.calls), "refused": self.limits.refused, "waiting": waiting}

    def sends(self) -> list[Json]:
        """Return all messages that the bot has sent, each with the port that its request came from, and whether nothing
        was asked from there after it: then the bot may never have got the answer.
        """
        return [{**one, "is_last": self._lines[one["line"]] == one["number"]} for one in self._sends]

    def moments(self) -> Json:
        """Return when messages were told and answers came: wall-clock seconds, chat, text."""
        return self.moments_seen.as_json()

    def _note(self, request: web.Request, result: Any) -> None:
        if isinstance(result, dict) and "message_id" in result and "chat" in result:
            line = _line(request)
            about = {"chat": result["chat"]["id"], "message": result["message_id"], "line": line}
            self._sends.append({**about, "number": self._lines[line]})

    # Requests of the bot.

    async def _call(self, request: web.Request) -> web.StreamResponse:
        method, came = request.match_info["method"], time.time()
        try:
            given = await _parameters(request)
            # [Making requests] "https://api.telegram.org/bot<token>/METHOD_NAME"; observed: 401 for one that is not
            # valid.
            if not hmac.compare_digest(request.match_info["token"].encode(), self.token.encode()):
                raise ApiError(401, "Unauthorized")
            self.calls[method] += 1
            self._lines[_line(request)] += 1
            if method == "sendMessage":
                self.moments_seen.answer_came(came, given)
            self.log.append((method, {key: value for key, value in given.items() if not isinstance(value, Upload)}))
            del self.log[:-5000]
            fault = self._next_fault(method)
            if fault is not None:
                answer = await self._suffer(fault, request, method, given)
                if answer is not None:
                    return answer
            result = await self._do(method, given)
            self._note(request, result)
            return _answer(result)
        except ApiError as error:
            # [Making requests] "'ok' equals false and the error is explained in the 'description'."
            body = {"ok": False, "error_code": error.code, "description": error.description}
            parameters = {"parameters": error.parameters} if error.parameters else {}
            return web.json_response({**body, **parameters}, status=error.code)

    async def _do(self, method: str, given: Json) -> Any:
        match method.lower():
            case "getupdates":
                return await self._updates(given)
            case "setwebhook":
                return self._set_webhook(given)
            case "deletewebhook":
                return self._set_webhook({"url": "", **given})
            case "getwebhookinfo":
                url = self._webhook.get("url", "")
                return {"url": url, "has_custom_certificate": False, "pending_update_count": len(self.world.updates)}
        found = self.methods.find(method)
        if found is None:
            raise ApiError(404, "Not Found")
        return found(given)

    async def _updates(self, given: Json) -> list[Json]:
        """[getUpdates] "Use this method to receive incoming updates using long polling." [Notes] "This method will not
        work if an
        outgoing webhook is set up."
        """
        if self._webhook:
            raise ApiError(409, _HAS_WEBHOOK)
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)  # observed: the one that was there first is ended
        poll = self._poll = asyncio.get_running_loop().create_future()
        self.world.allow(given.get("allowed_updates"))
        # [getUpdates, limit] "Values between 1-100 are accepted. Defaults to 100."
        limit = min(max(given.get("limit", 100), 1), 100)
        ends = asyncio.get_running_loop().time() + min(given.get("timeout", 0), rules.MAX_POLL_SECONDS)
        try:
            while not (found := self.world.waiting(given.get("offset", 0), limit)):
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    break
                news = asyncio.ensure_future(self.world.news.wait())
                await asyncio.wait({news, poll}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if poll.done():
                    raise ApiError(409, _CONFLICT)
            self.moments_seen.told(found)
            return found
        finally:
            if not poll.done():
                poll.cancel()

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """[getFile] "https://api.telegram.org/file/bot<token>/<file_path>"."""
        if not hmac.compare_digest(request.match_info["token"].encode(), self.token.encode()):
            return web.json_response({"ok": False, "error_code": 401, "description": "Unauthorized"}, status=401)
        fault = self._next_fault("download")
        if fault is not None:
            answer = await self._suffer(fault, request, "download", {})
            if answer is not None:
                return answer
        file = self.world.files.get(request.match_info["path"].removeprefix("documents/"))
        if file is None or file.content is None:
            return web.json_response({"ok": False, "error_code": 404, "description": "Not Found"}, status=404)
        return web.Response(body=file.content, content_type="application/octet-stream")

    # Webhooks.

    def _set_webhook(self, given: Json) -> bool:
        """[setWebhook] "Whenever there is an update for the bot, we will send an HTTPS POST request to the specified
        URL" (here:
        HTTP on loopback, too). [secret_token] "in every webhook request, 1-256 characters. Only characters A-Z, a-z,
        0-9, _ and
        - are allowed."
        """
        secret = given.get("secret_token") or ""
        if secret and not (len(secret) <= 256 and secret.replace("_", "").replace("-", "").isalnum()):
            raise bad_request("secret token contains unallowed characters")
        self.world.allow(given.get("allowed_updates"))
        if given.get("drop_pending_updates"):
            self.world.updates.clear()
        if self._pushing is not None:
            self._pushing.cancel()
            self._pushing = None
        self._webhook = {"url": given["url"], "secret": secret} if given.get("url") else {}
        if self._webhook:
            self._pushing = asyncio.create_task(self._push())
        return True

    async def _push(self) -> None:
        """[setWebhook] "In case of an unsuccessful request (a request with response HTTP status code different from
        2XY), we will
        repeat the request and give up after a reasonable amount of attempts."
        """
        headers = {"X-Telegram-Bot-Api-Secret-Token": self._webhook["secret"]} if self._webhook["secret"] else {}
        async with aiohttp.ClientSession() as client:
            while True:
                for update in self.world.waiting(0, 1):
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        async with client.post(self._webhook["url"], json=update, headers=headers) as answer:
                            if 200 <= answer.status < 300:
                                self.world.waiting(update["update_id"] + 1, 1)
                                continue
                    await asyncio.sleep(_WEBHOOK_PAUSE_SECONDS)  # until it is repeated
                if not self.world.updates:
                    await self.world.news.wait()

    # Faults and control.

    def _next_fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method in {method, "*"}:
                fault.times -= 1
                return fault
        return None

    async def _suffer(self, fault: Fault, request: web.Request, method: str, given: Json) -> web.StreamResponse | None:
        await asyncio.sleep(fault.stall)  # as slow as a test wants it
        if fault.after:
            self._note(request, await self._do(method, given))
        if fault.cut:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        if fault.garbage:
            return web.Response(status=fault.status or 200, text="<html>Bad Gateway</html>", content_type="text/html")
        if fault.status is None:
            return None
        parameters = {"retry_after": fault.retry_after} if fault.retry_after is not None else {}
        raise ApiError(fault.status, fault.description, **parameters)

    async def _control(self, request: web.Request) -> web.Response:
        """``{"do": "write", "args": {…}}``: a method of :class:`People`, or of this class."""
        asked = await request.json()
        name = asked["do"]
        act = getattr(self.people, name, None) or getattr(self, name)
        try:
            result = act(**asked.get("args", {}))
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=500)
        return web.json_response({"result": result})


def _line(request: web.Request) -> int:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return int(peer[1]) if peer else 0


async def _parameters(request: web.Request) -> Json:
    """[Making requests] "We support four ways of passing parameters in Bot API requests: URL query string,
    application/x-www-form-urlencoded, application/json (except for uploading files), multipart/form-data".
    """
    given: Json = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        given |= await request.json()
    elif request.can_read_body:
        for key, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                uploads[key] = Upload(value.filename, value.content_type, value.file.read())
            else:
                given[key] = value
    read = {key: _value(key, value) for key, value in given.items()}
    # [Sending files] "attach://<file_attach_name>": the file is another part of the request
    for key, value in read.items():
        if isinstance(value, str) and value.startswith("attach://"):
            read[key] = uploads.get(value.removeprefix("attach://"), value)
    return {**uploads, **read}


def _value(key: str, value: Any) -> Any:
    """Return a parameter as it is meant: all but texts come as JSON where they come in a form."""
    if key in {"text", "caption", "url", "secret_token", "parse_mode"} or not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return read if not isinstance(read, int) or isinstance(read, bool) or key in _NUMBERS else value


def _answer(result: Any) -> web.Response:
    if isinstance(result, dict):
        result = {key: value for key, value in result.items() if key not in {"files", "sent", "reactions"}}
    return web.json_response({"ok": True, "result": result})
