"""What agents may ask of the appliance: scopes, approvals, hostile calls (the cases of behaviour 9.4, 9.5, 12.6)."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanoclaw_runner.contract.rows import OutboundRow
from nanoclawd.cli import arguments
from nanoclawd.cli.verbs import wire
from nanoclawd.control.agent_calls.rules import RULES, Access
from nanoclawd.control.agent_calls.service import MAX_PENDING
from nanoclawd.control.agent_calls.wording import command_line
from nanoclawd.errors import Refused
from nanoclawd.store import approvals, chats, destinations, members, roles, users
from nanoclawd.store import sessions as session_rows
from unit.control.agent_stage import ADMIN, NEVER, OWNER, STRANGER, AgentStage, folders


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[AgentStage]:
    made = AgentStage(tmp_path)
    await made.open()
    yield made
    await made.end()


async def test_every_method_is_allowed_on_purpose_or_never(stage: AgentStage):
    """What is served and stands in no rule is refused; a new method has to be thought about here."""
    served = {name.removeprefix("io.nanoclaw.") for name in stage.calls._methods}
    allowed = {name.removeprefix("io.nanoclaw.") for name in RULES}
    assert served - allowed == NEVER
    assert allowed <= served
    reading = {"List", "Get", "Status", "Dms", "Conversations", "Explain", "ExplainMessage", "Dropped", "Runs", "Test"}
    for name, rule in RULES.items():
        assert (rule.access is Access.OPEN) == (name.rpartition(".")[2] in reading), name
        assert bool(rule.effect) == (rule.access is Access.APPROVAL), name


@pytest.mark.parametrize("scope", ["group", "global"])
@pytest.mark.parametrize("method", sorted(NEVER))
async def test_what_is_for_operators_is_for_no_agent(stage: AgentStage, scope: str, method: str):
    """An agent that could decide would allow itself everything."""
    await stage.scope(scope)
    code, _ = await stage.refused(method, approval="x", option="allow", question="x")
    assert code in ("Refused", "MethodNotFound")
    assert await stage.pending() == []


async def test_a_disabled_agent_gets_nothing(stage: AgentStage):
    """12.6: disabled scope → forbidden, and the message says disabled."""
    await stage.scope("disabled")
    for method in ("Groups.Get", "Sessions.List", "Members.Add", "Groups.Restart", "Appliance.Status"):
        code, told = await stage.refused(method)
        assert (code, "disabled" in told["message"]) == ("Refused", True)
    assert await stage.pending() == []


async def test_a_group_agent_sees_its_own_group_without_naming_it(stage: AgentStage):
    """12.6: the own id is filled in, the own id is accepted, and of lists only the own rows remain."""
    for parameters in ({}, {"name": "home"}, {"name": stage.home.id}):
        assert (await stage.call("Groups.Get", **parameters))["parameters"]["group"]["name"] == "home"
    listed = (await stage.call("Groups.List", limit=1))["parameters"]["groups"]
    assert [group["name"] for group in listed] == ["home"]
    assert await folders(stage) == {"home", "work"}
    await stage.database.run(members.add, "chat:bob", stage.home.id)
    await stage.database.run(members.add, "chat:carol", stage.work.id)
    for parameters in ({}, {"group": "home"}):
        found = (await stage.call("Members.List", **parameters))["parameters"]["members"]
        assert [one["user"] for one in found] == ["chat:bob"]
        found = (await stage.call("Destinations.List", **parameters))["parameters"]["destinations"]
        assert {one["group"] for one in found} == {"home"}


@pytest.mark.parametrize(
    ("method", "parameter"),
    [
        ("Groups.Get", "name"), ("Groups.Update", "name"), ("Groups.Restart", "name"), ("Sessions.List", "group"),
        ("Sessions.Get", "id"), ("Sessions.Stop", "id"), ("Sessions.Close", "id"), ("Sessions.Reset", "id"),
        ("Members.List", "group"), ("Destinations.List", "group"),
    ],
)  # fmt: skip
async def test_what_is_anothers_looks_like_what_does_not_exist(stage: AgentStage, method: str, parameter: str):
    """12.6: a foreign session and none give the identical error; so does every other object, without a hint."""
    foreign = "wwwwwwwwwwww" if parameter == "id" else "work"
    answers = []
    for name in (foreign, "no-such-thing"):
        code, told = await stage.refused(method, **{parameter: name})
        answers.append((code, told["message"].replace(name, "X"), told["hint"]))
    assert answers[0] == answers[1]
    assert answers[0][0] == "NotFound"
    assert answers[0][2] is None
    assert await stage.pending() == []


@pytest.mark.parametrize(
    "method",
    [
        "Chats.List", "Wirings.List", "Users.List", "Roles.List", "Approvals.List", "Questions.List",
        "Channels.List", "Routing.Dropped", "Appliance.Status", "Groups.Create", "Groups.Delete", "Roles.Grant",
        "Wirings.Create", "Users.Delete",
    ],
)  # fmt: skip
async def test_what_is_not_about_one_group_is_refused_to_a_group_agent(stage: AgentStage, method: str):
    """12.6: a resource that is not listed is forbidden by its name; one without a scope fails closed."""
    code, told = await stage.refused(method)
    assert (code, method in told["message"]) == ("Refused", True)
    assert await stage.pending() == []


async def test_a_group_agent_does_not_widen_itself(stage: AgentStage):
    """12.6: the scope's own flag is refused, also beside what is allowed."""
    assert (await stage.refused("Groups.Update", cli_scope="global"))[0] == "Refused"
    assert (await stage.refused("Groups.Update", name="home", model="a/b", cli_scope="group"))[0] == "Refused"
    assert (await stage.refused("Members.List", user="chat:owner"))[0] == "Refused"
    assert await stage.pending() == []


async def test_a_global_agent_sees_everything_and_changes_nothing_unasked(stage: AgentStage):
    """12.6: foreign ids and other resources are allowed, nothing is filled in or left out."""
    await stage.scope("global")
    assert len((await stage.call("Groups.List"))["parameters"]["groups"]) == 2
    assert (await stage.call("Groups.Get", name="work"))["parameters"]["group"]["name"] == "work"
    assert len((await stage.call("Chats.List"))["parameters"]["chats"]) == 2
    assert len((await stage.call("Destinations.List"))["parameters"]["destinations"]) == 2
    assert (await stage.call("Roles.List"))["parameters"]["roles"]
    assert (await stage.call("Appliance.Status"))["parameters"]["version"]
    for name, rule in RULES.items():
        if rule.access is Access.APPROVAL:
            reply = await stage.call(name.removeprefix("io.nanoclaw."), name="work")
            assert "error" in reply
    assert await folders(stage) == {"home", "work"}


async def test_an_allowed_command_is_done_and_told(stage: AgentStage, caplog: pytest.LogCaptureFixture):
    """9.5: the card shows the whole command line; on the word of the group's admin it is done, and the agent told."""
    caplog.set_level("INFO")
    approval_id = await stage.asked("Members.Add", user="chat:bob")
    (card,) = stage.channels["chat"].all_cards()
    assert stage.channels["chat"].in_chat("dm-admin"), "the group's admin is asked first"
    assert "ncl members add home chat:bob" in card.card.text
    for part in ("io.nanoclaw.Members.Add", "user: chat:bob", "group: home", "session hhhhhhhhhhhh"):
        assert part in card.card.text
    assert await stage.database.run(members.every) == []
    assert await stage.allowed_by(ADMIN) == "Allowed by Ada."
    (shown,) = stage.channels["chat"].texts("dm-admin")
    assert shown.endswith("→ Allowed by Ada: it is done.")
    (member,) = await stage.database.run(members.every)
    assert (member.user_id, member.group, member.added_by) == ("chat:bob", "home", "agent:home")
    assert stage.note(approval_id).startswith("Done: ncl members add home chat:bob\n")
    assert any("as chat:admin allowed" in message for message in caplog.messages)


async def test_a_refused_and_an_expired_command_are_not_done_and_told(stage: AgentStage):
    refused = await stage.asked("Members.Add", user="chat:bob")
    await stage.allowed_by(ADMIN, "deny")
    assert stage.note(refused) == "Refused by somebody with the right to decide: ncl members add home chat:bob"
    late = await stage.asked("Members.Add", user="chat:bob")
    assert late != refused
    await stage.expire()
    assert stage.note(late).startswith("Nobody decided in time, so this was not done")
    assert await stage.database.run(members.every) == []


async def test_an_effect_beyond_the_group_is_not_for_the_groups_admin(stage: AgentStage):
    """W-58: a group's admin could allow its agent to grant roles, also to itself."""
    await stage.scope("global")
    await stage.asked("Roles.Grant", user=ADMIN, role="admin")
    assert stage.channels["chat"].in_chat("dm-admin") == []
    assert "only an owner or an administrator of everything" in stage.channels["chat"].all_cards()[-1].card.text
    assert "may not decide" in await stage.allowed_by(ADMIN)
    assert "may not decide" in await stage.allowed_by(STRANGER)
    assert not (await stage.database.run(roles.standing, ADMIN)).is_global_admin
    await stage.allowed_by(OWNER)
    assert (await stage.database.run(roles.standing, ADMIN)).is_global_admin


@pytest.mark.parametrize(
    ("method", "parameters", "beyond"),
    [
        ("Members.Add", {"user": "chat:bob"}, False),
        ("Members.Add", {"user": "chat:bob", "group": "work"}, True),
        ("Groups.Update", {"instructions": "Be kind."}, False),
        ("Groups.Update", {"name": "work", "instructions": "Be rude."}, True),
        ("Groups.Update", {"cli_scope": "global"}, True),
        ("Sessions.Close", {"id": "hhhh"}, False),
        ("Sessions.Close", {"id": "wwww"}, True),
        ("Destinations.Add", {"chat": "chat:office"}, True),
        ("Destinations.Remove", {"name": "team"}, False),
        ("Wirings.Create", {"chat": "Office"}, True),
        ("Groups.Create", {"name": "third"}, True),
    ],
)
async def test_who_may_allow_follows_the_effect(
    stage: AgentStage, method: str, parameters: dict[str, str], beyond: bool
):
    """W-58, for each kind of effect of an agent that sees everything."""
    await stage.scope("global")
    await stage.asked(method, **parameters)
    words = await stage.allowed_by(ADMIN)
    assert ("may not decide" in words) == beyond


async def test_a_destination_that_a_group_agent_wants_needs_more_than_its_admin(stage: AgentStage):
    """W-58: it is permission to write elsewhere. Whether that place exists is not told before it is allowed."""
    for chat in ("chat:office", "chat:nowhere"):
        await stage.asked("Destinations.Add", chat=chat, name=chat.partition(":")[2])
        assert "may not decide" in await stage.allowed_by(ADMIN)
    for chat in ("Office", "office", "mg-1"):
        assert (await stage.refused("Destinations.Add", chat=chat))[0] == "InvalidName"
    await stage.asked("Destinations.Add", agent="work", name="colleague")
    await stage.asked("Destinations.Add", agent="nobody", name="none")
    assert (await stage.refused("Destinations.Add", agent="Work!"))[0] == "InvalidName"
    approvals = {one.payload["parameters"]["name"]: one for one in await stage.pending()}
    for name in ("office", "nowhere", "colleague", "none"):
        await stage.permissions.approvals.decide(approvals[name].id, "allow", "root")
    await stage.rest()
    assert {one.local_name for one in await stage.database.run(destinations.of_group, stage.home.id)} == {
        "colleague", "office", "team",
    }  # fmt: skip
    assert "there is no chat" in stage.note(approvals["nowhere"].id)
    assert "there is no group 'nobody'" in stage.note(approvals["none"].id)
    assert "did you mean" not in stage.note(approvals["nowhere"].id)


async def test_a_restart_is_of_the_calling_session_only(stage: AgentStage):
    """W-29: in the reference an allowed restart hits every session of the group."""
    approval_id = await stage.asked("Groups.Restart")
    assert "The session that asks is restarted, and no other." in stage.channels["chat"].all_cards()[-1].card.text
    await stage.allowed_by(ADMIN)
    assert stage.restarted == ["hhhhhhhhhhhh"]
    assert '"restarted": 1' in stage.note(approval_id)
    await stage.scope("global")
    code, told = await stage.refused("Groups.Restart", name="work")
    assert (code, told["message"]) == ("Refused", "an agent restarts its own session only")
    stage.running = False
    approval_id = await stage.asked("Groups.Restart", name="home")
    await stage.allowed_by(ADMIN)
    assert '"restarted": 0' in stage.note(approval_id)


async def test_a_card_shows_how_what_was_allowed_failed(stage: AgentStage):
    """What a build said is there line by line, its end only, and no line looks like the appliance's own words."""
    said = (
        "the image could not be built (failed). It said:\n" + "".join(f"  line {n}\n" for n in range(20)) + "E: no rich"
    )

    async def broken(_group: str) -> bool:
        raise Refused(said)

    stage.calls._rebuild = broken  # the stage's own builds always succeed
    approval_id = await stage.asked("Groups.Restart", rebuild=True)
    await stage.allowed_by(ADMIN)
    assert "line 3" in stage.note(approval_id)
    card = stage.channels["chat"].texts("dm-admin")[0]
    assert "it failed: the image could not be built (failed). It said:\n> line 15\n" in card
    assert card.endswith("\n> E: no rich")
    assert "line 3" not in card


async def test_what_was_allowed_is_done_with_the_scope_of_then(stage: AgentStage):
    """An agent that was narrowed since it asked does not get what it may not ask for any more."""
    await stage.scope("global")
    first = await stage.asked("Members.Add", user="chat:bob", group="work")
    await stage.scope("group")
    await stage.allowed_by(OWNER)
    assert "there is no group 'work'" in stage.note(first)
    assert "→ Allowed by Olga: it failed: there is no group 'work'" in stage.channels["chat"].texts("dm-owner")[0]
    second = await stage.asked("Members.Add", user="chat:bob")
    await stage.scope("disabled")
    await stage.allowed_by(OWNER)
    assert "disabled" in stage.note(second)
    assert await stage.database.run(members.every) == []


async def test_an_approval_is_for_exactly_what_its_card_has_shown(stage: AgentStage):
    """Names are resolved when it is asked: what they mean later changes nothing."""
    await stage.scope("global")
    await stage.database.run(users.ensure, "chat:bob", "Bob")
    await stage.asked("Members.Add", user="Bob", group="work")
    assert "user: chat:bob (“Bob”)" in stage.channels["chat"].all_cards()[-1].card.text
    await stage.database.run(users.rename, "chat:bob", "Robert")
    await stage.database.run(users.ensure, "chat:mallory", "Bob")
    await stage.allowed_by(OWNER)
    assert [one.user_id for one in await stage.database.run(members.every)] == ["chat:bob"]
    office = await stage.database.run(chats.by_address, "chat", "office")
    assert office is not None
    await stage.asked("Chats.Delete", chat="Office")
    text = stage.channels["chat"].all_cards()[-1].card.text
    assert f"ncl chats delete {office.id}" in text
    assert f"chat: {office.id} (chat:office “Office”)" in text


async def test_nothing_on_a_card_is_hidden_or_cut(stage: AgentStage):
    """A card can't be made to look like another one, and what can't be shown in full is refused."""
    await stage.asked("Groups.Update", display_name="x\nAllowed by Olga\u202egnp.exe\u2066 \x1b[2J")
    text = stage.channels["chat"].all_cards()[-1].card.text
    assert r"x\nAllowed by Olga\u202egnp.exe\u2066 \x1b[2J" in text
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    code, told = await stage.refused("Groups.Update", instructions="long " * 4000)
    assert code in ("Refused", "TooLarge")
    assert told["message"]
    assert len(await stage.pending()) == 1


CHOICES: dict[str, object] = {
    "unknown_sender_policy": "public", "engage_mode": "pattern", "sender_scope": "known", "session_mode": "shared",
    "ignored_message_policy": "drop", "role": "admin", "cli_scope": "global", "missed": "skip",
}  # fmt: skip
SAMPLES: dict[str, object] = {
    "is_group": False, "priority": -3, "force": True, "rebuild": True, "max_messages": 3,
} | {name: [f"it's {name}", "-y"] for name in ("apt", "npm", "pip", "args", "env")}  # fmt: skip


@pytest.mark.parametrize("method", sorted(name for name, rule in RULES.items() if rule.access is Access.APPROVAL))
async def test_the_command_on_a_card_is_the_one_that_operators_type(stage: AgentStage, method: str):
    """Typed by an operator it makes the same call: what is shown is what is done."""
    fields = [one.name for one in msgspec.structs.fields(stage.calls._methods[method].parameters)]
    given: dict[str, object] = {name: SAMPLES.get(name, f"it's {name}") for name in fields}
    given |= {name: "-100" for name in ("chat", "user") if name in given}
    given |= {name: value for name, value in CHOICES.items() if name in given}
    given.pop("agent", None)
    line = command_line(method, given)
    parsed = arguments.parse(arguments.parser(), shlex.split(line)[1:])
    assert (f"io.nanoclaw.{parsed.command.verb.methods[0]}", wire(parsed.command, parsed)) == (method, given)
    for name in given:
        assert command_line(method, {name: given[name]}).startswith(f"ncl {parsed.command.words} ")


async def test_the_same_call_is_asked_once_and_agents_do_not_bury_people(stage: AgentStage):
    first = await stage.asked("Members.Add", user="chat:bob")
    assert await stage.asked("Members.Add", group="home", user="chat:bob") == first
    for number in range(MAX_PENDING - 1):
        await stage.asked("Members.Add", user=f"chat:p{number}")
    assert (await stage.refused("Members.Add", user="chat:one-more"))[0] == "Refused"
    assert len(await stage.pending()) == MAX_PENDING
    assert (await stage.call("Groups.Get"))["parameters"]
    reply = await stage.call("Members.Add", stage.work_session, user="chat:bob")
    assert reply["error"].endswith("ApprovalPending")


async def test_a_call_that_does_not_fit_its_method_is_not_asked_about(stage: AgentStage):
    for parameters in (
        {"user": 3},
        {"user": "chat:bob", "more": 1},
        {},
        {"group": ["home"], "user": "a:b"},
    ):
        assert (await stage.refused("Members.Add", **parameters))[0] == "InvalidParameter"
    assert (await stage.refused("Members.Add", user="bob"))[0] == "InvalidName"
    assert (await stage.refused("Nothing.Here"))[0] == "MethodNotFound"
    assert await stage.pending() == []


async def test_a_request_of_a_session_that_has_closed_is_done_and_nobody_told(stage: AgentStage):
    """Somebody has allowed exactly this: it is done. The journal has it, the session hears nothing any more."""
    await stage.asked("Members.Add", user="chat:bob")
    await stage.database.run(session_rows.close, "hhhhhhhhhhhh")
    await stage.allowed_by(ADMIN)
    assert [one.user_id for one in await stage.database.run(members.every)] == ["chat:bob"]


async def test_a_session_that_was_deleted_meanwhile_is_told_nothing(stage: AgentStage):
    """What was decided is read before the session goes: nobody is told, and that is no fault."""
    approval_id = await stage.asked("Members.Add", user="chat:bob")
    approval = await stage.database.run(approvals.by_id, approval_id)
    await stage.database.run(lambda c: c.execute("DELETE FROM sessions WHERE id = ?", (stage.home_session.id,)).get)
    await stage.calls.finish(replace(approval, status="rejected"), resumed=False)
    assert (stage.home_session.id, f"command-{approval_id}") not in stage.mailboxes.rows


async def test_a_command_that_a_crash_cut_off_is_not_done_twice(stage: AgentStage):
    approval_id = await stage.asked("Members.Add", user="chat:bob")
    approval = (await stage.pending())[0]
    await stage.allowed_by(ADMIN, "deny")
    decided = next(one for one in await stage.every_approval() if one.id == approval_id)
    object.__setattr__(decided, "status", "approved")
    object.__setattr__(decided, "payload", approval.payload)
    stage.mailboxes.rows.clear()
    await stage.calls.finish(decided, resumed=True)
    assert "it is not known whether it was" in stage.note(approval_id)
    assert await stage.database.run(members.every) == []


async def test_a_row_told_twice_is_answered_once(stage: AgentStage):
    content = json.dumps({"action": "control", "requestId": "r", "frame": '{"method":"io.nanoclaw.Groups.Get"}'})
    row = OutboundRow("out-x", 1, "system", "2026-01-01T00:00:00.000Z", content)
    await stage.calls.request(stage.home_session, row)
    before = dict(stage.mailboxes.rows)
    await stage.calls.request(stage.home_session, row)
    assert stage.mailboxes.rows == before
    (reply,) = before.values()
    assert (reply.kind, reply.trigger, reply.address) == ("system", False, stage.home_session.address)


@pytest.mark.parametrize(
    "content",
    [
        "", "null", "[]", "{}", "\ud800", '{"a":' * 50_000,
        '{"action":"control","requestId":"r"}',
        '{"action":"control","requestId":1,"frame":"{}"}',
        '{"action":"control","requestId":"","frame":"{}"}',
        '{"action":"control","requestId":"r","frame":{}}',
        '{"action":"control","requestId":"' + "r" * 65 + '","frame":""}',
        '{"action":"reboot","requestId":"r","frame":""}',
    ],
    ids=range(12),
)  # fmt: skip
async def test_a_row_that_is_no_request_is_refused(stage: AgentStage, content: str):
    row = OutboundRow("out-x", 1, "system", "2026-01-01T00:00:00.000Z", content)
    with pytest.raises(Refused):
        await stage.calls.request(stage.home_session, row)
    assert stage.mailboxes.rows == {}


@pytest.mark.parametrize(
    "frame",
    [
        "", "no json", "[]", '{"method":1}', '{"method":"io.nanoclaw.Groups.Get","more":true}',
        '{"method":"io.nanoclaw.Groups.Get","oneway":true}', '{"method":"io.nanoclaw.Groups.Get","upgrade":true}',
        '{"method":"io.nanoclaw.Groups.Get","x":1}', '{"method":"io.nanoclaw.Groups.Get","parameters":' + "[" * 30_000,
        "x" * 70_000, '{"method":"io.nanoclaw.Groups.Get"}\0{"method":"io.nanoclaw.Groups.Get"}',
    ],
    ids=range(11),
)  # fmt: skip
async def test_a_frame_that_is_no_call_gets_an_error(stage: AgentStage, frame: str):
    assert (await stage.raw(frame))["error"] == "io.nanoclaw.Appliance.Malformed"


async def test_a_fault_of_ours_has_a_reference_and_nothing_more(stage: AgentStage, caplog: pytest.LogCaptureFixture):
    async def fault(_caller: object, _parameters: object) -> object:
        raise RuntimeError("secret details")

    known = dict(stage.calls._methods)
    method = known["io.nanoclaw.Groups.Get"]
    known["io.nanoclaw.Groups.Get"] = type(method)(method.parameters, fault)  # type: ignore[arg-type, call-arg]
    stage.calls._methods = known
    code, told = await stage.refused("Groups.Get")
    assert (code, "secret" in json.dumps(told)) == ("Internal", False)
    assert told["reference"] in caplog.text


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from(["name", "group", "user", "chat", "agent", "id", "limit", "cli_scope", "role", "option"])
_values = _json | st.sampled_from(["home", "work", "wwww", "hhhh", "chat:office", "Office", OWNER, "global", "allow"])
_frames = st.text(max_size=80) | st.fixed_dictionaries(
    {"method": st.sampled_from(sorted(RULES)) | st.text(max_size=20)},
    optional={"parameters": st.dictionaries(_names, _values, max_size=4) | _json, "more": st.booleans()},
).map(json.dumps)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(_frames, min_size=1, max_size=12), scope=st.sampled_from(["disabled", "group", "global"]))
def test_fuzzed_calls_get_an_answer_and_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, frames: list[str], scope: str
):
    """No frame reaches a fault, none changes anything without a person's word, none shows a group agent another's."""
    caplog.clear()
    asyncio.run(_fuzz(tmp_path_factory.mktemp("fuzz"), frames, scope))
    assert "failed, reference" not in caplog.text


async def _fuzz(path: Path, frames: list[str], scope: str) -> None:
    stage = AgentStage(path)
    await stage.open()
    await stage.scope(scope)
    before = await stage.database.run(_everything)
    try:
        for frame in frames:
            reply: dict[str, Any] = await stage.raw(frame)
            assert {"parameters", "error"} & reply.keys()
            if scope != "global" and "error" not in reply:
                assert not {"wwwwwwwwwwww", stage.work.id, "office"} & set(json.dumps(reply).split('"'))
        assert await stage.database.run(_everything) == before
    finally:
        await stage.end()


def _everything(connection: Any) -> list[Any]:
    tables = ("agent_groups", "user_roles", "agent_group_members", "agent_destinations", "messaging_groups", "sessions")
    found = [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables]
    # The approvers' direct chats are found when they are asked; that is the appliance's doing.
    return [[row for row in rows if not str(row[2]).startswith("dm-")] for rows in found]
