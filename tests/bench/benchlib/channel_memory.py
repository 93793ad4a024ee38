"""The daemon's memory without chat channels, with each, and with all of them."""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence

from benchlib.appliance import Appliance
from benchlib.chat import Chat
from benchlib.machine import Memory, systemctl
from benchlib.platforms import Platform, configure
from benchlib.progress import step
from benchlib.results import Result

MESSAGES = 10
_HOOK = "bench"
_HOOKS_SOCKET = "nanoclaw-hooks.socket"
_SETTLE_SECONDS = 2.0

type Use = Callable[[], None]


def measure(appliance: Appliance, group: str, platforms: Sequence[Platform]) -> list[Result]:
    """Start the daemon with none, each and all, and look at it before and after some messages by each way in."""
    chat = Chat(group)
    chat.ask("make the session")  # a hook answers where its agent has a chat
    chat.close()

    def by_terminal() -> None:
        chat = Chat(group)
        for number in range(MESSAGES):
            chat.ask(f"hello {number}")
        chat.close()

    with _hook(group) as by_hook:
        each = {platform.name: ([platform], [_user(platform)]) for platform in platforms}
        ways: dict[str, tuple[list[Platform], list[Use]]] = {
            "none": ([], [by_terminal]),
            **each,
            "hooks": ([], [by_hook]),
            "all": (list(platforms), [by_terminal, by_hook, *(_user(platform) for platform in platforms)]),
        }
        found = {name: _look(appliance, name, *way) for name, way in ways.items()}
    bare = found["none"]
    results = []
    for name, (started, used) in found.items():
        after = f"of {len(ways[name][1]) * MESSAGES} messages"
        results.append(_result(f"rss.daemon.{name}", started, bare[0], "after its start"))
        results.append(_result(f"rss.daemon.{name}.used", used, bare[1], f"after the answers {after}"))
    return results


def _look(appliance: Appliance, name: str, platforms: Sequence[Platform], uses: Sequence[Use]) -> tuple[Memory, Memory]:
    configure(appliance, *platforms)
    appliance.put_to_sleep()
    appliance.restart()
    for platform in platforms:
        platform.connected()
    time.sleep(_SETTLE_SECONDS)  # what follows a start
    started = Memory.of(appliance.daemon_pid())
    for use in uses:
        use()
    time.sleep(_SETTLE_SECONDS)  # what follows the last answer
    used = Memory.of(appliance.daemon_pid())
    step(f"memory with {name}: {started.resident:.0f} MiB, then {used.resident:.0f}")
    return started, used


def _result(name: str, memory: Memory, bare: Memory, when: str) -> Result:
    note = f"resident {when}; private {memory.private:.1f}; the baseline is the daemon without channels"
    return Result(name, "MiB", (memory.resident,), bare.resident, None, note)


def _user(platform: Platform) -> Use:
    def use() -> None:
        for number in range(MESSAGES):
            platform.ask([(platform.chats[0], f"memory {time.monotonic_ns()} {number}")])

    return use


@contextlib.contextmanager
def _hook(group: str) -> Iterator[Use]:
    """Have a hook of the operator's terminal, and give what uses it."""
    systemctl("enable", "--now", _HOOKS_SOCKET)
    made = json.loads(_ncl("--json", "hooks", "create", _HOOK, "--group", group, "--to", f"terminal:root/{group}"))
    url, secret = str(made["hook"]["url"]), str(made["secret"])

    def use() -> None:
        for _ in range(MESSAGES):
            request = urllib.request.Request(url, b'{"text": "hello"}')
            request.add_header("Content-Type", "application/json")
            request.add_header("Authorization", f"Bearer {secret}")
            with urllib.request.urlopen(request, timeout=60):
                pass

    try:
        yield use
    finally:
        _ncl("hooks", "delete", _HOOK)
        systemctl("disable", "--now", _HOOKS_SOCKET)


def _ncl(*words: str) -> str:
    done = subprocess.run(["ncl", *words], check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    return done.stdout
