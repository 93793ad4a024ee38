"""Where a tool's row goes, and what the agent is told of it: what the host says, not what was wished for."""

import apsw

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, Address
from nanoclaw_runner.desk import OUTCOME_SECONDS, Desk
from nanoclaw_runner.destinations import find
from nanoclaw_runner.store.inbox import Outcome
from nanoclaw_runner.tools.base import ToolError


def address_of(desk: Desk, to: str | None) -> Address:
    """Return where something is sent.

    Without a name that is where the present turn was asked, with its thread (F-127). A name means a destination; in
    another chat than that a conversation begins, without a thread (F-128).

    Raises:
        ToolError: nothing has the name, or there is no such place.
    """
    here = desk.here()
    places = desk.book.around(here)
    if to is None or not to.strip():
        if here is not None:
            return here
        if len(places) == 1:
            return places[0].address
        raise ToolError(f"this turn was asked nowhere: name a destination. {_listed([one.name for one in places])}")
    found = find(places, to)
    if found is None:
        raise ToolError(f"there is no destination {to[:80]!r}. {_listed([one.name for one in places])}")
    if here is not None and (found.address.channel_type, found.address.platform_id) == (
        here.channel_type,
        here.platform_id,
    ):
        return here
    return found.address


def write(desk: Desk, kind: str, content: str, to: Address, key: str) -> int:
    """Write a row and return its number.

    Raises:
        ToolError: it is too long, or cannot be written.
    """
    size = len(content.encode(errors="replace"))
    if size > MAX_CONTENT_BYTES:
        raise ToolError(f"this is too long: {size} bytes, {MAX_CONTENT_BYTES} fit")
    try:
        return desk.write(kind, content, to, key=key)
    except apsw.Error as error:
        raise ToolError(f"it could not be written: {error}") from None


async def told(desk: Desk, key: str, number: int, done: str) -> str:
    """Return what became of a row in words.

    Args:
        desk: where it was written.
        key: under which it was written.
        number: its own.
        done: the words for success.

    Raises:
        ToolError: the host refused it, or could not deliver it for good.
    """
    outcome = await desk.outcome(key, OUTCOME_SECONDS)
    match outcome:
        case Outcome("delivered"):
            return done
        case Outcome("failed", reason=reason):
            raise ToolError(f"could not be delivered: {reason or 'no reason is known'}")
        case Outcome(attempts=attempts, reason=reason) if attempts and reason:
            return f"accepted as #{number}; not delivered yet: {reason} (it is tried again)"
        case Outcome():
            return f"accepted as #{number}; not delivered yet (the chat is not reachable now; it waits for that)"
    return f"accepted as #{number}; not delivered yet"


def _listed(names: list[str]) -> str:
    return f"There are: {', '.join(names)}" if names else "There are none."
