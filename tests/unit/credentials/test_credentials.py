"""Secrets go in and never come out: who may store them, under which names, and who hears of it."""

import asyncio
import base64
import string

import pytest
from credential_stage import ADMINS, SERVICE, Stage
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.control.introspection import Introspection
from nanoclawd.credentials.names import is_name, read_name
from nanoclawd.errors import InvalidName

SECRET = "4711:AAF-s3cret_token"
TELEGRAM = "nanoclawd.telegram"
KEY = "nanoclaw-gateway.openai-api-key"


async def test_a_secret_is_stored_listed_by_name_and_removed(stage: Stage, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    stored = await stage.call("Put", name=TELEGRAM, value=SECRET)
    assert stored["parameters"]["taken"] == "restarted"
    path = stage.store / TELEGRAM
    assert base64.b64decode(path.read_text()).decode() == SECRET, "exactly what was given"
    assert path.stat().st_mode & 0o777 == 0o600
    (listed,) = (await stage.call("List"))["parameters"]["credentials"]
    assert (listed["name"], listed["consumer"]) == (TELEGRAM, "nanoclawd")
    assert listed["stored_at"].endswith("Z")
    assert (await stage.call("Delete", name=TELEGRAM))["parameters"] == {"taken": "restarted"}
    assert list(stage.store.iterdir()) == []
    assert (await stage.call("Delete", name=TELEGRAM))["error"] == "io.nanoclaw.Credentials.NotFound"
    # Nobody could have read it on its way.
    seal = stage.program("seal")
    assert seal.lines() == [f"encrypt --name={TELEGRAM} - -"]
    assert SECRET not in "\n".join([*seal.lines("env"), *stage.program("systemctl").lines(), caplog.text])
    assert f"stored {TELEGRAM}" in caplog.text


async def test_who_else_is_in_the_store_is_none_of_its_business(stage: Stage):
    (stage.store / "other.secret").write_text("x")
    (stage.store / f".{TELEGRAM}.draft").write_text("x")
    assert (await stage.call("List"))["parameters"]["credentials"] == []
    assert (await stage.call("Delete", name="other.secret"))["error"] == "io.nanoclaw.Credentials.InvalidName"
    assert (stage.store / "other.secret").exists()


@pytest.mark.parametrize(
    ("uid", "gid", "groups", "may"),
    [
        (0, 0, [], True),
        (1234, 1234, [ADMINS], True),
        (1234, ADMINS, [], True),
        (1234, 1234, [1, 2, 3], False),
        (1234, 1234, [], False),
        # A service of the appliance is refused, also where somebody has put it into the group.
        (SERVICE, SERVICE, [ADMINS], False),
    ],
)
async def test_root_and_operators_may_and_nobody_else(stage: Stage, uid: int, gid: int, groups: list[int], may: bool):
    calls = {"Put": {"name": TELEGRAM, "value": SECRET}, "List": {}, "Delete": {"name": TELEGRAM}}
    for method, parameters in calls.items():
        reply = await stage.as_somebody(uid, gid, groups, method, **parameters)
        if may:
            assert "error" not in reply
            continue
        assert reply["error"] == "io.nanoclaw.Credentials.Refused"
        assert "nanoclaw-admin" in reply["parameters"]["message"]
        assert list(stage.store.iterdir()) == []


async def test_no_method_gives_a_secret(stage: Stage):
    await stage.call("Put", name=TELEGRAM, value=SECRET)
    assert (await stage.call("Get", name=TELEGRAM))["error"] == "org.varlink.service.MethodNotFound"
    assert SECRET not in str(await stage.call("List"))
    served = {name.rpartition(".")[2] for name in stage.server._methods}
    assert served == {"Put", "Delete", "List"}
    interface = Introspection("x", ["Credentials"])._service.interfaces["io.nanoclaw.Credentials"]
    assert served == {name for name in interface.members if name in {"Put", "Delete", "List", "Get"}}


@pytest.mark.parametrize(
    ("value", "error"),
    [("", "Refused"), (" \n", "Refused"), ("x" * 65537, "TooLarge"), ("é" * 32769, "TooLarge")],
    ids=["empty", "blank", "long", "long-in-utf8"],
)
async def test_a_secret_has_bounds(stage: Stage, value: str, error: str):
    reply = await stage.call("Put", name=TELEGRAM, value=value)
    assert reply["error"] == f"io.nanoclaw.Credentials.{error}"
    assert list(stage.store.iterdir()) == []
    assert (await stage.call("Put", name=TELEGRAM, value="x" * 65536))["parameters"]["taken"] == "restarted"


async def test_what_goes_wrong_keeps_the_earlier_one_and_says_so(stage: Stage, caplog: pytest.LogCaptureFixture):
    await stage.call("Put", name=TELEGRAM, value="the earlier one")
    stage.program("seal").breaks()
    reply = await stage.call("Put", name=TELEGRAM, value=SECRET)
    assert reply["error"] == "io.nanoclaw.Credentials.Failed"
    assert "no key today" in reply["parameters"]["message"]
    assert "journalctl -u nanoclaw-credentials" in reply["parameters"]["hint"]
    assert SECRET not in str(reply) + caplog.text
    assert base64.b64decode((stage.store / TELEGRAM).read_text()) == b"the earlier one"
    stage.store.rename(stage.place / "away")
    gone = await stage.call("Delete", name=TELEGRAM)
    assert gone["error"] == "io.nanoclaw.Credentials.NotFound"


async def test_exactly_the_consumer_is_restarted(stage: Stage):
    systemctl = stage.program("systemctl")
    stage.network.touch()
    await stage.call("Put", name=TELEGRAM, value=SECRET)
    assert [line for line in systemctl.lines() if "show" not in line] == ["try-restart nanoclawd.service"]
    taken = (await stage.call("Put", name=KEY, value=SECRET))["parameters"]["taken"]
    assert (taken, systemctl.lines()[-1]) == ("restarting", "--no-block try-restart nanoclaw-gateway.service")


async def test_units_are_read_anew_with_the_first_token_and_after_the_last(stage: Stage):
    """What nanoclawd-generator writes depends on whether there is one."""
    systemctl = stage.program("systemctl")
    await stage.call("Put", name=KEY, value=SECRET)
    assert "daemon-reload" not in systemctl.lines(), "a key of the gateway opens no network for the daemon"
    await stage.call("Put", name=TELEGRAM, value=SECRET)
    assert systemctl.lines().count("daemon-reload") == 1
    stage.network.touch()
    await stage.call("Put", name="nanoclawd.matrix", value=SECRET)
    await stage.call("Delete", name="nanoclawd.matrix")
    assert systemctl.lines().count("daemon-reload") == 1
    await stage.call("Delete", name=TELEGRAM)
    assert systemctl.lines().count("daemon-reload") == 2


@pytest.mark.parametrize(("state", "taken"), [("inactive", "stopped"), ("failed", "stopped"), ("activating", "failed")])
async def test_a_consumer_that_does_not_run_or_start_is_told(stage: Stage, state: str, taken: str):
    stage.program("systemctl").says(state)
    stage.program("systemctl").breaks()
    assert (await stage.call("Put", name=TELEGRAM, value=SECRET))["parameters"]["taken"] == taken
    assert (stage.store / TELEGRAM).exists()


async def test_nobody_for_a_while_is_quiet_and_a_client_is_not(stage: Stage):
    client = await stage.client()
    await client.call("Credentials.List")
    quiet = asyncio.create_task(stage.server.quiet(0.05))
    await client.call("Credentials.List")
    assert not quiet.done()
    client.close()
    async with asyncio.timeout(10):
        await quiet


_ALPHABET = frozenset(string.ascii_lowercase + string.digits + "-")


@given(
    st.text(max_size=80) | st.from_regex(r"(nanoclawd|nanoclaw-gateway|other)[.][a-z0-9/.\n-]{0,70}", fullmatch=True)
)
def test_a_name_is_a_consumer_and_a_word_and_nothing_else(text: str):
    if not is_name(text):
        with pytest.raises(InvalidName) as refused:
            read_name(text)
        with pytest.raises(InvalidName) as another:
            read_name("x")
        assert str(refused.value) == str(another.value), "it is not repeated: it may be the secret"
        return
    name = read_name(text)
    consumer, _, key = text.partition(".")
    assert (name.consumer, name.unit) == (consumer, f"{consumer}.service")
    assert consumer in {"nanoclawd", "nanoclaw-gateway"}
    assert set(key) <= _ALPHABET
    assert 1 <= len(key) <= 64


def test_a_name_has_no_line_end():
    for text in ("nanoclawd.x\n", "nanoclawd.", "nanoclawd.é", "nanoclawd.x/y", "nanoclawd...", "x.nanoclawd.y"):
        with pytest.raises(InvalidName):
            read_name(text)
