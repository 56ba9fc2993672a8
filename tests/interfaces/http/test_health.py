"""Whether the server can serve, when its store is there and when it is not."""

import httpx
import psycopg

from infrastructure.settings import Settings
from tests.conftest import Database
from tests.interfaces.http.conftest import serving


def test_a_server_with_its_store_is_ready(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    ready = http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["store"] == "ok"
    assert ready.json()["projections"]


def test_a_server_that_lost_its_store_lives_but_is_not_ready(settings: Settings, database: Database) -> None:
    with serving(settings) as address, httpx.Client(base_url=address, timeout=30) as http:
        assert http.get("/health/ready").status_code == 200
        with psycopg.connect(database.owner_uri, autocommit=True) as connection:
            row = connection.execute("SELECT current_database()").fetchone()
            assert row is not None
        admin = database.owner_uri.replace(row[0], "postgres")
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{row[0]}" ALLOW_CONNECTIONS false'.encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (row[0],))
            try:
                assert http.get("/health/live").status_code == 200
                for path in ("/health/ready", "/api/calls"):
                    response = http.get(path)
                    assert response.status_code == 503, (path, response.text)
                    assert int(response.headers["retry-after"]) > 0
                    assert response.headers["content-type"] == "application/problem+json"
                refused = http.post("/api/calls", json={"prompt": "hello", "provider": "local"})
                assert refused.status_code == 503, refused.text
            finally:
                connection.execute(f'ALTER DATABASE "{row[0]}" ALLOW_CONNECTIONS true'.encode())
