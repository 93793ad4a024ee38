"""Claude's real client before a scripted Messages API: what is added to it, and of what a cold turn consists."""

import contextlib
import json
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchlib.appliance import CONFIG_FILE, Appliance
from benchlib.chat import Chat
from benchlib.commits import BareCommits
from benchlib.machine import Memory, processes_below, systemctl, wall
from benchlib.progress import step
from benchlib.results import Of, Result, Target
from benchlib.varlink import Link
from benchlib.wakes import Wakes

CLAUDE = "bench-claude"
TURNS = 60
UNCOUNTED = 3
COLD_TURNS = 8
WAKES = 4
PORT = 18_091
GATEWAY = "nanoclaw-gateway.service"
_CREDENTIAL = Path("/etc/credstore.encrypted/nanoclaw-gateway.bench-key")
_MILLISECONDS = 1000.0
_READY = re.compile(r"ready ([\d.]+) s after")
_CLIENT = re.compile(r"libraries ([\d.]+) s, client ([\d.]+) s")
_FIRST = re.compile(r"first word after ([\d.]+) s")
_TESTS = Path(__file__).parents[2]

_BARE = """
import asyncio, json, sys, time
sys.path[:0] = ["/opt/claude-sdk", "/opt/mcp"]
from pathlib import Path
import claude_agent_sdk as sdk
from nanoclaw_runner.forwarder import Forwarder

async def nothing(arguments):
    return {"content": [{"type": "text", "text": "nothing"}]}

async def main():
    asked = json.loads(sys.stdin.readline())
    door = await Forwarder(Path("/run/nanoclaw-gateway/gateway.sock")).open()
    settings = {"HOME": "/home/agent/bare", "ANTHROPIC_BASE_URL": f"{door}/bench", "ANTHROPIC_API_KEY": "none",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "ENABLE_TOOL_SEARCH": "false"}
    own = [sdk.SdkMcpTool(one["name"].removeprefix("mcp__nanoclaw__"), one["description"], one["input_schema"], nothing)
           for one in asked["tools"] if one["name"].startswith("mcp__nanoclaw__")]
    theirs = [one["name"] for one in asked["tools"] if not one["name"].startswith("mcp__")]
    options = sdk.ClaudeAgentOptions(
        env=settings, model="claude-sonnet-4-5", include_partial_messages=True, permission_mode="bypassPermissions",
        system_prompt={"type": "preset", "preset": "claude_code", "append": asked["append"]}, tools=theirs,
        mcp_servers={"nanoclaw": sdk.create_sdk_mcp_server("nanoclaw", "1.0.0", own)}, strict_mcp_config=True,
        cwd="/workspace", setting_sources=["user", "project"])
    async with sdk.ClaudeSDKClient(options) as client:
        for text in sys.stdin:
            begun = time.perf_counter()
            await client.query(text)
            async for _message in client.receive_response():
                pass
            print(time.perf_counter() - begun, flush=True)

asyncio.run(main())
"""


def measure(appliance: Appliance) -> list[Result]:
    """Measure warm and cold turns, and what the providers' runners keep in memory."""
    with _claude(appliance):
        chat = Chat(CLAUDE)
        results = [*_cold(appliance, chat), *_warm(appliance, chat)]
        chat.close()
        return [*results, *_memory(appliance)]


@contextlib.contextmanager
def _claude(appliance: Appliance) -> Iterator[None]:
    """Have the image, the scripted API, its key, and a group."""
    step("building the image agent-claude")
    wall(["ncl", "images", "build", "agent-claude"])
    key = f"sk-ant-{secrets.token_hex(20)}"
    seal = f"printf %s {key} | systemd-creds encrypt --name=nanoclaw-gateway.bench-key - {_CREDENTIAL}"
    _CREDENTIAL.parent.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["systemd-run", "--pipe", "--wait", "--quiet", "--collect", "sh", "-c", seal], check=True)
    before = CONFIG_FILE.read_text(encoding="utf-8")
    settings = yaml.safe_load(before)
    settings["endpoints"] = {
        "bench": {"url": f"http://127.0.0.1:{PORT}", "api": "anthropic", "credential": "bench-key"},
    }
    settings["limits"] = {"max_awake": 4, "memory_budget": "4G", "session_memory": "1G"}
    CONFIG_FILE.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "messages_api", "--port", str(PORT), "--key", key]
    api = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE)
    try:
        assert api.stdout is not None
        if not api.stdout.readline():
            raise RuntimeError("the scripted API does not come up")
        systemctl("restart", GATEWAY)
        appliance.restart()
        link = Link()
        link.call("io.nanoclaw.Groups.Create", name=CLAUDE, provider="claude", model="bench/claude-sonnet-4-5")
        link.close()
        yield
    finally:
        api.terminate()
        api.wait()
        _CREDENTIAL.unlink()
        CONFIG_FILE.write_text(before, encoding="utf-8")
        systemctl("restart", GATEWAY)
        appliance.restart()


def _cold(appliance: Appliance, chat: Chat) -> list[Result]:
    chat.ask("hello")
    answers: list[float] = []
    parts: list[_Parts] = []
    session = _session_of(CLAUDE)
    for number in range(COLD_TURNS):
        appliance.put_to_sleep()
        since = time.time()
        exchange = chat.ask("hello")
        answers.append((exchange.replied - exchange.sent) * _MILLISECONDS)
        parts.append(_parts(session, since))
        step(f"cold claude {number + 1}/{COLD_TURNS}: {answers[-1]:.0f} ms")
    notes = {
        "podman": "from the message until the runner's process begins",
        "python": "until the runner is ready; what follows goes side by side with its reading of rows",
        "sdk": "python: importing the SDK",
        "client": "the CLI's start until it listens",
        "first": "from the beginning of the turn until the first word: what is left of the client's start, and the API",
    }
    return [
        Result("cold.claude", "ms", tuple(answers), note="until the answer is shown"),
        *(
            Result(f"cold.claude.{name}", "ms", tuple(getattr(one, name) * _MILLISECONDS for one in parts), note=note)
            for name, note in notes.items()
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of what a cold turn consists, in seconds; those of the client overlap the others."""

    podman: float
    python: float
    sdk: float
    client: float
    first: float


def _parts(session: str, since: float) -> _Parts:
    """Read them from what the runner has logged since a moment."""
    subprocess.run(["journalctl", "--sync"], check=False)
    unit = f"_SYSTEMD_USER_UNIT=nanoclaw-{CLAUDE}@{session}.service"
    command = ["journalctl", "-o", "json", f"--since=@{since:.3f}", unit]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    said = [(json.loads(line)["MESSAGE"], int(json.loads(line)["__REALTIME_TIMESTAMP"]) / 1e6) for line in lines]
    ready, ready_at = _said(said, _READY)
    client, _ = _said(said, _CLIENT)
    first, _ = _said(said, _FIRST)
    python = float(ready[1])
    return _Parts(ready_at - since - python, python, float(client[1]), float(client[2]), float(first[1]))


def _said(lines: list[tuple[object, float]], pattern: re.Pattern[str]) -> tuple[re.Match[str], float]:
    for text, moment in lines:
        found = pattern.search(text) if isinstance(text, str) else None
        if found is not None:
            return found, moment
    raise RuntimeError(f"the runner has not said {pattern.pattern!r}")


def _warm(appliance: Appliance, chat: Chat) -> list[Result]:
    """Ask the agent and the SDK's own loop by turns: whatever else the machine does, it does to both."""
    asked: list[float] = []
    bare: list[float] = []
    least: list[float] = []
    commits, wakes = BareCommits(appliance.state), Wakes()
    chat.ask("hello")
    with _bare(appliance, _session_of(CLAUDE)) as ask_bare:
        for number in range(UNCOUNTED + TURNS):
            exchange = chat.ask("hello")
            seconds = ask_bare("hello")
            cost, waking = commits.turn(), wakes.seconds(WAKES)
            if number >= UNCOUNTED:
                asked.append((exchange.replied - exchange.sent) * _MILLISECONDS)
                bare.append(seconds * _MILLISECONDS)
                least.append((seconds + cost.message + cost.answer + waking) * _MILLISECONDS)
    commits.close()
    wakes.close()
    baseline, floor = Result("", "ms", tuple(bare)).p50, Result("", "ms", tuple(least)).p50
    step(f"warm claude: {Result('', 'ms', tuple(asked)).p50:.1f} ms, the SDK alone {baseline:.1f} ms")
    note = (
        "baseline is the SDK's own loop with the same CLI, tools and instructions in the same container, asked by"
        " nobody but a script, in between"
    )
    with_commits = (
        "warm.claude again; the baseline is that loop, two bare commits in files of their own (the message before it,"
        f" the answer after it) and {WAKES} wakes of a process (person, daemon, runner, daemon, person)"
    )
    return [
        Result("warm.claude", "ms", tuple(asked), baseline, Target(Of.RATIO, 1.3), note),
        Result("warm.claude.of-bare", "ms", tuple(asked), floor, None, with_commits),
    ]


@contextlib.contextmanager
def _bare(appliance: Appliance, session: str) -> Iterator[Callable[[str], float]]:
    """Run the SDK's loop, with what the agent's own client has sent; gives a function that asks, and says how long."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_body", timeout=10) as answer:
        sent = json.load(answer)
    like = json.dumps({"tools": sent["tools"], "append": sent["system"][-1]["text"]})
    container = f"nanoclaw-{CLAUDE}_{session}"
    loop = appliance.owner.begin("podman", "exec", "-i", container, "python3", "-P", "-c", _BARE)
    if loop.stdin is None or loop.stdout is None:
        raise RuntimeError("no pipes")
    written, read = loop.stdin, loop.stdout

    def ask(line: str) -> float:
        written.write(f"{line}\n")
        written.flush()
        return float(read.readline())

    try:
        written.write(f"{like}\n")
        yield ask
    finally:
        written.close()
        loop.wait()


def _memory(appliance: Appliance) -> list[Result]:
    """Wake a session of each provider and look at all processes of its unit."""
    found = []
    link = Link()
    groups = {"scripted": "bench-scripted", "openai": "bench-openai", "claude": CLAUDE}
    for provider, group in groups.items():
        if provider != "claude":
            link.call("io.nanoclaw.Groups.Create", name=group, provider=provider, model="bench/claude-sonnet-4-5")
        chat = Chat(group)
        chat.ask("hello")
        memory = Memory.of(*processes_below(f"nanoclaw-{group}@{_session_of(group)}.service"))
        chat.close()
        note = f"all processes of a session's unit, resident; their own share {memory.proportional:.0f} MiB"
        found.append(Result(f"rss.{provider}", "MiB", (memory.resident,), note=note))
    link.close()
    appliance.put_to_sleep()
    return found


def _session_of(group: str) -> str:
    link = Link()
    (session,) = link.call("io.nanoclaw.Sessions.List", group=group)["sessions"]
    link.close()
    return str(session["id"])
