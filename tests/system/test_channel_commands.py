"""Adding an account by command, as a new user does it, and what becomes of its secret (acceptance 5).

The service is a stand-in (system/lighthouse.py), reached by a name of the DNS and over TLS from inside the unit.
"""

import contextlib
import json
import pwd
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system.appliance import (
    STATE,
    Person,
    call,
    daemon_pid,
    journal,
    run,
    runner,
    session_of,
    wired,
)
from system.lighthouse import TYPE, Lighthouse, lighthouse
from system.typist import Typist

CREDENTIALS = Path("/run/nanoclawd/credentials.sock")
STORE = Path("/etc/credstore.encrypted")
NEWCOMER = "newcomer"


@pytest.fixture(scope="module")
def newcomer() -> Iterator[str]:
    """A user of this machine who may use ncl, and nothing more."""
    run("useradd", "--create-home", "--groups", "nanoclaw-admin", NEWCOMER)
    yield NEWCOMER
    run("userdel", "--remove", NEWCOMER, check=False)


@pytest.fixture
def light(tmp_path: Path) -> Iterator[Lighthouse]:
    with lighthouse(tmp_path) as service:
        yield service


def ncl(*words: str, secret: str = "", code: int = 0) -> str:
    """Run ncl as root with a secret at its standard input; return what it said."""
    done = subprocess.run(["ncl", *words], input=secret, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def state_of(channel: str) -> dict[str, object]:
    (found,) = [one for one in call("Channels.List")["channels"] if one["name"] == channel]
    return found


def property_of(name: str) -> str:
    return run("systemctl", "show", "--value", "-p", name, "nanoclawd.service").strip()


@contextlib.contextmanager
def watching_for(secret: str) -> Iterator[list[str]]:
    """Look at every process's arguments and environment for as long as this lasts; the list is where it was found."""
    found: list[str] = []
    over = threading.Event()

    def look() -> None:
        wanted = secret.encode()
        while not over.is_set():
            for directory in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        if wanted in (directory / name).read_bytes():
                            found.append(str(directory / name))
            time.sleep(0.005)  # other processes' arguments have no event

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def files_with(secret: str) -> list[Path]:
    """Return the files of the appliance in which a secret stands, databases included."""
    found = []
    for top in (STATE / "channels", Path("/etc/nanoclawd"), STORE, Path("/etc/credstore")):
        found += [path for path in top.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    return found + [path for path in STATE.glob("central.db*") if secret.encode() in path.read_bytes()]


def test_a_newcomers_way_at_a_terminal(newcomer: str, light: Lighthouse, group: str) -> None:
    """Nothing is read but what the commands print; the secret shows nowhere; the network opens with it."""
    began = time.time()
    secret = f"key-{secrets.token_hex(12)}"
    light.accounts[secret] = "the keeper of the light"
    assert (property_of("PrivateNetwork"), property_of("RestrictAddressFamilies")) == ("yes", "AF_UNIX")
    with (
        watching_for(secret) as found,
        Typist("runuser", "-u", newcomer, "--", "ncl", "channels", "add", TYPE) as typist,
    ):
        typist.sees("Every keeper has one; it hangs behind the door.")
        typist.sees("Address: ")
        typist.types(light.where)
        typist.sees("File of its certificate [/usr/local/share/lighthouse.crt]: ")
        typist.types("")
        typist.sees("Key of the light (it is not shown): ")
        typist.types(secret)
        typist.sees("The daemon is restarted for it; conversations go on.")
        assert typist.ends() == 0, typist.shown
    assert typist.lines[-2:] == [
        "Channel lighthouse is up, as the keeper of the light.",
        "Next: say something to the light",
    ]
    assert secret not in typist.shown
    assert found == []
    assert property_of("PrivateNetwork") == "no"
    chat = wired(TYPE, group)
    light.say(chat, "ahoy", "1")
    light.hears(chat, "echo: ahoy")
    assert files_with(secret) == []
    assert secret not in journal(since=began)
    assert secret not in run("ncl", "channels", "show", TYPE) + run("ncl", "credentials", "--json")
    stored = STORE / f"nanoclawd.{TYPE}"
    assert (stored.stat().st_uid, stored.stat().st_mode & 0o777) == (0, 0o600)
    # And the way back.
    assert ncl("channels", "remove", TYPE) == f"removed: {TYPE}, with its secret\n"
    assert not stored.exists()
    assert (property_of("PrivateNetwork"), property_of("RestrictAddressFamilies")) == ("yes", "AF_UNIX")
    assert not (STATE / "channels" / TYPE).exists()


def test_whoever_breaks_off_has_added_nothing(newcomer: str, light: Lighthouse) -> None:
    with Typist("runuser", "-u", newcomer, "--", "ncl", "channels", "add", TYPE) as typist:
        typist.sees("Address: ")
        typist.types("somewhere:1")
        typist.sees("certificate")
        typist.types("")
        typist.sees("it is not shown")
        typist.presses(b"\x03")
        assert typist.ends() == 130
    assert "Nothing was added." in typist.shown
    assert TYPE not in [one["name"] for one in call("Channels.List")["channels"]]
    assert light.heard == []


def test_a_wrong_key_is_told_and_a_right_one_helps(light: Lighthouse) -> None:
    light.accounts["right"] = "the keeper"
    options = ("-o", f"where={light.where}")
    said = ncl("channels", "add", TYPE, "light", *options, secret="wrong\n", code=1)
    assert "ncl: channel light is failed: the lighthouse refuses this key\nTry: ncl channels login light\n" in said
    shown = state_of("light")
    assert (shown["state"], shown["origin"]) == ("failed", "command")
    components = {one["name"]: one for one in call("Appliance.Status")["components"]}
    assert components["channel light"]["hint"] == "ncl channels login light"
    doctor = subprocess.run(["ncl", "doctor"], capture_output=True, text=True, check=False).stdout
    assert "the lighthouse refuses this key" in doctor
    assert "Try: ncl channels login light" in doctor
    assert "Channel light is up, as the keeper." in ncl("channels", "login", "light", secret="right")
    assert "Channel light is up, as the keeper." in ncl("channels", "test", "light")
    del light.accounts["right"]
    refused = ncl("channels", "test", "light", code=1)
    assert "the lighthouse refuses this key" in refused
    said = ncl("channels", "update", "light", "-o", "wheer=x", code=5)
    assert "option wheer of channel light: unknown key; known here: where, authority" in said
    assert "Try: ncl channels update light --option wheer=VALUE" in said


def test_disabling_and_enabling_needs_no_restart_and_what_is_said_meanwhile_waits(
    light: Lighthouse, group: str
) -> None:
    """W-21: nothing that an agent says there is lost."""
    light.accounts["right"] = "the keeper"
    ncl("channels", "add", TYPE, "light", "-o", f"where={light.where}", secret="right")
    chat, before = wired("light", group), daemon_pid()
    light.say(chat, "!sleep 3\nlater", "1")
    # Its container runs: the message is stored. This platform tells nothing twice.
    wait_until(lambda: call("Sessions.List", group=group)["sessions"] and runner(session_of(group)), "it is taken")
    ncl("channels", "disable", "light")
    assert state_of("light")["state"] == "disabled"
    assert "disabled" in run("ncl", "status")
    wait_until(lambda: state_of("light")["backlog"] == 1, "the answer waits")
    assert light.heard == []
    ncl("channels", "enable", "light")
    light.hears(chat, "echo: later")
    wait_until(lambda: state_of("light")["backlog"] == 0, "its outcome is recorded")
    assert daemon_pid() == before


def test_conversations_go_on_while_a_secret_is_stored(light: Lighthouse, person: Person) -> None:
    """The daemon is restarted, the container is not, and the answer arrives."""
    light.accounts["right"] = "the keeper"
    before = daemon_pid()
    person.ask("warm up")
    session = session_of(person.group)
    container = runner(session)
    asked = person.send("!sleep 4\nstill here")
    ncl("channels", "add", TYPE, "light", "-o", f"where={light.where}", secret="right")
    assert daemon_pid() != before
    assert "echo: still here" in person.outcome(asked).text
    now = runner(session)
    assert container is not None
    assert now is not None
    assert now.pid == container.pid


def test_what_cannot_be_handled_is_shown_and_forgotten(light: Lighthouse, group: str) -> None:
    """Three tries, then set aside: it blocks nothing, and is there to be looked at."""
    light.accounts["right"] = "the keeper"
    ncl("channels", "add", TYPE, "light", "-o", f"where={light.where}", secret="right")
    chat = wired("light", group)
    light.say(chat, None, "odd-1")
    light.say(chat, "and this?", "2")
    light.hears(chat, "echo: and this?")
    shown = ncl("channels", "show", "light")
    assert "odd-1" in shown
    assert "ValueError: there is nothing in it" in shown
    assert f"where={light.where}" in shown
    assert "1 set aside (ncl channels show light)" in run("ncl", "status")
    assert ncl("channels", "clear", "light") == "1 event forgotten\n"
    assert state_of("light")["set_aside"] == 0


def test_the_logs_are_the_channels_own(light: Lighthouse) -> None:
    light.accounts["right"] = "the keeper"
    ncl("channels", "add", TYPE, "light", "-o", f"where={light.where}", secret="right")
    run("journalctl", "--sync")
    said = ncl("channels", "logs", "light")
    assert "channel light is up" in said
    assert "root (uid 0) stored nanoclawd.light" in said
    assert "channel terminal" not in said


def test_the_store_is_for_operators_and_for_no_service(newcomer: str) -> None:
    """The daemon itself is refused, also where somebody has put its user into the group; a stranger cannot connect."""
    call_it = ("varlinkctl", "call", str(CREDENTIALS), "io.nanoclaw.Credentials.List", "{}")
    admins = str(CREDENTIALS.stat().st_gid)
    for user in ("nanoclaw", "nanoclaw-gateway"):
        entry = pwd.getpwnam(user)
        ids = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}")
        refused = subprocess.run(
            ["setpriv", *ids, f"--groups={admins}", *call_it], capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0
        assert "no service of the appliance may" in refused.stdout + refused.stderr
        outside = subprocess.run(["setpriv", *ids, "--clear-groups", *call_it], capture_output=True, check=False)
        assert outside.returncode != 0
    stranger = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ncl", "credentials"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "that takes the group nanoclaw-admin" in stranger.stderr
    assert json.loads(run("runuser", "-u", newcomer, "--", "ncl", "credentials", "list", "--json")) == []


def test_the_service_is_there_on_demand_only() -> None:
    run("ncl", "credentials")
    assert run("systemctl", "is-active", "nanoclaw-credentials.service").strip() == "active"
    unit = "nanoclaw-credentials.service"
    wait_until(
        lambda: run("systemctl", "is-active", unit, check=False).strip() == "inactive", "it ends when idle", seconds=60
    )
    assert run("ncl", "credentials").strip() == "no credentials are stored"


def test_a_key_of_the_gateway_opens_no_network_for_the_daemon() -> None:
    before = daemon_pid()
    try:
        said = ncl("credentials", "put", "nanoclaw-gateway.spare-key", secret="sk-123\n")
        assert "stored: nanoclaw-gateway.spare-key" in said
        assert "sk-123" not in said
        assert (property_of("PrivateNetwork"), daemon_pid()) == ("yes", before)
        (listed,) = json.loads(run("ncl", "credentials", "--json"))
        assert (listed["name"], listed["consumer"]) == ("nanoclaw-gateway.spare-key", "nanoclaw-gateway")
    finally:
        ncl("credentials", "delete", "nanoclaw-gateway.spare-key")
    assert "nanoclawd.CHANNEL or nanoclaw-gateway.KEY" in ncl("credentials", "put", "../x", secret="x", code=5)
