"""Ask every operation of the document many wrong and right things, and find what it doesn't tell of.

`python -m tests.interfaces.http.fuzz` makes 10,000 cases and more; a failure ends it with status 1, and is shown with a
curl command that makes it again.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import click

from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store.migrations import migrate
from infrastructure.settings import read_settings
from tests.interfaces.http.conftest import serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
ENDLESS = "/api/events/stream"  # answers for as long as somebody listens
CASES = re.compile(r"(\d[\d,]*) generated")


def fuzz(address: str, *, phases: str, examples: int, seed: int, more: Sequence[str] = ()) -> tuple[int, str]:
    """Run Schemathesis against a server; returns its status and what it said."""
    document = f"{address}/api/openapi.json"
    with urllib.request.urlopen(document, timeout=60):  # made when it is first asked for: Schemathesis waits for 10 s
        pass
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", document),
        *("--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples), "--seed", str(seed)),
        *(
            "--suppress-health-check",
            "all",
            "--request-timeout",
            "60",
            "--continue-on-failure",
            "--exclude-path",
            ENDLESS,
            *more,
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    return done.returncode, done.stdout + done.stderr


def cases_of(said: str) -> int:
    """How many cases Schemathesis made."""
    found = CASES.search(said)
    assert found, said
    return int(found[1].replace(",", ""))


@click.command()
@click.option("--cases", default=10_000, show_default=True, help="At least so many.")
@click.option("--seed", default=1, show_default=True, help="Of the first run; each further one has the next.")
@click.option("--url", help="A server that runs; else one is started on an embedded store of its own.")
def main(cases: int, seed: int, url: str | None) -> None:
    """Fuzz the whole document, stateful sequences included."""
    if url is not None:
        sys.exit(_until(url, cases, seed))
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedPostgres(Path(folder) / "postgres")
        running = embedded.start(lambda running: running)
        try:
            migrate(running.owner_uri)
            settings = read_settings(database_url=running.owner_uri, study_home=Path(folder) / "home")
            with serving(settings) as address:
                status = _until(address, cases, seed)
        finally:
            embedded.stop()
    sys.exit(status)


def _until(address: str, cases: int, seed: int) -> int:
    made, status = 0, 0
    while made < cases:
        code, said = fuzz(address, phases="examples,coverage,fuzzing,stateful", examples=100, seed=seed)
        click.echo(said)
        status, made, seed = status or code, made + cases_of(said), seed + 1
        click.echo(json.dumps({"cases": made, "status": status}))
    return status


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
