"""The in-memory backend as a process of its own, and ``ncl`` run against it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Daemon:
    """Serves ``socket``; what it knows survives a restart."""

    directory: Path
    process: subprocess.Popen[str] | None = field(default=None)

    @property
    def socket(self) -> Path:
        return self.directory / "control.sock"

    @property
    def state(self) -> Path:
        return self.directory / "state.json"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "runner", "tests")),
            "NANOCLAW_CONTROL_SOCKET": str(self.socket),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "memory_backend", str(self.socket), str(self.state)]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(10)
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None

    def ncl(self, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "nanoclawd.cli", *words],
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        done = self.ncl(*words, "--json")
        assert done.returncode == 0, done
        return json.loads(done.stdout)
