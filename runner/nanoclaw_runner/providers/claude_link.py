"""One running client: the Claude CLI as a child process, spoken with by the Agent SDK.

The SDK's modules take half a second to import and are imported here, off the loop, when a client is first started.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from nanoclaw_runner.contract.agent_config import DEFAULT_CONTEXT_TOKENS, AgentConfig
from nanoclaw_runner.places import Places
from nanoclaw_runner.providers import base, claude_tools
from nanoclaw_runner.providers.claude_archive import keep
from nanoclaw_runner.providers.claude_messages import Reader
from nanoclaw_runner.providers.claude_words import is_stale
from nanoclaw_runner.tools.base import Toolbox
from nanoclaw_runner.way_out import variables

_log = logging.getLogger(__name__)

LIBRARIES: Final = (Path("/opt/claude-sdk"), Path("/opt/mcp"))
"""Where the image has the SDK and what it needs: before Debian's own, older ones, and only in this provider."""

COMPACT_WINDOW_TOKENS: Final = 165_000
MAX_INSTRUCTION_BYTES: Final = 96 * 1024
"""They are one word of a command line, which the kernel bounds."""

RETRIES: Final = 6
MAX_LINE_BYTES: Final = 32 * 1024 * 1024
_STDERR_LINES: Final = 20
_KEPT_DAYS: Final = 3650
_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})


class StaleError(Exception):
    """The conversation that was to be carried on is gone."""


class ClientError(Exception):
    """The client could not be started, or is gone; the words are for a person."""


class Ended:
    """Comes after the last message of a client that is gone.

    Attributes:
        words: how it ended.
    """

    def __init__(self, words: str) -> None:
        self.words = words


@dataclass(frozen=True, slots=True)
class Setup:
    """What a client is started with.

    Attributes:
        gateway: where the gateway is reached by http.
        instructions: what is appended to the client's own system prompt.
        continuation: the conversation that is carried on.
        until: and the entry of its transcript up to which; None: all of it.
    """

    config: AgentConfig
    places: Places
    tools: Toolbox
    gateway: str
    instructions: str
    continuation: str | None
    until: str | None = None


class Link:
    """A client that is connected.

    Attributes:
        setup: what it was started with.
        reader: what its messages have told.
        watch: its calls of tools.
        items: its messages, the hooks' events, and :class:`Ended` at the end.
        clean: nothing is under way: it can serve another query.
        kept: the transcript's last entry of a turn that came to its end.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.reader = Reader(session_id=setup.continuation)
        self.items: asyncio.Queue[Any] = asyncio.Queue()
        self.watch = claude_tools.Watch(setup.tools, setup.config.max_tool_calls, self.items.put_nowait)
        self.clean = True
        self.kept: str | None = None
        self._client: Any = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        """Whether it can be spoken with."""
        return self._client is not None and all(not task.done() for task in self._tasks)

    async def open(self) -> None:
        """Start the client and connect.

        Raises:
            StaleError: the conversation is gone; a new one can be begun.
            ClientError: the client is missing, or ended at once.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        sdk = await asyncio.to_thread(_library)
        loaded = loop.time()
        self._client = sdk.ClaudeSDKClient(self._options(sdk))
        try:
            await self._client.connect()
        except Exception as error:
            words = f"{error} {' '.join(self._stderr)}"
            await self.close()
            if self.setup.continuation is not None and is_stale(words):
                raise StaleError from error
            _log.error("Claude's client could not be started: %s", words)
            raise ClientError("Claude's client could not be started. The operator can run: ncl doctor") from error
        _log.info("Claude's client: libraries %.3f s, client %.3f s", loaded - begun, loop.time() - loaded)
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]

    async def close(self) -> None:
        """End the client."""
        client, self._client = self._client, None
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        if client is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                await client.disconnect()

    def say(self, text: str, identifier: str, *, command: bool = False) -> None:
        """Send a prompt; in one that is no command nothing is expanded: neither ``/word`` nor ``@path``.

        Args:
            text: the prompt.
            identifier: a UUID, by which the outcome names it.
            command: it is one of the client's own commands.
        """
        self.clean = False
        message = {"role": "user", "content": text}
        self._outgoing.put_nowait(
            {
                "type": "user",
                "message": message,
                "parent_tool_use_id": None,
                "uuid": identifier,
                **({} if command else {"client_composed": True}),
            }
        )

    async def passed_on(self) -> None:
        """Return when the client's pipe has all that was said; not while it takes nothing more."""
        await self._outgoing.join()

    def drop_leftovers(self) -> None:
        """Forget what was said between two queries, but for the end."""
        ended = None
        while not self.items.empty():
            item = self.items.get_nowait()
            ended = item if isinstance(item, Ended) else ended
        if ended is not None:
            self.items.put_nowait(ended)

    async def _receive(self) -> None:
        words = "it ended"
        try:
            async for message in self._client.receive_messages():
                self.items.put_nowait(message)
        except Exception as error:
            words = str(error) or type(error).__name__
        _log.warning("Claude's client is gone: %s %s", words, " ".join(self._stderr))
        self.items.put_nowait(Ended(words))

    async def _send(self) -> None:
        async def one(message: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
            yield message

        while True:
            message = await self._outgoing.get()
            try:
                await self._client.query(one(message))
            except Exception as error:
                self.items.put_nowait(Ended(str(error) or type(error).__name__))
                return
            finally:
                self._outgoing.task_done()

    def _options(self, sdk: Any) -> Any:
        setup, config = self.setup, self.setup.config
        servers = claude_tools.configured(config.mcp_servers, setup.gateway, setup.places.gateway_socket)
        # Not in the configuration's power: our own tools are ours.
        servers[claude_tools.OWN] = claude_tools.own_server(sdk, setup.tools)
        hooks = {
            "PreToolUse": [sdk.HookMatcher(hooks=[self.watch.before])],
            "PostToolUse": [sdk.HookMatcher(hooks=[self.watch.after])],
            "PostToolUseFailure": [sdk.HookMatcher(hooks=[self.watch.after])],
            "PreCompact": [sdk.HookMatcher(hooks=[self._archive])],
        }
        return sdk.ClaudeAgentOptions(
            cwd=setup.places.workspace,
            env=_environment(setup),
            model=config.model or None,
            effort=config.effort if config.effort in _EFFORTS else None,
            resume=setup.continuation,
            resume_session_at=setup.until,
            system_prompt={
                "type": "preset",
                "preset": "claude_code",
                "append": _bounded(setup.instructions),
                # Else a conversation would keep those that it began with.
                "snapshot": False,
            },
            tools=list(claude_tools.BUILT_IN),
            allowed_tools=claude_tools.allowed(config.mcp_servers),
            disallowed_tools=list(claude_tools.REFUSED),
            mcp_servers=servers,
            strict_mcp_config=True,
            permission_mode="bypassPermissions",
            setting_sources=["user", "project"],
            settings=json.dumps(_settings(setup.places)),
            hooks=hooks,
            include_partial_messages=True,
            max_buffer_size=MAX_LINE_BYTES,
            stderr=self._stderr.append,
        )

    async def _archive(self, call: dict[str, Any], _call_id: str | None, _context: object) -> dict[str, Any]:
        config = self.setup.config
        path = await asyncio.to_thread(
            keep,
            Path(str(call.get("transcript_path"))),
            self.setup.places.workspace,
            config.assistant_name,
            config.timezone,
        )
        if path is not None:
            _log.info("the conversation so far was archived as %s", path.name)
        return {}


def compaction_note(places: Places) -> Path:
    """Return the file that says what a summary has to keep; the client's hook prints it."""
    return places.home / ".claude" / "compaction.txt"


def _library() -> Any:
    for path in LIBRARIES[::-1]:
        if path.is_dir() and str(path) not in sys.path:
            sys.path.insert(0, str(path))
            # msgspec has loaded Debian's, which is too old for the SDK; it keeps what it has taken from there.
            sys.modules.pop("typing_extensions", None)
    try:
        return import_module("claude_agent_sdk")
    except ImportError as error:
        _log.exception("the Agent SDK cannot be loaded")
        raise base.UnusableProviderError(
            "this container's image has no Claude client. The operator can run: ncl images build agent-claude"
        ) from error


def _environment(setup: Setup) -> dict[str, str]:
    config = setup.config
    own = config.context_tokens != DEFAULT_CONTEXT_TOKENS
    window = config.context_tokens if own else COMPACT_WINDOW_TOKENS
    return {
        # Of the client's own and its tools' way to other hosts; it reaches its API without them.
        **variables(setup.gateway, setup.places.gateway_socket),
        "HOME": str(setup.places.home),
        "ANTHROPIC_BASE_URL": f"{setup.gateway}/{config.endpoint}",
        # No key is in here (house rule 6): the gateway puts it in.
        "ANTHROPIC_API_KEY": "held-by-the-gateway",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_BUG_COMMAND": "1",
        "DISABLE_INSTALLATION_CHECKS": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        # What is remembered is in the workspace's notes, where every session of the group finds it.
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": os.environ.get("CLAUDE_CODE_AUTO_COMPACT_WINDOW", str(window)),
        "CLAUDE_CODE_MAX_RETRIES": str(RETRIES),
        # The runner's tools are few, and offered as they are.
        "ENABLE_TOOL_SEARCH": "false",
        "BASH_DEFAULT_TIMEOUT_MS": str(int(claude_tools.BASH_SECONDS * 1000)),
        "BASH_MAX_TIMEOUT_MS": str(int(claude_tools.BASH_MOST_SECONDS * 1000)),
        # A question to a person may take as long as the turn.
        "MCP_TOOL_TIMEOUT": str(int(config.turn_seconds * 1000)),
        "CLAUDE_AGENT_SDK_SKIP_VERSION_CHECK": "1",
    }


def _settings(places: Places) -> dict[str, Any]:
    note = {"type": "command", "command": f"cat {compaction_note(places)}"}
    return {
        "includeCoAuthoredBy": False,
        "cleanupPeriodDays": _KEPT_DAYS,
        "hooks": {"PreCompact": [{"hooks": [note]}]},
    }


def _bounded(text: str) -> str:
    encoded = text.replace("\0", "").encode(errors="replace")
    if len(encoded) <= MAX_INSTRUCTION_BYTES:
        return encoded.decode()
    _log.warning("the instructions have %d bytes; the client is given %d of them", len(encoded), MAX_INSTRUCTION_BYTES)
    return encoded[:MAX_INSTRUCTION_BYTES].decode(errors="ignore")
