"""The server that a benchmark runs on, what is to be known of it, and how results are shown."""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import psycopg

from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store.migrations import migrate


def options(documentation: str | None, *, seconds: float) -> argparse.ArgumentParser:
    """What every benchmark can be told."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", help="a server to use instead of an embedded one made for this run")
    parser.add_argument("--seconds", type=float, default=seconds, help="how long each measurement takes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


@contextmanager
def server(database_url: str | None, *, home: Path | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """A migrated database's URI, and the machine under it; an embedded server is removed afterwards, but in a home."""
    with tempfile.TemporaryDirectory() as folder:
        if database_url:
            migrate(database_url)
            yield database_url, _machine(database_url, Path(folder))
            return
        embedded = EmbeddedPostgres(home or Path(folder))
        running = embedded.start(lambda running: running)
        try:
            migrate(running.owner_uri)
            yield running.owner_uri, _machine(running.owner_uri, embedded.status().data_folder)
        finally:
            embedded.stop()
            if home is None:
                shutil.rmtree(embedded.status().data_folder.parent)


@contextmanager
def other_process(module: str, *words: str) -> Iterator[str]:
    """The address that a module says it serves at, for as long as the block."""
    with Popen([sys.executable, "-m", module, *words], stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def fsyncs_per_second(folder: Path, seconds: float = 1.0) -> float:
    """8 KB writes, each followed by fdatasync: what one commit at a time could reach."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        block, count, began = b"x" * 8192, 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            file.seek(0)
            file.write(block)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - began)


def show(machine: Mapping[str, Any], tables: Mapping[str, Sequence[Mapping[str, Any]]], *, as_json: bool) -> None:
    """Print what was measured, for people or for programs."""
    if as_json:
        print(json.dumps({**machine, **tables}, indent=1))
        return
    print("  ".join(f"{name} {value}" for name, value in machine.items()))
    for title, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
        print(f"\n{title}")
        for line in cells:
            print("  " + "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _machine(uri: str, folder: Path) -> dict[str, Any]:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return {
        "postgres": row[0] if row else None,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "fsyncs_per_second": round(fsyncs_per_second(folder)),
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
