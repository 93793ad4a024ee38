"""The Bot API server of the tests refuses what its documentation says is refused: else a test proves nothing."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from eventually import eventually
from telegram_api.formatting import parsed
from telegram_api.limits import Limits
from telegram_api.rules import ApiError
from telegram_api.server import TelegramApi

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQ"
ROOT = Path(__file__).parents[3]
ANN, ROOM = 1001, -1000000000555


class Client:
    def __init__(self, api: TelegramApi, session: aiohttp.ClientSession) -> None:
        self.api, self.session = api, session

    async def call(self, method: str, token: str = TOKEN, **given: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.api.address}/bot{token}/{method}", json=given) as answer:
            found: dict[str, Any] = await answer.json()
            assert found["ok"] is (answer.status == 200)
            return found


@pytest.fixture
async def bot() -> AsyncIterator[Client]:
    api = TelegramApi(TOKEN, Limits(is_on=False))
    await api.start()
    api.people.person(ANN, "Ann")
    api.people.group(ROOM, "Room")
    async with aiohttp.ClientSession() as session:
        yield Client(api, session)
    await api.stop()


BUTTON = {"inline_keyboard": [[{"text": "Go", "callback_data": "x" * 65}]]}
EMPTY_BUTTON = {"inline_keyboard": [[{"text": "Go", "callback_data": ""}]]}


@pytest.mark.parametrize(
    ("method", "given", "code", "words"),
    [
        ("sendMessage", {"chat_id": ANN, "text": "x" * 4097}, 400, "message is too long"),
        ("sendMessage", {"chat_id": ANN, "text": "\N{GRINNING FACE}" * 2049}, 400, "message is too long"),
        ("sendMessage", {"chat_id": ANN, "text": " \n "}, 400, "message text is empty"),
        ("sendMessage", {"chat_id": ANN, "text": "<b>x", "parse_mode": "HTML"}, 400, "can't parse entities"),
        ("sendMessage", {"chat_id": 5, "text": "x"}, 400, "chat not found"),
        ("sendMessage", {"chat_id": ANN, "text": "x", "reply_markup": BUTTON}, 400, "BUTTON_DATA_INVALID"),
        ("sendMessage", {"chat_id": ANN, "text": "x", "reply_markup": EMPTY_BUTTON}, 400, "BUTTON_DATA_INVALID"),
        ("sendMessage", {"chat_id": ROOM, "text": "x", "message_thread_id": 7}, 400, "thread not found"),
        ("sendMessage", {"chat_id": ANN, "text": "x", "reply_parameters": {"message_id": 9}}, 400, "replied not found"),
        ("editMessageText", {"chat_id": ANN, "message_id": 9, "text": "x"}, 400, "message to edit not found"),
        ("sendPhoto", {"chat_id": ANN, "photo": "nothing"}, 400, "wrong file identifier"),
        ("getFile", {"file_id": "nothing"}, 400, "wrong file_id"),
        ("answerCallbackQuery", {"callback_query_id": "1"}, 400, "query is too old"),
        ("sendChatAction", {"chat_id": ANN, "action": "dancing"}, 400, "wrong parameter"),
        ("setMyCommands", {"commands": [{"command": "Help", "description": "x"}]}, 400, "BOT_COMMAND_INVALID"),
        ("setWebhook", {"url": "http://127.0.0.1:1/", "secret_token": "a b"}, 400, "unallowed characters"),
        ("nothing", {}, 404, "Not Found"),
    ],
)
async def test_it_refuses(bot: Client, method: str, given: dict[str, Any], code: int, words: str):
    found = await bot.call(method, **given)
    assert found["error_code"] == code
    assert words in found["description"]


async def test_it_takes_what_is_just_within(bot: Client):
    for text in ("x" * 4096, "\N{GRINNING FACE}" * 2048):
        assert (await bot.call("sendMessage", chat_id=ANN, text=text))["ok"]
    html = f"<b>{'&lt;' * 4096}</b>"
    assert (await bot.call("sendMessage", chat_id=ANN, text=html, parse_mode="HTML"))["ok"], "counted without tags"


async def test_another_token_is_none(bot: Client):
    assert (await bot.call("getMe", token="1:x"))["error_code"] == 401


async def test_an_update_is_told_until_a_higher_offset_is_asked_for(bot: Client):
    bot.api.people.write(ANN, ANN, "one")
    bot.api.people.write(ANN, ANN, "two")
    first, second = (await bot.call("getUpdates"))["result"]
    assert (await bot.call("getUpdates"))["result"] == [first, second]
    assert (await bot.call("getUpdates", offset=second["update_id"]))["result"] == [second]
    assert (await bot.call("getUpdates", offset=second["update_id"] + 1))["result"] == []
    for number in range(120):
        bot.api.people.write(ANN, ANN, str(number))
    assert len((await bot.call("getUpdates", limit=1000))["result"]) == 100
    assert len((await bot.call("getUpdates", offset=-3))["result"]) == 3


async def test_only_allowed_updates_are_told(bot: Client):
    number = bot.api.people.write(ANN, ANN, "one")
    bot.api.people.react(ANN, number, ANN, "\N{FIRE}")
    assert len((await bot.call("getUpdates"))["result"]) == 1
    await bot.call("getUpdates", allowed_updates=["message_reaction"])
    bot.api.people.react(ANN, number, ANN, "\N{THUMBS UP SIGN}")
    bot.api.people.write(ANN, ANN, "two")
    assert [set(one) for one in (await bot.call("getUpdates"))["result"]][1:] == [{"update_id", "message_reaction"}]


async def test_the_earlier_of_two_pollers_is_ended(bot: Client):
    waiting = asyncio.create_task(bot.call("getUpdates", timeout=20))
    await eventually(lambda: bot.api.calls["getUpdates"])
    second = asyncio.create_task(bot.call("getUpdates", timeout=1))
    assert (await waiting)["error_code"] == 409
    assert (await second)["ok"]
    await bot.call("setWebhook", url="http://127.0.0.1:1/")
    assert "webhook is active" in (await bot.call("getUpdates"))["description"]


async def test_limits_are_kept_with_the_seconds_to_wait(bot: Client):
    bot.api.limits.is_on = True
    assert (await bot.call("sendMessage", chat_id=ANN, text="1"))["ok"]
    found = await bot.call("sendMessage", chat_id=ANN, text="2")
    assert (found["error_code"], found["parameters"]) == (429, {"retry_after": 1})
    bot.api.limits.chat = (1000, 1.0)
    for number in range(20):
        assert (await bot.call("sendMessage", chat_id=ROOM, text=str(number)))["ok"]
    found = await bot.call("sendMessage", chat_id=ROOM, text="20")
    assert 50 <= found["parameters"]["retry_after"] <= 60


async def test_a_message_that_stays_the_same_is_not_modified(bot: Client):
    sent = (await bot.call("sendMessage", chat_id=ANN, text="x"))["result"]["message_id"]
    found = await bot.call("editMessageText", chat_id=ANN, message_id=sent, text="x")
    assert "message is not modified" in found["description"]
    theirs = bot.api.people.write(ANN, ANN, "mine")
    found = await bot.call("editMessageText", chat_id=ANN, message_id=theirs, text="x")
    assert "can't be edited" in found["description"]


async def test_a_group_that_has_moved_says_where(bot: Client):
    bot.api.people.group(-5, "Old", kind="group")
    new = bot.api.people.migrate(-5)
    found = await bot.call("sendMessage", chat_id=-5, text="x")
    assert (found["error_code"], found["parameters"]) == (400, {"migrate_to_chat_id": new})


async def test_a_query_is_answered_once(bot: Client):
    markup = {"inline_keyboard": [[{"text": "Go", "callback_data": "x"}]]}
    sent = (await bot.call("sendMessage", chat_id=ANN, text="x", reply_markup=markup))["result"]["message_id"]
    query = bot.api.people.click(ANN, sent, "Go", ANN)
    assert (await bot.call("answerCallbackQuery", callback_query_id=query))["ok"]
    assert not (await bot.call("answerCallbackQuery", callback_query_id=query))["ok"]


async def test_privacy_mode_hides_what_is_not_for_the_bot(bot: Client):
    bot.api.people.privacy(reads_all=False)
    bot.api.people.write(ROOM, ANN, "hello")
    bot.api.people.write(ROOM, ANN, "hello @nano_test_bot")
    bot.api.people.write(ROOM, ANN, "/help")
    assert len((await bot.call("getUpdates"))["result"]) == 2


@pytest.mark.parametrize(
    "html",
    [
        *("<b>x", "x</b>", "<b><i>x</b></i>", "a < b", "a > b", "a & b", "&nbsp;", "<p>x</p>", '<b class="x">y</b>'),
        *("<code><b>x</b></code>", "<pre><i>x</i></pre>", "<blockquote><blockquote>x</blockquote></blockquote>"),
        *('<code class="language-x">y</code>', "<a href='x'>y</a>", "<script>x</script>"),
    ],
)
def test_html_is_read_strictly(html: str):
    with pytest.raises(ApiError, match="can't parse entities"):
        parsed(html, "HTML")


def test_html_gives_text_and_entities():
    text, entities = parsed('\N{GRINNING FACE}<b>a&lt;<i>b</i></b> <a href="https://e.org?a=1&amp;b=2">c</a>', "HTML")
    assert text == "\N{GRINNING FACE}a<b c"
    assert [(one["type"], one["offset"], one["length"]) for one in entities] == [
        ("bold", 2, 3),
        ("italic", 4, 1),
        ("text_link", 6, 1),
    ]
    assert entities[2]["url"] == "https://e.org?a=1&b=2"


def test_the_library_is_loaded_for_a_channel_only():
    """The package is looked at by ``ncl channels add``; its library costs memory only where there is such a channel."""
    program = "import sys, nanoclawd.channels.telegram; print(*(n in sys.modules for n in ('telegram', 'httpx')))"
    places = os.pathsep.join(map(str, (ROOT, ROOT / "runner")))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": places})
    assert done.stdout.split() == ["False", "False"]
