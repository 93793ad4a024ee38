"""What goes into a model and comes out of it: prompts made of any row, and answers in any number of pieces."""

import re

from fuzz.shaped import Shaped
from nanoclaw_runner.contract.rows import Address, InboundRow
from nanoclaw_runner.output import Tokenizer, parse
from nanoclaw_runner.prompt import View, from_rows

_KINDS = ("chat", "task", "webhook", "system")
_OURS = re.compile(
    r"</?(?:context|message|task|webhook|system|quoted_message|attachment|script_output)"
    r'(?: [a-z_]+="[^"<>]*")*/?>'
)
_ROW = re.compile("<(?:message|task|webhook|system)[ >]")
_VIEW = View(style="addressed", named=lambda _address: "here")


def answer(data: bytes) -> None:
    """An answer in pieces: the same parts as of the whole one, none of them empty, nothing taken back meanwhile."""
    text = data.decode("utf-8", "replace")
    tokenizer = Tokenizer()
    size = 1 + data[0] % 7 if data else 1
    shown = 0
    for begin in range(0, len(text), size):
        tokenizer.feed(text[begin : begin + size])
        now = sum(len(piece.text) for piece in tokenizer.pieces())
        assert now >= shown
        shown = now
    parts = tokenizer.finish()
    assert parts == parse(text)
    assert all(part.text == part.text.strip() != "" for part in parts)
    assert sum(len(part.text) for part in parts) <= len(text)


def prompt(data: bytes) -> None:
    """A row of any kind with any content: one element, and no mark in it but ours."""
    shaped = Shaped(data)
    kind, content = shaped.choice(_KINDS), data[1:].decode("utf-8", "replace")
    row = InboundRow("in-2", 2, kind, shaped.text(), content, address=Address("loop", "1"))
    text = from_rows("in-2", [row], _VIEW).rendered()
    assert len(_ROW.findall(text)) == 1
    assert not set(_OURS.sub("", text)) & {"<", ">"}
    from_rows("in-2", [row]).rendered().encode()
