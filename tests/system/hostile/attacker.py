"""What a hostile container runs in place of its runner: it reads the last message's text and does what that names.

Started by a drop-in of the test (``python3 -sP /workspace/attacker.py``) with all that a runner gets: the doorbell, the
notify socket, the mounts. It takes nothing from the host that a runner of ours could not be made to give away.
"""

# It speaks to the kernel in its own words, and closes nothing.
# ruff: noqa: PTH104, PTH105, PTH115, PTH208, SIM115

import contextlib
import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import apsw

IN = Path("/session/in/inbound.db")
OUT = Path("/session/out/outbound.db")
JOURNAL = OUT.with_name("outbound.db-journal")
SHARED_FIRST, SHARED_SIZE = 0x40000002, 510

listening = socket.socket(fileno=3)
notifying = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
doorbell: socket.socket


def notify(text: str) -> None:
    notifying.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


def feed_the_watchdog() -> None:
    while True:
        notify("WATCHDOG=1")
        time.sleep(2)  # well within the watchdog's time


def for_ever() -> None:
    threading.Event().wait()


def ring() -> None:
    doorbell.send(b"\x01")


def sql(*statements: str) -> None:
    connection = apsw.Connection(str(OUT))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def newest() -> dict[str, str]:
    """Return the last message that waits: id, text and where it belongs."""
    while True:
        with contextlib.suppress(apsw.Error):
            connection = apsw.Connection(str(IN), flags=apsw.SQLITE_OPEN_READONLY)
            row = connection.execute(
                "SELECT id, content, channel_type, platform_id FROM messages_in"
                " WHERE status = 'pending' AND trigger = 1 ORDER BY seq DESC LIMIT 1"
            ).fetchone()
            connection.close()
            if row is not None:
                return {"id": row[0], "text": json.loads(row[1])["text"], "channel": row[2], "chat": row[3]}
        time.sleep(0.02)  # it reads as clumsily as it likes


def reply(text: str) -> None:
    """Answer as an honest runner does."""
    message = newest()
    connection = apsw.Connection(str(OUT))
    connection.set_busy_timeout(5000)
    with connection:
        seq = connection.execute("SELECT coalesce(max(seq), 999) + 2 FROM messages_out").get
        connection.execute(
            "INSERT INTO messages_out (id, seq, in_reply_to, timestamp, kind, channel_type, platform_id, content)"
            " VALUES (?, ?, ?, '2026-01-01T00:00:00.000Z', 'chat', ?, ?, ?)",
            (f"out-{seq}", seq, message["id"], message["channel"], message["chat"], json.dumps({"text": text})),
        )
        connection.execute("INSERT OR REPLACE INTO processing_ack VALUES (?, 'completed', 't')", (message["id"],))
    connection.close()
    ring()


# The database.


def truncated() -> None:
    os.truncate(OUT, 700)
    ring()


def random_bytes() -> None:
    OUT.write_bytes(random.randbytes(100_000))
    ring()


def sparse() -> None:
    """Ten gigabytes are beyond the container's own bound for a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        os.truncate(OUT, 10 * 1024**3)
    except OSError as error:
        reply(f"sparse: {error.strerror}")
        return
    ring()


def forged_super_journal() -> None:
    name = b"/var/lib/nanoclaw/central.db"
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 0, 0, 1, 512, 4096)
    tail = struct.pack(">I", 4096) + name + struct.pack(">II", len(name), sum(name)) + magic
    JOURNAL.write_bytes(header.ljust(512, b"\0") + tail)
    ring()


def fifo_journal() -> None:
    os.mkfifo(JOURNAL)
    ring()


def directory_journal() -> None:
    JOURNAL.mkdir(mode=0o700)
    (JOURNAL / "more").touch()
    ring()


def wal() -> None:
    sql("PRAGMA journal_mode = WAL", "CREATE TABLE more (x)")
    OUT.with_name("outbound.db-wal").write_bytes(b"\x37\x7f\x06\x82" + b"\0" * 28)
    OUT.with_name("outbound.db-shm").write_bytes(b"\0" * 7)
    ring()


def endless_view() -> None:
    sql(
        "DROP TABLE messages_out",
        "CREATE VIEW messages_out AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT 'x' || i AS id, 2 * i + 1 AS seq, NULL AS in_reply_to, 't' AS timestamp, NULL AS deliver_after,"
        " 'chat' AS kind, NULL AS channel_type, NULL AS platform_id, NULL AS thread_id, '{}' AS content FROM n",
    )
    ring()


def not_utf8() -> None:
    sql(
        "INSERT INTO messages_out (id, seq, timestamp, kind, content)"
        " VALUES (CAST(x'ff' AS TEXT), 1, 't', 'chat', CAST(x'fffe' AS TEXT))"
    )
    ring()


def huge_row() -> None:
    """A hundred megabytes; and after it an honest answer."""
    sql(
        "INSERT INTO messages_out (id, seq, timestamp, kind, content)"
        " VALUES ('huge', 1, 't', 'chat', hex(zeroblob(50000000)))"
    )
    reply("after the huge row")


def bad_rows() -> None:
    sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)"
        " INSERT INTO messages_out (id, seq, timestamp, kind, content) SELECT 'x' || i, 2 * i + 1, 't', 'chat',"
        " hex(zeroblob(300000)) FROM n LIMIT 100"
    )
    ring()


def named_like_a_notice() -> None:
    """Have the host believe that its own words were delivered already."""
    message = newest()
    sql(
        "INSERT INTO messages_out (id, seq, timestamp, kind, content)"
        f" VALUES ('notice-quarantine-{message['id']}', 1, 't', 'chat', '{{}}')"
    )
    ring()


def deep_json() -> None:
    reply_raw("[" * 200_000)


def wide_json() -> None:
    reply_raw('{"text": "' + "\u00e9" * 250_000 + '"}')


def many_values() -> None:
    reply_raw('{"text": "wide", "more": [' + "1," * 250_000 + "1]}")


def reply_raw(content: str) -> None:
    message = newest()
    connection = apsw.Connection(str(OUT))
    with connection:
        connection.execute(
            "INSERT INTO messages_out (id, seq, in_reply_to, timestamp, kind, channel_type, platform_id, content)"
            " VALUES ('raw', 1, ?, 't', 'chat', ?, ?, ?)",
            (message["id"], message["channel"], message["chat"], content),
        )
        connection.execute("INSERT OR REPLACE INTO processing_ack VALUES (?, 'completed', 't')", (message["id"],))
    connection.close()
    ring()


# Locks.


def lock_outbound() -> None:
    connection = apsw.Connection(str(OUT))
    connection.execute("BEGIN EXCLUSIVE")
    for _ in range(10):
        ring()
        time.sleep(0.1)  # rings that are no flood
    for_ever()


def lock_inbound() -> None:
    """A read lock through the read-only mount: the host can't commit."""
    file = IN.open("rb")
    fcntl.lockf(file, fcntl.LOCK_SH, SHARED_SIZE, SHARED_FIRST)
    notify("STATUS=locked")
    for_ever()


def lease() -> None:
    """A lease needs the file's owner; what can't be had is said."""
    file = OUT.open("r+b")
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as error:
        reply(f"lease: {error.strerror}")
        return
    ring()
    for_ever()


# The doorbell.


def ring_flood() -> None:
    with contextlib.suppress(OSError):
        while True:
            ring()


def ring_below_the_bound() -> None:
    ends = time.monotonic() + 6
    while time.monotonic() < ends:
        ring()
        time.sleep(1 / 900)  # just below the bound
    reply("rang as often as it may")


def partial_flood() -> None:
    frame = b"\x02x\0" + b"\x1b[31m" * 3000
    with contextlib.suppress(OSError):
        while True:
            doorbell.send(frame)


def oversize_frame() -> None:
    doorbell.send(b"\x02x\0" + b"x" * 100_000)


def doorbell_shut_down() -> None:
    doorbell.shutdown(socket.SHUT_RDWR)
    listening.close()


# Notifications and the log.


def ansi_status() -> None:
    notify("STATUS=\x1b[31mred\x1b[0m\x07\x9b31m \x1b]0;title\x07 done")
    time.sleep(4)  # for the host to look at what it has done
    reply("told in colours")


def status_flood() -> None:
    number = 0
    while True:
        number += 1
        notify(f"STATUS={number}{'x' * 1000}")


def log_flood() -> None:
    line = "flood " * 150 + "\n"
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        sys.stdout.write(line)
    sys.stdout.flush()
    reply("flooded the log")


def liar() -> None:
    """Says for ever that it is alive, and does nothing."""
    for_ever()


# Files.


def links_and_fifos() -> None:
    files = Path("/session/out/files")
    (files / "link").symlink_to("/etc/shadow")
    (files / "out").symlink_to("/session/out/outbound.db")
    (files / "absolute").symlink_to("/var/lib/nanoclaw/central.db")
    os.mkfifo(files / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(files / "socket"))
    (files / "closed").mkdir(mode=0)
    (files / "deep").mkdir()
    for name in ("link", "fifo"):
        os.link(files / name, Path("/session/out") / name, follow_symlinks=False)
    reply("left links and pipes")


# Greed.


def processes() -> None:
    """As many as it gets, 400 at most: a machine without the controller has no bound of its own."""
    children = []
    try:
        for _ in range(400):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
        outcome = "400 processes"
    except OSError as error:
        outcome = f"{len(children)} processes, then {error.strerror}"
    time.sleep(4)  # for the host to look at what it has done
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    reply(outcome)


def inotify() -> None:
    """All instances and all watches that this user gets."""
    libc = ctypes.CDLL(None, use_errno=True)
    instances = watches = 0
    ends = []
    for _ in range(4000):
        descriptor = libc.inotify_init1(os.O_CLOEXEC)
        if descriptor < 0:
            break
        ends.append(descriptor)
        instances += 1
    place = Path("/tmp/watched")
    place.mkdir()
    for number in range(40_000):
        directory = place / str(number)
        directory.mkdir()
        if libc.inotify_add_watch(ends[0], str(directory).encode(), 0xFFF) < 0:
            break
        watches += 1
    notify("STATUS=greedy")
    time.sleep(6)  # for the host to feel it
    reply(f"{instances} instances, {watches} watches")


def disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    words = []
    for place in ("/workspace", "/home/agent", "/session/out/files", "/tmp", "/run", "/dev/shm"):
        path = Path(place) / "fill"
        size = 0
        try:
            with path.open("wb", buffering=0) as file:
                while size < 1024**3:
                    size += file.write(b"x" * 1024 * 1024)
        except OSError as error:
            words.append(f"{place}: {size // 1024**2} MiB, {error.strerror}")
        path.unlink(missing_ok=True)
    reply("\n".join(words))


def processor() -> None:
    """Every processor, for a while."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    time.sleep(6)  # for the host to feel it
    for process in busy:
        process.kill()
    reply("burned")


def probe() -> None:
    """What the sandbox lets happen; each line is an attempt and its outcome."""
    lines = []

    def attempt(name: str, action: Callable[[], object]) -> None:
        try:
            lines.append(f"{name}: done {action()}"[:4000])
        except OSError as error:
            lines.append(f"{name}: {error.strerror}")
        except subprocess.CalledProcessError as error:
            lines.append(f"{name}: exit status {error.returncode}")

    attempt("replace", lambda: os.replace("/session/out/files", OUT))
    attempt("rename", lambda: OUT.rename("/session/out/elsewhere"))
    attempt("unlink", OUT.unlink)
    attempt("chmod", lambda: OUT.chmod(0o777))
    attempt("chown", lambda: os.chown(OUT, os.getuid(), 0))
    attempt("files away", lambda: os.rename("/session/out/files", "/session/out/gone"))
    attempt("out chmod", lambda: Path("/session/out").chmod(0o777))
    attempt("inbound write", lambda: IN.open("r+b"))
    attempt("inbound unlink", IN.unlink)
    attempt("inbound create", lambda: Path("/session/in/new").touch())
    attempt("inbound lease", lambda: fcntl.fcntl(IN.open("rb"), fcntl.F_SETLEASE, fcntl.F_RDLCK))
    attempt("outbound lease", lambda: fcntl.fcntl(OUT.open("rb"), fcntl.F_SETLEASE, fcntl.F_RDLCK))
    attempt("app write", lambda: Path("/app/runner/nanoclaw_runner/__main__.py").open("ab"))
    attempt("app create", lambda: Path("/app/runner/new.py").touch())
    attempt("agent.json", lambda: Path("/app/agent/agent.json").open("ab"))
    attempt("root", lambda: Path("/new").touch())
    attempt("etc", lambda: Path("/etc/passwd").open("ab"))
    attempt("usr", lambda: Path("/usr/bin/new").touch())
    attempt("gateway unlink", lambda: Path("/run/nanoclaw-gateway/gateway.sock").unlink())
    attempt("gateway create", lambda: Path("/run/nanoclaw-gateway/other.sock").touch())
    attempt("mount", lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], check=True, capture_output=True))
    attempt("unshare", lambda: os.unshare(os.CLONE_NEWNS))
    attempt("setuid", lambda: os.setuid(0))
    attempt("setgid", lambda: os.setgroups([0, 1]))
    attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    for address in ("10.0.2.2", "169.254.169.254", "8.8.8.8"):
        attempt(f"connect {address}", lambda address=address: socket.create_connection((address, 80), 3))
    attempt("hostname", lambda: socket.sethostname("mine"))
    attempt("sysctl", lambda: Path("/proc/sys/kernel/hostname").write_text("mine"))
    attempt("sysrq", lambda: Path("/proc/sysrq-trigger").write_text("h"))
    attempt("kmsg", lambda: Path("/dev/kmsg").open("rb"))
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    commands = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            commands[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    lines.append("processes: " + json.dumps(commands))
    lines.append(
        "sockets: " + " ".join(line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    )
    lines.append("interfaces: " + " ".join(name for _, name in socket.if_nameindex()))
    lines.append("environment: " + json.dumps(dict(os.environ)))
    lines.append("run: " + " ".join(sorted(os.listdir("/run"))))
    lines.append(
        "descriptors: "
        + " ".join(
            os.readlink(f"/proc/self/fd/{n}")
            for n in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{n}")
        )
    )
    lines.append(
        "mounts: " + " ".join(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    )
    lines.append(
        "setuid: "
        + subprocess.run(
            ["find", "/", "-xdev", "-perm", "/6000", "-type", "f"], capture_output=True, text=True, check=False
        ).stdout.replace("\n", " ")
    )
    Path("/workspace/probe.txt").write_text("\n".join(lines))
    reply("probed")


def never_ready() -> None:
    """Chosen by a file, as no message is read before READY."""
    threading.Thread(target=feed_the_watchdog, daemon=True).start()
    for_ever()


def main() -> None:
    global doorbell
    if Path("/workspace/never-ready").exists():
        never_ready()
    doorbell, _ = listening.accept()
    notify("READY=1")
    threading.Thread(target=feed_the_watchdog, daemon=True).start()
    try:
        globals()[newest()["text"]]()
    except Exception as error:  # a test of ours that is wrong should say so
        traceback.print_exc()
        reply(f"the attacker failed: {error!r}")
    for_ever()


main()
