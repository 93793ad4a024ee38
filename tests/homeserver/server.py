"""Starts Synapse with a state of its own, and registers people on it."""

import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from eventually import wait_until

PROGRAM: Final = Path(__file__).parents[2] / "build" / "cache" / "homeserver"
"""Where the bed has unpacked it (tests/bed/bedlib/unpacked.py)."""

NAME: Final = "bed.test"
START_SECONDS: Final = 90.0
SHARED_SECRET: Final = "registration of tests"
PLENTY: Final = {"per_second": 100_000, "burst_count": 100_000}


class Homeserver:
    """One Synapse. Made in a directory, started there, stopped, started again: its state stays."""

    def __init__(self, directory: Path, *, limits: dict[str, Any] | None = None, port: int | None = None) -> None:
        """Prepare.

        Args:
            directory: for its database, media and log.
            limits: what ``rc_…`` settings are to be other than without a bound worth a name.
            port: where it listens; None: one that is free now, and the same at each start.
        """
        self.directory = directory
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._limits = limits or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "media").mkdir(exist_ok=True)
        (self.directory / "homeserver.yaml").write_text(json.dumps(self._settings()))
        with (self.directory / "out.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "synapse.app.homeserver", "-c", str(self.directory / "homeserver.yaml")],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(PROGRAM), "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            wait_until(self._answers, "it answers", START_SECONDS, despite=OSError)
        except AssertionError as error:
            tail = (self.directory / "out.log").read_text(errors="replace")[-4000:]
            raise AssertionError(f"the homeserver did not start: {error}\n{tail}") from error

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "it has ended"
        self.ask("GET", "/_matrix/client/versions")
        return True

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it; what it has committed stays."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def user_id(self, name: str) -> str:
        """Return a local person's id."""
        return f"@{name}:{NAME}"

    def register(self, name: str, password: str = "secret", *, admin: bool = False) -> dict[str, Any]:
        """Make an account; returns its user id, device id and access token."""
        place = "/_synapse/admin/v1/register"
        nonce = self.ask("GET", place)["nonce"]
        words = [nonce, name, password, "admin" if admin else "notadmin"]
        mac = hmac.new(SHARED_SECRET.encode(), "\0".join(words).encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac}
        return self.ask("POST", place, body)

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> dict[str, Any]:
        """Return what one request is answered.

        Raises:
            OSError: it is not answered, or with an error (urllib's HTTPError).
        """
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _settings(self) -> dict[str, Any]:
        listener = {
            "port": self.port,
            "type": "http",
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client"]}],
        }
        return {
            "server_name": NAME,
            "pid_file": str(self.directory / "pid"),
            "public_baseurl": f"{self.url}/",
            "listeners": [listener],
            "database": {"name": "sqlite3", "args": {"database": str(self.directory / "homeserver.db")}},
            "media_store_path": str(self.directory / "media"),
            "signing_key_path": str(self.directory / "signing.key"),
            "registration_shared_secret": SHARED_SECRET,
            "macaroon_secret_key": secrets.token_hex(),
            "report_stats": False,
            "bcrypt_rounds": 4,
            "trusted_key_servers": [],
            "federation_domain_whitelist": [],
            "suppress_key_server_warning": True,
            "login_via_existing_session": {"enabled": True, "require_ui_auth": False},
            "presence": {"enabled": False},
            "url_preview_enabled": False,
            "rc_message": PLENTY,
            "rc_registration": PLENTY,
            "rc_login": {"address": PLENTY, "account": PLENTY, "failed_attempts": PLENTY},
            "rc_joins": {"local": PLENTY, "remote": PLENTY},
            "rc_invites": {"per_room": PLENTY, "per_user": PLENTY, "per_issuer": PLENTY},
            "rc_admin_redaction": PLENTY,
            "rc_room_creation": PLENTY,
            "rc_login_token": PLENTY,
            "rc_key_requests": PLENTY,
            "rc_media_create": PLENTY,
            "rc_reports": PLENTY,
            **self._limits,
        }


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
