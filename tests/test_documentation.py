"""The documents say what is so: their commands and examples are run, and pages of reference are generated.

Every page begins where the tutorial ends: on its store, in its folder. SWEEP_ID and CALL_ID stand for the newest ones
there. Run as a module to bring the pages of docs/reference up to date.
"""

import ast
import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import psycopg
import pytest
import yaml

import study_query_llm as sq
from infrastructure.event_store.migrations import migrate
from infrastructure.settings import Settings, read_settings
from interfaces.http.calls import CallBody
from tests.conftest import fresh_database
from tests.interfaces.cli.conftest import Study, in_this_process, own_log
from tests.interfaces.http.conftest import serving
from tests.support import thermometers
from tests.support.documents import (
    DOCS,
    DOCUMENTS,
    PAGES,
    READ,
    ROOT,
    RUN,
    SHOWN,
    TUTORIAL,
    Block,
    blocks,
    lines_to_run,
    refused,
    study_commands,
)
from tests.support.own_server import OwnServer
from tests.support.reference.commands import commands_page
from tests.support.reference.events import events_page
from tests.support.reference.routes import routes_page
from tests.support.reference.settings import meanings, settings_page
from tests.support.reference.tables import tables_page

__all__ = ["own_log"]

REFERENCE = DOCS / "reference"
GENERATED: dict[str, Callable[[], str]] = {
    "cli.md": commands_page,
    "events.md": events_page,
    "http.md": routes_page,
    "settings.md": settings_page,
}
# Here they do another thing than for a reader: these tests bring their own server, so that there is nothing to stop.
CODES = {("db", "stop"): 2}
SERVER = "http://127.0.0.1:8000"


class Reader:
    """Who follows the pages: in one folder and on one store, with a server once a page needs it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.environment = {"DATABASE_URL": database_url, "STUDY_HOME": str(folder / "home")}
        self._serving = serving(read_settings(database_url=database_url, study_home=folder / "home"))
        self._address: str | None = None
        self.study: Study = in_this_process(self.environment)

    def follow(self, page: Path) -> None:
        """Do what a page says, block by block."""
        for block in blocks(page):
            if block.language in RUN:
                {"sh": self._run, "python": self._compute, "sql": self._ask}[block.language](block, page)

    def close(self) -> None:
        """Stop the server, if there is one."""
        if self._address is not None:
            self._serving.__exit__(None, None, None)

    def _run(self, block: Block, page: Path) -> None:
        for line in lines_to_run(block):
            command = shlex.split(self._with_ids(line)) if line.startswith("study ") else []
            if command:
                done = self.study(*command[1:])
                assert done.code == CODES.get(tuple(command[1:3]), 0), (page.name, command, done)
            else:
                assert line.startswith(("printf ", "curl ")), f"{page.name}: {line!r} can't be run; call it console"
                subprocess.run(self._with_server(line), shell=True, cwd=self.folder, check=True, capture_output=True)

    def _compute(self, block: Block, page: Path) -> None:
        exec(compile("\n" * block.line + self._with_server(block.text), str(page), "exec"), {"__name__": "__main__"})

    def _ask(self, block: Block, _page: Path) -> None:
        with psycopg.connect(self.environment["DATABASE_URL"]) as connection:
            connection.execute(block.text.encode())

    def _with_ids(self, line: str) -> str:
        for word, lists, key in (("SWEEP_ID", ("sweep", "list"), "sweep_id"), ("CALL_ID", ("calls",), "call_id")):
            if word in line:
                newest = self.study(*lists, "--limit", "1", "--json").document["items"][0]
                line = line.replace(word, newest[key])
        return line

    def _with_server(self, text: str) -> str:
        if SERVER not in text:
            return text
        if self._address is None:
            self._address = self._serving.__enter__()
        return text.replace(SERVER, self._address)


@pytest.fixture(scope="module")
def at_the_desk(server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with fresh_database(server, template) as database:
        reader = Reader(tmp_path_factory.mktemp("desk"), database.application_uri)
        yield reader
        reader.close()


@pytest.fixture
def reader(at_the_desk: Reader, own_log: None, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Who has followed the tutorial."""
    monkeypatch.chdir(at_the_desk.folder)
    for name, value in at_the_desk.environment.items():
        monkeypatch.setenv(name, value)
    if not (at_the_desk.folder / "reviews.csv").exists():
        at_the_desk.follow(TUTORIAL)
    return at_the_desk


def test_the_tutorial_leaves_a_study_with_a_report(reader: Reader) -> None:
    assert "<html" in (reader.folder / "report.html").read_text()
    assert reader.study("sweep", "list", "--json").document["items"]


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in (ROOT / "README.md", *PAGES)
        if page != TUTORIAL and {b.language for b in blocks(page)} & set(RUN)
    ],
    ids=lambda page: page.name,
)
def test_a_page_can_be_followed(page: Path, reader: Reader) -> None:
    reader.follow(page)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_block_is_run_or_well_formed(document: Path) -> None:
    for block in blocks(document):
        if "decisions" in document.parts or block.language.startswith("{"):
            continue
        assert block.language in (*RUN, *READ, *SHOWN), f"{document.name}:{block.line} has no language that is checked"
        if block.language in ("sh", "console"):
            for words in study_commands(block):
                assert (said := refused(words)) is None, f"{document.name}:{block.line} {words} {said}"
        elif block.language in READ:
            read: dict[str, Callable[[str], object]] = {
                "py": ast.parse,
                "toml": tomllib.loads,
                "json": json.loads,
                "yaml": yaml.safe_load,
                "ini": lambda text: configparser.ConfigParser().read_string(text if "[" in text else f"[env]\n{text}"),
            }
            read[block.language](block.text)


def test_settings_in_the_documents_exist() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for document in DOCUMENTS:
        for block in blocks(document):
            if block.language == "ini" and "[" not in block.text:
                assert set(re.findall(r"^([A-Z_]+)=", block.text, re.MULTILINE)) <= known, document.name


@pytest.mark.parametrize("name", GENERATED)
def test_a_page_of_reference_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == GENERATED[name](), "run python -m tests.test_documentation"


def test_the_page_of_routes_tells_every_field_that_a_body_takes() -> None:
    asked = routes_page().partition("## POST /api/calls\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `(\w+)`.* \| body \|", asked, re.MULTILINE))
    assert told == {field.encode_name for field in msgspec.structs.fields(CallBody)}


def test_the_page_of_tables_is_up_to_date(reader: Reader) -> None:
    with psycopg.connect(reader.environment["DATABASE_URL"]) as connection:
        assert (REFERENCE / "tables.md").read_text() == tables_page(connection), (
            "run python -m tests.test_documentation"
        )


def test_every_setting_stands_in_the_example_with_its_meaning() -> None:
    assert set(meanings()) == {name.upper() for name in Settings.model_fields}
    assert all(meanings().values())


def test_retired_versions_are_listed_when_there_are_some() -> None:
    document = events_page(thermometers.today())
    newest, retired = document.split("# Retired versions")
    assert "## temperature.measured.v3" in newest
    assert "## temperature.measured.v1" in retired
    assert "| fahrenheit | `float` |" in retired
    assert "Retired" not in events_page()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_site_builds_offline_without_a_warning(tmp_path: Path) -> None:
    site = tmp_path / "site"
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "read", DOCS, site],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    loaded = re.compile(r"""(?:src=|<link[^>]*href=|url\(|@import )["']?(?:https?:)?//[^"')>]+""")
    for file in [*site.rglob("*.html"), *site.rglob("*.css")]:
        assert not loaded.findall(file.read_text()), file
    assert "how-to/gateway.html" in (site / "index.html").read_text()
    assert (site / "searchindex.js").exists()


def _write() -> None:
    for name, page in GENERATED.items():
        (REFERENCE / name).write_text(page())
    with TemporaryDirectory() as folder:
        server = OwnServer(Path(folder))
        migrate(server.uri)
        with sq.open(database_url=server.uri, home=Path(folder)), psycopg.connect(server.uri) as connection:
            (REFERENCE / "tables.md").write_text(tables_page(connection))
        server.stop()


if __name__ == "__main__":
    _write()
