"""Compare an older database with what was imported from it, and name every difference.

What is compared is what the rows say with what the read models show: in sum (counts, batch sizes, times, each
provider's tokens and latencies), and row by row, all or a sample. What could not be imported as it was is odd, not
different.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, field

from application.import_legacy_runs import ROWS_AT_ONCE, OddRow, Told, chunks_of
from application.legacy_call import BATCH_GROUP, LegacyCall, legacy_call, source_of
from application.legacy_runs import LegacyRuns
from domain.errors import Rejected

MOST_NAMED = 10_000
LONGEST_SHOWN = 200
TOLERANCE = 1e-9  # of a sum of latencies, which depends on the order of adding


class ProviderSums(Struct, kw_only=True):
    """One provider's calls, added up."""

    provider: str
    calls: int = 0
    tokens: int = 0
    latency_ms: float = 0.0
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add(self, call: LegacyCall) -> None:
        """Count a row. A failed call has neither tokens nor a latency."""
        self.calls += 1
        if call.text is not None:
            self.tokens += call.tokens or 0
            self.latency_ms += call.latency_ms or 0.0
        self.first_at = min(self.first_at or call.created_at, call.created_at)
        self.last_at = max(self.last_at or call.created_at, call.created_at)


class CallsInSum(Struct, kw_only=True):
    """Calls added up, by provider and by the name of their batch."""

    providers: dict[str, ProviderSums] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How many there are."""
        return sum(sums.calls for sums in self.providers.values())

    def range(self) -> tuple[datetime | None, datetime | None]:
        """The first and the last time."""
        firsts = [sums.first_at for sums in self.providers.values() if sums.first_at is not None]
        lasts = [sums.last_at for sums in self.providers.values() if sums.last_at is not None]
        return min(firsts, default=None), max(lasts, default=None)


class ImportedCall(Struct, kw_only=True):
    """An imported call as the read models show it. batches: name and place of each"""

    call_id: UUID
    provider: str
    status: str
    tokens: int | None
    latency_ms: float | None
    created_at: datetime
    metadata: dict[str, Any]
    request: bytes | None
    response: bytes | None
    batches: list[Any]


class CallsImported(Protocol):
    """The read models of what was imported."""

    async def calls(self, call_ids: Sequence[UUID], *, group_type: str) -> dict[UUID, ImportedCall]:
        """Those of the calls that there are."""

    async def in_sum(self, source: str, *, group_type: str) -> CallsInSum:
        """All that say that they are of a source, added up."""

    async def ids(self, source: str) -> dict[UUID, str | None]:
        """Every one of them, with the row it says that it came from."""


class Difference(Struct, frozen=True):
    """What differs: of a row, or of all (`row` is null). legacy and imported are what each side says."""

    what: str
    row: int | str | None
    legacy: Any
    imported: Any


class Validation(Struct, kw_only=True):
    """What was compared, and every difference: the first 10,000; `different` says how many there are."""

    database: str
    source: str
    timezone: str
    sample: int | None
    rows: int = 0
    compared: int = 0
    imported: int = 0
    batches: int = 0
    odd_rows: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    odd: list[OddRow] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.different

    def differs(self, what: str, row: int | str | None, legacy: Any, imported: Any) -> None:
        """Name a difference."""
        self.different += 1
        if len(self.differences) < MOST_NAMED:
            self.differences.append(Difference(what, row, _shown(legacy), _shown(imported)))


class ValidateLegacyImport:
    """Compares."""

    def __init__(self, imported: CallsImported) -> None:
        self._imported = imported

    async def __call__(
        self,
        runs: LegacyRuns,
        *,
        zone: ZoneInfo,
        source: str | None = None,
        sample: int | None = None,
        seed: int = 0,
        told: Told | None = None,
    ) -> Validation:
        """Compare all rows, or `sample` of them, chosen by `seed`; sums are always of all.

        zone, source: as they were at the import
        Raises Rejected, Unavailable.
        """
        if sample is not None and sample < 1:
            raise Rejected(f"sample must be 1 or more, not {sample}", fields=("sample",))
        total = runs.count()
        found = Validation(database=runs.name, source=source or "", timezone=zone.key, sample=sample)
        chosen = _chosen(total, sample, seed)
        rows, places, expected = CallsInSum(), dict[str, int](), set[UUID]()
        batches: Counter[str] = Counter()
        async for chunk in chunks_of(runs, ROWS_AT_ONCE):
            found.source = found.source or source_of(chunk[0])
            wanted: list[LegacyCall] = []
            for row in chunk:
                number = found.rows
                found.rows += 1
                call = _call(row, zone, found)
                if call is None or call.call_id in expected:
                    continue
                expected.add(call.call_id)
                if call.batch is not None:
                    batches[call.batch] += 1
                rows.providers.setdefault(call.provider, ProviderSums(provider=call.provider)).add(call)
                if chosen(number):
                    wanted.append(call)
            await self._compare(wanted, places, found)
            if told is not None:
                told(found.rows, max(total, found.rows))
        rows.batches = dict(batches)
        found.source = found.source or source_of(None)
        await self._compare_sums(rows, expected, found)
        return found

    async def _compare(self, wanted: Sequence[LegacyCall], places: dict[str, int], found: Validation) -> None:
        """places: of the last row of each batch; those that follow must be behind it"""
        there = await self._imported.calls([call.call_id for call in wanted], group_type=BATCH_GROUP)
        for call in wanted:
            found.compared += 1
            imported = there.get(call.call_id)
            if imported is None:
                found.differs("missing", call.legacy_id, f"a row of {call.created_at:%Y-%m-%d %H:%M:%S} UTC", None)
                continue
            for what, legacy, shown in _sides(call, imported):
                if legacy != shown:
                    found.differs(what, call.legacy_id, legacy, shown)
            place = dict(imported.batches).get(call.batch)
            if call.batch is not None and place is not None:
                if place <= places.get(call.batch, -1):
                    found.differs(
                        "place in batch", call.legacy_id, f"behind {places[call.batch]} in {call.batch}", place
                    )
                places[call.batch] = place

    async def _compare_sums(self, rows: CallsInSum, expected: set[UUID], found: Validation) -> None:
        there = await self._imported.in_sum(found.source, group_type=BATCH_GROUP)
        found.imported, found.batches = there.calls, len(there.batches)
        if rows.calls != there.calls:
            found.differs("count", None, rows.calls, there.calls)
        for call_id, row in (await self._imported.ids(found.source)).items():
            if call_id not in expected:
                found.differs("not in the legacy database", row, None, str(call_id))
        for what, legacy, imported in zip(("first time", "last time"), rows.range(), there.range(), strict=True):
            if legacy != imported:
                found.differs(what, None, legacy, imported)
        for name in sorted({*rows.batches, *there.batches}):
            if rows.batches.get(name, 0) != there.batches.get(name, 0):
                found.differs(f"size of batch {name}", None, rows.batches.get(name, 0), there.batches.get(name, 0))
        for name in sorted({*rows.providers, *there.providers}):
            nothing = ProviderSums(provider=name)
            _compare_provider(rows.providers.get(name, nothing), there.providers.get(name, nothing), found)


def _compare_provider(legacy: ProviderSums, imported: ProviderSums, found: Validation) -> None:
    if legacy.calls != imported.calls:
        found.differs(f"calls of {legacy.provider}", None, legacy.calls, imported.calls)
    if legacy.tokens != imported.tokens:
        found.differs(f"tokens of {legacy.provider}", None, legacy.tokens, imported.tokens)
    if abs(legacy.latency_ms - imported.latency_ms) > TOLERANCE * max(1.0, abs(legacy.latency_ms)):
        found.differs(f"milliseconds of {legacy.provider}", None, legacy.latency_ms, imported.latency_ms)


def _sides(call: LegacyCall, imported: ImportedCall) -> list[tuple[str, Any, Any]]:
    """What is compared of a row: its name, what the row says, what the read models show."""
    answered = call.text is not None
    names = [name for name, _ in imported.batches]
    return [
        ("prompt", call.prompt, _member(imported.request, "prompt")),
        ("response", call.text, _member(imported.response, "text")),
        ("status", call.status, imported.status),
        ("provider", call.provider, imported.provider),
        ("tokens", call.tokens if answered else None, imported.tokens),
        ("latency_ms", call.latency_ms if answered else None, imported.latency_ms),
        ("created_at", call.created_at, imported.created_at),
        ("metadata", _plain(call.metadata), imported.metadata),
        ("batch", call.batch, call.batch if call.batch in names else ", ".join(names) or None),
    ]


def _member(body: bytes | None, name: str) -> Any:
    return None if body is None else msgspec.json.decode(body).get(name)


def _plain(metadata: dict[str, Any]) -> Any:
    """As the read models hold it, which know no NUL."""
    return msgspec.json.decode(msgspec.json.encode(metadata).replace(b"\\u0000", "\ufffd".encode()))


def _chosen(total: int, sample: int | None, seed: int) -> Callable[[int], bool]:
    if sample is None or sample >= total:
        return lambda _number: True
    numbers = set(random.Random(seed).sample(range(total), sample))  # noqa: S311 - a sample is no secret
    return numbers.__contains__


def _call(row: Any, zone: ZoneInfo, found: Validation) -> LegacyCall | None:
    try:
        call = legacy_call(row, found.source, zone)
    except Rejected as error:
        odd = OddRow("none", f"{error}: not imported")
    else:
        if not call.odd:
            return call
        odd = OddRow(call.legacy_id, "; ".join(call.odd))
    found.odd_rows += 1
    if len(found.odd) < MOST_NAMED:
        found.odd.append(odd)
    return None if odd.row == "none" else call


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"{value[:LONGEST_SHOWN]} … ({len(value):,} characters)"
    if isinstance(value, dict | list):
        return _shown(msgspec.json.encode(value).decode())
    return value
