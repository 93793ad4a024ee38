"""Thousands of sleeping sessions: rows, directories and databases as the product itself makes them.

One session is made by the product's own function and the others are copies of it: the same files, without a minute of
fsync. The central database is made once per size, and the sizes are exchanged while the daemon is stopped.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import apsw

from benchlib.appliance import GROUP, Appliance
from nanoclawd.paths import StatePaths
from nanoclawd.sessions.directory import make, outbound_identity
from nanoclawd.store import agent_groups, chats, database, names
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup


class Population:
    """Central databases by how many sessions they have; the first of them is always the one that is talked to."""

    def __init__(self, appliance: Appliance, sizes: Sequence[int]) -> None:
        self._appliance = appliance
        self._sizes = sorted(sizes)
        self._paths = StatePaths.resolve(appliance.state)

    def make(self, keep: str) -> None:
        """Make all sizes; the daemon must be stopped.

        Args:
            keep: the session that stays. All others' rows go, and new ones come beside it.
        """
        self._appliance.owner.call(lambda: self._make(keep))

    def become(self, size: int) -> None:
        """Have the daemon, which must be stopped, know so many sessions at its next start."""

        def exchange() -> None:
            for suffix in ("-wal", "-shm"):
                Path(f"{self._paths.central_db}{suffix}").unlink(missing_ok=True)
            shutil.copyfile(self._snapshot(size), self._paths.central_db)

        self._appliance.owner.call(exchange)

    def _snapshot(self, size: int) -> Path:
        return self._paths.root / f"central-{size}.db"

    def _make(self, keep: str) -> None:
        connection = database.connect(self._paths.central_db)
        connection.execute("PRAGMA synchronous = OFF").fetchall()
        connection.execute("DELETE FROM sessions WHERE id <> ?", (keep,))
        group = agent_groups.by_folder(connection, GROUP)
        sample = self._paths.session(GROUP, names.new_session_id())
        make(sample)
        have = 1
        for size in self._sizes:
            if size == 0:
                self._save_empty(connection)
                continue
            for number in range(have, size):
                self._add(connection, group, number, sample.root)
            have = size
            connection.execute("VACUUM INTO ?", (str(self._snapshot(size)),))
        shutil.rmtree(sample.root)
        connection.close()

    def _save_empty(self, connection: apsw.Connection) -> None:
        connection.execute("VACUUM INTO ?", (str(self._snapshot(0)),))
        empty = database.connect(self._snapshot(0))
        empty.execute("DELETE FROM sessions")
        empty.close()

    def _add(self, connection: apsw.Connection, group: AgentGroup, number: int, sample: Path) -> None:
        chat = chats.ensure_terminal(connection, f"person-{number}/{GROUP}", f"person-{number}'s terminal", group.id)
        session = session_rows.create(connection, group.id, chat.id)
        paths = self._paths.session(GROUP, session.id)
        shutil.copytree(sample, paths.root)
        session_rows.mark_awake(connection, session.id)
        session_rows.mark_asleep(connection, session.id, str(outbound_identity(paths)), None)
