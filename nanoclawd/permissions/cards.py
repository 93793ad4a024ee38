"""Cards of approvals as rows of ``host_messages``: whom one was sent to, its later versions, what stands in its place.

All functions belong into a caller's transaction.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import apsw

from nanoclaw_runner.contract.cards import Card, Option, chosen, from_content, to_content
from nanoclaw_runner.contract.rows import Address
from nanoclawd.delivery import outbox
from nanoclawd.errors import NotFound, Refused
from nanoclawd.permissions import wording
from nanoclawd.permissions.actions import Decider
from nanoclawd.store import approvals, host_messages, users
from nanoclawd.store.approvals import Approval
from nanoclawd.store.host_messages import HostMessage

VERSION: Final = "card"
"""In a payload: which card of the approval is the present one, from 1."""

_DIGITS: Final = 4

type CanEdit = Callable[[str], bool]
"""Whether a channel can change a delivered message."""


def check(title: str, body: str, options: tuple[Option, ...]) -> None:
    """See to it that a card can be shown in full: what is decided must be what was shown.

    Raises:
        Refused: it is too long, or its options can't be told apart.
    """
    try:
        from_content(to_content(Card(title, body, options)))
    except ValueError as error:
        raise Refused(f"this can't be asked: {error}") from error


def parse_id(card_id: str) -> tuple[str, int]:
    """Return the approval's id and the card's version of what a button carries."""
    approval_id, dot, number = card_id.partition(".")
    if not dot:
        return approval_id, 1
    return approval_id, _number(number)


def version(approval: Approval) -> int:
    """Return which of the approval's cards is the present one."""
    return int(approval.payload.get(VERSION, 1))


def present(connection: apsw.Connection, approval: Approval) -> list[HostMessage]:
    """Return the rows of the approval's present card, one for each person who was asked."""
    mark = f"card-{_card_id(approval)}-"
    return [one for one in host_messages.of_approval(connection, approval.id) if one.id.startswith(mark)]


def post(connection: apsw.Connection, approval: Approval, user_id: str, address: Address) -> bool:
    """Post the present card to a person; once for each."""
    card_id = _card_id(approval)
    mark = hashlib.sha256(user_id.encode(errors="replace")).hexdigest()[:8]
    card = Card(approval.title, approval.body, approval.options)
    row = outbox.shown_card(f"card-{card_id}-{mark}", address, card, card_id, approval.id, user_id)
    return host_messages.post(connection, row)


def renew(connection: apsw.Connection, approval_id: str, without: str | None = None) -> None:
    """Post an approval's changed card to the people who have the one before, whose buttons are dead from now on.

    Args:
        connection: the central database.
        approval_id: which.
        without: a person who is not asked again.
    """
    approval = approvals.by_id(connection, approval_id)
    shown = present(connection, approval)
    payload: dict[str, Any] = {**approval.payload, VERSION: version(approval) + 1}
    approvals.set_payload(connection, approval.id, payload)
    approval = approvals.by_id(connection, approval_id)
    for one in shown:
        if one.person not in (None, without):
            post(connection, approval, str(one.person), Address(one.channel_type, one.platform_id, one.thread_id))


def close(
    connection: apsw.Connection,
    approval: Approval,
    words: str,
    can_edit: CanEdit,
    told: tuple[str, str] | None = None,
) -> None:
    """Put the outcome in the place of the present card, wherever it was shown; withdraw it where it was not.

    Args:
        connection: the central database.
        approval: as it was before.
        words: what became of it.
        can_edit: a channel that can't gets a new message in the place of the change.
        told: the person, and the channel, to whom the words go anyway: they need no new message beside it.
    """
    for one in present(connection, approval):
        if told == (one.person, one.channel_type) and one.status == "delivered" and not can_edit(one.channel_type):
            continue
        outbox.post_edit(connection, one.id, wording.closed_card(approval, words))


def tell_outcome(connection: apsw.Connection, approval: Approval, outcome: str, can_edit: CanEdit) -> None:
    """Say on the card of a decided approval what came of it; in a short message where a channel can't change it."""
    by = str(approval.decided_by)
    done = next((one.done for one in approval.options if one.value == approval.decision), approval.status.title())
    words = f"{done} by {wording.who(by, display_name(connection, by))}: {outcome}"
    for one in present(connection, approval):
        short = f"{approval.title}\n→ {words}"
        text = wording.closed_card(approval, words) if can_edit(one.channel_type) else short
        outbox.post_edit(connection, one.id, text)


def find_option(options: tuple[Option, ...], value: str, *, by_words: bool) -> Option | None:
    """Return the option of a value, or of ``#<number>``; ``by_words`` takes its label or bare number too."""
    exact = next((one for one in options if one.value == value), None)
    if exact is not None:
        return exact
    number = value.removeprefix("#")
    if number != value:
        return options[_number(number) - 1] if 1 <= _number(number) <= len(options) else None
    return chosen(value, options) if by_words else None


def display_name(connection: apsw.Connection, user_id: str) -> str | None:
    """Return the name by which a person is known, or None."""
    try:
        return users.by_id(connection, user_id).display_name
    except NotFound:
        return None


def who_decided(connection: apsw.Connection, approval: Approval, asking: Decider) -> str | None:
    """Return who decided, as seen by somebody."""
    if approval.decided_by is None:
        return None
    if approval.decided_by == asking.id:
        return "You"
    return wording.who(approval.decided_by, display_name(connection, approval.decided_by))


def _number(text: str) -> int:
    """Return a small number, or 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 0


def _card_id(approval: Approval) -> str:
    number = version(approval)
    return approval.id if number == 1 else f"{approval.id}.{number}"
