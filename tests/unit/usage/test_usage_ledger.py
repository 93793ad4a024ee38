"""What turns took is written down once, bounded, added up and limited; who administers an agent is told in time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import InvalidName, Refused
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store import agent_groups, roles
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.usage import GroupLimits
from nanoclawd.usage.limits import Limits, changed
from nanoclawd.usage.service import UsageService
from nanoclawd.usage.telling import Telling

NOON = datetime(2026, 3, 25, 12, 0, tzinfo=UTC)


class DirectChats:
    async def of(self, user_id: str, _first_channel: str = "") -> Address | None:
        return None if "hermit" in user_id else Address("memory", user_id)


@dataclass
class Words:
    said: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def post(self, message_id: str, address: Address, text: str, _in_reply_to: str | None = None) -> bool:
        new = message_id not in self.said
        self.said.setdefault(message_id, (address.platform_id, text))
        return new


@dataclass
class Ledger:
    database: Database
    group: AgentGroup
    words: Words
    limits: Limits = field(default_factory=Limits)
    moment: datetime = NOON

    def __post_init__(self) -> None:
        self.session = SessionRef("aaaabbbbcccc", "main", None, self.group.id)
        self.telling = Telling(self.database, DirectChats(), self.words)
        self.usage = self.made()

    def made(self) -> UsageService:
        return UsageService(
            self.database,
            self.limits,
            "Europe/Berlin",
            self.telling,
            lambda model: (model or "embedded/x").partition("/")[0],
            lambda: self.moment,
        )

    async def restart(self) -> None:
        self.usage = self.made()
        await self.usage.start()

    async def took(self, row_id: str, **numbers: object) -> None:
        content = {"action": "usage", "model": "m", "inputTokens": 100, "outputTokens": 10, "costMicros": 1000}
        await self.usage.reported(self.session, row_id, {**content, **numbers})
        await self.telling.rest()

    async def troubled(self, row_id: str = "t", kind: str = "credentials", **more: object) -> None:
        content = {"action": "trouble", "kind": kind, "message": "401", "subject": "", **more}
        await self.usage.reported(self.session, row_id, content)
        await self.telling.rest()

    @property
    def texts(self) -> list[str]:
        return [text for _who, text in self.words.said.values()]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    database = Database(tmp_path / "central.db")
    await database.open()
    group = await database.run(agent_groups.create, "main")
    await database.run(roles.grant, "memory:owner", "owner")
    made = Ledger(database, group, Words())
    await made.usage.start()
    yield made
    await made.telling.close()
    await database.close()


async def test_a_turn_is_written_down_once(ledger: Ledger):
    """A daemon that dies before it has noted the row is told it again."""
    for _ in range(3):
        await ledger.took("row")
    (found,) = await ledger.usage.sums("day", 1, None, None, 10)
    assert (found.key, found.turns, found.input_tokens, found.cost_micros) == ("2026-03-25", 1, 100, 1000)


async def test_what_a_container_says_is_bounded(ledger: Ledger):
    """The numbers are a container's word: no sum overflows, no name fills a screen, nonsense counts as nothing."""
    await ledger.took("huge", inputTokens=10**40, outputTokens=-5, costMicros=1e300, seconds=float("nan"))
    await ledger.took("odd", inputTokens="many", outputTokens=True, costMicros=[], model="\x1b[31m" + "m" * 9999)
    sums = await ledger.usage.sums("model", 1, None, None, 10)
    assert sum(one.input_tokens for one in sums) == 100_000_000
    assert sum(one.output_tokens for one in sums) == 0
    assert all(len(one.key) <= 200 and one.key.isprintable() for one in sums)


async def test_usage_is_added_up_by_what_one_wants_to_know(ledger: Ledger):
    await ledger.took("1", model="big")
    ledger.moment += timedelta(days=1)
    await ledger.took("2", model="small", costMicros=None)
    assert [one.key for one in await ledger.usage.sums("day", 7, None, None, 10)] == ["2026-03-26", "2026-03-25"]
    assert [one.key for one in await ledger.usage.sums("day", 1, None, None, 10)] == ["2026-03-26"]
    assert [one.key for one in await ledger.usage.sums("model", 7, "main", None, 10)] == ["big", "small"]
    (of_session,) = await ledger.usage.sums("session", 7, None, "aaaabbbbcccc", 10)
    assert (of_session.turns, of_session.cost_micros) == (2, 1000)
    assert not await ledger.usage.sums("group", 7, "other", None, 10)


async def test_days_are_the_owners(ledger: Ledger):
    """Half past eleven in the evening UTC is tomorrow in Berlin."""
    ledger.moment = datetime(2026, 3, 25, 23, 30, tzinfo=UTC)
    await ledger.took("late")
    assert [one.key for one in await ledger.usage.sums("day", 1, None, None, 10)] == ["2026-03-26"]


async def test_old_turns_become_sums_and_very_old_ones_go(ledger: Ledger):
    for number in range(5):
        await ledger.took(f"{number}")
    ledger.moment += timedelta(days=40)
    await ledger.restart()
    rows = await ledger.database.run(lambda connection: connection.execute("SELECT count(*) FROM usage_turns").get)
    (found,) = await ledger.usage.sums("day", 60, None, None, 10)
    assert (rows, found.turns, found.input_tokens) == (1, 5, 500)
    ledger.moment += timedelta(days=400)
    await ledger.restart()
    assert not await ledger.usage.sums("day", 400, None, None, 10)


async def test_a_limit_warns_at_a_share_once_and_stops_at_its_end(ledger: Ledger):
    await ledger.usage.set_limits(ledger.group.id, GroupLimits(daily_tokens=1000))
    for number in range(7):
        await ledger.took(f"{number}")
    assert not ledger.texts
    assert ledger.usage.refusal(ledger.group.id, "main") is None
    await ledger.took("8")
    assert ledger.texts == ["The agent main has used 88 % of its daily limit: 880 of 1,000 tokens."]
    await ledger.took("9")
    assert len(ledger.texts) == 1
    await ledger.took("10")
    assert "answers nobody until 00:00 (Europe/Berlin)" in ledger.texts[1]
    refused = ledger.usage.refusal(ledger.group.id, "main")
    assert refused is not None
    assert "1,100 of 1,000 tokens" in refused
    assert "00:00 (Europe/Berlin)" in refused
    assert "ncl groups update main --daily-tokens" in refused


async def test_a_restart_forgets_nothing_of_the_day_and_midnight_all_of_it(ledger: Ledger):
    ledger.limits = Limits(cost_micros=1500)
    await ledger.restart()
    await ledger.took("1")
    await ledger.took("2")
    await ledger.restart()
    refused = ledger.usage.refusal(ledger.group.id, "main")
    assert refused is not None
    assert "$0.00 of $0.00" in refused or "--daily-cost" in refused
    ledger.moment += timedelta(days=1)
    assert ledger.usage.refusal(ledger.group.id, "main") is None


async def test_a_groups_own_limit_is_stronger_than_the_configurations(ledger: Ledger):
    ledger.limits = Limits(tokens=50)
    await ledger.restart()
    await ledger.took("1")
    assert ledger.usage.refusal(ledger.group.id, "main") is not None
    await ledger.usage.set_limits(ledger.group.id, GroupLimits(daily_tokens=0))
    assert ledger.usage.refusal(ledger.group.id, "main") is None
    await ledger.usage.set_limits(ledger.group.id, GroupLimits())
    assert ledger.usage.refusal(ledger.group.id, "main") is not None


@pytest.mark.parametrize(("text", "expected"), [("1000", 1000), ("none", 0), ("", None), ("0", 0)])
def test_limits_are_written_as_people_write_them(text: str, expected: int | None):
    assert changed(GroupLimits(5, 5), text, None) == GroupLimits(expected, 5)


@pytest.mark.parametrize("text", ["-1", "many", "1e9", "1.5", "10000000000000", "nan"])
def test_what_is_no_limit_is_refused(text: str):
    with pytest.raises(InvalidName):
        changed(GroupLimits(), text, None)


async def test_the_owner_is_told_once_of_a_credential_until_it_works_again(ledger: Ledger):
    """Expired credentials say so once, whatever number of turns fail by them."""
    for number in range(5):
        await ledger.troubled(f"t{number}", message="the key has expired, get another at example.org")
    assert len(ledger.texts) == 1
    assert "embedded refuses its credential" in ledger.texts[0]
    # The appliance's own word has none of an agent's in it: it may be hostile, and its owner would believe it.
    assert "example.org" not in ledger.texts[0]
    (trouble,) = await ledger.usage.troubles()
    assert (trouble.group, trouble.kind, trouble.count) == ("main", "credentials", 5)
    await ledger.restart()
    await ledger.troubled("t6")
    assert len(ledger.texts) == 1
    await ledger.took("answered")
    assert not await ledger.usage.troubles()
    ledger.moment += timedelta(hours=2)
    await ledger.troubled("t7")
    assert len(ledger.texts) == 2


async def test_a_trouble_ends_also_where_no_usage_is_reported(ledger: Ledger):
    """An endpoint that counts no tokens: the agent says itself that a trouble is over, and of which it is."""
    await ledger.troubled("t1")
    await ledger.troubled("t2", kind="mcp", subject="files")
    await ledger.troubled("t3", kind="mcp", subject="mail")
    await ledger.troubled("o1", kind="credentials", action="over")
    await ledger.troubled("o2", kind="mcp", action="over", subject="files")
    assert [(one.kind, one.subject) for one in await ledger.usage.troubles()] == [("mcp", "mail")]
    ledger.moment += timedelta(hours=2)
    await ledger.troubled("t4")
    assert len(ledger.texts) == 2, "it had worked since"


async def test_an_agent_that_reports_and_works_in_turns_is_no_flood(ledger: Ledger):
    """Reports are a container's word: a hostile one costs its owner one message in an hour."""
    for number in range(20):
        await ledger.troubled(f"t{number}")
        await ledger.took(f"u{number}")
    assert len(ledger.texts) == 1


async def test_troubles_are_bounded_and_go_by_themselves(ledger: Ledger):
    for number in range(100):
        await ledger.troubled(f"t{number}", kind="mcp", subject=f"server-{number}", message="\x1b[2J" + "x" * 9999)
        ledger.moment += timedelta(seconds=1)
    found = await ledger.usage.troubles()
    assert len(found) == 20
    assert found[0].subject == "server-99"
    assert all(len(one.message) <= 500 and one.message.isprintable() for one in found)
    assert not ledger.texts
    ledger.moment += timedelta(days=2)
    assert not await ledger.usage.troubles()


async def test_a_report_that_says_nothing_is_refused(ledger: Ledger):
    with pytest.raises(Refused):
        await ledger.troubled(kind="boredom")
    with pytest.raises(Refused):
        await ledger.usage.reported(ledger.session, "row", {"action": "song"})


async def test_a_flood_of_reports_is_left_out(ledger: Ledger, caplog: pytest.LogCaptureFixture):
    """A container that does nothing but report keeps neither the database nor the journal busy."""
    for number in range(500):
        await ledger.took(f"{number}")
    (found,) = await ledger.usage.sums("day", 1, None, None, 10)
    assert found.turns == 120
    assert len([one for one in caplog.records if "are left out" in one.message]) == 1
    ledger.moment += timedelta(minutes=1)
    await ledger.took("later")
    (found,) = await ledger.usage.sums("day", 1, None, None, 10)
    assert found.turns == 121


async def test_one_session_cannot_fill_the_database_with_reports(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nanoclawd.store.usage.MAX_REPORTS", 3)
    for number in range(10):
        await ledger.took(f"{number}")
    (found,) = await ledger.usage.sums("day", 1, None, None, 10)
    assert found.turns == 3
