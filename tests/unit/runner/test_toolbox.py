"""A turn's tools and their bounds: what a model may write as a call, and what a tool may do to a turn."""

import asyncio
import contextlib
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.tools.base import MAX_ARGUMENT_BYTES, MAX_RESULT_CHARACTERS, Tool, Toolbox, ToolError, Watcher


class Inner(msgspec.Struct, frozen=True):
    """An object inside."""

    number: int


class Arguments(msgspec.Struct, frozen=True, rename="camel"):
    """What the tools of these tests take."""

    some_text: Annotated[str, msgspec.Meta(description="words")]
    inner: Inner | None = None


class Heard(Watcher):
    """Remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def began(self, name: str, timeout: float | None) -> None:
        self.events.append(("began", name, str(timeout)))

    def ended(self, name: str) -> None:
        self.events.append(("ended", name))


async def echo(arguments: Arguments) -> str:
    return arguments.some_text


async def hang(_arguments: Arguments) -> str:
    await asyncio.Event().wait()
    return ""


async def fail(_arguments: Arguments) -> str:
    raise KeyError("a fault")


async def late(_arguments: Arguments) -> str:
    raise TimeoutError


async def flood(_arguments: Arguments) -> str:
    return "x" * 10_000_000


def box(*, max_calls: int = 100) -> Toolbox:
    tools: list[Tool[Any]] = [
        Tool("echo", "Says it.", Arguments, echo),
        Tool("hang", "Hangs.", Arguments, hang, timeout=0.05),
        Tool("fail", "Fails.", Arguments, fail),
        Tool("late", "Is late.", Arguments, late, timeout=None),
        Tool("flood", "Floods.", Arguments, flood),
    ]
    return Toolbox(tools, max_calls=max_calls, watcher=Heard())


async def test_arguments_come_as_an_object_or_as_its_text():
    assert await box().call("echo", {"someText": "hi"}) == "hi"
    assert await box().call("echo", '{"someText": "hi", "unknown": 1}') == "hi"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("echoo", {}, r"unknown tool: echoo\. There are: echo, fail, flood, hang, late"),
        ("x" * 1000, {}, "unknown tool: xxx"),
        ("echo", {}, "missing required field `someText`"),
        ("echo", "", "missing required field `someText`"),
        ("echo", {"someText": 1}, r"Expected `str`, got `int` - at `\$.someText`"),
        ("echo", {"someText": "x", "inner": {"number": "1"}}, r"at `\$.inner.number`"),
        ("echo", '{"someText": "x"', "no JSON"),
        ("echo", "[" * 5000, "no JSON"),
        ("echo", "[1]", "no JSON object"),
        ("echo", " " * (MAX_ARGUMENT_BYTES + 1), "more than"),
        ("hang", {"someText": ""}, r"hang was not done within 0\.05 seconds"),
        ("fail", {"someText": ""}, "fail failed: 'a fault'"),
        ("late", {"someText": ""}, "late failed: TimeoutError"),
    ],
)
async def test_what_cannot_be_called_is_an_error_for_the_model(name: str, arguments: object, words: str):
    """F-51: no such tool, invalid arguments, a tool that hangs or has a fault: words, and the turn goes on."""
    tools = box()
    with pytest.raises(ToolError, match=words):
        await tools.call(name, arguments)  # type: ignore[arg-type]
    assert await tools.call("echo", {"someText": "still there"}) == "still there"


@given(st.text(max_size=50), st.text(max_size=200) | st.dictionaries(st.text(max_size=9), st.none() | st.text()))
def test_whatever_a_model_writes_is_answered(name: str, arguments: Any):
    async def scene() -> None:
        for called in (name, "echo"):
            with contextlib.suppress(ToolError):
                assert isinstance(await box().call(called, arguments), str)

    asyncio.run(scene())


async def test_the_calls_of_a_turn_are_bounded():
    """A thousand calls: the model is told to answer; the next turn counts anew."""
    tools = box(max_calls=3)
    results = await asyncio.gather(
        *(tools.call("echo", {"someText": "x"}) for _ in range(1000)), return_exceptions=True
    )
    assert results.count("x") == 3
    assert "which is the limit: answer now" in str(results[-1])
    tools.begin_turn()
    assert await tools.call("echo", {"someText": "x"}) == "x"


async def test_a_long_result_is_cut_where_everybody_sees_it():
    result = await box().call("flood", {"someText": ""})
    assert len(result) == MAX_RESULT_CHARACTERS
    assert result.endswith("[cut here: 10000000 characters, 65536 fit]")


async def test_the_watcher_hears_of_each_call_and_its_bound():
    tools = box()
    for name in ("hang", "late"):
        with pytest.raises(ToolError):
            await tools.call(name, {"someText": ""})
    assert tools.watcher.events == [  # type: ignore[attr-defined]
        *(("began", "hang", "0.05"), ("ended", "hang"), ("began", "late", "None"), ("ended", "late")),
    ]


def test_the_schema_is_whole_in_itself():
    """F-50: no references: not every provider resolves them."""
    schema = box().tools[0].schema
    assert schema["properties"]["someText"] == {"type": "string", "description": "words"}
    assert schema["required"] == ["someText"]
    assert schema["properties"]["inner"]["anyOf"][1]["properties"] == {"number": {"type": "integer"}}
