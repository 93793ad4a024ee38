"""What a delivery costs: the commits of a turn, and whom the host's disk keeps waiting."""

import asyncio

import apsw
from session_stage import CHAT, Stage, message, said

from nanoclaw_runner.store.outbox import Reply
from nanoclawd.sessions.ports import Delivered, Outgoing


class Commits:
    """Counts the commits of a connection, by SQLite's own hook."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.count = 0
        connection.set_commit_hook(self._on_commit)

    def _on_commit(self) -> bool:
        self.count += 1
        return False


async def test_how_many_commits_a_turn_makes(stage: Stage):
    """Five: each is what one side must not forget before the other, or the platform, acts on it."""
    await stage.files.append(message("before"))
    inbound = stage.files._inbound
    assert inbound is not None
    host = Commits(inbound._connection)
    steps: list[tuple[str, int]] = []
    with stage.outbox() as outbox:
        container = Commits(outbox._connection)

        def step(name: str) -> None:
            steps.append((name, host.count + container.count - sum(count for _, count in steps)))

        await stage.files.append(message("m1"))
        step("the message is stored")
        outbox.claim(["m1"])
        step("the runner claims it")
        outbox.finish([Reply(said("answer"), address=CHAT)], ["m1"], 4)
        step("the reply and its acknowledgement")

        def deliver(_outgoing: Outgoing) -> Delivered:
            step("the intent to deliver, and the acknowledgement taken over")
            return Delivered()

        stage.platform.answer = deliver
        await stage.run("m1")
        step("the delivery's outcome")
        await stage.run()
        step("a look that finds nothing new")
    for name, count in steps:
        print(f"{count} commit: {name}")
    assert [count for _, count in steps] == [1, 1, 1, 1, 1, 0]


async def test_a_screen_does_not_wait_for_the_hosts_disk(stage: Stage):
    """F-99: where a repeated one is shown once, the intent is written while it is shown, the outcome after that."""
    await stage.files.append(message("m1"))
    stage.reply("a", completed=("m1",))
    shown = asyncio.Event()

    def deliver(_outgoing: Outgoing) -> Delivered:
        shown.set()
        return Delivered()

    stage.platform.answer, stage.platform.shows_once = deliver, True
    disk = apsw.Connection(str(stage.paths.inbound_db))
    disk.execute("BEGIN IMMEDIATE").fetchall()
    drain = asyncio.create_task(stage.run("m1"))
    await asyncio.wait_for(shown.wait(), 10)
    assert stage.query_inbound("SELECT count(*) FROM delivered") == 0
    disk.close()
    assert (await drain).finished == {"m1": "completed"}
    (row,) = stage.outbound_ids()
    outcome = (await stage.files.read(lambda inbound: inbound.deliveries((str(row),))))[row]
    assert (outcome.status, outcome.attempts) == ("delivered", 1)
    assert stage.query_inbound("SELECT status FROM messages_in") == "completed"


async def test_several_rows_share_their_commits(stage: Stage):
    """n rows: n intents, each with the outcome of the row before, and the last outcome."""
    await stage.files.append(message("m1"))
    inbound = stage.files._inbound
    assert inbound is not None
    commits = Commits(inbound._connection)
    stage.reply(*"abcdefgh", completed=("m1",))
    await stage.run("m1")
    assert (len(stage.platform.got), commits.count) == (8, 9)
