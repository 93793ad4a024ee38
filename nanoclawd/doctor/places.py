"""Where the checks look, and how they ask other programs."""

import pwd
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SERVICE_USER = "nanoclaw"
_ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Host:
    """The machine that is checked. A test gives it another root."""

    root: Path = field(default=Path("/"))
    user: str = SERVICE_USER

    def path(self, absolute: str) -> Path:
        """Return a file of the machine."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        """Return a small file's text, or None where it cannot be read."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def uid(self) -> int | None:
        """Return the service user's uid, or None when there is no such user."""
        try:
            return pwd.getpwnam(self.user).pw_uid
        except KeyError:
            return None

    def ask(self, *command: str) -> str | None:
        """Return a program's output, or None when it is missing, fails or hangs."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None
