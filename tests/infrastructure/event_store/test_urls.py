"""Whatever libpq takes in a URL holds for every connection to the store, and no password is ever shown."""

import asyncio
import socket
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from domain.errors import Rejected, Unavailable
from infrastructure.event_store.datastore import connect_seconds
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from interfaces.study import Study
from tests.conftest import Database, uri_on
from tests.support.appends import append_of
from tests.support.tls_front import self_signed, tls_front

PASSWORD = "pl@nted/secret?&#%:"


async def written_and_read(uri: str, home: Path) -> dict[str, object]:
    """Use every kind of connection there is; returns two settings as a connection for reading has them."""
    async with open_study(read_settings(database_url=uri, study_home=home, study_log_level="debug")) as study:
        assert await study.store.append(append_of()) > 0
        await study.house.catch_up()
        return await shown(study)


async def shown(study: Study) -> dict[str, object]:
    async with study.queries.embeddings._pool.connection() as connection:
        row = await (
            await connection.execute("SELECT current_setting('statement_timeout'), current_setting('work_mem')")
        ).fetchone()
        assert row is not None
        return dict(zip(("statement_timeout", "work_mem"), row, strict=True))


async def test_every_connection_is_encrypted_when_the_url_asks_for_it(database: Database, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "own")
    with tls_front(database.application_uri, certificate) as front:
        place = {"host": front.host, "port": front.port}
        await written_and_read(uri_on(database.application_uri, **place, sslmode="require"), tmp_path)
        verified = {**place, "sslmode": "verify-full", "sslrootcert": str(certificate)}
        await written_and_read(uri_on(database.application_uri, **verified), tmp_path)
    assert front.encrypted >= 10
    assert front.plain == 0


async def test_a_certificate_of_somebody_else_is_refused_and_the_password_not_shown(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with tls_front(database.application_uri, self_signed(tmp_path / "own")) as front:
        uri = uri_on(
            database.application_uri,
            host=front.host,
            port=front.port,
            password=PASSWORD,
            sslmode="verify-full",
            sslrootcert=str(self_signed(tmp_path / "other")),
        )
        with pytest.raises(Unavailable, match=r"no trusted TLS.*certificate verify failed.*sslrootcert") as told:
            await written_and_read(uri, tmp_path)
    assert "nted" not in str(told.value) + caplog.text


async def test_a_server_without_tls_is_refused_when_the_url_asks_for_it(database: Database, tmp_path: Path) -> None:
    with socket.create_server(("localhost", 0)) as listener:
        listener.settimeout(10)
        place = {"host": "localhost", "port": str(listener.getsockname()[1])}
        refusing = asyncio.create_task(asyncio.to_thread(refuse_tls, listener))
        with pytest.raises(Unavailable, match=r"no trusted TLS connection.*does not support SSL"):
            await written_and_read(uri_on(database.application_uri, **place, sslmode="require"), tmp_path)
        await refusing


def refuse_tls(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(8)
        client.sendall(b"N")


async def test_options_hold_for_every_connection(database: Database, tmp_path: Path) -> None:
    options = "-c statement_timeout=54321 -c work_mem=7MB"
    settings = await written_and_read(uri_on(database.application_uri, options=options), tmp_path)
    assert settings == {"statement_timeout": "54321ms", "work_mem": "7MB"}


async def test_the_first_host_of_a_list_that_answers_is_used(database: Database, tmp_path: Path) -> None:
    parts = conninfo_to_dict(database.application_uri)
    hosts = {"host": f"127.0.0.1,{parts['host']}", "port": f"1,{parts.get('port', 5432)}"}
    await written_and_read(uri_on(database.application_uri, **hosts, target_session_attrs="read-write"), tmp_path)


async def test_a_service_file_names_the_server(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services"
    parts = conninfo_to_dict(database.application_uri)
    file.write_text("[lab]\n" + "".join(f"{name}={value}\n" for name, value in parts.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    await written_and_read("postgresql://?service=lab", tmp_path)


def test_the_urls_connect_timeout_comes_before_our_own() -> None:
    assert connect_seconds("postgresql://a@b/c?connect_timeout=30", 2) == 30
    assert connect_seconds("postgresql://a@b/c", 2) == 2


async def test_a_server_that_says_nothing_is_given_up_after_connect_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/b?connect_timeout=2"
        with pytest.raises(Unavailable, match=r"can't be reached.*timeout"):
            await written_and_read(uri, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pl@nted@host/study",
        "postgresql://user:pla/nted@host/study",
        "postgresql://user:123/nted@host/study",
        "postgresql://user:pla%nted@host/study",
        "postgresql://user:planted@host/study?unknown=1",
    ],
)
def test_a_url_that_can_not_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Rejected, match=r"DATABASE_URL.*%40") as told:
        read_settings(database_url=url)
    assert "nted" not in str(told.value)
