"""The shell of agents whose provider has none: bounded in time and output, and with nothing of the runner's."""

import os
import select
import time
from collections.abc import Awaitable, Callable

import pytest
from runner_stage import Host

from nanoclaw_runner.tools import shell
from nanoclaw_runner.tools.base import Toolbox, ToolError
from nanoclaw_runner.way_out import WayOut

type Run = Callable[..., Awaitable[str]]


@pytest.fixture
def run(host: Host) -> Run:
    host.places.temporary.mkdir()
    box = Toolbox(shell.tools(host.places, WayOut(host.places.gateway_socket)), max_calls=100)
    return lambda command, **more: box.call("run_command", {"command": command, **more})


async def test_it_runs_in_the_workspace_and_tells_the_exit_status(run: Run, host: Host):
    assert await run("pwd") == str(host.places.workspace)
    assert await run("echo out; echo err >&2") == "out\nerr"
    assert await run("true") == "(no output)"
    assert await run("echo no; exit 3") == "no\n(exit status 3)"
    assert await run("kill -TERM $$") == "(no output)\n(signal 15)"


async def test_it_has_none_of_the_runners_variables(run: Run, host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    names = {line.partition("=")[0] for line in (await run("env")).splitlines()}
    assert names.isdisjoint({"ANTHROPIC_API_KEY", "NOTIFY_SOCKET", "LISTEN_FDS"})
    assert await run("echo $HOME") == str(host.places.home)


async def test_of_much_output_the_beginning_and_the_end_are_kept(run: Run):
    found = await run("echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last")
    assert found.startswith("first\n")
    assert found.endswith("last")
    assert "bytes are left out here" in found
    assert len(found) < 40_000


async def test_what_prints_without_end_is_ended(run: Run):
    with pytest.raises(ToolError, match=r"ended after 1 s\. Until then it printed:\ny"):
        await run("yes", timeout=1)


async def test_nothing_of_a_call_outlives_its_end(run: Run, host: Host):
    note = host.places.workspace / "pid"
    with pytest.raises(ToolError, match="ended after 1 s"):
        await run(f"sleep 600 & echo $! > {note}; wait", timeout=1)
    assert _gone(int(note.read_text()))
    began = time.monotonic()
    assert await run(f"sleep 600 & echo $! > {note}; echo begun") == "begun"
    assert time.monotonic() - began < 10
    assert _gone(int(note.read_text()))


async def test_binary_output_is_text(run: Run):
    assert "\ufffd" in await run("printf '\\377\\376'")


@pytest.mark.parametrize("arguments", [{"command": ""}, {"command": "x" * 40_000}, {"command": "x", "timeout": 0}, {}])
async def test_arguments_beyond_the_bounds_are_refused(host: Host, arguments: dict[str, object]):
    box = Toolbox(shell.tools(host.places, WayOut(host.places.gateway_socket)), max_calls=100)
    with pytest.raises(ToolError, match="run_command: "):
        await box.call("run_command", arguments)


async def test_a_nul_and_a_missing_workspace_are_told(run: Run, host: Host):
    with pytest.raises(ToolError, match="no NUL"):
        await run("a\0b")
    host.places.workspace.rmdir()
    with pytest.raises(ToolError, match="could not be started"):
        await run("true")


def _gone(pid: int) -> bool:
    """Tell whether a process ends; one that nobody has reaped yet has, too."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)
