"""Whatever is written to the credentials socket is answered or hung up on, and a secret in it is repeated nowhere."""

import asyncio
import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from credential_stage import stage_in
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = "zq9-S3CRET-zq9"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_CALLS = st.fixed_dictionaries(
    {"method": st.sampled_from(["Put", "Delete", "List", "Get", ""]).map("io.nanoclaw.Credentials.{}".format)},
    optional={
        "parameters": st.dictionaries(st.sampled_from(["name", "value", "x"]), _JSON, max_size=3),
        "more": st.booleans(),
        "upgrade": st.booleans(),
        "oneway": st.just(value=False),
    },
)
_FRAMES = st.binary(max_size=200) | _CALLS.map(lambda call: json.dumps(call).encode())


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{record.getMessage()} {record.exc_info}\n"


@settings(deadline=None, max_examples=60)
@given(frames=st.lists(_FRAMES, min_size=1, max_size=3))
def test_any_frame(frames: list[bytes]):
    # A loop for each example: hypothesis and the fixtures of a coroutine do not go together.
    heard = _Heard()
    logging.getLogger().addHandler(heard)
    try:
        said = asyncio.run(_exchange(frames))
    finally:
        logging.getLogger().removeHandler(heard)
    assert SECRET not in said
    assert SECRET not in heard.text


async def _exchange(frames: list[bytes]) -> str:
    with TemporaryDirectory() as place:
        async with stage_in(Path(place)) as stage:
            reader, writer = await asyncio.open_unix_connection(stage.path, limit=2**20)
            writer.write(b"\0".join(frames) + b"\0")
            writer.write_eof()
            async with asyncio.timeout(10):
                said = await reader.read()
            writer.close()
            for reply in said.split(b"\0")[:-1]:
                _is_a_reply(json.loads(reply))
            assert "error" not in await stage.call("List"), "it still serves"
            return said.decode()


def _is_a_reply(reply: dict[str, Any]) -> None:
    assert reply.keys() <= {"parameters", "error", "continues"}
