"""The documents say what is so: commands and examples in them are run, and lists of names are generated.

Run as a module to bring docs/events.md up to date.
"""

import re
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest

from domain.events import FACTS, Fact, FactRegistry, RetiredFact
from tests.conftest import Database
from tests.interfaces.cli.conftest import Study, environment, own_log, storeless, study_here
from tests.support import facts, thermometers

ROOT = Path(__file__).parents[1]
EVENTS = ROOT / "docs" / "events.md"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

__all__ = ["environment", "own_log", "storeless", "study_here"]


def events_document(registry: FactRegistry = FACTS) -> str:
    """Every event with its meaning and its fields."""
    lines = [
        "# Events",
        "",
        "Every event that is stored, under its stored name. Each comes in an envelope: when it occurred, the actor,",
        "the process, a correlation id that all events of a command share, and the stream that caused it. The store",
        "adds the position and the time it was recorded. This page is generated; fields with a default may be missing",
        "in old events.",
    ]
    assert facts.EXAMPLES
    for name, fact_type in sorted(registry.current.items()):
        lines += _described(f"## {name}", fact_type)
    if registry.retired:
        lines += ["", "# Retired versions", "", "No longer written. Stored ones are read as the newest version."]
    for name, retired_type in sorted(registry.retired.items()):
        lines += _described(f"## {name}", retired_type)
    return "\n".join(lines) + "\n"


def _described(title: str, stored: type[Fact] | type[RetiredFact]) -> list[str]:
    fields = [
        f"| {field.name}{'' if field.required else ' (optional)'} | `{_type_name(field.type)}` |"
        for field in msgspec.structs.fields(stored)
    ]
    return ["", title, "", " ".join((stored.__doc__ or "").split()), "", "| field | type |", "|---|---|", *fields]


def _type_name(annotation: object) -> str:
    name = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    return re.sub(r"\b(?:typing|uuid|datetime|domain\.\w+)\.", "", name).replace("|", "\\|")


def test_the_list_of_events_is_up_to_date() -> None:
    assert EVENTS.read_text() == events_document()


def test_retired_versions_are_listed_when_there_are_some() -> None:
    document = events_document(thermometers.today())
    newest, retired = document.split("# Retired versions")
    assert "## temperature.measured.v3" in newest
    assert "## temperature.measured.v1" in retired
    assert "| fahrenheit | `float` |" in retired
    assert "Retired" not in events_document()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_guides_commands_work(study_here: Study, tmp_path: Path) -> None:
    rows = [
        f"{kind} {thing},{stars}" for kind, stars in (("good", 5), ("bad", 1)) for thing in ("a", "b", "c", "d", "e")
    ]
    (tmp_path / "reviews.csv").write_text("text,stars\n" + "\n".join(rows) + "\n")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "guide.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(("study ", "printf "))]
    assert len(lines) > 10
    for line in lines:
        if line.startswith("printf "):
            subprocess.run(line, shell=True, cwd=tmp_path, check=True)
            continue
        command = shlex.split(line)
        done = study_here(*command[1:])
        # `db stop` has nothing to stop here: these tests bring their own server.
        assert done.code == (2 if command[1:3] == ["db", "stop"] else 0), (command, done)


@pytest.mark.parametrize("document", [ROOT / "README.md", ROOT / "docs" / "guide.md"], ids=lambda path: path.name)
def test_the_documents_python_works(
    document: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database.application_uri)
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, document.name, "exec"), {})


def test_the_readme_names_every_command_that_its_examples_use() -> None:
    from interfaces.cli.main import study as command

    for name in re.findall(r"^study ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert name in command.commands


if __name__ == "__main__":
    EVENTS.write_text(events_document())
