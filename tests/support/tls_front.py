"""A server with TLS: a front that speaks it, with a certificate of its own making, before a server that doesn't."""

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

SSL_REQUEST = 80877103


@dataclass
class Front:
    """Where it listens, and how many came with and without TLS."""

    host: str
    port: str
    encrypted: int = 0
    plain: int = 0


def self_signed(folder: Path) -> Path:
    """A file with a key and its certificate, for localhost; it is its own authority."""
    folder.mkdir()
    made = folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", made),
        ],
        check=True,
        capture_output=True,
    )
    return made


@contextmanager
def tls_front(uri: str, certificate: Path) -> Iterator[Front]:
    """Stand before the server of a URI."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with socket.create_server(("localhost", 0)) as listener:
        front = Front("localhost", str(listener.getsockname()[1]))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, uri, context, front), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield front
        listener.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, uri: str, context: ssl.SSLContext, front: Front) -> None:
    with suppress(OSError), client:
        if struct.unpack("!II", client.recv(8, socket.MSG_PEEK))[1] != SSL_REQUEST:
            front.plain += 1
            return
        client.recv(8)
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as encrypted, _server(uri) as server:
            front.encrypted += 1
            back = threading.Thread(target=_pass_on, args=(server, encrypted), daemon=True)
            back.start()
            _pass_on(encrypted, server)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _server(uri: str) -> socket.socket:
    parts = conninfo_to_dict(uri)
    host, port = str(parts["host"]), str(parts.get("port", "5432"))
    if not host.startswith("/"):
        return socket.create_connection((host, int(port)))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server
