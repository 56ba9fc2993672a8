"""A pooler that lends its one server connection by the transaction, as pgbouncer does in pool_mode=transaction."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

NO_ENCRYPTION_REQUESTS = (80877103, 80877104)
MADE_UP_PROCESS = 1
ENDS_A_REQUEST = b"QSF"


@contextmanager
def transaction_pooler(uri: str) -> Iterator[dict[str, str]]:
    """Where to find it: host and port in place of the server's."""
    with psycopg.connect(uri, autocommit=True) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        wire = socket.socket(fileno=server.pgconn.socket)
        wire.setblocking(True)
        turn = threading.Lock()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, wire, turn), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield {"host": "127.0.0.1", "port": str(listener.getsockname()[1])}
        listener.shutdown(socket.SHUT_RDWR)
        wire.detach()


def _serve(client: socket.socket, wire: socket.socket, turn: threading.Lock) -> None:
    with client, suppress(ConnectionError):
        while struct.unpack("!I", _body(client)[:4])[0] in NO_ENCRYPTION_REQUESTS:
            client.sendall(b"N")
        client.sendall(_message(b"R", struct.pack("!I", 0)))
        client.sendall(_message(b"K", struct.pack("!II", MADE_UP_PROCESS, 0)) + _message(b"Z", b"I"))
        while (kind := _exactly(client, 1)) != b"X":
            with turn:
                _transaction(client, wire, kind)


def _transaction(client: socket.socket, wire: socket.socket, kind: bytes) -> None:
    while True:
        wire.sendall(_message(kind, _body(client)))
        if kind in ENDS_A_REQUEST and _answer(client, wire) == b"I":
            return
        kind = _exactly(client, 1)


def _answer(client: socket.socket, wire: socket.socket) -> bytes:
    while True:
        kind, body = _exactly(wire, 1), _body(wire)
        client.sendall(_message(kind, body))
        if kind == b"Z":
            return body


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _body(stream: socket.socket) -> bytes:
    return _exactly(stream, struct.unpack("!I", _exactly(stream, 4))[0] - 4)


def _exactly(stream: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = stream.recv(size - len(read))
        if not more:
            raise ConnectionResetError
        read += more
    return read
