"""Import a large made-up legacy database, killing the import on the way, and name what differs afterwards.

    python -m tests.end_to_end.legacy_migration [--rows 200000] [--kills 2] [--kinds sqlite postgres]

For each kind: the database is made, with odd rows; `study import legacy` is killed at even distances, and started
again until it ends by itself; once more it must change nothing; validation must find no difference; then rows are
changed, taken away and added in the legacy database, and validation must name those and nothing else. Prints JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from infrastructure.event_store.migrations import migrate
from tests.support.legacy_database import NAMED, ODD, PLANTED, in_postgres, in_sqlite, rows, run
from tests.support.own_server import OwnServer

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 3600


def study(environment: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    """Start a command of `study`."""
    return subprocess.Popen(
        [sys.executable, "-m", "interfaces.cli.main", "import", *words, "--json"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def answer(environment: dict[str, str], *words: str) -> tuple[int, Any, float]:
    """Exit code, document and seconds of a command."""
    began = time.perf_counter()
    process = study(environment, *words)
    out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, json.loads(out), round(time.perf_counter() - began, 1)


def calls_in(uri: str) -> int:
    """How many calls the log holds."""
    with psycopg.connect(uri) as connection:
        found = connection.execute("SELECT count(*) FROM events.events WHERE topic = 'call.requested.v1'").fetchone()
    return int(found[0]) if found else 0


def killed_at(environment: dict[str, str], uri: str, url: str, calls: int) -> int:
    """Start an import and kill it once so many calls are there; returns how many there were then."""
    process = study(environment, "legacy", "--legacy-url", url)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while calls_in(uri) < calls:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.2)
    process.kill()
    process.wait()
    return calls_in(uri)


def migrated(kind: str, folder: Path, count: int, kills: int) -> dict[str, Any]:
    """One kind of database from beginning to end; see the module."""
    server = OwnServer(folder / "postgres")
    try:
        migrate(server.uri)
        made = rows(count)
        url = in_sqlite(folder / "old.db", made) if kind == "sqlite" else in_postgres(server.uri, made)
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
            "DATABASE_URL": server.uri,
            "STUDY_HOME": str(folder / "home"),
        }
        killed = [
            killed_at(environment, server.uri, url, count * number // (kills + 1)) for number in range(1, kills + 1)
        ]
        _, rest, seconds = answer(environment, "legacy", "--legacy-url", url)
        _, again, again_seconds = answer(environment, "legacy", "--legacy-url", url)
        code, equal, validation_seconds = answer(environment, "validate", "--legacy-url", url)
        run(url, *PLANTED)
        changed_code, changed, _ = answer(environment, "validate", "--legacy-url", url)
    finally:
        server.stop()
    named = {(each["what"], each["row"]) for each in changed["differences"]}
    return {
        "kind": kind,
        "rows": count,
        "killed_at_calls": killed,
        "last_run_imported": rest["imported"],
        "last_run_rows_per_second": round(rest["imported"] / seconds),
        "second_run_imported": again["imported"],
        "second_run_rows_per_second": round(count / again_seconds),
        "odd_rows_named": {each["row"]: each["reason"] for each in rest["odd"]} == ODD,
        "validation_code": code,
        "validation_differences": equal["different"],
        "validation_rows_per_second": round(count / validation_seconds),
        "planted_code": changed_code,
        "planted_not_named": sorted(map(str, NAMED - named)),
        "named_besides": sorted(f"{what} {row or ''}".strip() for what, row in named - NAMED),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    asked = parser.parse_args()
    for kind in asked.kinds:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(migrated(kind, Path(folder), asked.rows, asked.kills), indent=1), flush=True)


if __name__ == "__main__":
    main()
