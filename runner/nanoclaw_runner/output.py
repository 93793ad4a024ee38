"""What a model says, taken apart as it comes: words for nobody in particular, messages with a name, and thoughts.

The tokenizer is fed piece by piece, and any split gives the same result. Tags count in any case and with their
attributes in any order. They are text inside fenced code and inline code; inside thoughts nothing counts but their end.
A block that begins before the one before it has ended ends that one; one that never ends goes on to the end of the
answer. Where a model has mixed up its fences or its thoughts, no message is swallowed by them.
"""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Final

MAX_CHARACTERS: Final = 1024 * 1024
"""Of one answer; what a model says beyond it is not looked at."""

_MAX_TAG: Final = 512
_MAX_SPAN: Final = 1000
_MAX_INFO: Final = 200
_MAX_FENCE: Final = 64

_SPECIAL = re.compile(r"[<`\n]")
_TAG = re.compile(r"<(?P<end>/?)(?P<name>message|internal)(?=[\s/>])(?P<rest>[^<>]*)>", re.IGNORECASE)
_BEGUN_TAG = re.compile(r"</?(?:(?P<word>[a-z]*)|(?:message|internal)[\s/][^<>]*)\Z", re.IGNORECASE)
_NAMES = ("message", "internal")
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|["']?([^\s"'/]+))""")
_MESSAGE_BEGINS = re.compile(r"<message\s[^<>]*>", re.IGNORECASE)
_INTERNAL_ENDS = re.compile(r"</internal\s*>", re.IGNORECASE)
_MESSAGE_ENDS = re.compile(r"</message\s*>", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(`{3,32}|~{3,32})")
_BEGUN_FENCE = re.compile(r" {0,3}(`{0,31}|~{0,31})\Z")
_RUN = re.compile(r"`+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer.

    Attributes:
        to: the name that the block gives; empty: the block gives none; None: outside of any block.
        text: as it was written, without the white space around it.
    """

    to: str | None
    text: str


@dataclass(slots=True)
class _Growing:
    to: str | None
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.parts).strip()


class Tokenizer:
    """Takes one answer apart.

    Attributes:
        thought: whether there was a block of thoughts.
    """

    def __init__(self) -> None:
        self.thought = False
        self._rest = ""
        self._length = 0
        self._pieces: list[_Growing] = [_Growing(None)]
        self._line_begins = True
        self._fence = ""
        # Where the parts of the piece with an open fence begin that are its code.
        self._fence_at = 0
        self._fences = True
        self._depth = 0
        self._thoughts: list[str] = []

    def feed(self, text: str) -> None:
        """Go on with what the model has said next."""
        room = MAX_CHARACTERS - self._length
        self._length += len(text)
        self._rest += text[: max(room, 0)]
        self._scan(final=False)

    def pieces(self) -> tuple[Piece, ...]:
        """Return what is certain so far: a tag that has just begun, or thoughts, are never part of it."""
        return tuple(Piece(one.to, one.text) for one in self._pieces if one.text)

    def finish(self) -> tuple[Piece, ...]:
        """Return the parts of the whole answer, those without a word left out."""
        self._scan(final=True)
        self._end_fence()
        self._end_thoughts()
        return self.pieces()

    def _scan(self, *, final: bool) -> None:
        text, at = self._rest, 0
        while at < len(text):
            after = self._step(text, at, final=final)
            if after is None:
                break
            at = after
        self._rest = text[at:]

    def _step(self, text: str, at: int, *, final: bool) -> int | None:
        """Deal with what begins at a position; return where the next begins, None until more has been said."""
        if self._depth:
            return self._think(text, at, final=final)
        if self._fence:
            return self._in_fence(text, at, final=final)
        if self._line_begins:
            return self._begin_line(text, at, final=final)
        found = _SPECIAL.search(text, at)
        if found is None or found.start() > at:
            return self._say(text, at, len(text) if found is None else found.start())
        if text[at] == "\n":
            self._line_begins = True
            return self._say(text, at, at + 1)
        if text[at] == "`":
            return self._code_span(text, at, final=final)
        return self._tag(text, at, final=final)

    def _say(self, text: str, begin: int, end: int) -> int:
        self._pieces[-1].parts.append(text[begin:end])
        return end

    def _begin_line(self, text: str, at: int, *, final: bool) -> int | None:
        if not final and _BEGUN_FENCE.match(text, at):
            return None
        fence = _FENCE.match(text, at) if self._fences else None
        if fence is not None:
            end = text.find("\n", fence.end(), fence.end() + _MAX_INFO)
            if end < 0 and not final and len(text) - fence.end() < _MAX_INFO:
                return None
            if end >= 0 and not set(text[fence.end() : end]) & {"`", "<"}:
                self._fence = fence[1]
                self._say(text, at, end + 1)
                self._fence_at = len(self._pieces[-1].parts)
                return end + 1
        self._line_begins = False
        return at

    def _in_fence(self, text: str, at: int, *, final: bool) -> int | None:
        if self._line_begins:
            run = f" {{0,3}}{self._fence[0]}"
            window = text[at : at + _MAX_FENCE]
            begun = rf"{run}*[ \t]*\Z"
            if not final and len(window) < _MAX_FENCE and re.match(begun, window):
                return None
            # What follows may be a tag: models write the end of a message right behind their code.
            ends = re.match(rf"{run}{{{len(self._fence)},}}[ \t]*(?=\n|<|\Z)", window)
            self._line_begins = False
            if ends is not None:
                self._fence = ""
                return self._say(text, at, at + ends.end())
        end = text.find("\n", at)
        self._line_begins = end >= 0
        return self._say(text, at, end + 1 if end >= 0 else len(text))

    def _code_span(self, text: str, at: int, *, final: bool) -> int | None:
        """Take inline code as it is; backticks without their like in the same line are just that."""
        window = at + _MAX_SPAN
        complete = final or len(text) > window
        run = _RUN.match(text, at, window)
        length = run.end() - at if run else 1
        begun = at + length
        if begun == len(text) and not complete:
            return None
        line_ends = text.find("\n", begun, window)
        closing = re.compile(rf"(?<!`)`{{{length}}}(?!`)").search(text, begun, line_ends if line_ends >= 0 else window)
        if closing is not None and (closing.end() < len(text) or complete):
            return self._say(text, at, closing.end())
        if line_ends >= 0 or complete:
            return self._say(text, at, begun)
        return None

    def _tag(self, text: str, at: int, *, final: bool) -> int | None:
        found = _TAG.match(text, at, at + _MAX_TAG)
        if found is None:
            return None if not final and _may_become_tag(text, at) else self._say(text, at, at + 1)
        ends, name, rest = bool(found["end"]), found["name"].lower(), found["rest"]
        if name == "internal" and not ends and not rest.endswith("/"):
            self.thought = True
            self._depth = 1
            self._thoughts.clear()
        elif name == "message" and (ends or not rest.endswith("/")):
            if not ends:
                self._pieces.append(_Growing(_name_in(rest)))
            elif self._pieces[-1].to is not None:
                self._pieces.append(_Growing(None))
            self._line_begins = True
        return found.end()

    def _think(self, text: str, at: int, *, final: bool) -> int | None:
        begin = text.find("<", at)
        if begin != at:
            end = begin if begin >= 0 else len(text)
            self._thoughts.append(text[at:end])
            return end
        found = _TAG.match(text, at, at + _MAX_TAG)
        if found is None:
            if not final and _may_become_tag(text, at):
                return None
            self._thoughts.append("<")
            return at + 1
        if found["name"].lower() == "internal" and not found["rest"].endswith("/"):
            self._depth += -1 if found["end"] else 1
        self._thoughts.append(found[0])
        return found.end()

    def _end_fence(self) -> None:
        """Take a fence that a model forgot to end in a message as ended before that message's end."""
        piece = self._pieces[-1]
        code = "".join(piece.parts[self._fence_at :])
        if not self._fence or piece.to is None or not _MESSAGE_ENDS.search(code):
            return
        del piece.parts[self._fence_at :]
        self._fence, self._fences, self._line_begins = "", False, True
        self._rest = code
        self._scan(final=True)

    def _end_thoughts(self) -> None:
        """Take thoughts that a model forgot to end as ended by the last end there was, or before its first message."""
        if not self._depth:
            return
        thoughts = "".join(self._thoughts)
        ends = [found.end() for found in _INTERNAL_ENDS.finditer(thoughts)]
        message = _MESSAGE_BEGINS.search(thoughts, ends[-1] if ends else 0)
        begin = ends[-1] if ends else message.start() if message else len(thoughts)
        self._depth, self._line_begins = 0, True
        self._rest = thoughts[begin:]
        self._scan(final=True)


def parse(text: str) -> tuple[Piece, ...]:
    """Take a whole answer apart."""
    tokenizer = Tokenizer()
    tokenizer.feed(text)
    return tokenizer.finish()


def _may_become_tag(text: str, at: int) -> bool:
    if len(text) - at >= _MAX_TAG:
        return False
    found = _BEGUN_TAG.match(text, at)
    if found is None:
        return False
    word = found["word"]
    return word is None or any(name.startswith(word.lower()) for name in _NAMES)


def _name_in(attributes: str) -> str:
    for name, *values in _ATTRIBUTE.findall(attributes):
        if name.lower() == "to":
            return unescape(next((value for value in values if value), "")).strip()
    return ""
