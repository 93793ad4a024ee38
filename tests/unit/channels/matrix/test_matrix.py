"""The Matrix channel as people use it, against a real homeserver: what they say comes in as they said it, once.

F-47, F-60, F-121, F-123, F-128, F-129: threads, reactions to people's own messages, answers where they belong.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from nanoclawd.channels.adapter import HealthState
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.routing.event import Change, InboundEvent
from nanoclawd.sessions.ports import Delivered, Edit, PartialText, Reaction, Text, Undelivered
from unit.channels.contract import Received, attachment, outgoing
from unit.channels.matrix.stage import Stage

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


async def event_of(received: Received, event_id: str) -> InboundEvent:
    """Wait for what came in under an id."""
    await received.until(lambda: any(one.message_id == event_id for one in received.events))
    (found,) = (one for one in received.events if one.message_id == event_id)
    return found


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_what_people_say_and_do_comes_in(stage: Stage, received: Received, encrypted: bool):
    await stage.adapter.setup(received)
    room = await stage.meet(encrypted=encrypted)
    ada = stage.ada
    first = await event_of(received, await ada.say(room, "good morning"))
    assert (first.sender.user_id, first.sender.name) == (f"matrix:{ada.user_id}", ada.name)
    account = await stage.adapter.account()
    assert (account.name, stage.bot_id in account.next_step) == (stage.bot_id, True)
    assert (first.is_group, first.is_mention, first.address.thread_id) == (False, False, None)
    assert first.timestamp is not None
    own = await stage.adapter.deliver(outgoing(stage.address(room), Text("good morning, Ada"), "row-1"))
    assert isinstance(own, Delivered)
    await ada.hears(room, "good morning, Ada")
    # An answer to it, with the fallback that older apps put before it.
    fallback = f"> <{stage.bot_id}> good morning, Ada\n\nand to you"
    answer = await event_of(received, await ada.say(room, fallback, answers=own.platform_message_id))
    assert answer.text == "and to you"
    assert answer.quote is not None
    assert (answer.quote.text, answer.quote.message_id) == ("good morning, Ada", own.platform_message_id)
    assert answer.is_mention
    # A thread.
    threaded = await event_of(received, await ada.say(room, "aside", thread=first.message_id))
    assert threaded.address == stage.address(room, first.message_id)
    assert threaded.quote is None
    # Changes.
    edit = await event_of(received, await ada.edit(room, first.message_id, "good evening"))
    assert (edit.change, edit.about, edit.text) == (Change.EDITED, first.message_id, "good evening")
    reaction = await event_of(received, await ada.react(room, str(own.platform_message_id), "👍"))
    assert (reaction.change, reaction.about, reaction.text) == (Change.REACTED, own.platform_message_id, "👍")
    deleted = await event_of(received, await ada.delete(room, answer.message_id))
    assert (deleted.change, deleted.about, deleted.text) == (Change.DELETED, answer.message_id, "")
    # Files.
    picture = await event_of(received, await ada.send_file(room, "cat.png", PICTURE, "image/png"))
    (file,) = picture.files
    assert (file.name, file.media_type, file.size) == ("cat.png", "image/png", len(PICTURE))
    assert b"".join([piece async for piece in stage.adapter.fetch(file.reference)]) == PICTURE
    assert not received.aside
    assert [one.text for one in received.events if one.sender.user_id == f"matrix:{stage.bot_id}"] == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_what_agents_say_and_do_is_seen(stage: Stage, received: Received, encrypted: bool):
    await stage.adapter.setup(received)
    room = await stage.meet(encrypted=encrypted)
    ada = stage.ada
    question = await ada.say(room, "well?")
    await event_of(received, question)
    text = "# Result\n\n**42** <b>&amp;\n\n```py\nprint(1)\n```"
    said = await stage.adapter.deliver(outgoing(stage.address(room, question), Text(text), "row-1"))
    assert isinstance(said, Delivered)
    await ada.until(lambda: ada.messages(room), "an answer")
    (shown,) = ada.messages(room)
    content = shown["content"]
    assert content["m.relates_to"]["rel_type"] == "m.thread"
    assert content["m.relates_to"]["event_id"] == question
    assert "<strong>42</strong>" in content["formatted_body"]
    assert "<b>" not in content["formatted_body"]
    assert "```" not in content["formatted_body"]
    target = str(said.platform_message_id)
    assert isinstance(
        await stage.adapter.deliver(outgoing(stage.address(room), Edit(target, "43"), "row-2")), Delivered
    )
    await ada.hears(room, "43")
    for name in ("row-3", "row-3"):
        body = Reaction(question, "👀")
        assert isinstance(await stage.adapter.deliver(outgoing(stage.address(room), body, name)), Delivered)
    files = (attachment("cat.png", PICTURE), attachment("notes.txt", b"some notes\n"))
    assert isinstance(
        await stage.adapter.deliver(outgoing(stage.address(room), Text("see", files), "row-4")), Delivered
    )
    picture, notes = await ada.hears(room, "cat.png"), await ada.hears(room, "notes.txt")
    assert (picture["content"]["msgtype"], notes["content"]["msgtype"]) == ("m.image", "m.file")
    assert ("file" in picture["content"]) is encrypted
    assert await ada.content_of(picture) == PICTURE
    assert await ada.content_of(notes) == b"some notes\n"
    assert ada.reactions(question) == ["👀"]
    assert ada.texts(room) == ["43", "see", "cat.png", "notes.txt"]
    await stage.adapter.set_typing(stage.address(room))
    await ada.until(lambda: ada.typing.get(room) == [stage.bot_id], "typing")
    await stage.adapter.end_turn(stage.address(room), question, completed=True)
    await ada.until(lambda: ada.typing.get(room) == [], "no more typing")
    assert not ada.unreadable


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_what_is_malformed_is_set_aside_and_what_follows_is_heard(
    stage: Stage, received: Received, encrypted: bool
):
    await stage.adapter.setup(received)
    room = await stage.meet(encrypted=encrypted)
    ada = stage.ada
    first = await event_of(received, await ada.say(room, "well-formed"))
    odd: list[tuple[str, dict[str, Any]]] = [
        ("m.room.message", {"msgtype": "m.image", "body": "x", "url": "https://elsewhere"}),
        ("m.poll.start", {"m.poll.start": {"question": 7}}),
        ("m.reaction", {"m.relates_to": {"rel_type": "m.annotation"}}),
    ]
    if encrypted:  # in the open the server itself looks at these
        odd.append(("m.room.message", {"msgtype": "m.text"}))
        odd.append(("m.room.redaction", {"redacts": first.message_id}))
    sent = [await ada.send(room, kind, content) for kind, content in odd]
    assert (await event_of(received, await ada.say(room, "and on"))).text == "and on"
    assert set(received.aside) == set(sent)
    assert [one.text for one in received.events] == ["well-formed", "and on"]


async def test_people_of_the_room_are_called_by_their_ids(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet()
    text = f"{stage.ada.user_id}, @somebody:else.where. and all"
    assert isinstance(await stage.adapter.deliver(outgoing(stage.address(room), Text(text), "row-1")), Delivered)
    await stage.ada.until(lambda: stage.ada.messages(room), "the message")
    assert stage.ada.messages(room)[0]["content"]["m.mentions"] == {"user_ids": [stage.ada.user_id]}


async def test_a_room_that_the_account_was_put_out_of(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet(name="Kitchen")
    await stage.ada.client.room_kick(room, stage.bot_id)

    async def is_out() -> bool:
        return room not in [one.platform_id for one in await stage.adapter.conversations()]

    await eventually(is_out)
    await stage.ada.client.room_invite(room, stage.bot_id)
    await stage.ada.sees_member(room, stage.bot_id)
    assert (await event_of(received, await stage.ada.say(room, "welcome back"))).text == "welcome back"


async def test_an_answer_grows_in_one_message(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet(encrypted=True)
    address = stage.address(room)
    question = await stage.ada.say(room, "tell me all")
    await event_of(received, question)
    beginning = "This is how an answer begins that takes its time to be written."
    stage.adapter.show_progress(address, PartialText(question, beginning))
    await stage.ada.until(lambda: stage.ada.texts(room), "the beginning")
    assert stage.ada.texts(room) == [f"{beginning} …"]
    done = outgoing(address, Text(f"{beginning} And this is its end."), "row-1")
    done = type(done)(done.id, done.body, done.address, done.timestamp, question)
    assert isinstance(await stage.adapter.deliver(done), Delivered)
    await stage.ada.hears(room, f"{beginning} And this is its end.")
    # Told again, as after a death of the daemon, it is still one.
    assert isinstance(await stage.adapter.deliver(done), Delivered)
    # What was begun and never finished is taken back.
    stage.adapter.show_progress(address, PartialText("other", beginning))
    await stage.ada.hears(room, f"{beginning} …")
    await stage.adapter.end_turn(address, "other", completed=False)
    await stage.ada.until(lambda: len(stage.ada.texts(room)) == 1, "half an answer is taken back")


async def test_in_a_group_only_what_mentions_the_account_is_for_it(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet(name="Kitchen")
    stage.server.register(f"bob-{stage.bot_name}")
    await stage.ada.client.room_invite(room, stage.server.user_id(f"bob-{stage.bot_name}"))
    talk = await event_of(received, await stage.ada.say(room, "just us"))
    assert (talk.is_group, talk.is_mention, talk.chat_name) == (True, False, "Kitchen")
    told = {"m.mentions": {"user_ids": [stage.bot_id]}}
    assert (await event_of(received, await stage.ada.say(room, "hey", **told))).is_mention
    pill = {"format": "org.matrix.custom.html"}
    pill["formatted_body"] = f'<a href="https://matrix.to/#/{stage.bot_id}">the bot</a>: hey'
    assert (await event_of(received, await stage.ada.say(room, "the bot: hey", **pill))).is_mention
    nobody = {**pill, "m.mentions": {}}
    assert not (await event_of(received, await stage.ada.say(room, "the bot: hey", **nobody))).is_mention
    assert (stage.address(room), "Kitchen", True) in received.names


async def test_what_was_said_before_the_invitation_is_not_answered_and_what_came_with_it_is(
    stage: Stage, received: Received
):
    ada = stage.ada
    room = await ada.make_room(name="Old")
    await ada.say(room, "long before")
    await ada.client.room_invite(room, stage.bot_id)
    early = await ada.say(room, "are you coming?")
    await stage.adapter.setup(received)
    await ada.sees_member(room, stage.bot_id)
    later = await ada.say(room, "there you are")
    await event_of(received, later)
    assert [one.message_id for one in received.events] == [early, later]


async def test_an_absence_of_many_messages_loses_none_and_doubles_none(stage: Stage, received: Received):
    """More than a sync tells: the rest is asked for."""
    await stage.adapter.setup(received)
    room = await stage.meet(encrypted=True)
    await event_of(received, await stage.ada.say(room, "before"))
    await stage.adapter.teardown()
    sent = [await stage.ada.say(room, f"number {number}") for number in range(230)]
    stage.adapter = stage.make()
    received.events.clear()
    await stage.adapter.setup(received)
    await received.until(lambda: sent[-1] in [one.message_id for one in received.events])
    # What had come just before the end may come again, under its id.
    assert [one.message_id for one in received.events if one.text != "before"] == sent
    assert "left out" not in stage.adapter.health().detail
    last = await stage.ada.say(room, "and on")
    await event_of(received, last)
    assert [one.message_id for one in received.events if one.text != "before"] == [*sent, last]


async def test_an_absence_that_is_too_long_is_told(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet()
    await event_of(received, await stage.ada.say(room, "before"))
    await stage.adapter.teardown()
    sent = [await stage.ada.say(room, f"number {number}") for number in range(150)]
    received.events.clear()
    stage.adapter = stage.make(max_missed=10)
    await stage.adapter.setup(received)
    await received.until(lambda: sent[-1] in [one.message_id for one in received.events])
    assert len(received.events) < len(sent)
    assert "older messages of 1 rooms were left out" in stage.adapter.health().detail


async def test_invitations_are_for_whom_the_options_say(stage: Stage, received: Received):
    await stage.adapter.teardown()
    stage.adapter = stage.make(invites=[])
    await stage.adapter.setup(received)
    room = await stage.ada.make_room(stage.bot_id, direct=True)

    async def is_open() -> bool:
        return "invitations are open" in stage.adapter.health().detail

    await eventually(is_open)
    assert room not in [one.platform_id for one in await stage.adapter.conversations()]
    await stage.restart(received, invites=[f"{stage.ada.user_id[:5]}*"])
    await stage.ada.sees_member(room, stage.bot_id)


async def test_a_room_that_was_replaced_is_followed(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet()
    await event_of(received, await stage.ada.say(room, "here"))
    answer = await asyncio.to_thread(
        stage.server.ask,
        "POST",
        f"/_matrix/client/v3/rooms/{room}/upgrade",
        {"new_version": "10"},
        stage.ada.client.access_token,
    )
    new = answer["replacement_room"]
    # The new room is for those who are invited; as apps do, the person invites who was in the old one.
    await stage.ada.client.room_invite(new, stage.bot_id)
    await received.until(lambda: received.moves)
    assert set(received.moves) == {(stage.address(room), new)}
    await stage.ada.sees_member(new, stage.bot_id)
    assert (await event_of(received, await stage.ada.say(new, "and there"))).address == stage.address(new)


async def test_a_direct_chat_is_found_or_made(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    ada = stage.ada
    room = await stage.adapter.open_dm(f"matrix:{ada.user_id}")
    assert room is not None
    await ada.until(lambda: room in ada.invitations, "the invitation")
    await ada.join(room)
    assert isinstance(await stage.adapter.deliver(outgoing(stage.address(room), Text("hello"), "row-1")), Delivered)
    await ada.hears(room, "hello")
    assert ada.client.rooms[room].encrypted
    assert not ada.unreadable
    assert await stage.adapter.open_dm(ada.user_id) == room
    await stage.restart(received)
    assert await stage.adapter.open_dm(ada.user_id) == room
    assert await stage.adapter.open_dm("@nobody.knows:bed.test") is None
    assert await stage.adapter.chat_name(room) == ada.name


async def test_an_edit_of_what_somebody_else_said_is_ignored(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    room = await stage.meet()
    said = await stage.adapter.deliver(outgoing(stage.address(room), Text("mine"), "row-1"))
    assert isinstance(said, Delivered)
    forged = await stage.ada.edit(room, str(said.platform_message_id), "not yours")
    await event_of(received, await stage.ada.say(room, "next"))
    assert forged not in [one.message_id for one in received.events]


async def test_a_key_that_comes_later_opens_what_was_kept(stage: Stage, received: Received, tmp_path: Path):
    """People are told once, in words; the message comes in when its key does, also after a restart."""
    await stage.adapter.setup(received)
    room = await stage.meet(encrypted=True)
    ada = stage.ada
    await event_of(received, await ada.say(room, "you can read this"))
    (device,) = ada.client.device_store[stage.bot_id].values()
    ada.client.blacklist_device(device)
    hidden = [await ada.say(room, f"secret {number}") for number in range(3)]
    await ada.until(lambda: ada.texts(room), "words about it", 60)
    assert "can't read" in ada.texts(room)[0]
    assert "3 messages wait for their keys" in stage.adapter.health().detail
    await stage.restart(received)
    await ada.client.export_keys(str(tmp_path / "keys.txt"), "a passphrase", count=1000)
    with pytest.raises(Refused):
        await stage.adapter.import_keys((tmp_path / "keys.txt").read_bytes(), "a wrong one")
    assert await stage.adapter.import_keys((tmp_path / "keys.txt").read_bytes(), "a passphrase") == 1
    for number, event_id in enumerate(hidden):
        assert (await event_of(received, event_id)).text == f"secret {number}"
    assert len(ada.texts(room)) == 1
    exported = await stage.adapter.export_keys("another")
    assert not list((stage.directory / "state").glob("*.tmp"))
    # Another client reads it.
    (tmp_path / "exported.txt").write_bytes(exported)
    found = ada.client.olm.import_keys_static(str(tmp_path / "exported.txt"), "another")
    assert {one.room_id for one in found} == {room}
    assert await stage.adapter.import_keys(exported, "another") == 0


async def test_without_encryption_people_are_told_and_nothing_goes_out_in_the_clear(stage: Stage, received: Received):
    stage.adapter = stage.make(encryption=False)
    await stage.adapter.setup(received)
    assert "does not encrypt: switched off" in stage.adapter.health().detail
    room = await stage.meet(encrypted=True)
    await stage.ada.say(room, "hello?")
    await stage.ada.until(lambda: stage.ada.texts(room), "words about it", 60)
    assert "can't read encrypted messages" in stage.ada.texts(room)[0]
    outcome = await stage.adapter.deliver(outgoing(stage.address(room), Text("a secret"), "row-1"))
    assert isinstance(outcome, Undelivered)
    assert outcome.permanent
    assert "encrypt" in outcome.reason
    assert len(stage.ada.texts(room)) == 1


async def test_the_device_stays_the_same_and_is_nobody_s_to_read(stage: Stage, received: Received):
    await stage.adapter.setup(received)
    state = stage.directory / "state"
    device = json.loads((state / "device.json").read_text())
    for path in state.iterdir():
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path
    await stage.restart(received)
    assert json.loads((state / "device.json").read_text()) == device
    # Logged out from elsewhere, it logs in again, as the same device.
    await asyncio.to_thread(stage.server.ask, "POST", "/_matrix/client/v3/logout", {}, device["token"])
    await received.until(lambda: received.lost_for)
    await stage.restart(received)
    again = json.loads((state / "device.json").read_text())
    assert again["device_id"] == device["device_id"]
    assert again["token"] != device["token"]
    assert stage.adapter.health().state is HealthState.OK


@pytest.mark.parametrize("login", ["token", "sso"])
async def test_other_ways_to_log_in(stage: Stage, received: Received, login: str):
    """F-49: a token of a single sign-on is good once; afterwards the device's own is used."""
    ask, secret = stage.server.ask, stage.directory / "credentials" / "nanoclawd.mx"
    identifier = {"type": "m.id.user", "user": stage.bot_name}
    body = {"type": "m.login.password", "identifier": identifier, "password": "secret"}
    answer = await asyncio.to_thread(ask, "POST", "/_matrix/client/v3/login", body)
    token = answer["access_token"]
    if login == "sso":
        given = await asyncio.to_thread(ask, "POST", "/_matrix/client/v1/login/get_token", {}, token)
        token = given["login_token"]
    secret.write_text(token)
    stage.adapter = stage.make(login=login, user="")
    for _ in range(2):
        await stage.restart(received, login=login, user="")
        assert stage.adapter.health().state is HealthState.OK
    secret.write_text("no such token")
    with pytest.raises(Refused) as refused:
        await stage.restart(received, login=login, user="")
    assert "no such token" not in str(refused.value)
    secret.unlink()
    with pytest.raises(Refused, match="no secret is stored"):
        await stage.restart(received, login=login, user="")


async def test_a_wrong_password_is_told(stage: Stage, received: Received):
    (stage.directory / "credentials" / "nanoclawd.mx").write_text("wrong")
    with pytest.raises(Refused, match="login was refused"):
        await stage.adapter.setup(received)


async def test_nothing_is_listened_to_while_the_server_is_away(stage: Stage, received: Received):
    stage.adapter = stage.make(homeserver="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="can't be reached"):
        await stage.adapter.setup(received)


async def test_a_server_that_refuses_the_stored_token_is_read_anew(stage: Stage, received: Received):
    """Nothing that was answered is answered again, and nothing that was said meanwhile is lost."""
    await stage.adapter.setup(received)
    talk, quiet = await stage.meet(), await stage.meet(encrypted=True)
    for number in range(3):
        await event_of(received, await stage.ada.say(talk, f"before {number}"))
    secret = (await event_of(received, await stage.ada.say(quiet, "before, in secret"))).message_id
    own = await stage.adapter.deliver(outgoing(stage.address(talk), Text("an answer"), "row-1"))
    assert isinstance(own, Delivered)
    await stage.ada.hears(talk, "an answer")
    progress = stage.directory / "state" / "progress.json"

    async def is_kept() -> bool:
        marks = json.loads(progress.read_text())["marks"]
        return [marks[room][0] for room in (talk, quiet) if room in marks] == [own.platform_message_id, secret]

    await eventually(is_kept)
    await stage.adapter.teardown()
    kept = json.loads(progress.read_text())
    progress.write_text(json.dumps(kept | {"since": "no token of this server"}))
    missed = [await stage.ada.say(talk, f"meanwhile {number}") for number in range(130)]
    missed.append(await stage.ada.say(quiet, "meanwhile, in secret"))
    new_room = await stage.ada.make_room(stage.bot_id, direct=True)
    again = Received()
    stage.adapter = stage.make()
    await stage.adapter.setup(again)
    await again.until(lambda: len(again.events) >= len(missed))
    assert [one.text for one in again.events if one.address.platform_id == talk] == [
        f"meanwhile {number}" for number in range(130)
    ]
    assert [one.text for one in again.events if one.address.platform_id == quiet] == ["meanwhile, in secret"]
    assert stage.adapter.health().state is HealthState.OK
    await stage.ada.sees_member(new_room, stage.bot_id)
    await event_of(again, await stage.ada.say(new_room, "and here"))
    assert json.loads(progress.read_text())["since"] != "no token of this server"
    assert not again.aside
