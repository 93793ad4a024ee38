"""nanoclawd-generator: the script itself, run over a machine's files that a test wrote."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "units" / "nanoclawd-generator"
PASSWD = "root:x:0:0::/root:/bin/sh\nnanoclaw-gateway:x:998:997::/:/x\nnanoclaw:x:997:996::/var/lib/nanoclaw:/x\n"

MANAGER = """\
# Written by nanoclawd-generator.
[Unit]
After=user@997.service
# More than Wants=: a user manager that died is started again while the daemon runs. Nothing else would do so.
Upholds=user@997.service

[Service]
Environment=XDG_RUNTIME_DIR=/run/user/997
"""
NETWORK = """\
# Written by nanoclawd-generator, because a token of a chat service is stored: {path}
# Channels reach their services, wherever those are, and reconnect by themselves: no start waits for a network.
# Without a token (ncl credentials list) the daemon has none at all.
[Service]
PrivateNetwork=no
RestrictAddressFamilies=AF_INET AF_INET6
IPAddressDeny=
"""


def generated(machine: Path, *credentials: str, passwd: str = PASSWD) -> dict[str, str]:
    """Run the script over a machine with some credentials; return what it wrote."""
    etc, out = machine / "etc", machine / "out"
    for directory in (etc / "credstore", etc / "credstore.encrypted", out):
        directory.mkdir(parents=True)
    (etc / "passwd").write_text(passwd)
    for one in credentials:
        (etc / one).write_text("sealed")
    script = machine / "generator"
    script.write_text(SCRIPT.read_text().replace("/etc/", f"{etc}/"))
    done = subprocess.run(["/bin/sh", script, out, out, out], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}


def test_without_a_token_the_daemon_has_no_network(tmp_path: Path):
    found = generated(tmp_path, "credstore.encrypted/nanoclaw-gateway.openai", "credstore.encrypted/other.nanoclawd.x")
    assert found == {"nanoclawd.service.d/10-user-manager.conf": MANAGER}


@pytest.mark.parametrize("credential", ["credstore.encrypted/nanoclawd.telegram", "credstore/nanoclawd.matrix-home"])
def test_a_token_opens_it_and_the_drop_in_says_why(tmp_path: Path, credential: str):
    assert generated(tmp_path, credential) == {
        "nanoclawd.service.d/10-user-manager.conf": MANAGER,
        "nanoclawd.service.d/20-network.conf": NETWORK.format(path=tmp_path / "etc" / credential),
    }


def test_a_machine_without_the_user_gets_nothing(tmp_path: Path):
    assert generated(tmp_path, passwd="root:x:0:0::/root:/bin/sh\n") == {}
