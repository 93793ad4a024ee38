"""The conversation at a terminal: line editing, history, answers above the prompt, the agent's STATUS below it."""

import asyncio
import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout

from nanoclawd.cli import outcome
from nanoclawd.cli.clean import clean, clean_line
from nanoclawd.cli.files import described, upload
from nanoclawd.cli.link import Link, check_size
from nanoclawd.cli.outcome import CommandError

_HELP = (
    "Enter sends, Alt-Enter makes a new line, /file PATH sends a file, /help says what else."
    " Ctrl-D or /quit ends; the agent goes on."
)
_FILE = "/file "
_ROOM_FOR_PROMPT = 6


class Screen:
    """What the terminal shows."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._partial = ""
        self._status = ""
        self._pending: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._session: PromptSession[str] = PromptSession(
            history=_history(link.group), bottom_toolbar=self._toolbar, erase_when_done=True
        )

    async def run(self) -> None:
        """Converse until the person leaves.

        Raises:
            CommandError: the daemon cannot be reached or refuses the group.
        """
        with patch_stdout():
            listener = asyncio.create_task(self._listen())
            typing = asyncio.create_task(self._type())
            try:
                await asyncio.wait((listener, typing), return_when=asyncio.FIRST_COMPLETED)
                for task in (listener, typing):
                    if task.done():
                        task.result()
            finally:
                for task in (listener, typing, *self._sending):
                    task.cancel()
                await asyncio.gather(listener, typing, *self._sending, return_exceptions=True)

    async def _type(self) -> None:
        print(f"Talking to {self._link.group}. {_HELP}")
        while True:
            try:
                text = await self._session.prompt_async(self._prompt)
            except EOFError:
                return
            except KeyboardInterrupt:
                continue  # Ctrl-C drops the line, as in a shell
            if text.strip() in {"/quit", "/exit"}:
                return
            if text.strip():
                self._start_sending(text)

    def _start_sending(self, text: str) -> None:
        print(f"you: {clean(text)}")
        task = asyncio.create_task(self._send(text))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, text: str) -> None:
        try:
            files = []
            if text.startswith(_FILE):
                files = await asyncio.to_thread(upload, self._link.path, [text.removeprefix(_FILE).strip()])
                text = ""
            sent = await self._link.send(check_size(text, alone=not files), secrets.token_hex(16), files)
        except CommandError as error:
            print(f"not sent: {clean(error.message)}")
            return
        if sent["state"] == "accepted":
            self._pending.add(sent["message_id"])
            self._session.app.invalidate()

    async def _listen(self) -> None:
        async for event in self._link.events():
            self._show(event)
            self._session.app.invalidate()

    def _show(self, event: dict[str, Any]) -> None:
        kind, text = event["type"], event.get("text", "")
        if kind == "message":
            self._partial = ""
            print("\n".join([f"{self._link.group}: {clean(text)}", *described(event)]))
        elif kind == "notice":
            print(f"nanoclawd: {clean(text)}")
        elif kind == "partial":
            self._partial = clean(text)
        elif kind in {"status", "waiting"}:
            self._status = clean_line(text, 100)
        elif kind == "turn":
            self._partial = self._status = ""
            self._pending.discard(event.get("in_reply_to") or "")
        elif kind == "lost":
            self._status = "nanoclawd is away; it is tried again"
        elif kind == "attached":
            self._status = ""

    def _prompt(self) -> FormattedText:
        """The answer being written stands above the input until the whole of it is printed in its place."""
        if not self._partial:
            return FormattedText([("bold", "> ")])
        width, height = shutil.get_terminal_size()
        room = max(height - _ROOM_FOR_PROMPT, 1) * width
        return FormattedText([("italic", f"{self._link.group}: {self._partial[-room:]}…\n"), ("bold", "> ")])

    def _toolbar(self) -> str:
        waiting = f"{len(self._pending)} to answer" if self._pending else ""
        return " · ".join(part for part in (self._link.group, self._status, waiting) if part)


async def converse(link: Link) -> int:
    """Run the conversation; return the exit code."""
    await Screen(link).run()
    return outcome.OK


def _history(group: str) -> History:
    """Keep what the person typed, for this person only; without a home there is none."""
    with contextlib.suppress(OSError, RuntimeError):
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nanoclaw"
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = state / f"history-{Path(group).name}"
        path.touch(mode=0o600)
        return FileHistory(path)
    return InMemoryHistory()
