"""Tools of Claude's real client and of the runner: each has its effect, fails with words, and is told of as it went."""

import json
import re

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import Person
from system.claude_stage import MODEL, SECONDS, Api, ask, somebody
from system.town import Town

SUMS = """
import sys
sys.path.insert(0, "/opt/mcp")
from mcp.server import MCPServer
server = MCPServer("sums")
@server.tool()
def add(a: int, b: int) -> str:
    "Add two numbers."
    if a < 0:
        raise ValueError
    return str(a + b)
server.run(transport="stdio")
"""
SENT = '@tool mcp__nanoclaw__send_message {"text": "fog"}'
NUMBER = r"{last #(\d+)}"
SCHEDULED = '@tool mcp__nanoclaw__schedule_task {"prompt": "wake up", "processAfter": "2040-01-01T08:00:00Z"}'
TASK = r"{last scheduled: (\S+)}"


@pytest.fixture
def person(one_person: Person, api: Api) -> Person:
    """Somebody whose agent has been talked to before."""
    return one_person


# Tools: what the scripted model calls, and what it is told.

TOOLS = [
    ("current_time", ["@tool mcp__nanoclaw__current_time {}"], r"^\d{4}-\d\d-\d\dT[\d:+]+$"),
    ("bash", ['@tool Bash {"command": "echo hi; pwd"}'], r"^hi\n/workspace$"),
    ("bash-fails", ['@tool Bash {"command": "exit 3"}'], r"^error: Exit code 3"),
    ("bash-hangs", ['@tool Bash {"command": "sleep 30", "timeout": 1000}'], r"(?i)(timed out|background)"),
    (
        "write-read-edit",
        [
            '@tool Write {"file_path": "/workspace/note.txt", "content": "one two"}',
            '@tool Read {"file_path": "/workspace/note.txt"}',
            '@tool Edit {"file_path": "/workspace/note.txt", "old_string": "two", "new_string": "three"}',
            '@tool Bash {"command": "cat /workspace/note.txt"}',
        ],
        r"one two(.|\n)*one three$",
    ),
    ("read-fails", ['@tool Read {"file_path": "/workspace/none.txt"}'], r"^error: .*does not exist"),
    ("write-fails", ['@tool Write {"file_path": "/app/x", "content": "x"}'], r"^error: "),
    ("grep", ['@tool Grep {"pattern": "import", "path": "/workspace/CLAUDE.md"}'], r"(?i)no (matches|files) found"),
    (
        "side-by-side",
        ['@tool Bash {"command": "echo one"}', '@and Bash {"command": "echo two"}'],
        r"^(one \| two|two \| one)$",  # in the order in which they end
    ),
    ("unknown", ["@tool Teleport {}"], r"No such tool available: Teleport"),
    (
        "refused",
        ['@tool WebFetch {"url": "http://example.org", "prompt": "x"}'],
        r"^error: .*(No such tool|not available)",
    ),
    ("wrong-arguments", ['@tool mcp__nanoclaw__send_message {"words": "x"}'], r"^error: .*text"),
    ("send_message", ['@tool mcp__nanoclaw__send_message {"text": "on my way"}'], r"^delivered as #\d+$"),
    (
        "send_message-fails",
        ['@tool mcp__nanoclaw__send_message {"text": "x", "to": "nowhere"}'],
        r"^error: Error: .*nowhere",
    ),
    (
        "send_file",
        [
            '@tool Write {"file_path": "/workspace/report.txt", "content": "all is well"}',
            '@tool mcp__nanoclaw__send_file {"path": "report.txt"}',
        ],
        r"report.txt: delivered as #\d+$",
    ),
    ("send_file-fails", ['@tool mcp__nanoclaw__send_file {"path": "missing.txt"}'], r"^error: Error: "),
    ("edit_message-fails", ['@tool mcp__nanoclaw__edit_message {"messageId": 99999, "text": "x"}'], r"^error: Error: "),
    (
        "add_reaction-fails",
        ['@tool mcp__nanoclaw__add_reaction {"messageId": 99999, "emoji": "heart"}'],
        r"^error: Error: ",
    ),
    (
        "schedule_task",
        [
            '@tool mcp__nanoclaw__schedule_task {"prompt": "wake up", "processAfter": "2040-01-01T08:00:00Z"}',
            "@tool mcp__nanoclaw__list_tasks {}",
        ],
        r"(?s)2040.*wake up",
    ),
    (
        "schedule_task-fails",
        ['@tool mcp__nanoclaw__schedule_task {"prompt": "x", "recurrence": "61 * * * *"}'],
        r"^error: Error: ",
    ),
    *(
        (f"{verb}_task-fails", [f'@tool mcp__nanoclaw__{verb}_task {{"taskId": "none"}}'], r"^error: Error: ")
        for verb in ("cancel", "pause", "resume", "update")
    ),
    ("run_task_now-fails", ['@tool mcp__nanoclaw__run_task_now {"taskId": "none"}'], r"^error: Error: "),
    *(
        (
            f"{verb}_task",
            [
                SCHEDULED,
                *((f'@tool mcp__nanoclaw__pause_task {{"taskId": "{TASK}"}}',) if verb == "resume" else ()),
                f'@tool mcp__nanoclaw__{verb}_task {{"taskId": "{TASK}"{more}}}',
                "@tool mcp__nanoclaw__list_tasks {}",
            ],
            rf"(?s)Task {done}: .*{left}",
        )
        for verb, more, done, left in (
            ("cancel", "", "cancelled", r"\| "),
            ("pause", "", "paused", r"\[paused\].*wake up"),
            ("resume", "", "resumed", r"\[active\].*wake up"),
            ("update", ', "prompt": "sleep on"', "updated", "sleep on"),
        )
    ),
    (
        "send_card",
        ['@tool mcp__nanoclaw__send_card {"card": {"title": "Weather", "text": "Fog."}}'],
        r"^delivered as #\d+$",
    ),
    ("send_card-fails", ["@tool mcp__nanoclaw__send_card {}"], r"^error: .*card"),
    (
        "install_packages",
        ['@tool mcp__nanoclaw__install_packages {"reason": "r", "apt": ["cowsay"]}'],
        r"^Not done yet: somebody has to allow this first",
    ),
    (
        "install_packages-fails",
        ['@tool mcp__nanoclaw__install_packages {"reason": "r", "apt": ["; rm"]}'],
        r"^error: Error: '; rm' can't be installed",
    ),
    (
        "add_mcp_server",
        ['@tool mcp__nanoclaw__add_mcp_server {"reason": "r", "name": "x", "command": "y"}'],
        r"^Not done yet: somebody has to allow this first",
    ),
    (
        "add_mcp_server-fails",
        ['@tool mcp__nanoclaw__add_mcp_server {"reason": "r", "name": "X Y"}'],
        r"^error: Error: 'X Y' can't be an MCP server's name",
    ),
    (
        "create_agent",
        ['@tool mcp__nanoclaw__create_agent {"name": "Bob", "instructions": "be bob"}'],
        r"(?i)somebody has to allow this first|made",
    ),
    ("create_agent-fails", ['@tool mcp__nanoclaw__create_agent {"name": "", "instructions": "x"}'], r"^error: "),
    (
        "ask_user_question-times-out",
        [
            '@tool mcp__nanoclaw__ask_user_question {"title": "t", "question": "q?", "options": ["a"], "timeout": 2}',
        ],
        r"^error: Error: nobody has answered within 2 seconds",
    ),
    ("ask_user_question-fails", ['@tool mcp__nanoclaw__ask_user_question {"title": "x"}'], r"^error: "),
]


@pytest.mark.parametrize(("lines", "wanted"), [row[1:] for row in TOOLS], ids=[row[0] for row in TOOLS])
def test_tools_have_their_effect_and_say_what_became_of_it(
    person: Person, api: Api, lines: list[str], wanted: str
) -> None:
    answer = ask(person, *lines, "@say {results}")
    said = api.seen()[-1]["results"]
    assert re.search(wanted, " | ".join(said)), said
    assert answer


def test_messages_are_changed_and_reacted_to(town: Town, api: Api) -> None:
    """On a platform that can; the terminal cannot, and the model is told so."""
    appliance.call("Groups.Update", name=town.group, provider="claude", model=f"claude-test/{MODEL}")
    chat = town.chat(town.loop, policy="public")
    lines = [
        SENT,
        f'@tool mcp__nanoclaw__edit_message {{"messageId": {NUMBER}, "text": "rain"}}',
        f'@tool mcp__nanoclaw__add_reaction {{"messageId": {NUMBER}, "emoji": "thumbs_up"}}',
    ]
    town.say(town.loop, chat, "\n".join([*lines, "@say done"]), by="ann")
    edit = town.loop.wait(lambda one: one.kind == "edit", "the edit", seconds=SECONDS)
    reaction = town.loop.wait(lambda one: one.kind == "reaction", "the reaction")
    town.loop.hears(chat, "done")
    said = town.loop.hears(chat, "fog")
    assert (edit.target, edit.text) == (said.message, "rain")
    assert (reaction.target, reaction.text) == (said.message, "👍")
    results = api.seen()[-1]["results"]
    assert re.search(r"^edited #\d+$", results[1])
    assert re.search(r"^reacted with 👍 to #\d+$", results[2])


def test_what_a_platform_cannot_is_told_to_the_model(person: Person, api: Api) -> None:
    assert ask(person, SENT, f'@tool mcp__nanoclaw__edit_message {{"messageId": {NUMBER}, "text": "x"}}', "@say done")
    assert api.seen()[-1]["results"][-1].endswith("could not be delivered: messages cannot be changed on this channel")


def test_a_task_that_runs_now_is_asked_in_a_turn_of_its_own(newcomer: Person, api: Api) -> None:
    run = f'@tool mcp__nanoclaw__run_task_now {{"taskId": "{TASK}"}}'
    assert re.search(r"Task \S+ runs now\.$", ask(newcomer, SCHEDULED, run, "@say {results}"))
    wait_until(lambda: "wake up" in api.seen()[-1]["said"], "the task was asked")


def test_a_message_beside_a_call_is_delivered_before_the_answer_and_once(newcomer: Person, api: Api) -> None:
    """What the model says on its way is not lost: its messages are sent, its other words are seen meanwhile."""
    assert ask(newcomer, "hello")
    place = "root-s-terminal"
    assert place in api.seen()[-1]["system"]
    before = len(newcomer.shown())
    lines = [f'@beside Let me see. <message to="{place}">Soon.</message>', '@tool Bash {"command": "true"}']
    lines += ["@beside Nearly there.", '@tool Bash {"command": "sleep 1"}', "@say Done."]
    newcomer.ask("\n".join(lines), SECONDS)
    assert [event.text for event in newcomer.shown()[before:]] == ["Soon.", "Done."]
    assert any("Nearly there." in event.text for event in newcomer.events if event.type == "partial")


def test_configured_mcp_servers_are_the_clients(newcomer: Person, api: Api) -> None:
    """One that fails hinders nobody, and the operator sees it."""
    appliance.call("Mcp.Add", group=newcomer.group, name="sums", program="python3", args=["-c", SUMS])
    appliance.call("Mcp.Add", group=newcomer.group, name="broken", program="/no/such/program")
    calls = [f'@tool mcp__sums__add {{"a": {a}, "b": 23}}' for a in (19, -1)]
    added, refused = ask(newcomer, *calls, "@say {results}").split(" | ")
    assert json.loads(added) == {"result": "42"}
    assert refused == "error: Error executing tool add"
    assert "mcp__sums__add" in api.seen()[-1]["tools"]
    wait_until(lambda: "broken" in json.dumps(appliance.call("Appliance.Status")), "the failure is shown")


def test_the_model_knows_the_skills_and_reads_them_by_the_clients_tool(newcomer: Person, api: Api) -> None:
    assert ask(newcomer, '@tool Skill {"skill": "welcome"}', "@say {results}")
    body = api.body()
    assert "self-customize" in body, "all of them are listed"
    assert "# A first talk" in body, "the one that was called is read"


def test_model_and_effort_are_passed_on(api: Api) -> None:
    with somebody() as person:
        appliance.call("Groups.Update", name=person.group, model="claude-test/claude-opus-4-5", effort="low")
        assert ask(person, "hello")
    (request,) = api.seen()
    assert (request["model"], request["effort"]) == ("claude-opus-4-5", "low")


def test_a_message_sent_by_tool_is_seen_at_once_and_once(person: Person) -> None:
    before = len(person.shown())
    answer = ask(person, '@tool mcp__nanoclaw__send_message {"text": "working on it"}', "@say done")
    assert [event.text for event in person.shown()[before:]] == ["working on it", "done"]
    assert "done" in answer
