"""An embedded Postgres of a test's own, which may crash and be started again."""

import os
import shutil
import signal
from pathlib import Path

from infrastructure.embedded_postgres import EmbeddedPostgres


class OwnServer:
    """Runs from the first moment until `stop`, which forgets its data."""

    def __init__(self, home: Path) -> None:
        self._embedded = EmbeddedPostgres(home)
        self._embedded.pin()
        self.uri = self.start()

    def start(self) -> str:
        """Start it, and return its owner's URI once it answers."""
        return self._embedded.start(lambda running: running.owner_uri)

    def crash(self) -> None:
        """An immediate shutdown: sessions end without a word, and the next start recovers."""
        pid = self._embedded.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)

    def stop(self) -> None:
        """End it for good."""
        self._embedded.stop()
        shutil.rmtree(self._embedded.status().data_folder.parent)
