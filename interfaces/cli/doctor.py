"""The checks of `study doctor`: each says what it looked at, whether it works, and what to do if it doesn't."""

import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import StudyError
from interfaces.cli.command import Invocation

if TYPE_CHECKING:
    from interfaces.study import Study

Check = dict[str, Any]

MISSING_NAMED = 5
MB = 1_000_000
LEAST_FREE = 500 * MB


def checks(invocation: Invocation, *, mend: bool) -> list[Check]:
    """Everything that can be said; when the store can't be opened, that and what needs no store.

    mend: append what waits in the journals, also what came since the store was opened, and remove the files of
    artifacts that no event tells of.
    """
    settings = invocation.settings
    store = "DATABASE_URL" if settings.database_url is not None else "embedded Postgres"
    found = [
        _check("program", True, _versions(), None),
        _writable(settings.study_home),
        _room(settings.study_home),
        _check("log", True, f"{settings.study_log_level} and above, on stderr; STUDY_LOG_LEVEL", None),
    ]
    try:
        found += invocation.run(partial(_inside, mend=mend))
    except StudyError as error:
        found.append(
            _check("store", False, f"{store}: {error}", "Mend what the message names, then: study doctor --mend")
        )
    return found + _journals(settings.study_home)


async def _inside(study: "Study", *, mend: bool) -> list[Check]:
    from projections.call_queries import CallFilter
    from projections.paging import LARGEST_PAGE, Paging

    if mend:
        await study.house.replay()
        await study.house.catch_up()
    in_doubt = await study.calls.list(CallFilter(status="in_doubt"), page=Paging(LARGEST_PAGE))
    position = await study.audit.end()
    place = await study.house.place()
    open_calls = await study.queries.calls.open_calls()
    providers = study.providers.configured()
    return [
        _check(
            "store",
            True,
            f"{position} events; Postgres {place.server_version}, "
            f"{'embedded' if study.settings.database_url is None else f'database {place.database}'}, "
            f"{place.byte_size / MB:,.0f} MB with all tables",
            None,
        ),
        *_read_models((await study.house.status())["items"]),
        *_searches(study),
        _check(
            "calls in doubt",
            True,
            f"{len(in_doubt['items'])} whose process died before an answer, {len(open_calls)} under way",
            None,
        ),
        await _sweeps(study),
        _check("prices", True, _prices(study), None),
        _check("providers", bool(providers), ", ".join(providers), None),
        *_plug_ins(study),
        *await _artifacts(study, mend=mend),
    ]


def _read_models(rows: Sequence[dict[str, Any]]) -> list[Check]:
    return [
        _check(
            f"read model {row['name']}",
            row["failed_position"] is None,
            f"at {row['position']}, {row['lag_events']} behind"
            + (f"; stopped at event {row['failed_position']}: {row['failed_reason']}" if row["failed_reason"] else ""),
            "study projections rebuild " + row["name"],
        )
        for row in rows
    ]


def _searches(study: "Study") -> list[Check]:
    similarity = "exact, by looking at all vectors; pgvector 0.8 or later makes it faster, which the database's owner "
    similarity += "adds: CREATE EXTENSION vector"
    if study.vectors.pgvector:
        similarity = f"pgvector {study.vectors.pgvector}, an HNSW index for each large model"
    texts = "by words; pg_trgm finds parts of words too, which the owner adds to a database of your own: "
    texts += "CREATE EXTENSION pg_trgm"
    if study.calls.finds_substrings:
        texts = "by words, and by parts of words, with pg_trgm"
    return [_check("similarity search", True, similarity, None), _check("search in texts", True, texts, None)]


def _plug_ins(study: "Study") -> list[Check]:
    broken = {f"provider {name}": reason for name, reason in study.registry.broken().items()}
    methods = study.sweeps.method_documents()
    broken |= {f"method {each['method']}": each["error"] for each in methods if each["error"]}
    mended = "Mend the plug-in, or uninstall its distribution"
    return [_check(name, False, reason, mended) for name, reason in broken.items()]


async def _sweeps(study: "Study") -> Check:
    from projections.paging import LARGEST_PAGE, Paging

    found = (await study.sweeps.list(page=Paging(LARGEST_PAGE)))["items"]
    left = [sweep["sweep_id"] for sweep in found if sweep["status"] == "interrupted"]
    running = sum(sweep["status"] == "running" for sweep in found)
    detail = f"{len(found)} newest: {running} under way, {len(left)} whose process died"
    return _check("sweeps", True, detail + (f"; go on with: study sweep resume {left[0]}" if left else ""), None)


def _prices(study: "Study") -> str:
    own = study.settings.study_prices
    shipped = "the list prices that come with this version"
    return shipped if own is None else f"{own}, then {shipped}"


async def _artifacts(study: "Study", *, mend: bool) -> list[Check]:
    """Files without an event, and events without a file."""
    try:
        removed = await study.artifacts.mend() if mend else 0
        state = await study.artifacts.state()
    except StudyError as error:
        return [_check("artifacts", False, str(error), "Mend what the message names, then: study doctor")]
    size = sum(file.size for file in state.orphans)
    found = f"{state.files:,} files" + (f", {removed:,} that no event told of were removed" if removed else "")
    checks = [
        _check(
            "artifacts",
            not state.orphans,
            found if not state.orphans else f"{found}; of {len(state.orphans):,} ({size:,} bytes) no event tells",
            "study doctor --mend",
        )
    ]
    if state.missing:
        named = ", ".join(state.missing[:MISSING_NAMED]) + (" …" if len(state.missing) > MISSING_NAMED else "")
        remedy = "Bring the files back from a backup, or set STUDY_ARTIFACTS to where they are"
        checks.append(_check("missing artifacts", False, f"{len(state.missing):,} files are gone: {named}", remedy))
    return checks


def _journals(home: Path) -> list[Check]:
    """What was paid for while a store was away, and has not been appended to it yet."""
    from infrastructure.journal_state import waiting_files

    try:
        files = waiting_files(home)
    except OSError as error:
        return [_check("journal", False, f"{error.filename}: {error.strerror}", "Let this user read that folder")]
    return [
        _check(
            "journal",
            not file.set_aside,
            f"{file.path}: {file.calls} calls wait since {file.since:%Y-%m-%d %H:%M:%S} UTC"
            if file.since
            else f"{file.path}: {file.damaged_bytes} bytes can't be read",
            "Its entries were appended, but for what is damaged or belongs to calls that this store doesn't know; "
            "keep the file until you know why, then delete it",
        )
        for file in files
    ] or [_check("journal", True, "nothing waits", None)]


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("study-query-llm")
    except PackageNotFoundError:
        ours = "not installed"
    return f"study-query-llm {ours}, Python {sys.version.split()[0]}, {sys.executable}"


def _room(home: Path) -> Check:
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    return _check(
        "room",
        free >= LEAST_FREE,
        f"{free / MB:,.0f} MB are free at {folder}",
        "Make room there: without it nothing new can be recorded, so that nothing is asked",
    )


def _writable(home: Path) -> Check:
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    writable = os.access(folder, os.W_OK)
    return _check("home", writable, str(home), "Set STUDY_HOME to a folder that you may write to")


def _check(name: str, ok: bool, detail: str, remedy: str | None) -> Check:
    return {"check": name, "ok": ok, "detail": detail, "remedy": None if ok else remedy}
