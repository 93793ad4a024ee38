"""Acceptance 1: Claude's real client in a container, through the gateway, to a scripted Messages API that checks it."""

import json
import os
import re
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import Person, processes, session_of
from system.claude_stage import KEY, SECONDS, TOKEN, Api, ask, somebody

CHUNK = 1 << 20
_SKIPPED_MAPS = ("[vvar]", "[vvar_vclock]", "[vsyscall]", "[vdso]")


@pytest.fixture
def person(one_person: Person, api: Api) -> Person:
    """Somebody whose agent has been talked to before."""
    return one_person


def container_gone(person: Person) -> None:
    appliance.call("Groups.Restart", name=person.group)
    session = session_of(person.group)
    wait_until(lambda: appliance.runner(session) is None, "the container has gone")


# The key.


def memory_holds(pid: int, secret: bytes) -> str:
    """Return the name of a readable mapping of a process that holds a secret, else an empty text."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, flags, *rest = line.split(maxsplit=5)
            name = rest[-1] if len(rest) > 3 else ""
            if "r" not in flags or name in _SKIPPED_MAPS:
                continue
            at, end = (int(number, 16) for number in span.split("-"))
            kept = b""
            while at < end:
                try:
                    memory.seek(at)
                    chunk = memory.read(min(CHUNK, end - at))
                except OSError:
                    break  # a page that nobody may read
                if not chunk:
                    break
                if secret in kept + chunk:
                    return name or span
                kept, at = chunk[-len(secret) :], at + len(chunk)
    return ""


def files_holding(top: Path, secret: bytes) -> list[Path]:
    found = []
    for directory, _, names in os.walk(top):
        for name in names:
            path = Path(directory) / name
            if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 28:
                continue
            if secret in path.read_bytes():
                found.append(path)
    return found


def test_the_api_sees_the_real_key_and_the_container_never_has_it(newcomer: Person, api: Api) -> None:
    assert ask(newcomer, "hello") == "echo: hello"
    assert ask(newcomer, '@tool Bash {"command": "env; cat /proc/*/environ | tr \\\\0 \\\\n"}', "@say {results}")
    assert api.credentials() == [KEY]
    session = session_of(newcomer.group)
    inside = [one.pid for one in processes(newcomer.group)]
    clients = [pid for pid in inside if b"_bundled/claude" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert clients, "the client runs in the container, and stays for the next turn"
    secret = KEY.encode()
    for pid in inside:
        for name in ("environ", "cmdline"):
            assert secret not in Path(f"/proc/{pid}/{name}").read_bytes()
        assert not memory_holds(pid, secret), pid
    root = Path(f"/proc/{clients[0]}/root")
    for place in ("home", "workspace", "session", "tmp", "run", "app", "etc", "var/tmp", "dev/shm"):
        assert not files_holding(root / place, secret)
    assert not files_holding(session.directory, secret)
    # The search would have found it: what the client does have is in its memory.
    assert any(memory_holds(pid, b"held-by-the-gateway") for pid in clients)


def test_what_the_model_is_told_and_offered(newcomer: Person, api: Api) -> None:
    appliance.call("Groups.Update", name=newcomer.group, instructions="You are the lighthouse keeper.")
    assert ask(newcomer, "hello")
    (request,) = api.seen()
    assert "You are the lighthouse keeper." in request["system"]
    assert request["model"] == "claude-sonnet-4-5"
    offered = set(request["tools"])
    assert {"Bash", "Read", "Write", "Edit", "Glob", "Grep", "Skill", "WebSearch"} <= offered
    assert {"mcp__nanoclaw__current_time", "mcp__nanoclaw__send_message", "mcp__nanoclaw__schedule_task"} <= offered
    assert (
        not {"CronCreate", "AskUserQuestion", "ExitPlanMode", "EnterWorktree", "ScheduleWakeup", "WebFetch"} & offered
    )


def test_an_oauth_token_is_sent_with_its_flag(api: Api) -> None:
    with somebody("claude-token") as person:
        assert ask(person, "hello") == "echo: hello"  # the API refuses a token without the flag
    assert api.credentials() == [TOKEN]


# What goes wrong at the API.


def test_a_refused_key_is_told_without_showing_it_and_the_next_turn_goes_on(person: Person, api: Api) -> None:
    """F-44, F-45: the failure is an answer, what was asked is not asked again, and the runner lives."""
    assert ask(person, "hi") == "echo: hi"
    runner = appliance.runner(session_of(person.group))
    assert runner is not None
    api.accept("another-key")
    text = ask(person, "hello", seconds=20)
    assert "cannot be asked" in text
    assert "ncl status" in text
    assert KEY[:16] not in text
    api.reset()
    assert ask(person, "hello again") == "echo: hello again"
    now = appliance.runner(session_of(person.group))
    assert now is not None
    assert now.pid == runner.pid


def test_a_key_that_is_not_stored_is_told(api: Api) -> None:
    with somebody("claude-none") as person:
        assert "is not stored" in ask(person, "hello")
    assert not api.seen()


@pytest.mark.parametrize("status", ["429 1", "529", "500"])
def test_a_failure_that_passes_is_only_a_delay(person: Person, api: Api, status: str) -> None:
    assert ask(person, f"@status {status}", f"@say after {status}") == f"after {status}"
    assert len(api.seen()) == 2


def test_a_wait_longer_than_the_bound_of_silence_is_no_hang(person: Person) -> None:
    """W-72, F-43: told to come back after 25 s where 20 s of silence are a stall, the client waits, and is let."""
    outcome = person.ask("@status 429 25\n@say was worth the wait", 90)
    assert outcome.answers == ("was worth the wait",)
    assert outcome.seconds > 25


def test_a_request_that_is_refused_is_told_in_words(person: Person) -> None:
    text = ask(person, "@always 400")
    assert "refused this: the request is not acceptable" in text
    assert "{" not in text


def test_what_was_refused_does_not_spoil_the_conversation(newcomer: Person) -> None:
    """What the API can't take is not in the next request, nor is what came before forgotten, in any container."""
    refused = "refused this: messages: this content is not acceptable"
    assert refused in ask(newcomer, "@poison")
    assert ask(newcomer, "@say {turns}") == "1"
    assert refused in ask(newcomer, "@poison")
    assert refused in ask(newcomer, '@tool Bash {"command": "echo @poison"}', "@say unheard")
    assert ask(newcomer, "@say {turns}") == "2"
    assert refused in ask(newcomer, "@poison")
    container_gone(newcomer)
    assert ask(newcomer, "@say {turns}") == "3"
    container_gone(newcomer)
    assert ask(newcomer, "@say {turns}") == "4"


def test_a_model_that_stalls_is_given_up_with_a_word(newcomer: Person) -> None:
    outcome = newcomer.ask("@stall", 60)
    assert "gave no sign for 18 s" in outcome.text
    assert ask(newcomer, "@say better now") == "better now"


@pytest.mark.parametrize("fault", ["@cut", "@broken-sse"])
def test_an_answer_that_breaks_off_is_asked_for_again(person: Person, fault: str) -> None:
    assert ask(person, fault, f"@say whole after {fault[1:]}") == f"whole after {fault[1:]}"


def test_endless_calls_of_tools_end(newcomer: Person, api: Api) -> None:
    """A thousand calls: the turn's bound is told to the model, and the session lives."""
    lines = ['@tool Bash {"command": "true"}'] * 230
    assert ask(newcomer, *lines, "@say {results}", seconds=180)
    assert ask(newcomer, "@say still here") == "still here"
    assert len(api.seen()) < 300


# Conversations.


def test_the_answer_is_streamed(person: Person) -> None:
    before = len(person.events)
    numbers = " ".join(str(number) for number in range(1, 201))
    assert ask(person, "@count 200 1.0") == numbers
    partial = [event.text for event in person.events[before:] if event.type == "partial"]
    assert partial
    assert all(numbers.startswith(text.strip()) for text in partial)


def test_follow_ups_join_the_open_query(newcomer: Person, api: Api) -> None:
    """F-46: what is said during a turn is taken in by the same client, and answered; nothing is answered twice."""
    assert ask(newcomer, "hello")
    first = newcomer.send('@tool Bash {"command": "sleep 2"}\n@say first')
    wait_until(lambda: len(api.seen()) == 2, "the tool was asked for")
    second = newcomer.send("and another thing")
    ended = [newcomer.outcome(one, SECONDS) for one in (first, second)]
    assert [one.state for one in ended] == ["completed", "completed"]
    assert any("first" in one.text for one in ended)
    clients = [
        one for one in processes(newcomer.group) if b"_bundled/claude" in Path(f"/proc/{one.pid}/cmdline").read_bytes()
    ]
    assert len(clients) == 1


def test_the_conversation_goes_on_in_a_new_container(newcomer: Person, api: Api) -> None:
    assert ask(newcomer, "one")
    container_gone(newcomer)
    assert ask(newcomer, "@say turn {turns}") == "turn 2"
    assert api.seen()


def test_a_conversation_that_is_gone_costs_no_message(newcomer: Person) -> None:
    """§7.3: a stale session is begun anew, with the message that found it so."""
    assert ask(newcomer, "one")
    container_gone(newcomer)
    home = session_of(newcomer.group).directory / "home"
    kept = list(home.rglob("*.jsonl"))
    assert kept
    for path in kept:
        path.unlink()
    assert ask(newcomer, "@say turn {turns}") == "turn 1"


def test_sessions_keep_their_state_in_their_own_homes(newcomer: Person) -> None:
    """W-74: settings and history of a session are its own; the workspace is the group's."""
    assert ask(newcomer, "remember the milk", '@tool Bash {"command": "touch /workspace/shared"}', "@say yes")
    session = session_of(newcomer.group)
    holding = files_holding(Path("/var/lib/nanoclaw/sessions") / newcomer.group, b"remember the milk")
    assert any(path.is_relative_to(session.directory / "home" / ".claude") for path in holding)
    workspace = Path("/var/lib/nanoclaw/groups") / newcomer.group
    assert (workspace / "shared").exists()
    assert not (workspace / ".claude").exists()
    assert not files_holding(workspace, b"remember the milk")


def test_clear_forgets(newcomer: Person) -> None:
    assert ask(newcomer, "one")
    assert "cleared" in ask(newcomer, "/clear")
    assert ask(newcomer, "@say turn {turns}") == "turn 1"


def test_commands_of_the_client_wherever_they_stand(newcomer: Person, api: Api) -> None:
    """W-66: a command among messages is carried out in its place, not read to the model."""
    assert ask(newcomer, "one")
    sent = [newcomer.send(text) for text in ("@slow 1\n@say two", "/compact", "@say three")]
    texts = [newcomer.outcome(one, SECONDS).text for one in sent]
    assert "two" in texts[0]
    assert "made shorter" in texts[1]
    assert "three" in texts[2]
    assert [request["compaction"] for request in api.seen()].count(True) == 1
    assert not any("/compact" in request["said"] for request in api.seen())
    assert "Tokens" in ask(newcomer, "/context")
    assert "cost" in ask(newcomer, "/cost").lower()


def test_compaction_is_no_answer_and_archives_what_was_said(newcomer: Person, api: Api) -> None:
    """W-38: nothing is delivered and no turn is spent because a conversation was made shorter (§7.4)."""
    assert ask(newcomer, "the first secret of the sea")
    assert ask(newcomer, "the second one")
    before = len(newcomer.shown())
    assert "made shorter" in ask(newcomer, "/compact")
    assert ask(newcomer, "@say and on") == "and on"
    assert len(newcomer.shown()) == before + 2
    compaction = next(request for request in api.seen() if request["compaction"])
    assert "message, task and webhook elements" in compaction["said"]
    (archived,) = (Path("/var/lib/nanoclaw/groups") / newcomer.group / "conversations").iterdir()
    text = archived.read_text()
    assert re.match(r"# .+\n\nArchived: \d{4}-\d\d-\d\d", text)
    assert "the first secret of the sea" in text
    assert re.search(r"\*\*User\*\*: (.|\n)*\*\*\S+\*\*: echo: the second one", text)
    assert ask(newcomer, "more")
    assert "made shorter" in ask(newcomer, "/compact")
    assert len(list(archived.parent.iterdir())) == 2


def test_another_provider_means_another_image_and_another_runner(api: Api) -> None:
    """W-24: what a group's provider is decides what is mounted and what runs, both at once."""
    with appliance.group() as name, Person(name) as person:
        assert person.ask("hello").text == "echo: hello"
        appliance.call("Groups.Update", name=name, provider="claude", model="claude-test/claude-sonnet-4-5")
        container_gone(person)
        assert ask(person, "@say from the API") == "from the API"
        image = appliance.podman("inspect", "--format={{.ImageName}}", session_of(name).container)
        assert "nanoclaw-agent-claude" in image
    assert api.seen()


def test_usage_is_reported(newcomer: Person) -> None:
    """Tokens and what they cost come from the client, for this turn only."""
    assert ask(newcomer, "one")
    assert ask(newcomer, "two")
    rows = appliance.rows(
        session_of(newcomer.group).outbound_db, "SELECT content FROM messages_out WHERE kind = 'system' ORDER BY seq"
    )
    usage = [found for (text,) in rows if (found := json.loads(text)).get("action") == "usage"]
    assert [(one["inputTokens"], one["outputTokens"], one["model"]) for one in usage] == [
        (100, 20, "claude-sonnet-4-5")
    ] * 2
    assert all(one["costMicros"] > 0 for one in usage)
