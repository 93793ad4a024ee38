"""io.nanoclaw.Tasks: what agents do at a time. Operators and agents call the same methods."""

from nanoclawd.control.api import TasksBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary, Word
from nanoclawd.control.values import Caller, TaskPlace, TaskSettings, TaskStatus

INTERFACE = "io.nanoclaw.Tasks"


class _List(Listing, frozen=True):
    group: Name | None = None
    status: TaskStatus | None = None


class _Task(Parameters, frozen=True):
    task: Reference


class _Runs(Listing, frozen=True):
    task: Reference


class _Create(Parameters, frozen=True):
    group: Name
    prompt: str
    at: Word | None = None
    cron: Word | None = None
    script: str | None = None
    missed: Word | None = None
    session: Name | None = None
    chat: Reference | None = None
    thread: Reference | None = None
    key: Word | None = None


class _Update(_Task, frozen=True):
    prompt: str | None = None
    at: Word | None = None
    cron: Word | None = None
    script: str | None = None
    missed: Word | None = None


def methods(backend: TasksBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"tasks": await backend.list(call.group, call.status, call.bound)}

    async def get(_caller: Caller, call: _Task) -> object:
        return {"task": await backend.get(call.task)}

    async def create(caller: Caller, call: _Create) -> object:
        settings = TaskSettings(call.prompt, call.at, call.cron, call.script, call.missed)
        place = TaskPlace(call.session, call.chat, call.thread)
        return {"task": await backend.create(caller, call.group, settings, place, call.key)}

    async def update(caller: Caller, call: _Update) -> object:
        settings = TaskSettings(call.prompt, call.at, call.cron, call.script, call.missed)
        return {"task": await backend.update(caller, call.task, settings)}

    async def pause(caller: Caller, call: _Task) -> object:
        return {"task": await backend.pause(caller, call.task)}

    async def resume(caller: Caller, call: _Task) -> object:
        return {"task": await backend.resume(caller, call.task)}

    async def cancel(caller: Caller, call: _Task) -> object:
        return {"task": await backend.cancel(caller, call.task)}

    async def run(caller: Caller, call: _Task) -> object:
        return {"run": await backend.run(caller, call.task)}

    async def runs(_caller: Caller, call: _Runs) -> object:
        return {"runs": await backend.runs(call.task, call.bound)}

    return {
        f"{INTERFACE}.List": Unary(_List, list_all),
        f"{INTERFACE}.Get": Unary(_Task, get),
        f"{INTERFACE}.Create": Unary(_Create, create),
        f"{INTERFACE}.Update": Unary(_Update, update),
        f"{INTERFACE}.Pause": Unary(_Task, pause),
        f"{INTERFACE}.Resume": Unary(_Task, resume),
        f"{INTERFACE}.Cancel": Unary(_Task, cancel),
        f"{INTERFACE}.Run": Unary(_Task, run),
        f"{INTERFACE}.Runs": Unary(_Runs, runs),
    }
