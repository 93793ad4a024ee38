"""What operators' programs ask for, with hostile values in the right places: an answer or a clear refusal."""

import json
import logging
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memory_backend import Memory
from nanoclawd.channels.added import AddedChannels
from nanoclawd.channels.setup import ChannelSetup
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.calls import Call, InvalidParameterError, decode_parameters, encode_error, encode_reply
from nanoclawd.control.methods import Unary
from nanoclawd.control.served import methods_of
from nanoclawd.control.values import Peer
from nanoclawd.core.backends.approvals import ApprovalsBackend, QuestionsBackend
from nanoclawd.core.backends.channels import ChannelsBackend
from nanoclawd.core.backends.chats import ChatsBackend
from nanoclawd.core.backends.destinations import DestinationsBackend
from nanoclawd.core.backends.people import MembersBackend, RolesBackend, UsersBackend
from nanoclawd.core.backends.routing import RoutingBackend
from nanoclawd.core.backends.sessions import SessionsBackend
from nanoclawd.core.backends.wirings import WiringsBackend
from nanoclawd.errors import NanoclawError
from nanoclawd.routing.wirings import WiringService
from unit.fuzz.hostile import NASTY, dangerous
from unit.fuzz.whole import CHANNEL, Whole, whole

PLAYED = {"Appliance", "Groups", "Images", "Chat"}
ME = Peer(0, 0, 1, "root")
RIGHT = {
    "chat": ["loop:team", "loop:club", "team", "Club"], "group": ["main"], "name": ["main", "new", "Ada"],
    "channel": [CHANNEL, "terminal"], "user": ["loopback:owner", "owner", "terminal:root"],
    "wiring": ["loop:team/main"],
    "role": ["owner", "admin", "global"], "engage_mode": ["pattern", "mention", "mention-sticky"],
    "engage_pattern": [".", "a{99999999}", "(a+)+$", "("], "session_mode": ["shared", "per-thread", "agent-shared"],
    "sender_scope": ["all", "known"], "ignored_message_policy": ["drop", "accumulate"], "agent": ["main"],
    "unknown_sender_policy": ["strict", "public", "request_approval"], "option": ["allow", "1"], "limit": [1, 200],
    "priority": [0, 2**31, -(2**63), 2**63], "is_group": [True, False], "text": ["hi", "/help"], "interface": ["x"],
    "type": ["loopback"], "options": [[], ["threads=true"], ["thread=1"], ["token=1"], ["x"]],
    "disabled": [True, False],
}  # fmt: skip


def _backend(running: Whole) -> Any:
    """The daemon's own backends; groups and images are played."""
    database, project = running.database, running.sessions.project_destinations
    backend: Any = Memory(database=database)
    backend.sessions = SessionsBackend(database, running.sessions)
    backend.chats = ChatsBackend(database, project, running.channels.known, running.permissions.repost)
    backend.wirings = WiringsBackend(database, WiringService(database, running.channels.capabilities, project))
    backend.users = UsersBackend(database, running.permissions.repost)
    backend.roles = RolesBackend(database, running.permissions.repost)
    backend.members = MembersBackend(database)
    backend.destinations = DestinationsBackend(database, project)
    backend.approvals = ApprovalsBackend(database, running.permissions.approvals)
    backend.questions = QuestionsBackend(database, running.permissions.questions)
    added = AddedChannels(database, running.channels, lambda _kind: ChannelSetup(), lambda: ["loopback"])
    waiting = running.sessions.waiting_by_channel
    backend.channels = ChannelsBackend(database, running.channels, added, waiting, running.pairings)
    backend.routing = RoutingBackend(database, running.router, running.channels.known)
    return backend


@pytest.mark.parametrize("seed", range(4))
async def test_hostile_values_in_the_right_places(tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int):
    """Chats, wirings, people and roles by every method; whatever they have made, chats go on."""
    chance = random.Random(seed)
    texts = [text for text in NASTY if len(text) < 3000 and not _is_half(text)]
    async with whole(tmp_path) as running:
        methods = methods_of(_backend(running), Bounds())
        playing = {name: method for name, method in methods.items() if name.split(".")[2] not in PLAYED}
        unary = {name: method for name, method in playing.items() if isinstance(method, Unary)}
        done = 0
        for _ in range(2000):
            name, method = chance.choice(list(unary.items()))
            given: dict[str, Any] = {}
            told = ""
            for field in method.parameters.__struct_fields__:
                kind = chance.random()
                if kind < 0.65:
                    given[field] = chance.choice(RIGHT.get(field, ["x"]))
                elif kind < 0.85:
                    given[field] = chance.choice(texts)
            try:
                found = decode_parameters(Call(name, msgspec.Raw(msgspec.json.encode(given))), method.parameters)
                reply = encode_reply(await method.run(ME, found))
                done += 1
            except InvalidParameterError as error:
                reply = encode_error("x.y", parameter=str(error))
            except NanoclawError as error:
                told = f"{error.message}{error.hint}"
                reply = encode_error("x.y", message=error.message, hint=error.hint)
            except Exception as error:
                error.add_note(f"{name} {given}")
                raise
            assert json.loads(reply)
            assert not dangerous(told, allowed="\n"), (name, given, told)
        assert done > 300, done
        await running.rest()
        frame = {"op": "message", "chat": "after", "message_id": "1", "text": "hello", "sender": "owner"}
        assert (await running.account.ask(frame))["ok"] is True
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def _is_half(text: str) -> bool:
    """Tell whether a text has halves of characters: a frame of the control socket has none."""
    return any("\ud800" <= char <= "\udfff" for char in text)
