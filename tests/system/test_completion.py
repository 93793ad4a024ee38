"""What the package installs for people at a shell: completion with ids from the daemon, and the manual."""

import subprocess
from pathlib import Path

from system.appliance import run

INSTALLED = (
    "/usr/share/bash-completion/completions/ncl",
    "/usr/share/zsh/vendor-completions/_ncl",
    "/usr/share/fish/vendor_completions.d/ncl.fish",
    "/usr/share/man/man1/ncl.1.gz",
)
ASK = """
source /usr/share/bash-completion/completions/ncl
COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9 COMP_WORDBREAKS=$' \\t\\n"'
_python_argcomplete ncl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def _offered(line: str) -> set[str]:
    done = subprocess.run(["bash", "-c", ASK, "bash", line], capture_output=True, text=True, check=True, timeout=60)
    return {word.strip() for word in done.stdout.splitlines() if word.strip()}


def test_bash_completes_what_the_daemon_knows(group: str):
    run("ncl", "chats", "create", "loop", f"room-{group}", "--name", "$(reboot)")
    assert [path for path in INSTALLED if not Path(path).is_file()] == []
    assert {"groups", "wirings", "approvals", "explain"} <= _offered("ncl ")
    assert _offered(f"ncl groups restart {group[:-1]}") == {group}
    assert _offered(f"ncl chats get loop:room-{group}") == {f"loop:room-{group}"}
    assert "loop" in _offered("ncl channels conversations l")
    assert "mention-sticky" in _offered("ncl wirings create x y --engage ")
    run("ncl", "chats", "delete", f"loop:room-{group}")
