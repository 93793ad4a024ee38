"""Chats, wirings, people and destinations over the socket, with the daemon's own backends and a real database."""

import getpass
import json
from typing import Any

import pytest
from varlink.scanner import Interface, _Array, _CustomType, _Enum, _Maybe, _Struct

from memory_backend.harness import Client, Running
from nanoclawd.control.introspection import Introspection
from nanoclawd.store import chats, members, roles, users

BOB = "telegram:4711"


async def good(client: Client, method: str, **parameters: Any) -> dict[str, Any]:
    reply = await client.call(method, parameters)
    assert "error" not in reply, reply
    found: dict[str, Any] = reply["parameters"]
    name, _, member = method.partition(".")
    interface = _SERVICE.interfaces[f"io.nanoclaw.{name}"]
    assert fits(interface, interface.members[member].out_type, found), (method, found)
    return found


_SERVICE = Introspection()._service
_PLAIN: dict[type, type | tuple[type, ...]] = {str: str, bool: bool, int: int, float: (int, float)}


def fits(interface: Interface, kind: Any, value: Any) -> bool:
    """Tell whether a reply is what the interface's file promises: every field, and no other."""
    if isinstance(kind, _CustomType):
        return fits(interface, interface.members[kind.name].type, value)
    if isinstance(kind, _Maybe):
        return value is None or fits(interface, kind.element_type, value)
    if isinstance(kind, _Array):
        return isinstance(value, list) and all(fits(interface, kind.element_type, one) for one in value)
    if isinstance(kind, _Enum):
        return value in kind.fields
    if isinstance(kind, _Struct):
        same = isinstance(value, dict) and value.keys() == kind.fields.keys()
        return same and all(fits(interface, found, value[name]) for name, found in kind.fields.items())
    return isinstance(value, _PLAIN[type(kind)])


async def bad(client: Client, method: str, **parameters: Any) -> tuple[str, dict[str, Any]]:
    reply = await client.call(method, parameters)
    assert "error" in reply, reply
    return reply["error"].rpartition(".")[2], reply["parameters"]


async def family(client: Client) -> dict[str, Any]:
    """Make a group with an agent and a chat; return the chat."""
    await good(client, "Groups.Create", name="home", display_name="The Home")
    made = await good(client, "Chats.Create", channel="telegram", chat="-100777", name="Our Family", is_group=True)
    chat: dict[str, Any] = made["chat"]
    return chat


async def test_a_chat_is_made_changed_and_deleted(running: Running):
    async with running.client() as client:
        chat = await family(client)
        assert (chat["channel"], chat["chat"], chat["is_group"]) == ("telegram", "-100777", True)
        assert (chat["unknown_sender_policy"], chat["groups"]) == ("strict", [])
        changed = await good(client, "Chats.Update", chat=chat["id"], name="Aunts", unknown_sender_policy="public")
        assert (changed["chat"]["name"], changed["chat"]["unknown_sender_policy"]) == ("Aunts", "public")
        assert (await good(client, "Chats.Update", chat="Aunts", name=""))["chat"]["name"] is None
        assert (await bad(client, "Chats.Create", channel="telegram", chat="-100777"))[0] == "AlreadyExists"
        await good(client, "Chats.Delete", chat=chat["id"])
        assert (await bad(client, "Chats.Get", chat=chat["id"]))[0] == "NotFound"


async def test_a_word_that_a_setting_does_not_have_is_refused_with_those_that_it_has(running: Running):
    async with running.client() as client:
        await family(client)
        code, told = await bad(client, "Chats.Update", chat="Our Family", unknown_sender_policy="stric")
        assert (code, told["hint"]) == ("InvalidName", "did you mean strict?")
        assert "request_approval" in told["message"]
        assert (await bad(client, "Chats.Create", channel="telegrm", chat="1"))[0] == "NotFound"
        assert (await bad(client, "Chats.Create", channel="telegram", chat="a\u202eb"))[0] == "InvalidName"
        assert (await bad(client, "Groups.Update", name="home", provider="x" * 300))[1] == {"parameter": "provider"}


async def test_a_chat_that_somebody_refused_can_be_asked_about_again(running: Running):
    """W-68: the reference can't undo a denial without writing a null."""
    async with running.client() as client:
        chat = await family(client)
        assert (await bad(client, "Chats.Undeny", chat="Our Family"))[0] == "Refused"
        await running.memory.database.run(chats.deny, chat["id"], "telegram:1")
        assert (await good(client, "Chats.Get", chat=chat["id"]))["chat"]["denied_by"] == "telegram:1"
        assert (await good(client, "Chats.Undeny", chat="Our Family"))["chat"]["denied_at"] is None


@pytest.mark.parametrize("form", ["id", "prefix", "bare prefix", "address", "platform id", "name", "other case"])
async def test_ids_of_any_form_are_taken_in_every_position(running: Running, form: str):
    """W-30: the server resolves; no id has to be cut out of a command's name."""
    async with running.client() as client:
        chat = await family(client)
        wiring = (await good(client, "Wirings.Create", chat=chat["id"], group="home"))["wiring"]
        shown = {
            "id": chat["id"],
            "prefix": chat["id"][:9],
            "bare prefix": chat["id"].removeprefix("mg-")[:8],
            "address": "telegram:-100777",
            "platform id": "-100777",
            "name": "Our Family",
            "other case": "our family",
        }[form]
        assert (await good(client, "Chats.Get", chat=shown))["chat"]["id"] == chat["id"]
        for group in ("home", "The Home"):
            found = await good(client, "Wirings.List", chat=shown, group=group)
            assert [one["id"] for one in found["wirings"]] == [wiring["id"]]
        await good(client, "Wirings.Delete", wiring=wiring["id"][:10])
        assert (await good(client, "Wirings.List"))["wirings"] == []


async def test_what_nothing_is_called_has_the_nearest_in_the_hint(running: Running):
    async with running.client() as client:
        await family(client)
        code, told = await bad(client, "Chats.Get", chat="Our Famly")
        assert (code, told["hint"]) == ("NotFound", "did you mean Our Family?")
        await good(client, "Chats.Create", channel="telegram", chat="-100778", name="Our Family")
        assert (await bad(client, "Chats.Get", chat="Our Family"))[0] == "InvalidName"


async def test_a_wiring_by_the_command_may_be_written_to_and_goes_with_what_it_made(running: Running):
    """W-31: the reference's command makes a wiring without its destination."""
    async with running.client() as client:
        chat = await family(client)
        made = (await good(client, "Wirings.Create", chat="-100777", group="home"))["wiring"]
        assert (made["channel"], made["chat"], made["chat_name"]) == ("telegram", "-100777", "Our Family")
        assert (made["engage_mode"], made["session_mode"]) == ("mention-sticky", "shared")
        (found,) = (await good(client, "Destinations.List", group="home"))["destinations"]
        assert (found["name"], found["type"], found["chat"]) == ("our-family", "channel", "-100777")
        assert (await good(client, "Chats.Get", chat=chat["id"]))["chat"]["groups"] == ["home"]
        assert (await bad(client, "Wirings.Create", chat="-100777", group="home"))[0] == "AlreadyExists"
        await good(client, "Wirings.Delete", wiring=made["id"])
        assert (await good(client, "Destinations.List"))["destinations"] == []
    assert len(running.memory.directory.projected) == 2


async def test_a_wiring_is_changed_and_what_can_not_work_is_refused(running: Running):
    async with running.client() as client:
        await family(client)
        made = (await good(client, "Wirings.Create", chat="-100777", group="home", engage_mode="mention"))["wiring"]
        changed = await good(
            client, "Wirings.Update", wiring=made["id"], engage_pattern="^hey", priority=7, sender_scope="known"
        )
        wiring = changed["wiring"]
        assert (wiring["engage_mode"], wiring["engage_pattern"]) == ("pattern", "^hey")
        assert (wiring["priority"], wiring["sender_scope"]) == (7, "known")
        for settings in ({"engage_pattern": "(("}, {"engage_mode": "mentoin"}, {"priority": 2**40}):
            assert (await bad(client, "Wirings.Update", wiring=made["id"], **settings))[0] == "InvalidName"
        assert (await good(client, "Wirings.Get", wiring=made["id"]))["wiring"] == wiring


async def test_people_get_roles_and_lose_them(running: Running):
    """W-33: a global role is there once, however often it is granted."""
    me = f"terminal:{getpass.getuser()}"
    async with running.client() as client:
        await family(client)
        assert (await good(client, "Roles.Claim"))["role"]["user"] == me
        assert (await good(client, "Roles.Claim"))["role"] is None
        await good(client, "Users.Create", user=BOB, display_name="Bob")
        granted = (await good(client, "Roles.Grant", user="Bob", role="admin"))["role"]
        assert (granted["user"], granted["group"], granted["granted_by"]) == (BOB, None, me)
        assert (await bad(client, "Roles.Grant", user=BOB, role="admin"))[0] == "AlreadyExists"
        await good(client, "Roles.Grant", user=BOB, role="admin", group="home")
        await good(client, "Members.Add", group="home", user=BOB)
        found = (await good(client, "Users.Get", user="4711"))["user"]
        assert (found["roles"], found["member_of"]) == (["admin", "admin of home"], ["home"])
        assert len((await good(client, "Roles.List", user="Bob"))["roles"]) == 2
        assert len((await good(client, "Roles.List", group="home"))["roles"]) == 1
        await good(client, "Roles.Revoke", user="Bob", role="admin", group="home")
        await good(client, "Roles.Revoke", user="Bob", role="admin")
        assert (await good(client, "Users.Get", user="Bob"))["user"]["roles"] == []
        assert (await bad(client, "Roles.Revoke", user=me, role="owner"))[0] == "Refused"
        assert (await bad(client, "Users.Delete", user=me))[0] == "Refused"
        assert (await bad(client, "Roles.Grant", user=BOB, role="owner", group="home"))[0] == "InvalidName"
        code, told = await bad(client, "Roles.Grant", user=BOB, role="admn")
        assert (code, told["hint"]) == ("InvalidName", "did you mean admin?")
    assert running.memory.directory.reached == 5


async def test_somebody_unknown_is_named_by_platform_and_handle_only(running: Running):
    async with running.client() as client:
        await family(client)
        added = (await good(client, "Members.Add", group="home", user="telegram:99999"))["member"]
        assert (added["user"], added["group"]) == ("telegram:99999", "home")
        assert (await bad(client, "Members.Add", group="home", user="Carol"))[0] == "NotFound"
        assert (await bad(client, "Members.Add", group="home", user="telegram:9\x1b[2J"))[0] == "NotFound"
        assert (await bad(client, "Users.Create", user="Carol"))[0] == "InvalidName"
        await good(client, "Members.Remove", group="home", user="telegram:99999")
        assert (await bad(client, "Members.Remove", group="home", user="telegram:99999"))[0] == "NotFound"
        assert (await good(client, "Members.List", group="home"))["members"] == []


async def test_a_user_that_was_refused_can_be_asked_about_again(running: Running):
    """W-68, and users are named and deleted with what they were."""
    async with running.client() as client:
        await family(client)
        group = await running.memory.group("home")
        await good(client, "Users.Create", user=BOB)
        await running.memory.database.run(members.deny, BOB, group.id, "telegram:1")
        assert (await good(client, "Users.Get", user=BOB))["user"]["denied_in"] == ["home"]
        assert (await good(client, "Users.Undeny", user=BOB, group="home"))["removed"] == 1
        assert (await good(client, "Users.Undeny", user=BOB))["removed"] == 0
        assert (await good(client, "Users.Update", user=BOB, display_name="Bobby"))["user"]["display_name"] == "Bobby"
        assert (await good(client, "Users.Update", user="Bobby", display_name=""))["user"]["display_name"] is None
        await good(client, "Users.Delete", user=BOB)
        assert (await good(client, "Users.List"))["users"] == []
        assert (await good(client, "Users.Dms"))["dms"] == []


async def test_destinations_are_added_and_removed_and_reach_the_sessions(running: Running):
    """The new book is projected before the call returns, and again when an entry goes."""
    async with running.client() as client:
        await family(client)
        await good(client, "Groups.Create", name="work")
        added = (await good(client, "Destinations.Add", group="home", chat="-100777", name="folks"))["destination"]
        assert (added["name"], added["chat"], added["agent"]) == ("folks", "-100777", None)
        added = (await good(client, "Destinations.Add", group="home", agent="work"))["destination"]
        assert (added["name"], added["type"], added["agent"]) == ("work", "agent", "work")
        for parameters in ({}, {"chat": "-100777", "agent": "work"}, {"agent": "home"}):
            assert (await bad(client, "Destinations.Add", group="home", **parameters))[0] == "Refused"
        code, told = await bad(client, "Destinations.Add", group="work", chat="-100777", name="Folks!")
        assert (code, told["hint"]) == ("InvalidName", "did you mean folks?")
        await good(client, "Destinations.Remove", group="home", name="folks")
        assert (await bad(client, "Destinations.Remove", group="home", name="folks"))[0] == "NotFound"
        assert [one["name"] for one in (await good(client, "Destinations.List"))["destinations"]] == ["work"]
    group = await running.memory.group("home")
    assert running.memory.directory.projected == [group.id] * 3


async def test_a_chat_that_is_deleted_leaves_no_address_book(running: Running):
    async with running.client() as client:
        await family(client)
        await good(client, "Wirings.Create", chat="-100777", group="home")
        await good(client, "Chats.Delete", chat="-100777")
        assert (await good(client, "Destinations.List"))["destinations"] == []
        assert (await good(client, "Wirings.List"))["wirings"] == []
    assert len(running.memory.directory.projected) == 2


async def test_lists_are_bounded_and_ordered(running: Running):
    def people(connection: Any) -> None:
        for number in range(250):
            users.ensure(connection, f"telegram:{number:04}")
            roles.grant(connection, f"telegram:{number:04}", "admin")

    await running.memory.database.run(people)
    async with running.client() as client:
        for method, key in (("Users.List", "users"), ("Roles.List", "roles")):
            assert len((await good(client, method))[key]) == 200
            found = (await good(client, method, limit=210))[key]
            names = [one.get("id") or one["user"] for one in found]
            assert names == [f"telegram:{number:04}" for number in range(210)]
            for limit in (0, 10_001, -1, 2**70, True, "1"):
                assert (await bad(client, method, limit=limit))[1] == {"parameter": "limit"}


async def test_groups_have_a_shown_name_and_a_scope(running: Running):
    async with running.client() as client:
        await family(client)
        found = (await good(client, "Groups.Get", name="The Home"))["group"]
        assert (found["name"], found["cli_scope"]) == ("home", "group")
        changed = (await good(client, "Groups.Update", name="home", cli_scope="global"))["group"]
        assert (changed["display_name"], changed["cli_scope"]) == ("The Home", "global")


async def test_approvals_and_questions_are_seen_and_decided(running: Running):
    """W-68: the reference has no command for pending questions."""
    async with running.client() as client:
        await good(client, "Groups.Create", name="main")
        (approval,) = (await good(client, "Approvals.List"))["approvals"]
        assert (approval["action"], approval["status"], approval["card"]) == ("sender", "pending", "none")
        assert (approval["group"], approval["chat"], approval["user"]) == ("main", "-100200", "telegram:99")
        assert [one["value"] for one in approval["options"]] == ["allow", "deny"]
        short = approval["id"][:5]
        decided = await good(client, "Approvals.Decide", approval=short, option="allow")
        assert decided["approval"]["decided_by"] == f"terminal:{getpass.getuser()}"
        assert (decided["approval"]["status"], bool(decided["message"])) == ("approved", True)
        assert (await bad(client, "Approvals.Decide", approval=short, option="deny"))[0] == "Refused"
        assert (await good(client, "Approvals.List"))["approvals"] == []
        assert len((await good(client, "Approvals.List", all=True))["approvals"]) == 1
        (question,) = (await good(client, "Questions.List", group="main"))["questions"]
        assert (question["title"], question["session"]) == ("Deploy?", "ssssssssssss")
        assert (await good(client, "Questions.Answer", question="qqqq", option="yes"))["message"]
        assert (await good(client, "Questions.List"))["questions"] == []
        assert (await bad(client, "Questions.Get", question="qqqq"))[0] == "NotFound"


async def test_sessions_are_closed_and_found_by_their_state(running: Running):
    """W-68: the reference has no command that closes a session."""
    async with running.client() as client:
        assert len((await good(client, "Sessions.List"))["sessions"]) == 2
        assert (await good(client, "Sessions.Close", id="aaaab"))["session"]["state"] == "closed"
        assert (await bad(client, "Sessions.Close", id="aaaab"))[0] == "Refused"
        assert len((await good(client, "Sessions.List"))["sessions"]) == 1
        assert len((await good(client, "Sessions.List", state="closed"))["sessions"]) == 1
        assert (await bad(client, "Sessions.List", state="dead"))[1] == {"parameter": "state"}


async def test_channels_and_decisions_are_shown(running: Running):
    async with running.client() as client:
        await good(client, "Groups.Create", name="main")
        telegram, terminal = (await good(client, "Channels.List"))["channels"]
        assert (telegram["name"], telegram["state"], telegram["detail"]) == (
            "telegram", "failed", "the token was refused",
        )  # fmt: skip
        assert (terminal["name"], terminal["buttons"]) == ("terminal", False)
        found = (await good(client, "Channels.Conversations", channel="terminal"))["conversations"]
        assert [one["chat"] for one in found] == ["root/main"]
        assert (await bad(client, "Channels.Conversations", channel="telegram"))[0] == "Unavailable"
        (decision,) = (await good(client, "Routing.ExplainMessage", id="m1"))["decisions"]
        assert decision["wirings"][0]["deciding"]["rule"] == "wiring engage_mode=mention"
        assert (await bad(client, "Routing.ExplainMessage", id="m2"))[0] == "NotFound"
        explained = await good(client, "Routing.Explain", channel="telegram", chat="Family", sender=BOB, text="hi")
        assert explained["decision"]["chat"] == "-100200"
        dropped = (await good(client, "Routing.Dropped", chat="Family"))["dropped"]
        assert [(one["user"], one["reason"]) for one in dropped] == [("telegram:99", "unknown_sender_strict")]
        assert (await good(client, "Routing.Dropped", channel="irc", chat="#none"))["dropped"] == []


async def test_who_changed_something_is_in_the_journal(running: Running, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    async with running.client() as client:
        await family(client)
        await good(client, "Members.Add", group="home", user=BOB)
    me = f"terminal:{getpass.getuser()}"
    assert f"{me} made {BOB} a member of home" in caplog.messages
    assert f"{me} made chat telegram:-100777" in caplog.messages


HOSTILE = ("", "/", "..", "a/../b", "\0", "\u202e", "\x1b[31m", "x" * 100_000, "%s%n", "' OR 1=1 --", "💥")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:8]))
async def test_odd_names_get_an_error_and_nothing_breaks(running: Running, caplog: pytest.LogCaptureFixture, text: str):
    calls = [
        ("Chats.Get", {"chat": text}),
        ("Chats.Create", {"channel": "telegram", "chat": text}),
        ("Chats.Create", {"channel": text, "chat": "1"}),
        ("Wirings.Get", {"wiring": text}),
        ("Users.Create", {"user": text}),
        ("Users.Get", {"user": text}),
        ("Roles.Grant", {"user": text, "role": "admin"}),
        ("Members.Add", {"group": text, "user": text}),
        ("Destinations.Remove", {"group": "home", "name": text}),
        ("Destinations.Add", {"group": "home", "name": text, "chat": "-100777"}),
        ("Approvals.Decide", {"approval": text, "option": text}),
        ("Questions.Answer", {"question": text, "option": text}),
        ("Channels.Conversations", {"channel": text}),
        ("Routing.Explain", {"channel": text, "chat": text, "sender": text, "text": text, "thread": text}),
        ("Routing.ExplainMessage", {"id": text}),
        ("Routing.Dropped", {"channel": text, "user": text}),
        ("Sessions.Get", {"id": text}),
        ("Groups.Create", {"name": text, "display_name": text}),
    ]
    async with running.client() as client:
        await family(client)
        for method, parameters in calls:
            reply = await client.call(method, parameters)
            assert "Internal" not in reply.get("error", ""), (method, reply)
            json.dumps(reply).encode()
    assert "control call" not in caplog.text


async def test_half_a_character_is_no_call(running: Running):
    """JSON can spell it, UTF-8 can't: nothing behind the decoder ever meets one."""
    async with running.client() as client:
        client.writer.write(b'{"method":"io.nanoclaw.Chats.Get","parameters":{"chat":"\\ud800"}}\0')
        assert (await client.reply())["error"] == "io.nanoclaw.Appliance.Malformed"
        assert await client.ended()
