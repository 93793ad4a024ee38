"""Tasks as people and agents handle them: every change is checked here, whoever asks for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import apsw

from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.clock import parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import InvalidName, NotFound, Refused, TooLarge
from nanoclawd.store import agent_groups, chats, destinations, tasks
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.names import new_task_id
from nanoclawd.store.tasks import Run, Task
from nanoclawd.store.transaction import together
from nanoclawd.tasks.occurrences import check_cron, next_after, parse_time, zone_of
from nanoclawd.tasks.places import place_of_group
from nanoclawd.tasks.planning import MAX_OPEN

MAX_LIVE: Final = 500
"""Tasks of one group that can still run."""

MAX_ENDED: Final = 500
"""Tasks of one group that are done or cancelled, and kept to be looked at: the oldest make room for new ones."""

MAX_PROMPT_BYTES: Final = 16 * 1024
MAX_SCRIPT_BYTES: Final = 32 * 1024
MAX_KEY_CHARACTERS: Final = 128
MISSED: Final = ("latest", "all", "skip")
_ALWAYS: Final = "1970-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a task; None was not given, and an empty text takes a value away.

    Attributes:
        at: when it runs, or runs first, as people write times.
        cron: the pattern by which it repeats.
    """

    prompt: str | None = None
    at: str | None = None
    cron: str | None = None
    script: str | None = None
    missed: str | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Where a new task runs and answers; without either it is where the agent talked last.

    Attributes:
        session_id: the session that schedules it.
        address: the chat and thread in which it is scheduled.
    """

    session_id: str | None = None
    address: Address | None = None


class TaskService:
    """All tasks. What is due the dispatcher runs: it is told of every change by ``changed``."""

    def __init__(self, database: Database, zone: str, now: Callable[[], datetime] = clock.now) -> None:
        """Prepare.

        Args:
            database: the central one.
            zone: IANA name of the owner's zone: new tasks have it.
            now: the present moment.
        """
        self._database = database
        self._zone = zone
        self._now = now
        self.changed: Callable[[], None] = lambda: None

    async def create(self, group_id: str, creator: str, wish: Wish, where: Where, key: str | None = None) -> Task:
        """Schedule a task; with a key that was used before the task that has it is returned.

        Raises:
            NotFound: the group or the session has gone.
            Refused: the time is past, the pattern never fires, there is no time, or too many tasks wait.
            TooLarge: a text is over its bound.
            InvalidName: the policy or the key is none.
        """
        made = await self._database.run(self._create, group_id, creator, wish, where, key)
        self.changed()
        return made

    async def update(self, task_id: str, wish: Wish) -> Task:
        """Change a task that can still run. Raises as :meth:`create`, and Refused where nothing is to change."""
        return await self._change(task_id, lambda task: self._updated(task, wish))

    async def pause(self, task_id: str) -> Task:
        """Have a task not run until it is resumed; paused already, it stays so."""
        return await self._change(task_id, lambda task: replace(task, status="paused"))

    async def resume(self, task_id: str) -> Task:
        """Have a paused task run again.

        A series goes on with its next time; a single task runs at its time, or now if that has passed.
        """
        return await self._change(task_id, self._resumed)

    async def cancel(self, task_id: str) -> Task:
        """Have a task never run again."""
        return await self._change(task_id, lambda task: replace(task, status="cancelled", next_run_at=None))

    async def run_now(self, task_id: str) -> Run:
        """Run a task once more, at this moment; its plan stays as it is.

        Raises:
            NotFound: there is no such task.
            Refused: it is done or cancelled, or was run in this very second, or too many runs are not done.
        """
        run = await self._database.run(self._run_now, task_id)
        self.changed()
        return run

    async def _change(self, task_id: str, change: Callable[[Task], Task]) -> Task:
        task = await self._database.run(_changed, task_id, change)
        self.changed()
        return task

    def _create(
        self, connection: apsw.Connection, group_id: str, creator: str, wish: Wish, where: Where, key: str | None
    ) -> Task:
        now = self._now()
        if key is not None and not 0 < len(key) <= MAX_KEY_CHARACTERS:
            raise InvalidName(f"a task's key has 1 to {MAX_KEY_CHARACTERS} characters")
        prompt, script = _prompt(wish.prompt or ""), _script(wish.script or "")
        missed = _missed(wish.missed or "latest")
        cron = " ".join((wish.cron or "").split()) or None
        with together(connection):
            group = agent_groups.by_id(connection, group_id)
            known = _by_key(connection, group_id, key)
            if known is not None:
                return known
            first, not_before = self._planned(wish.at, cron, self._zone, now)
            if tasks.count_live(connection, group_id) >= MAX_LIVE:
                raise Refused(f"{group.folder} has {MAX_LIVE} tasks that wait: cancel some first")
            session_id, address = _place(connection, group, where)
            tasks.prune_group(connection, group_id, MAX_ENDED)
            return tasks.add(
                connection,
                Task(
                    id=new_task_id(),
                    agent_group_id=group_id,
                    group=group.folder,
                    session_id=session_id,
                    channel_type=address.channel_type if address else None,
                    platform_id=address.platform_id if address else None,
                    thread_id=address.thread_id if address else None,
                    created_by=creator,
                    prompt=prompt,
                    script=script,
                    cron=cron,
                    zone=self._zone,
                    not_before=not_before,
                    next_run_at=first,
                    status="active",
                    missed=missed,
                    key=key,
                    created_at=to_text(now),
                    changed_at=to_text(now),
                ),
            )

    def _updated(self, task: Task, wish: Wish) -> Task:
        if wish == Wish():
            raise Refused("nothing to change was given")
        changed = task
        if wish.prompt is not None:
            changed = replace(changed, prompt=_prompt(wish.prompt))
        if wish.script is not None:
            changed = replace(changed, script=_script(wish.script))
        if wish.missed is not None:
            changed = replace(changed, missed=_missed(wish.missed))
        if wish.at is None and wish.cron is None:
            return changed
        now = self._now()
        cron = task.cron if wish.cron is None else " ".join(wish.cron.split()) or None
        if wish.at is None and cron is None:
            # A series ends with the run that is planned next.
            return replace(changed, cron=None)
        first, not_before = self._planned(wish.at, cron, task.zone, now)
        return replace(changed, cron=cron, next_run_at=first, not_before=not_before)

    def _resumed(self, task: Task) -> Task:
        if task.status == "active":
            return task
        now = self._now()
        if task.cron is None or parse(task.not_before) > now:
            return replace(task, status="active")
        following = next_after(task.cron, zone_of(task.zone), now)
        if following is None:
            raise Refused("this task has no next time any more: give it one")
        return replace(task, status="active", next_run_at=to_text(following))

    def _planned(self, at: str | None, cron: str | None, zone_name: str, now: datetime) -> tuple[str, str]:
        """Return the first run of a plan, and the time before which there is none."""
        zone = zone_of(zone_name)
        first = check_cron(cron, zone, now) if cron else None
        if at:
            moment = to_text(parse_time(at, zone, now))
            return moment, moment
        if first is None:
            raise Refused("a task needs a time, or a cron pattern, or both")
        return to_text(first), _ALWAYS

    def _run_now(self, connection: apsw.Connection, task_id: str) -> Run:
        now = self._now()
        with together(connection):
            task = tasks.by_id(connection, task_id)
            _check_live(task)
            if tasks.count_open_runs(connection, task.agent_group_id) >= MAX_OPEN:
                raise Refused(f"{MAX_OPEN} runs of {task.group} are not done yet; no more until some are")
            occurrence = to_text(now.replace(microsecond=0))
            run = Run(task.id, occurrence, "pending", False, 0, None, "asked for", to_text(now), None, None)
            if not tasks.begin_run(connection, run):
                raise Refused("this task was run in this very second")
            return run


def _changed(connection: apsw.Connection, task_id: str, change: Callable[[Task], Task]) -> Task:
    with together(connection):
        task = tasks.by_id(connection, task_id)
        _check_live(task)
        return tasks.save(connection, change(task))


def _check_live(task: Task) -> None:
    if not task.is_live:
        raise Refused(f"task {task.id} is {task.status}: it runs no more", hint="ncl tasks list")


def _by_key(connection: apsw.Connection, group_id: str, key: str | None) -> Task | None:
    return None if key is None else tasks.by_key(connection, group_id, key)


def _place(connection: apsw.Connection, group: AgentGroup, where: Where) -> tuple[str | None, Address | None]:
    """Check where a task is to run; its agent must be able to answer there."""
    session_id, address = where.session_id, where.address
    own: Address | None = None
    if session_id is not None:
        session = session_rows.by_id(connection, session_id)
        if session.agent_group_id != group.id or session.status != "active":
            raise NotFound(f"{group.folder} has no active session {session_id}", hint="ncl sessions list")
        if session.messaging_group_id is not None:
            chat = chats.by_id(connection, session.messaging_group_id)
            own = Address(chat.channel_type, chat.platform_id, session.thread_id)
    if address is None:
        return (session_id, own) if session_id is not None else place_of_group(connection, group.id)
    is_own = own is not None and (own.channel_type, own.platform_id) == (address.channel_type, address.platform_id)
    if not is_own and not destinations.may_write_to(connection, group.id, address.channel_type, address.platform_id):
        raise Refused(
            f"{group.folder} may not write to {address.channel_type}:{address.platform_id}",
            hint="ncl destinations list",
        )
    return session_id, address


def _prompt(text: str) -> str:
    prompt = storable(text).strip()
    if not prompt:
        raise Refused("a task needs a prompt: what the agent is to do")
    if len(prompt.encode()) > MAX_PROMPT_BYTES:
        raise TooLarge(f"a task's prompt has {MAX_PROMPT_BYTES // 1024} KiB at most")
    return prompt


def _script(text: str) -> str | None:
    script = storable(text)
    if len(script.encode()) > MAX_SCRIPT_BYTES:
        raise TooLarge(f"a task's script has {MAX_SCRIPT_BYTES // 1024} KiB at most")
    return script if script.strip() else None


def _missed(policy: str) -> str:
    if policy not in MISSED:
        raise InvalidName(f"{policy[:40]!r} is no policy for missed runs; there are {', '.join(MISSED)}")
    return policy
