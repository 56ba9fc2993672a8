"""A line to Postgres that can be cut: a proxy on loopback between a process and the server."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class _Pair:
    """A client's connection and the one to the server that it leads to, each direction open or not."""

    def __init__(self, client: socket.socket, server: socket.socket, is_lost: Callable[[bytes], bool]) -> None:
        self.ends = (client, server)
        self.asking, self.answering = threading.Event(), threading.Event()
        for source, sink, flows in ((client, server, self.asking), (server, client, self.answering)):
            cut_at = is_lost if source is server else None
            threading.Thread(target=self._pump, args=(source, sink, flows, cut_at), daemon=True).start()

    def reset(self) -> None:
        """Close both with a reset, which also wakes whoever waits for their bytes."""
        for end in self.ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.asking.set()
        self.answering.set()

    def _pump(
        self, source: socket.socket, sink: socket.socket, flows: threading.Event, cut_at: Callable[[bytes], bool] | None
    ) -> None:
        with suppress(OSError):
            while passed := source.recv(65536):
                flows.wait()
                if cut_at and cut_at(passed):
                    self.reset()
                    return
                sink.sendall(passed)
            flows.wait()
            sink.shutdown(socket.SHUT_WR)


class CutLine:
    """Forwards bytes between `uri` and the server behind it, until told otherwise.

    In a test: `with CutLine(database.application_uri) as line: … line.cut() … line.mend()`.
    """

    def __init__(self, server_uri: str) -> None:
        parts = conninfo_to_dict(server_uri)
        host, port = str(parts.get("host") or "127.0.0.1"), int(str(parts.get("port") or 5432))
        self._server: str | tuple[str, int] = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._silent = False
        self._guard = threading.Lock()
        self._pairs: list[_Pair] = []
        self._to_lose = (b"", 0)
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.uri = "postgresql:///?" + urlencode({**parts, "host": "127.0.0.1", "port": self.port})

    def __enter__(self) -> "CutLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or whoever accepts would accept once more
        self._listener.close()
        with self._guard:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.reset()

    def lose_track(self) -> None:
        """Pass nothing on between those that are connected, and tell neither; new connections are served."""
        with self._guard:
            for pair in self._pairs:
                pair.asking.clear()
                pair.answering.clear()

    def fall_silent(self) -> None:
        """The same, and new connections are taken and hear nothing either."""
        self._silent = True
        self.lose_track()

    def swallow_answers(self) -> None:
        """Pass on what is asked, and nothing that is answered."""
        with self._guard:
            for pair in self._pairs:
                pair.answering.clear()

    def lose_answers(self, holding: bytes, times: int = 1) -> None:
        """Drop the next answers with these bytes, and their connections: the server did it, and nobody is told."""
        self._to_lose = (holding, times)

    @property
    def answers_to_lose(self) -> int:
        """How many of them have not come yet."""
        return self._to_lose[1]

    def _is_lost(self, answer: bytes) -> bool:
        holding, times = self._to_lose
        if not times or holding not in answer:
            return False
        self._to_lose = (holding, times - 1)
        return True

    def mend(self) -> None:
        """Reset what was connected and serve anew."""
        self.cut()
        self._silent = False
        self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET)
                server.connect(self._server)
            except OSError:
                return
            pair = _Pair(client, server, self._is_lost)
            with self._guard:
                self._pairs.append(pair)
            if not self._silent:
                pair.asking.set()
                pair.answering.set()
