"""A request to a hook becomes a row of its agent's conversation, once, or is refused for a reason (W-56)."""

import asyncio
import hashlib
import hmac
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import now_text
from nanoclawd.channels.adapter import Capabilities
from nanoclawd.channels.http_listener import HttpListener
from nanoclawd.channels.http_routes import Reply, Request
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, Refused, Unavailable
from nanoclawd.hooks.intake import HookIntake
from nanoclawd.hooks.listening import Listening
from nanoclawd.hooks.payload_files import PayloadFiles
from nanoclawd.hooks.proof import HMAC
from nanoclawd.hooks.secret_files import SecretFiles
from nanoclawd.hooks.service import MAX_RATE, HookService, Wish
from nanoclawd.routing.router import Router
from nanoclawd.sessions.received import folder_of
from nanoclawd.store import agent_groups, chats, hooks, questions
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.questions import Question
from unit.routing.house import House, Row, open_house
from unit.routing.world import CHANNEL

PUSH = b'{"ref": "refs/heads/main"}'


@dataclass
class Stage:
    """A house with a room that one agent hears, and hooks."""

    house: House
    intake: HookIntake
    service: HookService
    secrets: SecretFiles
    root: Path
    chat: Chat
    group: AgentGroup
    full: dict[str, str]

    async def send(self, name: str, secret: str = "", body: bytes = PUSH, **headers: str) -> Reply:
        given = {"content-type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
        if secret:
            given["authorization"] = f"Bearer {secret}"
        return await self.intake.handle(Request("POST", name, given, {}, body))

    async def rows(self) -> list[Row]:
        found = await self.house.database.run(session_rows.of_group, self.group.id)
        return [row for one in found for row in self.house.rows_of(self.group.folder, one.id)]


@asynccontextmanager
async def staged(root: Path) -> AsyncIterator[Stage]:
    async with open_house(root) as house:
        try:
            group = await house.database.run(agent_groups.by_folder, "main")
            chat = await house.database.run(chats.by_address, CHANNEL, "room")
        except NotFound:
            chat = await house.heard("main")
            group = await house.database.run(agent_groups.by_folder, "main")
        assert chat is not None
        full: dict[str, str] = {}
        secret_files = SecretFiles(root / "hooks")
        payloads = PayloadFiles(root / "staging", house.router._fetch)
        house.router._fetch = payloads.fetch
        intake = HookIntake(house.database, house.router, secret_files, payloads, lambda _id, folder: full.get(folder))

        async def where() -> Listening:
            return Listening("http://127.0.0.1:8642", active=True)

        service = HookService(house.database, intake, secret_files, where)
        await service.start()
        yield Stage(house, intake, service, secret_files, root, chat, group, full)
        await intake.close(HttpListener())


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as stage:
        yield stage


def everything(root: Path, *besides: str) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file() and path.parent.name not in besides)


async def test_what_is_sent_with_the_secret_is_a_row_where_the_agent_answers(stage: Stage):
    made = await stage.service.create(Wish("ci", "main"), "terminal:root")
    reply = await stage.send("ci", made.secret, x_github_event="push", x_github_delivery="72d3")
    assert reply.status == 202
    (row,) = await stage.rows()
    assert (row.kind, row.trigger, row.address.channel_type, row.address.platform_id) == (
        *("webhook", True, CHANNEL, "room"),
    )
    assert row.content == {"source": "ci", "event": "push", "payload": PUSH.decode()}
    assert row.platform_message_id is None
    assert reply.content is not None
    assert stage.house.router.recent(str(reply.content["accepted"]))


async def test_the_same_delivery_again_is_one_row(stage: Stage):
    made = await stage.service.create(Wish("ci", "main"), "x")
    replies = await asyncio.gather(*(stage.send("ci", made.secret, idempotency_key="7") for _ in range(5)))
    assert {(reply.status, str(reply.content)) for reply in replies} == {(202, str(replies[0].content))}
    assert len(await stage.rows()) == 1
    await stage.send("ci", made.secret)
    await stage.send("ci", made.secret)
    assert len(await stage.rows()) == 3
    await stage.intake.close(HttpListener())
    hook = await stage.house.database.run(hooks.by_name, "ci")
    assert (hook.accepted, hook.last_at is not None) == (3, True)


async def test_a_wrong_secret_and_an_unknown_hook_are_answered_alike(stage: Stage, caplog: pytest.LogCaptureFixture):
    made = await stage.service.create(Wish("ci", "main"), "x")
    other = await stage.service.create(Wish("other", "main"), "x")
    replies = [
        await stage.send("ci"),
        await stage.send("ci", "wrong"),
        await stage.send("ci", other.secret),
        await stage.send("nobody", made.secret),
        await stage.send("Not A Name/../ci", made.secret),
        await stage.send("", made.secret),
    ]
    assert len({str(reply) for reply in replies}) == 1
    assert replies[0].status == 401
    assert await stage.rows() == []
    assert caplog.text.count("without its secret") == 1
    assert (await stage.intake.handle(Request("GET", "ci", {}, {}, b""))).status == 405


async def test_a_payload_is_no_command_and_answers_no_card(stage: Stage):
    made = await stage.service.create(Wish("ci", "main"), "x")
    stage.house.abilities[CHANNEL] = Capabilities()  # no buttons: a person's text answers a card
    await stage.send("ci", made.secret)
    (session,) = await stage.house.database.run(session_rows.of_group, stage.group.id)
    options = (Option("Yes", "yes", "Yes"), Option("No", "no", "No"))
    card = Question(
        "card00000000",
        session.id,
        "row",
        CHANNEL,
        "room",
        None,
        "Sure?",
        "Go on?",
        options,
        "1",
        now_text(),
        now_text(plus_seconds=60),
    )
    assert await stage.house.database.run(questions.add, card)
    for text in (b"/clear", b"yes", b"1", b"/help"):
        assert (await stage.send("ci", made.secret, text, content_type="text/plain")).status == 202
    rows = await stage.rows()
    assert [(row.kind, row.content["payload"]) for row in rows[1:]] == [
        ("webhook", text) for text in ("/clear", "yes", "1", "/help")
    ]
    assert await stage.house.database.run(questions.by_id, card.id) == card
    assert (stage.house.asked.answers, stage.house.asked.senders, await stage.house.words()) == ([], [], [])


async def test_a_long_payload_is_a_file_beside_its_beginning(stage: Stage):
    made = await stage.service.create(Wish("ci", "main"), "x")
    body = json.dumps({"text": "long " * 10_000}).encode()
    assert (await stage.send("ci", made.secret, body)).status == 202
    (row,) = await stage.rows()
    assert len(str(row.content["payload"])) < 5000
    (attachment,) = row.content["attachments"]  # type: ignore[attr-defined]
    (session,) = await stage.house.database.run(session_rows.of_group, stage.group.id)
    path = stage.root / "sessions" / "main" / session.id / "in" / "files" / folder_of(row.id) / "payload.json"
    assert path.read_bytes() == body
    assert attachment == {
        "name": "payload.json",
        "type": "application/json",
        "size": len(body),
        "path": f"files/{folder_of(row.id)}/payload.json",
    }
    assert list((stage.root / "staging").iterdir()) == []


async def test_what_signs_is_known_after_a_restart_and_its_secret_is_in_one_file_only(tmp_path: Path):
    """The database and the log never have it."""
    async with staged(tmp_path) as stage:
        made = await stage.service.create(Wish("forge", "main", auth=HMAC), "x")
        token = await stage.service.create(Wish("ci", "main"), "x")
    (path,) = (tmp_path / "hooks").iterdir()
    assert path.read_text() == made.secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (tmp_path / "hooks" / "hk-left-behind").write_text("old")
    async with staged(tmp_path) as stage:
        signature = hmac.new(made.secret.encode(), PUSH, hashlib.sha256).hexdigest()
        assert (await stage.send("forge", x_hub_signature_256=f"sha256={signature}")).status == 202
        assert (await stage.send("forge", body=PUSH + b" ", x_hub_signature_256=f"sha256={signature}")).status == 401
        assert (await stage.send("forge", made.secret)).status == 401
        assert [one.name for one in (tmp_path / "hooks").iterdir()] == [path.name]
        kept = everything(tmp_path, "hooks")
        assert made.secret.encode() not in kept
        assert token.secret.encode() not in kept
        await stage.service.delete("forge")
        assert list((tmp_path / "hooks").iterdir()) == []
        assert (await stage.send("forge", x_hub_signature_256=f"sha256={signature}")).status == 401


async def test_a_new_secret_makes_the_old_one_worthless(stage: Stage):
    for auth in (None, HMAC):
        name = f"hook-{auth or 'plain'}"
        before = await stage.service.create(Wish(name, "main", auth=auth), "x")
        after = await stage.service.rotate(name)
        assert before.secret != after.secret
        for secret, expected in ((before.secret, 401), (after.secret, 202)):
            if auth is None:
                assert (await stage.send(name, secret)).status == expected
            else:
                signature = hmac.new(secret.encode(), PUSH, hashlib.sha256).hexdigest()
                assert (await stage.send(name, x_hub_signature_256=signature)).status == expected


async def test_a_disabled_hook_takes_nothing_and_says_so_to_who_has_its_secret(stage: Stage):
    made = await stage.service.create(Wish("ci", "main"), "x")
    await stage.service.enable("ci", enabled=False)
    assert (await stage.send("ci", made.secret)).status == 403
    assert (await stage.send("ci", "wrong")).status == 401
    with pytest.raises(Refused):
        await stage.service.ticket("ci")
    await stage.service.enable("ci", enabled=True)
    _, ticket = await stage.service.ticket("ci")
    assert [(await stage.send("ci", one)).status for one in (made.secret, ticket, ticket)] == [202, 202, 401]


async def test_too_many_are_told_when_to_come_back(stage: Stage):
    made = await stage.service.create(Wish("ci", "main", rate=2), "x")
    replies = [await stage.send("ci", made.secret) for _ in range(3)]
    assert [reply.status for reply in replies] == [202, 202, 429]
    assert int(replies[2].headers["Retry-After"]) == 30
    assert (await stage.send("ci", "wrong")).status == 401  # who has no secret takes nothing of the pace


async def test_what_cannot_be_taken_now_is_put_off(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    made = await stage.service.create(Wish("ci", "main"), "x")
    stage.full["main"] = "it has used up its day"
    reply = await stage.send("ci", made.secret)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "3600")
    stage.full.clear()

    async def unavailable(*_: object, **__: object) -> object:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Router, "route", unavailable)
        reply = await stage.send("ci", made.secret)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "30")
    await stage.house.database.run(
        lambda connection: connection.execute("DELETE FROM messaging_group_agents").fetchall()
    )
    assert (await stage.send("ci", made.secret)).status == 503
    assert await stage.rows() == []


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (Wish("No Name", "main"), InvalidName),
        (Wish("-a", "main"), InvalidName),
        (Wish("a" * 64, "main"), InvalidName),
        (Wish("ci", "main", auth="basic"), InvalidName),
        (Wish("ci", "main", header="a: b"), InvalidName),
        (Wish("ci", "main", rate=0), InvalidName),
        (Wish("ci", "main", rate=MAX_RATE + 1), InvalidName),
        (Wish("ci", "nobody"), NotFound),
        (Wish("ci", "main", to="nowhere"), NotFound),
        (Wish("ci", "main", to="loop:other"), Refused),
        (Wish("ci", "deaf"), NotFound),
        (Wish("ci", "two"), Refused),
        (Wish("taken", "main", auth=HMAC), AlreadyExists),
    ],
)
async def test_a_hook_that_could_not_work_is_not_made(stage: Stage, wish: Wish, error: type[Exception]):
    other = await stage.house.chat("other")
    await stage.house.group("deaf")
    two = await stage.house.group("two")
    await stage.house.wire(stage.chat, two)
    await stage.house.wire(other, two)
    await stage.service.create(Wish("taken", "main"), "x")
    if wish.to == "loop:other":
        wish = Wish(wish.name, wish.group, f"{CHANNEL}:other")
    with pytest.raises(error):
        await stage.service.create(wish, "x")
    assert [hook.name for hook in await stage.house.database.run(hooks.listed)] == ["taken"]
    assert list((stage.root / "hooks").iterdir()) == []


async def test_only_the_hook_s_own_agent_hears_it(stage: Stage):
    other = await stage.house.group("other")
    await stage.house.wire(stage.chat, other)
    made = await stage.service.create(Wish("ci", "main", to=f"{CHANNEL}:room"), "x")
    assert (await stage.send("ci", made.secret)).status == 202
    assert len(await stage.rows()) == 1
    assert await stage.house.database.run(session_rows.of_group, other.id) == []
