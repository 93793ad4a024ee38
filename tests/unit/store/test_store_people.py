"""Users, roles, members, denials and direct chats."""

import contextlib
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, Refused
from nanoclawd.store import agent_groups, chats, members, roles, user_dms, users
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import connect
from nanoclawd.store.roles import Standing

ADA, BOB, EVE = "telegram:1", "telegram:2", "matrix:@eve:example.org"


def test_a_users_life(connection: apsw.Connection):
    made = users.ensure(connection, ADA, "Ada")
    assert (made.id, made.display_name) == (ADA, "Ada")
    assert users.by_id(connection, ADA) == made
    other = users.ensure(connection, EVE)
    assert users.every(connection) == [made, other]
    assert users.rename(connection, ADA, None).display_name is None
    users.delete(connection, ADA)
    assert users.every(connection) == [other]
    for call in (users.by_id, users.delete):
        with pytest.raises(NotFound):
            call(connection, ADA)
    with pytest.raises(NotFound):
        users.rename(connection, ADA, "Ada")


def test_a_user_is_written_only_when_needed(tmp_path: Path):
    """W-18: a known user costs no write and no commit; only another name that says something replaces one."""
    connection = connect(tmp_path / "central.db")
    users.ensure(connection, ADA, "Ada")
    with contextlib.closing(apsw.Connection(str(tmp_path / "central.db"))) as watcher:
        before = watcher.execute("PRAGMA data_version").get
        for name in ("Ada", None, "", "  ", "Ada\n"):
            assert users.ensure(connection, ADA, name).display_name == "Ada"
        roles.standing(connection, "telegram:nobody")
        assert watcher.execute("PRAGMA data_version").get == before
        assert users.ensure(connection, ADA, "Ada L.").display_name == "Ada L."
        assert watcher.execute("PRAGMA data_version").get != before
    assert [user.id for user in users.every(connection)] == [ADA]
    connection.close()


@pytest.mark.parametrize(
    "user_id",
    [
        *("", ":", "ada", "telegram:", ":1", "telegram:\n1", "telegram:\x00", "telegram:1\x1b[2J", "telegram:\ud800"),
        "telegram:\N{RIGHT-TO-LEFT OVERRIDE}1",
        "telegram:1\N{NO-BREAK SPACE}",
        "telegram:1\ue000",
        "telegram:" + "1" * 504,
    ],
)
def test_ids_that_can_be_nobodys(connection: apsw.Connection, user_id: str):
    """W-59: an id is the platform's own; what could deceive a reader is refused before it is stored."""
    with pytest.raises(InvalidName, match="<platform>:<handle>"):
        users.ensure(connection, user_id, "Somebody")
    assert users.every(connection) == []


@given(st.text(max_size=300))
def test_any_shown_name_can_be_stored(name: str):
    """Odd Unicode, control characters and lone surrogates make no error; what is stored is one bounded line."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE users (id TEXT PRIMARY KEY, display_name TEXT, created_at TEXT)")
    stored = users.ensure(connection, ADA, name).display_name
    connection.close()
    if stored is None:
        return
    assert 1 <= len(stored) <= 200
    assert stored == stored.strip()
    assert len(stored.splitlines()) == 1
    assert not any(ord(char) < 32 for char in stored)


def test_roles_are_given_once(connection: apsw.Connection, group: AgentGroup):
    """W-33: also those that hold everywhere, whose group is NULL; the schema itself knows."""
    for role, where in (("owner", None), ("admin", None), ("admin", group.id)):
        given_role = roles.grant(connection, ADA, role, where, granted_by="terminal:root")
        assert (given_role.role, given_role.agent_group_id, given_role.granted_by) == (role, where, "terminal:root")
        assert given_role.group == (None if where is None else "main")
        with pytest.raises(AlreadyExists):
            roles.grant(connection, ADA, role, where)
        with pytest.raises(apsw.ConstraintError):
            connection.execute(
                "INSERT INTO user_roles (user_id, role, agent_group_id, granted_at) VALUES (?, ?, ?, 'now')",
                (ADA, role, where),
            )
    assert len(roles.grants(connection)) == len(roles.grants(connection, ADA)) == 3
    assert [one.role for one in roles.grants(connection, agent_group_id=group.id)] == ["admin"]
    assert roles.grants(connection, BOB) == []
    roles.revoke(connection, ADA, "admin")
    assert [(one.role, one.group) for one in roles.grants(connection)] == [("owner", None), ("admin", "main")]


def test_grants_that_are_refused_leave_nothing(connection: apsw.Connection, group: AgentGroup):
    with pytest.raises(InvalidName, match="owns everything"):
        roles.grant(connection, ADA, "owner", group.id)
    with pytest.raises(InvalidName, match="owner and admin"):
        roles.grant(connection, ADA, "king")
    with pytest.raises(NotFound, match="group"):
        roles.grant(connection, ADA, "admin", "ag-nobody")
    with pytest.raises(InvalidName):
        roles.grant(connection, "Ada", "admin")
    assert roles.grants(connection) == []
    assert users.every(connection) == []


def test_the_last_owner_stays(connection: apsw.Connection, group: AgentGroup):
    assert not roles.has_owner(connection)
    roles.grant(connection, ADA, "admin")
    assert not roles.has_owner(connection)
    roles.grant(connection, ADA, "owner")
    assert roles.has_owner(connection)
    with pytest.raises(Refused, match="last owner"):
        roles.revoke(connection, ADA, "owner")
    with pytest.raises(Refused, match="last owner"):
        users.delete(connection, ADA)
    with pytest.raises(NotFound):
        roles.revoke(connection, BOB, "owner")
    with pytest.raises(NotFound):
        roles.revoke(connection, ADA, "admin", group.id)
    roles.grant(connection, BOB, "owner")
    roles.revoke(connection, ADA, "owner")
    users.delete(connection, ADA)
    assert [(one.user_id, one.role) for one in roles.grants(connection)] == [(BOB, "owner")]


def test_who_is_asked_first(connection: apsw.Connection, group: AgentGroup):
    """The group's admins, then global admins, then owners; the longest in office first, nobody twice."""
    other = agent_groups.create(connection, "other")
    for user_id, role, where in (
        ("t:owner-1", "owner", None),
        ("t:both", "owner", None),
        ("t:global", "admin", None),
        ("t:here-1", "admin", group.id),
        ("t:both", "admin", group.id),
        ("t:elsewhere", "admin", other.id),
        ("t:here-2", "admin", group.id),
    ):
        roles.grant(connection, user_id, role, where)
    assert roles.approvers(connection, group.id) == ["t:here-1", "t:both", "t:here-2", "t:global", "t:owner-1"]
    assert roles.approvers(connection, None) == ["t:global", "t:owner-1", "t:both"]
    assert roles.approvers(connection, other.id) == ["t:elsewhere", "t:global", "t:owner-1", "t:both"]


def test_members(connection: apsw.Connection, group: AgentGroup):
    other = agent_groups.create(connection, "other")
    made = members.add(connection, ADA, group.id, added_by=BOB)
    assert (made.user_id, made.group, made.added_by) == (ADA, "main", BOB)
    with pytest.raises(AlreadyExists):
        members.add(connection, ADA, group.id)
    members.add(connection, ADA, other.id)
    members.add(connection, EVE, other.id)
    assert [one.group for one in members.every(connection, user_id=ADA)] == ["main", "other"]
    assert {one.user_id for one in members.every(connection, other.id)} == {ADA, EVE}
    assert len(members.every(connection)) == 3
    members.remove(connection, ADA, group.id)
    with pytest.raises(NotFound):
        members.remove(connection, ADA, group.id)
    with pytest.raises(NotFound, match="group"):
        members.add(connection, BOB, "ag-nobody")
    assert [user.id for user in users.every(connection)] == [ADA, EVE]


def test_denials(connection: apsw.Connection, group: AgentGroup):
    other = agent_groups.create(connection, "other")
    first = members.deny(connection, EVE, group.id, denied_by=ADA)
    assert (first.user_id, first.group, first.denied_by) == (EVE, "main", ADA)
    assert members.deny(connection, EVE, group.id, denied_by=BOB).denied_by == BOB
    members.deny(connection, EVE, other.id)
    assert [one.group for one in members.denials(connection)] == ["main", "other"]
    assert roles.standing(connection, EVE).denied_in == {group.id, other.id}
    assert members.undeny(connection, EVE, other.id) == 1
    assert members.undeny(connection, EVE) == 1
    assert members.undeny(connection, EVE) == 0
    with pytest.raises(NotFound):
        members.deny(connection, EVE, "ag-nobody")


def test_who_is_let_in_is_denied_no_more(connection: apsw.Connection, group: AgentGroup):
    other = agent_groups.create(connection, "other")
    for where in (group, other):
        members.deny(connection, EVE, where.id)
    members.add(connection, EVE, group.id)
    assert [one.group for one in members.denials(connection)] == ["other"]
    roles.grant(connection, EVE, "admin", other.id)
    assert members.denials(connection) == []
    members.deny(connection, BOB, group.id)
    roles.grant(connection, BOB, "owner")
    assert members.denials(connection) == []


@pytest.mark.parametrize(
    ("standing", "known", "administers", "word"),
    [
        (Standing(None), False, False, "stranger"),
        (Standing(EVE), False, False, "stranger"),
        (Standing(EVE, denied_in=frozenset({"g"})), False, False, "stranger"),
        (Standing(EVE, member_of=frozenset({"other"}), admin_of=frozenset({"third"})), False, False, "stranger"),
        (Standing(EVE, member_of=frozenset({"g"})), True, False, "member"),
        (Standing(EVE, admin_of=frozenset({"g"})), True, True, "admin"),
        (Standing(EVE, admin_of=frozenset({"g"}), member_of=frozenset({"g"})), True, True, "admin"),
        (Standing(EVE, is_global_admin=True, member_of=frozenset({"g"})), True, True, "global admin"),
        (Standing(EVE, is_global_admin=True, is_owner=True), True, True, "owner"),
    ],
)
def test_who_is_known_to_a_group(standing: Standing, known: bool, administers: bool, word: str):
    """F-153: member, admin of the group, global admin and owner are; strangers and other groups' people are not."""
    assert (standing.may_access("g"), standing.may_administer("g"), standing.role_in("g")) == (known, administers, word)


def test_what_concerns_all_needs_a_global_role():
    """W-58: an admin of one group decides nothing that reaches beyond it."""
    assert not Standing(ADA, admin_of=frozenset({"g"})).may_administer(None)
    assert Standing(ADA, is_global_admin=True).may_administer(None)
    assert Standing(ADA, is_owner=True).may_administer(None)


def test_direct_chats(connection: apsw.Connection, chat: Chat):
    users.ensure(connection, ADA)
    made = user_dms.remember(connection, ADA, "matrix", chat.id)
    assert (made.channel, made.messaging_group_id, made.platform_id) == ("matrix", chat.id, chat.platform_id)
    assert user_dms.find(connection, ADA, "matrix") == made
    assert user_dms.find(connection, ADA, "matrix-2") is None
    other = chats.create(connection, "matrix", "!other:example.org")
    assert user_dms.remember(connection, ADA, "matrix", other.id).platform_id == other.platform_id
    user_dms.remember(connection, ADA, "irc", chat.id)
    assert [one.channel for one in user_dms.every(connection)] == ["irc", "matrix"]
    assert user_dms.every(connection, BOB) == []
    chats.delete(connection, other.id)
    assert user_dms.find(connection, ADA, "matrix") is None
    for user_id, chat_id in ((BOB, chat.id), (ADA, "mg-nowhere")):
        with pytest.raises(NotFound):
            user_dms.remember(connection, user_id, "irc", chat_id)


def test_a_deleted_user_leaves_nothing(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    roles.grant(connection, ADA, "admin", group.id)
    members.add(connection, ADA, group.id)
    members.deny(connection, EVE, group.id)
    user_dms.remember(connection, ADA, "matrix", chat.id)
    users.delete(connection, ADA)
    users.delete(connection, EVE)
    for table in ("users", "user_roles", "agent_group_members", "denied_senders", "user_dms"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0


def test_a_deleted_group_takes_its_rights_along(connection: apsw.Connection, group: AgentGroup):
    roles.grant(connection, ADA, "admin", group.id)
    roles.grant(connection, BOB, "owner")
    members.add(connection, ADA, group.id)
    members.deny(connection, EVE, group.id)
    agent_groups.delete(connection, group.id)
    assert [one.user_id for one in roles.grants(connection)] == [BOB]
    assert roles.standing(connection, ADA) == Standing(ADA)
    assert members.denials(connection) == []
    assert roles.standing(connection, None) == Standing(None)
