"""``AGENTS.md`` as the host composes it for each group.

What every agent is to know of its surroundings, what it was given, and what its skills and MCP servers add. It is
written whole at each change; the group's own notes are another file, and the agent's alone.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.skills import Skill
from nanoclawd.egress.secret_wishes import place_text
from nanoclawd.egress.secrets import Secret, placeholder
from nanoclawd.store.group_configuration import GroupConfiguration, Mount

NOTES: Final = "AGENTS.md"
CLAUDES_NOTES: Final = "CLAUDE.md"
"""Claude's client reads this name."""

_NOTES_MODE: Final = 0o660

_BASE: Final = """\
# Where you are

You run in a container of your own, without a network of its own. Programs reach the hosts that your owner has allowed
through a proxy, which HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name; your model is reached for you by the appliance.
Debian packages are installed read-only.

- `/workspace` is yours and stays. All conversations of this agent share it. `/workspace/AGENTS.md` is your memory: what
  you write there you are told in every conversation. Keep it short and true; put long things into other files, and say
  there which.
- `/workspace/conversations` has earlier conversations as Markdown, once they have become too long to be kept in mind.
- `/session/in/files` has the files that people have sent in this conversation. `/tmp` is lost when you go to sleep.
- Send a file by the tool `send_file`; a path in your answer is of no use to anybody.
- Tools in the image: python3, curl, git, jq, ripgrep (`rg`), file, patch, unzip{more}.
- Documents as text: `pdftotext -layout FILE -` for PDF (`pdftoppm` makes images of its pages), `docx2txt FILE -` for
  docx, `xlsx2csv FILE` for xlsx, `odt2txt FILE` for odt, ods and odp, `catdoc`, `xls2csv` and `catppt` for old Office
  files; pptx is a zip of XML.
"""
_ASKING: Final = """
# What you may ask for

`ncl` is the appliance's own program: `ncl --help` tells what it can. What only reads is answered at once; what changes
something is asked of a person first, and you are told as a message what came of it.
Packages and MCP servers that you lack: the tools `install_packages` and `add_mcp_server`. Hosts that you are refused:
`request_access`. Say why.
"""

_KEYS: Final = """
# Keys and passwords

Never ask for a key, a password or a token in a chat, and take none that is offered there: what is said there is kept.
Who wants you to use an account types on the machine: `ncl secret set NAME --host HOST --group {group}`. The value is
asked for there, and put into your requests to that host on their way; you never see it.
"""
_ONECLI: Final = """
What OneCLI, another program of your owner's, knows for a host is put in, too: try without any key. Where that is
answered 401 or 403, say that a secret for the host has to be assigned in OneCLI to the agent of group {group}.
"""
_GIVEN: Final = """
To these hosts your requests are signed in on their way, so send them without any key, by any program:

"""
_WAYS: Final = {
    "bearer": "as a bearer token",
    "basic": "as a user with a password",
    "header": "in the header {parameter}",
    "query": "in the query's parameter {parameter}",
    "cookie": "in the cookie {parameter}",
}


def compose(
    configuration: GroupConfiguration,
    skills: Sequence[Skill],
    mounts: Sequence[Mount],
    secrets: Sequence[Secret],
    *,
    group: str,
    may_ask: bool,
    has_onecli: bool = False,
) -> str:
    """Return the text.

    Args:
        configuration: of the group.
        skills: those that it has.
        mounts: the directories that it really has.
        secrets: those that its requests get.
        group: its name.
        may_ask: whether its agent may use ``ncl``.
        has_onecli: whether its requests go through OneCLI.
    """
    installed = [name for names in configuration.packages.values() for name in names]
    parts = [_BASE.format(more="".join(f", {name}" for name in installed))]
    if mounts:
        parts.append("# Directories of the machine\n\n" + "\n".join(map(_mounted, mounts)) + "\n")
    if may_ask:
        parts.append(_ASKING.lstrip("\n"))
    parts.append(_keys(group, secrets, has_onecli=has_onecli))
    told = ((skill.name, skill.instructions().strip()) for skill in skills)
    parts += [f"# Skill {name}\n\n{text}\n" for name, text in told if text]
    parts += [
        f"# MCP server {server.name}\n\n{server.instructions.strip()}\n"
        for server in configuration.mcp_servers
        if server.instructions.strip()
    ]
    return "\n".join(parts)


def _keys(group: str, secrets: Sequence[Secret], *, has_onecli: bool) -> str:
    """Return what an agent is to know of secrets: that it need not have any (F-146)."""
    text = (_KEYS.lstrip("\n") + (_ONECLI if has_onecli else "")).format(group=group)
    return text + _GIVEN + "".join(map(_given, secrets)) if secrets else text


def _given(secret: Secret) -> str:
    where = ", ".join(place_text(place) for place in secret.places)
    if secret.style == "placeholder":
        return f"- {where}: write `{placeholder(secret.name)}` where the secret belongs, in a header or in the query\n"
    return f"- {where}: `{secret.name}`, {_WAYS[secret.style].format(parameter=secret.parameter)}\n"


def begin_notes(workspace: Path) -> None:
    """Make the group's own notes where there are none; what is there is the agent's, and stays as it is (F-192).

    A link there is the agent's too, and is not followed.

    Raises:
        OSError: the disk is full.
    """
    for name, text in ((NOTES, ""), (CLAUDES_NOTES, f"@{NOTES}\n")):
        try:
            descriptor = os.open(workspace / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _NOTES_MODE)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), _NOTES_MODE)
            file.write(text)


def _mounted(mount: Mount) -> str:
    return f"- `/mnt/{mount.name}`" + (" (you may write there)" if mount.writable else " (to be read only)")
