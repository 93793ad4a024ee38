"""A town for the tests of who may talk to whom: an agent, its owner, strangers, and two accounts of one platform.

Everything in a town bears its tag, and what bears it is gone afterwards: other tests share the appliance.
"""

import contextlib
import re
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from eventually import wait_until
from system import appliance
from system.appliance import STATE, ControlError, call, daemon_stopped, rows
from system.loopback import Account, Delivery

CENTRAL: Final = STATE / "central.db"
_ALL: Final = 10_000


@dataclass
class Town:
    """An agent group and the people around it; on ``loop`` they have buttons, on ``plain`` only words."""

    loop: Account
    plain: Account
    group: str
    tag: str

    @property
    def accounts(self) -> tuple[Account, Account]:
        return self.loop, self.plain

    def handle(self, who: str) -> str:
        """Return a person's handle, which is the name of the direct chat with them, too."""
        return f"{who}-{self.tag}"

    def user(self, who: str) -> str:
        return f"loopback:{who}-{self.tag}"

    def grant(self, who: str, role: str = "owner", group: str | None = None) -> None:
        call("Roles.Grant", user=self.user(who), role=role, group=group)

    def join(self, who: str) -> None:
        call("Members.Add", user=self.user(who), group=self.group)

    def only_on(self, account: Account, who: str) -> None:
        """Have a person be reached on one of the accounts only."""
        for other in self.accounts:
            if other is not account:
                other.direct_chat(self.handle(who), None)

    def room(self, name: str | None = None) -> str:
        """Return a name for a chat of this town that nobody has spoken in."""
        return f"{name or f'room{secrets.token_hex(3)}'}-{self.tag}"

    def chat(
        self, account: Account, *, policy: str = "request_approval", is_group: bool = False, room: str | None = None
    ) -> str:
        """Make a chat that the agent hears; returns its platform id."""
        room = room or self.room()
        chat = f"{account.channel}:{room}"
        call("Chats.Create", channel=account.channel, chat=room, is_group=is_group, unknown_sender_policy=policy)
        call("Wirings.Create", chat=chat, group=self.group, engage_mode="pattern", engage_pattern=".")
        return room

    def say(self, account: Account, chat: str, text: str, *, by: str, **more: Any) -> str:
        return account.say(chat, text, sender=self.handle(by), name=by.title(), **more)

    def click(self, card: Delivery, option: str | int, *, by: str, account: Account | None = None) -> str:
        return (account or self.loop).click(card, option, sender=self.handle(by))

    def card(self, who: str, *, account: Account | None = None, after: int = 0) -> Delivery:
        """Wait for a card in the direct chat with a person."""
        return (account or self.loop).gets_card(self.handle(who), after=after)

    def asked(self, **wanted: object) -> list[dict[str, Any]]:
        """Return the approvals about this town, also the ended ones, the newest first."""
        found = call("Approvals.List", all=True, limit=_ALL)["approvals"]
        return [one for one in found if self._is_mine(one) and wanted.items() <= one.items()]

    def approval(self, **wanted: object) -> dict[str, Any]:
        """Return the only such approval about this town."""
        (found,) = self.asked(**wanted)
        return found

    def gets_asked(self, **wanted: object) -> dict[str, Any]:
        """Wait until there is one such approval about this town, and return it."""
        wait_until(lambda: len(self.asked(**wanted)) == 1, f"one approval with {wanted}")
        return self.approval(**wanted)

    def users_now(self) -> list[str]:
        return [one["id"] for one in call("Users.List", limit=_ALL)["users"] if self.tag in one["id"]]

    def members(self) -> list[str]:
        return [one["user"] for one in call("Members.List", group=self.group)["members"]]

    def _is_mine(self, approval: dict[str, Any]) -> bool:
        return any(self.tag in (approval[name] or "") for name in ("group", "chat", "user"))

    def clear(self) -> None:
        """Leave nothing."""
        for grant in call("Roles.List", limit=_ALL)["roles"]:
            if self.tag in grant["user"]:
                call("Roles.Revoke", user=grant["user"], role=grant["role"], group=grant["group"])
        for chat in call("Chats.List", limit=_ALL)["chats"]:
            if self.tag in chat["chat"]:
                call("Chats.Delete", chat=chat["id"])
        for user in self.users_now():
            call("Users.Delete", user=user)
        for made in call("Groups.List")["groups"]:
            if self.tag in made["name"]:
                with contextlib.suppress(ControlError):
                    call("Groups.Delete", name=made["name"], force=True, seconds=90)


@contextlib.contextmanager
def town() -> Iterator[Town]:
    """Build a town."""
    tag = secrets.token_hex(3)
    with (
        Account("loop", idempotent=True) as loop,
        Account("plain") as plain,
        appliance.group(f"agent-{tag}") as group,
    ):
        built = Town(loop, plain, group, tag)
        try:
            yield built
        finally:
            built.clear()


@contextlib.contextmanager
def another_owner() -> Iterator[None]:
    """Have the operator be an owner while towns come and go: the last owner can't be taken away.

    Only by hand can the appliance be made as if it never had one; this does so where it is needed.
    """
    claimed = call("Roles.Claim")["role"] is not None
    try:
        yield
    finally:
        if claimed:
            with daemon_stopped():
                change("DELETE FROM user_roles WHERE user_id = 'terminal:root'")


@contextlib.contextmanager
def no_owner() -> Iterator[None]:
    """Have the appliance be one that nobody owns yet; afterwards it has the roles that it had."""
    columns = "user_id, role, agent_group_id, granted_by, granted_at"
    before = rows(CENTRAL, f"SELECT {columns} FROM user_roles WHERE agent_group_id IS NULL")
    with daemon_stopped():
        change("DELETE FROM user_roles WHERE agent_group_id IS NULL")
    try:
        yield
    finally:
        with daemon_stopped():
            change("DELETE FROM user_roles WHERE agent_group_id IS NULL")
            for row in before:
                change(f"INSERT INTO user_roles ({columns}) VALUES (?, ?, ?, ?, ?)", *row)


def change(statement: str, *bindings: object) -> None:
    """Change ``central.db`` by hand, while the daemon is stopped."""
    with contextlib.closing(sqlite3.connect(CENTRAL, timeout=10)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(statement, bindings)


def answers(account: Account, chat: str, text: str, thread: str | None = None) -> int:
    """Count how often the agent answered a message."""
    return "\n".join(account.texts(chat, thread)).count(f"echo: {text}")


def tag_of(card: Delivery) -> str:
    """Return what a person has to write before the number where several cards are open."""
    found = re.search(r"write (\w{4}) before it", card.text)
    assert found is not None, card.text
    return found[1]
