"""What of a model's words is its answer, and what it said on the way there, beside its calls of tools.

The client's own result is the last text of the last message only. An answer may have several: the model thinks in
between, or goes on in another message where its length limit has cut one off.
"""

from collections.abc import Iterable
from typing import Any, Final

_CUT: Final = "max_tokens"


class Words:
    """Collects the texts of the messages that one turn of the client's is made of."""

    def __init__(self) -> None:
        self._complete = ""
        self._goes_on = False
        self._current: list[str] = []
        self._message: str | None = None

    def hear(self, message: Any) -> str:
        """Take a part of the model's message; return what has turned out to be said beside a call of a tool.

        A part of another message means that the one before it is over. If it has not been ended, it has broken off and
        is begun anew: its words are forgotten.
        """
        if message.message_id != self._message:
            self._message = message.message_id
            self._current.clear()
        for block in message.content:
            if type(block).__name__ == "TextBlock":
                self._current.append(block.text)
        if any(type(block).__name__ == "ToolUseBlock" for block in message.content):
            return self.take()
        if message.stop_reason is not None:
            self.end(message.stop_reason)
        return ""

    def end(self, reason: str) -> None:
        """Note that the model's message is whole."""
        text = "\n\n".join(self._current)
        self._current.clear()
        between = "" if self._goes_on or not self._complete or not text else "\n\n"
        self._complete += between + text
        self._goes_on = reason == _CUT

    def take(self) -> str:
        """Return what has been said since the last time, and forget it."""
        self.end("")
        said, self._complete = self._complete, ""
        return said

    def answer(self, result: str, *, failed: bool) -> tuple[str, str]:
        """Return what was said on the way, and the answer.

        Args:
            result: the client's.
            failed: it says why there is no answer.
        """
        said = self.take()
        return ("", said) if not failed and said.rstrip().endswith(result.strip()) else (said, result)


def has_results(content: str | Iterable[Any]) -> bool:
    """Tell whether a message to the model has tools' results."""
    return not isinstance(content, str) and any(type(block).__name__ == "ToolResultBlock" for block in content)
