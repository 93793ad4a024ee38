"""The platforms of the bad day: each with some people in some chats, and a proxy before it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fault_proxy import RunningProxy, Weather
from homeserver.person import Person
from system import discord_town, matrix, test_telegram
from system.appliance import call
from system.bad_day import FAILING
from system.discord_town import Discord, chat_of, discord_appliance
from system.matrix import matrix_appliance, people, wired
from system.test_telegram import ANN, KITCHEN, Service, added, telegram

_PEOPLE = {1002: "Bea", 1003: "Cem"}
_MANY = 1_000_000


@dataclass
class TelegramSide:
    """Three people who write to the bot, and a group."""

    service: Service
    proxy: RunningProxy
    channel: str = test_telegram.CHANNEL
    chats: Sequence[str] = (str(ANN), *map(str, _PEOPLE), str(KITCHEN))

    @property
    def secrets(self) -> Sequence[str]:
        return [self.service.token, self.service.token.partition(":")[2]]

    def say(self, chat: str, text: str) -> None:
        number = int(chat)
        self.service.people.write(chat=number, user=number if number > 0 else ANN, text=text)

    def seen(self, chat: str) -> tuple[list[str], int]:
        sends = [one for one in self.service.people.sends() if one["chat"] == int(chat)]
        torn = self.proxy.torn
        heard: dict[int, bool] = {}
        for one in sends:
            heard.setdefault(one["message"], not (one["is_last"] and one["line"] in torn))
        shown = self.service.people.see(chat=int(chat))
        texts, doubles = [], 0
        for one, after in zip(shown, [*shown[1:], None], strict=True):
            is_begun = one["text"].endswith(" …") and after is not None
            is_again = after is not None and after["text"] == one["text"]
            if (is_again or is_begun) and not heard[one["message_id"]]:
                doubles += 1
            else:
                texts.append(one["text"])
        return texts, doubles

    def trouble(self, kind: str) -> None:
        faults = self.service.people
        if kind == FAILING:
            # It is restarted: what is under way is done and never answered, then there is only what stands before it.
            faults.fault(method="sendMessage", times=1, cut=True, after=True)
            faults.fault(method="*", times=_MANY, status=502, garbage=True)
        else:
            about = {"description": "Too Many Requests: retry after 1", "retry_after": 1}
            faults.fault(method="*", times=8, status=429, **about)

    def relief(self) -> None:
        self.service.people.calm()


@contextlib.contextmanager
def telegram_side(group: str) -> Iterator[TelegramSide]:
    """Have Telegram, far away."""
    with telegram() as service, RunningProxy(service.port) as proxy:
        for user, name in _PEOPLE.items():
            service.people.person(user=user, name=name)
        side = TelegramSide(service, proxy)
        with added(Service(proxy.port, service.token, service.people), "poll_seconds=2"):
            for chat in side.chats:
                is_group = int(chat) < 0
                about = {"channel": side.channel, "chat": chat, "is_group": is_group, "unknown_sender_policy": "public"}
                made = call("Chats.Create", **about)["chat"]
                call("Wirings.Create", chat=made["id"], group=group, engage_mode="pattern", engage_pattern=".")
            yield side


@dataclass
class DiscordSide:
    """Three channels and a thread."""

    discord: Discord
    proxy: RunningProxy
    chats: Sequence[str]
    channel: str = discord_town.CHANNEL
    secrets: Sequence[str] = (discord_town.TOKEN,)

    def say(self, chat: str, text: str) -> None:
        self.discord.say(chat, text)

    def seen(self, chat: str) -> tuple[list[str], int]:
        return self.discord.texts(chat), 0

    def trouble(self, kind: str) -> None:
        if kind == FAILING:
            self.discord.do("fail", pattern="POST .*/messages", after=True, times=2)
            self.discord.do("away", away=True)
        else:
            self.discord.do("fail", pattern=" /channels", status=429, retry_after=0.5, times=8)

    def relief(self) -> None:
        self.discord.do("calm")


@contextlib.contextmanager
def discord_side(group: str) -> Iterator[DiscordSide]:
    """Have Discord, far away."""
    with RunningProxy(discord_town.PORT) as proxy, discord_appliance(known_as=proxy.port, heartbeat=1.0) as discord:
        chats = [str(discord.do("channel", name=name)) for name in ("garden", "kitchen", "cellar")]
        rules = {"engage_mode": "pattern", "engage_pattern": "."}
        for chat in chats:
            chat_of(chat, group, **rules)
        yield DiscordSide(discord, proxy, [*chats, str(discord.do("thread", parent=chats[0], name="roses"))])


class Elsewhere:
    """A loop in a thread, for people whose client needs one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="people", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do[Result](self, call: Coroutine[Any, Any, Result]) -> Result:
        """Return what a coroutine returns there."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(60)


@dataclass
class MatrixSide:
    """A person in two encrypted rooms and a plain one."""

    ada: Person
    bot: str
    proxy: RunningProxy
    elsewhere: Elsewhere
    chats: Sequence[str]
    channel: str = matrix.CHANNEL
    secrets: Sequence[str] = ("syt_",)
    """Which begins every access token of that server."""

    def say(self, chat: str, text: str) -> None:
        self.elsewhere.do(self.ada.say(chat, text))

    def seen(self, chat: str) -> tuple[list[str], int]:
        async def look() -> list[str]:
            return self.ada.texts(chat, self.bot)

        return self.elsewhere.do(look()), 0

    def trouble(self, kind: str) -> None:
        """People need the server all the time: that it is restarted is that the connections to it break."""
        self.proxy.cut(reset=True)
        self.proxy.change(Weather.TORN if kind == FAILING else Weather.SLOW)

    def relief(self) -> None:
        """It has worked all the time."""


@contextlib.contextmanager
def matrix_side(group: str) -> Iterator[MatrixSide]:
    """Have a homeserver, far away."""
    with contextlib.ExitStack() as stack:
        proxies: list[RunningProxy] = []

        def through(port: int) -> int:
            proxies.append(stack.enter_context(RunningProxy(port)))
            return proxies[0].port

        server = stack.enter_context(matrix_appliance("poll_seconds=2", through=through))
        elsewhere = stack.enter_context(Elsewhere())
        bot = server.user_id(matrix.BOT)
        lives = contextlib.AsyncExitStack()
        (ada,) = elsewhere.do(lives.enter_async_context(people(server, "ada")))
        try:
            rooms = [elsewhere.do(_room(ada, bot, encrypted=encrypted)) for encrypted in (True, True, False)]
            for room in rooms:
                wired(room, group)
            yield MatrixSide(ada, bot, proxies[0], elsewhere, rooms)
        finally:
            elsewhere.do(lives.aclose())


async def _room(ada: Person, bot: str, *, encrypted: bool) -> str:
    room = await ada.make_room(bot, encrypted=encrypted, direct=True)
    await ada.sees_member(room, bot)
    return room
