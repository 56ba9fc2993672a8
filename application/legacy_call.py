"""What a row of an older notebook becomes: a call that was asked and ended at its own time.

A row says less than an event, and some say what can't be so. What is odd is left out or stands in the metadata as it
was, and is named; the rest is imported. The same row makes the same call whoever imports it, and when.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from application.legacy_runs import LegacyRun
from application.legacy_values import moment, number, plain
from application.ports import Payload
from domain.calls import AttemptError, CallAnswered, CallFailed, CallRequested, Tokens
from domain.errors import Rejected
from domain.events import Fact
from domain.groups import group_id_of
from domain.identity import canonical_json, content_id, sha256_hex

ENDPOINT = "legacy"
UNKNOWN = "unknown"  # a provider or a model of which the row says nothing
BATCH_GROUP = "batch"
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # of a row that says no time that can be read
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
MOST_TOKENS = 2**53
LONGEST_MS = 366 * 86_400_000.0
LONGEST_SHOWN = 120
LONGEST_METADATA_BYTES = 1_000_000


class LegacyCall(Struct, frozen=True, kw_only=True):
    """A row as it is imported.

    text: None where the row has no response, which makes it a failed call
    batch: the name of its group, None for none
    odd: what could not be imported as it was, in words
    naive: whether its time named no zone
    """

    call_id: UUID
    legacy_id: int | str
    prompt: str | None
    text: str | None
    provider: str
    model: str
    tokens: int | None
    latency_ms: float | None
    metadata: dict[str, Any]
    batch: str | None
    created_at: datetime
    naive: bool
    odd: tuple[str, ...]

    @property
    def request(self) -> Payload:
        """The body `request`."""
        return _json_payload("request", {"prompt": self.prompt})

    @property
    def response(self) -> Payload | None:
        """The body `response`, if there is one."""
        return None if self.text is None else _json_payload("response", {"text": self.text})

    @property
    def status(self) -> str:
        """What becomes of it."""
        return "failed" if self.text is None else "success"

    @property
    def ended_at(self) -> datetime:
        """When it ended, as far as the row says."""
        return self.created_at + timedelta(milliseconds=self.latency_ms or 0.0)

    def requested(self, request: Payload) -> CallRequested:
        """The first event."""
        return CallRequested(
            modality="text",
            provider=self.provider,
            endpoint=ENDPOINT,
            model=self.model,
            operation="chat",
            request=request.ref(),
            # Its own, so that no answer of today is taken from what an older program asked in other words.
            request_hash=sha256_hex(canonical_json(["legacy", self.provider, self.model, self.prompt])),
            max_attempts=1,
            attempt_timeout_seconds=0.0,
            metadata=self.metadata,
        )

    def ended(self, response: Payload | None) -> Fact:
        """The second event."""
        if response is None:
            error = AttemptError(kind="unexpected", message="The legacy row has no response", transient=False)
            return CallFailed(attempts=1, error=error, total_ms=self.latency_ms or 0.0)
        return CallAnswered(
            attempt=1,
            latency_ms=self.latency_ms,
            total_ms=self.latency_ms or 0.0,
            tokens=Tokens(total=self.tokens),
            response=response.ref(),
            text_path=("text",),
        )


def source_of(first: LegacyRun | None) -> str:
    """What a database is known by wherever it lies: its first row. Nothing else about it stays when it is moved."""
    if first is None:
        return "empty"
    said = [str(plain(each)) for each in (first.id, first.prompt, first.response, first.provider)]
    return sha256_hex(canonical_json(said))[:16]


def call_id_of(source: str, legacy_id: int | str) -> UUID:
    """The id of the call that a row becomes."""
    return content_id("legacy-call", source, str(legacy_id))


def legacy_call(row: LegacyRun, source: str, zone: ZoneInfo) -> LegacyCall:
    """What a row becomes. zone: of times that name none. Raises Rejected for a row without an id."""
    odd = [f"{name} is no UTF-8; what could not be read is U+FFFD" for name in row.mended]
    legacy_id = _id(row.id)
    metadata = _metadata(row.metadata, odd)
    if "legacy_id" in metadata:
        odd.append("its metadata has a legacy_id of its own, which stands as legacy_metadata_id now")
        metadata["legacy_metadata_id"] = metadata.pop("legacy_id")
    metadata |= {"legacy_id": legacy_id, "legacy_source": source}
    created_at, naive = _time(row.created_at, zone, metadata, odd)
    text = _text("response", row.response, odd)
    if text is None:
        odd.append("it has no response: imported as a failed call")
    prompt = _text("prompt", row.prompt, odd)
    if prompt is None:
        odd.append("it has no prompt")
    return LegacyCall(
        call_id=call_id_of(source, legacy_id),
        legacy_id=legacy_id,
        prompt=prompt,
        text=text,
        provider=_provider(row.provider, metadata, odd),
        model=next((str(metadata[name]) for name in ("model", "deployment") if metadata.get(name)), UNKNOWN)[:300],
        tokens=_tokens(row.tokens, metadata, odd),
        latency_ms=_latency(row.latency_ms, metadata, odd),
        metadata=metadata,
        batch=_batch(row.batch_id, metadata, odd),
        created_at=created_at,
        naive=naive,
        odd=tuple(odd),
    )


def _id(value: Any) -> int | str:
    value = plain(value)
    if value is None or value == "":
        raise Rejected("It has no id", fields=("id",))
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    return str(value)[:300]


def _text(name: str, value: Any, odd: list[str]) -> str | None:
    value = plain(value)
    if value is None or isinstance(value, str):
        return value
    odd.append(f"its {name} is {type(value).__name__}, not text: imported as JSON")
    return msgspec.json.encode(value).decode()


def _provider(value: Any, metadata: dict[str, Any], odd: list[str]) -> str:
    said = plain(value)
    known = str(said).strip().lower().replace("\0", "")[:300] if said is not None else ""
    if not known:
        odd.append(f"it has no provider: imported as {UNKNOWN}")
        return UNKNOWN
    if known != said:
        metadata["legacy_provider"] = said  # providers are asked for in small letters
    return known


def _tokens(value: Any, metadata: dict[str, Any], odd: list[str]) -> int | None:
    if value is None:
        return None
    found = number(value)
    if found is None or found < 0 or found > MOST_TOKENS or found != int(found):
        _left_out("tokens", value, "is no number of tokens", metadata, odd)
        return None
    return int(found)


def _latency(value: Any, metadata: dict[str, Any], odd: list[str]) -> float | None:
    if value is None:
        return None
    found = number(value)
    if found is None or not 0 <= found <= LONGEST_MS:
        _left_out("latency_ms", value, "is no number of milliseconds", metadata, odd)
        return None
    return float(found)


def _metadata(value: Any, odd: list[str]) -> dict[str, Any]:
    value = plain(value)
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            odd.append(f"its metadata is no JSON: kept as legacy_metadata: {_shown(value)}")
            return {"legacy_metadata": value}
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        odd.append("its metadata is no JSON object: kept as legacy_metadata")
        return {"legacy_metadata": value}
    encoded = msgspec.json.encode(value)
    if len(encoded) > LONGEST_METADATA_BYTES:
        odd.append(f"its metadata has {len(encoded):,} bytes, more than {LONGEST_METADATA_BYTES:,}: left out")
        return {}
    return dict(value)


def _batch(value: Any, metadata: dict[str, Any], odd: list[str]) -> str | None:
    value = plain(value)
    if value is None or value == "":
        return None
    name = str(value)
    try:
        group_id_of(BATCH_GROUP, name)
    except Rejected:
        _left_out("batch_id", value, "can't be the name of a group", metadata, odd)
        return None
    return name


def _time(value: Any, zone: ZoneInfo, metadata: dict[str, Any], odd: list[str]) -> tuple[datetime, bool]:
    """Its time in UTC, and whether it named no zone."""
    found = moment(plain(value))
    if found is not None:
        naive = found.tzinfo is None
        try:
            at = (found.replace(tzinfo=zone) if naive else found).astimezone(UTC)
        except (OverflowError, ValueError):
            at = NO_TIME
        if EARLIEST <= at < LATEST and at != NO_TIME:
            return at, naive
    _left_out("created_at", value, f"is no time: imported as of {NO_TIME:%Y-%m-%d}", metadata, odd)
    return NO_TIME, False


def _left_out(name: str, value: Any, reason: str, metadata: dict[str, Any], odd: list[str]) -> None:
    """Name what can't be imported as it is, and keep it in the metadata."""
    said = plain(value)
    odd.append(f"it has no {name}: {reason}" if said is None else f"its {name}, {_shown(said)}, {reason}")
    if said is not None:
        metadata[f"legacy_{name}"] = str(said)[:LONGEST_SHOWN]


def _shown(value: Any) -> str:
    return repr(value)[:LONGEST_SHOWN]


def _json_payload(part: str, value: Any) -> Payload:
    return Payload(part=part, body=msgspec.json.encode(value), media_type="application/json", is_json=True)
