"""A line to Postgres that can be cut: a proxy on loopback between a process and the server."""

import socket
import struct
import threading
from contextlib import suppress
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class CutLine:
    """Forwards bytes between `uri` and the server behind it, until told otherwise.

    In a test: `with CutLine(database.application_uri) as line: … line.cut() … line.mend()`.
    """

    def __init__(self, server_uri: str) -> None:
        parts = conninfo_to_dict(server_uri)
        host, port = str(parts.get("host") or "127.0.0.1"), int(str(parts.get("port") or 5432))
        self._server: str | tuple[str, int] = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._guard = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self.uri = "postgresql:///?" + urlencode({**parts, "host": "127.0.0.1", "port": self.port})

    def __enter__(self) -> "CutLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._flowing.set()
        self._listener.close()
        with self._guard:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def fall_silent(self) -> None:
        """Take bytes and connections, and pass nothing on; neither end is told."""
        self._flowing.clear()

    def mend(self) -> None:
        """Reset what was connected while the line was silent, and forward again."""
        self.cut()
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
            with self._guard:
                self._pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while passed := source.recv(65536):
                self._flowing.wait()
                sink.sendall(passed)
            self._flowing.wait()
            sink.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    """Close with a reset, which also wakes whoever waits for the socket's bytes."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
