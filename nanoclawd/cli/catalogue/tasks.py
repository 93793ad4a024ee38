"""Tasks: what agents do at set times."""

from nanoclawd.cli.catalogue.common import GROUP, LIMIT, OF_GROUP
from nanoclawd.cli.spec import Column, Parameter, Resource, Verb

_TASK = Parameter("task", "the task's id or the beginning of it", of="tasks")
_STATUSES = ("active", "paused", "done", "cancelled")
_PROMPT = Parameter("prompt", "what the agent is to do; @FILE reads a file, @- standard input", kind="file")
_PLAN = (
    Parameter("at", "when it runs, or runs first: 2026-12-01 09:00, 09:00, in 20 minutes", "--at", value="TIME"),
    Parameter("cron", "repeat by this pattern: minute hour day month weekday", "--cron", value="'M H D M W'"),
    Parameter(
        "script",
        "a bash script that is run first and says whether the agent is called; @FILE reads a file",
        "--script",
        value="TEXT",
        kind="file",
    ),
    Parameter(
        "missed",
        "of runs that were missed (the machine was off): run the latest, which is the default, all, or none",
        "--missed",
        choices=("latest", "all", "skip"),
    ),
)

TASKS = Resource(
    "tasks",
    "what agents do at set times, once or repeatedly",
    "task",
    "tasks",
    (
        Column("id"),
        Column("group"),
        Column("status"),
        Column("next_run_at", "next run", "local"),
        Column("cron"),
        Column("last_run", "last"),
        Column("prompt", form="short"),
    ),
    (
        Verb(
            "list",
            "list the tasks that can still run, the next first",
            ("Tasks.List",),
            (
                OF_GROUP,
                Parameter("status", "only those of this status", "--status", choices=_STATUSES),
                LIMIT,
            ),
            "many",
        ),
        Verb("get", "show one task", ("Tasks.Get",), (_TASK,)),
        Verb(
            "create",
            "have an agent do something at a set time",
            ("Tasks.Create",),
            (
                GROUP,
                _PROMPT,
                *_PLAN,
                Parameter("session", "run in this session", "--session", of="sessions"),
                Parameter("chat", "answer in this chat", "--chat", of="chats"),
                Parameter("thread", "and in this thread of it", "--thread", value="ID"),
                Parameter("key", "your own name for it: the same again makes no second task", "--key", value="TEXT"),
            ),
            about="Times without an offset are local. A time that does not exist on a day (the clocks go forward) is"
            " run right after the gap, one that exists twice is run once. Without --session and --chat the task"
            " belongs where the agent talked last.",
            examples=(
                (
                    "ncl tasks create main 'Say what is in the calendar.' --cron '0 8 * * 1-5'",
                    "have something done every weekday at eight",
                ),
                ("ncl tasks create main 'Remind me of the bread.' --at 'in 40 minutes'", "have something done once"),
            ),
        ),
        Verb(
            "update",
            "change a task; an empty script or pattern takes it away",
            ("Tasks.Update",),
            (_TASK, _PROMPT._replace(option="--prompt", value="TEXT"), *_PLAN),
            changes=True,
        ),
        Verb("pause", "have a task not run until it is resumed", ("Tasks.Pause",), (_TASK,)),
        Verb(
            "resume",
            "have a paused task run again",
            ("Tasks.Resume",),
            (_TASK,),
            about="A series goes on with its next time; a single task runs at its time, or now if that has passed.",
        ),
        Verb("cancel", "have a task never run again", ("Tasks.Cancel",), (_TASK,)),
        Verb(
            "run",
            "run a task once more, now; its plan stays as it is",
            ("Tasks.Run",),
            (_TASK,),
            "words",
            says="{task} runs now",
        ),
        Verb(
            "runs",
            "list what became of a task's runs, the newest first",
            ("Tasks.Runs",),
            (_TASK, LIMIT),
            run="listings:runs",
        ),
    ),
    "no tasks",
    called=("prompt",),
)

RUNS = Resource(
    "runs",
    "what became of a task's runs",
    "run",
    "runs",
    (
        Column("occurrence", form="ago"),
        Column("occurrence", "at"),
        Column("status"),
        Column("late", form="yes"),
        Column("passed_over", "left out"),
        Column("session"),
        Column("reason"),
    ),
    (),
    "it has not run yet",
    ids=(),
)
"""The table of ``ncl tasks runs``; no resource of its own."""

RESOURCES = (TASKS,)
