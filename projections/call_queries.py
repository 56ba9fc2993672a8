"""Questions about calls: which there are, and what one of them asked and got."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from application.ask_model import Answer, is_refusal
from application.recover_calls import OpenCall
from domain.calls import Modality, Tokens, text_at
from domain.errors import NotFound, Rejected
from domain.events import Metadata
from projections.grouped_calls import newest_in_group
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, at_position, key_of, last_counted, page_of
from projections.raw_calls import CALLS, END_COLUMNS, STATUS, TOKENS
from projections.read_model import json_value
from projections.reading import Reader, Row, in_json

PREVIEW_CHARACTERS = 200
TEXT_OF_COMPLETION = ("choices", "0", "message", "content")  # of one that was put together, wherever it broke off

STATUSES = {
    "requested": "c.outcome IS NULL AND c.in_doubt_position IS NULL",
    "in_doubt": "c.outcome IS NULL AND c.in_doubt_position IS NOT NULL",
    "success": "c.outcome = 'success'",
    "failed": "c.outcome = 'failed'",
    "cancelled": "c.outcome = 'cancelled'",
}

ITEM = f"""
    c.call_id, {STATUS} AS status, c.provider, c.endpoint, c.model, c.served_model, c.modality, c.operation,
    c.created_at, c.ended_at, c.latency_ms, c.first_token_ms, c.tokens_per_second, c.total_ms, c.attempts,
    {TOKENS} AS tokens, c.error, c.finish_reason, c.http_status,
    trim_scale(c.cost)::text AS cost, c.request_hash, c.sample_index, c.metadata,
    c.preprocessing, c.actor, c.process, c.correlation_id,
    c.requested_position AS position
"""

MASKED = ", ".join(
    [
        *(name for name in CALLS.columns if name not in END_COLUMNS and name != "in_doubt_position"),
        "CASE WHEN in_doubt_position <= %(as_of)s THEN in_doubt_position END AS in_doubt_position",
        *(f"CASE WHEN ended_position <= %(as_of)s THEN {name} END AS {name}" for name in END_COLUMNS),
    ]
)

BODIES = """
    LEFT JOIN events.payloads asked ON asked.originator_id = c.call_id
        AND asked.originator_version = 1 AND asked.part = 'request'
    LEFT JOIN events.payloads answered ON answered.originator_id = c.call_id
        AND answered.originator_version = c.ended_version AND answered.part = c.response_part
"""

IN_GROUP = """
    EXISTS (SELECT FROM projections.group_members m WHERE m.group_id = %(group_id)s AND m.call_id = c.call_id
        AND m.added_position <= %(position)s AND coalesce(m.removed_position > %(position)s, true))
"""
# Call by call: where a page is all that is wanted, the planner would read all members of a group first.
MEMBER_ONE_BY_ONE = f"{IN_GROUP.rstrip().removesuffix(')')} OFFSET 0)"


class CallFilter(Struct, frozen=True, kw_only=True):
    """Which calls are asked for; None leaves a filter out."""

    provider: str | None = None
    model: str | None = None
    modality: str | None = None
    status: str | None = None
    group_id: UUID | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERY_CALL = CallFilter()


class CallQueries:
    """Asks the table of calls."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def calls(
        self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None, page: Paging = FIRST_PAGE
    ) -> Page[Row]:
        """Calls, newest first, as they stood at a position. Raises Rejected for an unknown status or modality."""
        conditions, parameters = conditions_of(wanted, member=MEMBER_ONE_BY_ONE)
        after = None
        if page.cursor is not None:
            parameters["after_at"], parameters["after_position"] = key_of(page.cursor, tuple[datetime, int], as_of)
            after = "(%(after_at)s, %(after_position)s)"
        rows = await self._reader.rows(
            f"SELECT {ITEM} FROM ({newest_calls(wanted, as_of, conditions, after)}) AS c "  # noqa: S608 - our own names
            "ORDER BY c.created_at DESC, c.requested_position DESC",
            {
                **parameters,
                "limit": page.rows,
                "as_of": as_of,
                "position": last_counted(as_of),
            },
            planned=None if wanted.group_id is None else "anew",  # groups are small or large
        )
        return page_of(rows, page.limit, as_of, lambda row: (row["created_at"], row["position"]))

    @in_json
    async def call(self, call_id: UUID, *, as_of: int | None = None) -> Row:
        """One call with `request`, `response`, `text`, `prompt` and `attempts_made`. Raises NotFound.

        For who was answered by another's call, it is that call's, and `source_call_id` and `how` tell so; but
        `preprocessing` and `original`, what was asked before that, are those of who asked.
        partial_text: of a stream that broke or was left, the text that had come
        """
        row = await self._own_call(call_id, as_of)
        shared: Row = {"source_call_id": None, "how": None, "saved": None}
        if row is None:
            found = await self._shared_call(call_id, as_of)
            if found is not None:
                row, shared = await self._own_call(found["source_call_id"], as_of), found
                # A call paid for other texts as well: what some of its vectors had cost is told by who got them.
                if row is not None and row["modality"] != "embedding":
                    shared["saved"] = row["cost"]
                shared["cost"] = "0"
        if row is None:
            raise NotFound(f"There is no call {call_id}{at_position(as_of)}")
        paid_for = row["call_id"]
        row |= shared
        row["original"] = await self._original(call_id, row["preprocessing"])
        request, response = _json(row.pop("request")), _json(row.pop("response"))
        text_path = row.pop("text_path")
        row |= {"request": request, "response": response, "prompt": prompt_preview(request)}
        row["text"] = None if text_path is None else text_at(response, text_path)
        row["attempts_made"] = attempts = await self._attempts(paid_for, as_of)
        row["partial_text"] = attempts[-1]["partial_text"] if attempts else None
        return row

    @in_json
    async def attempts(self, call_id: UUID, *, as_of: int | None = None) -> Page[Row]:
        """The attempts of one call, in order. Raises NotFound."""
        return Page((await self.call(call_id, as_of=as_of))["attempts_made"])

    async def open_calls(self) -> Sequence[OpenCall]:
        """Calls that have neither ended nor been found in doubt, oldest first."""
        rows = await self._reader.rows(
            f"SELECT c.call_id, c.process FROM projections.calls c "  # noqa: S608 - our own names
            f"WHERE {STATUSES['requested']} ORDER BY c.requested_position",
            {},
        )
        return [OpenCall(row["call_id"], row["process"]) for row in rows]

    @in_json
    async def unanswered(self, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Calls that never got an answer, newest first: under way, in doubt, or cancelled before it came."""
        parameters = {
            "as_of": as_of,
            "before": page.after((LATEST,), as_of, tuple[int])[0],
            "limit": page.rows,
        }
        # Two indexes know such calls, one each; a condition with OR would use neither.
        newest = [
            f"(SELECT c.call_id FROM {calls_at(as_of)} c WHERE {condition} AND c.requested_position < %(before)s "  # noqa: S608
            "ORDER BY c.requested_position DESC LIMIT %(limit)s)"
            for condition in ("c.outcome IS NULL", "c.outcome = 'cancelled'")
        ]
        rows = await self._reader.rows(
            f"SELECT {ITEM} FROM ({' UNION ALL '.join(newest)}) AS found JOIN {calls_at(as_of)} c USING (call_id) "  # noqa: S608
            "ORDER BY c.requested_position DESC LIMIT %(limit)s",
            parameters,
        )
        return page_of(rows, page.limit, as_of, lambda row: (row["position"],))

    async def last_answered(self, request_hash: str, metadata: Metadata | None = None) -> UUID | None:
        """The call that answered a request last, of those whose metadata hold these if some are given."""
        row = await self._reader.row(
            "SELECT call_id FROM projections.calls WHERE request_hash = %(request_hash)s AND outcome = 'success' "
            "AND metadata @> %(metadata)s::jsonb ORDER BY ended_position DESC LIMIT 1",
            {"request_hash": request_hash, "metadata": json_value(metadata or {})},
        )
        return None if row is None else row["call_id"]

    async def answers_in(self, group_id: UUID, request_hashes: Sequence[str]) -> list[tuple[str, Answer]]:
        """What calls of a group answered to these requests, each with its request's hash, oldest first."""
        rows = await self._reader.rows(
            "SELECT c.request_hash, c.call_id, c.provider, c.model, c.latency_ms, c.attempts, c.ended_position, "  # noqa: S608
            "c.tokens_prompt, c.tokens_completion, c.tokens_total, c.tokens_cached, c.finish_reason, c.text_path, "
            "c.first_token_ms, c.tokens_per_second, c.cost, "
            "CASE WHEN c.response_is_json THEN answered.body END AS response "
            f"FROM projections.calls c {BODIES} "
            f"WHERE c.request_hash = ANY (%(hashes)s::text[]) AND c.outcome = 'success' AND {IN_GROUP} "
            "ORDER BY c.requested_position",
            {"hashes": list(request_hashes), "group_id": group_id, "position": LATEST},
        )
        return [(row["request_hash"], _answer(row)) for row in rows]

    async def _own_call(self, call_id: UUID, as_of: int | None) -> Row | None:
        return await self._reader.row(
            f"SELECT {ITEM}, c.price, c.text_path, CASE WHEN c.request_is_json THEN asked.body END AS request, "  # noqa: S608
            f"CASE WHEN c.outcome = 'success' AND c.response_is_json THEN answered.body END AS response "
            f"FROM {calls_at(as_of)} c {BODIES} WHERE c.call_id = %(call_id)s",
            {"call_id": call_id, "as_of": as_of},
        )

    async def _original(self, call_id: UUID, preprocessing: Any) -> Any:
        """What was asked before it was preprocessed, where that is kept."""
        if preprocessing is None or preprocessing.get("original") is None:
            return None
        row = await self._reader.row(
            "SELECT body FROM events.payloads WHERE originator_id = %(call_id)s AND originator_version = 1 "
            "AND part = 'original'",
            {"call_id": call_id},
        )
        return None if row is None else _json(row["body"])

    async def _shared_call(self, call_id: UUID, as_of: int | None) -> Row | None:
        return await self._reader.row(
            "SELECT call_id, source_call_id, how, created_at, actor, process, correlation_id, metadata, position, "
            "trim_scale(saved)::text AS saved, "
            # A joiner who joins once more says nothing of what it asked again.
            "(SELECT s.preprocessing FROM projections.shared_calls s WHERE s.call_id = %(call_id)s AND s.version = 1 "
            "LIMIT 1) AS preprocessing FROM projections.shared_calls "
            "WHERE call_id = %(call_id)s AND position <= %(position)s ORDER BY version DESC, place LIMIT 1",
            {"call_id": call_id, "position": last_counted(as_of)},
        )

    async def _attempts(self, call_id: UUID, as_of: int | None) -> list[Row]:
        rows = await self._reader.rows(
            "SELECT a.attempt, a.outcome, a.latency_ms, a.first_token_ms, a.waits_seconds, a.error, a.at, a.position, "
            "p.body AS partial_text FROM projections.call_attempts a "
            "LEFT JOIN events.payloads p ON p.originator_id = a.call_id AND p.originator_version = a.version "
            "AND p.part = a.response_part AND a.outcome <> 'success' AND a.response_part = 'completion' "
            "WHERE a.call_id = %(call_id)s AND a.position <= %(position)s ORDER BY a.version",
            {"call_id": call_id, "position": last_counted(as_of)},
        )
        for row in rows:
            row["partial_text"] = text_at(_json(row["partial_text"]), TEXT_OF_COMPLETION)
        return rows


def _answer(row: Row) -> Answer:
    return Answer(
        call_id=row["call_id"],
        status="success",
        text=None if row["text_path"] is None else text_at(_json(row["response"]), row["text_path"]),
        provider=row["provider"],
        model=row["model"],
        tokens=Tokens(**{name: row[f"tokens_{name}"] for name in Tokens.__struct_fields__}),
        latency_ms=row["latency_ms"],
        attempts=row["attempts"],
        position=row["ended_position"],
        finish_reason=row["finish_reason"],
        first_token_ms=row["first_token_ms"],
        tokens_per_second=row["tokens_per_second"],
        cost=row["cost"],
        refused=is_refusal(row["text_path"], row["finish_reason"]),
    )


def calls_at(as_of: int | None) -> str:
    """The table, or what it held at position %(as_of)s."""
    if as_of is None:
        return "projections.calls"
    return f"(SELECT {MASKED} FROM projections.calls WHERE requested_position <= %(as_of)s)"  # noqa: S608


def newest_calls(wanted: CallFilter, as_of: int | None, conditions: Sequence[str], after: str | None = None) -> str:
    """SELECTs the newest %(limit)s calls of which these conditions hold, newest first, with all their columns.

    after: the time and position of the call that they come after
    """
    if wanted.group_id is not None:
        return newest_in_group(calls_at(as_of), conditions, after)
    if after is not None:
        conditions = [*conditions, f"(c.created_at, c.requested_position) < {after}"]
    return (
        f"SELECT c.* FROM {calls_at(as_of)} c WHERE {' AND '.join(conditions)} "  # noqa: S608 - our own names
        "ORDER BY c.created_at DESC, c.requested_position DESC LIMIT %(limit)s"
    )


def conditions_of(wanted: CallFilter, *, member: str = IN_GROUP) -> tuple[list[str], dict[str, Any]]:
    """Conditions on calls `c`, and their parameters. Raises Rejected for an unknown status or modality.

    member: that a call is of the group, where one is wanted
    """
    if wanted.status is not None and wanted.status not in STATUSES:
        raise Rejected(f"{wanted.status!r} is no status; use one of {', '.join(STATUSES)}", fields=("status",))
    if wanted.modality is not None and wanted.modality not in get_args(Modality):
        raise Rejected(
            f"{wanted.modality!r} is no modality; use one of {', '.join(get_args(Modality))}", fields=("modality",)
        )
    conditions = ["true"]
    if wanted.status is not None:
        conditions.append(STATUSES[wanted.status])
    for name, condition in (
        ("provider", "c.provider = %(provider)s"),
        ("model", "c.model = %(model)s"),
        ("modality", "c.modality = %(modality)s"),
        ("group_id", member),
        ("actor", "c.actor = %(actor)s"),
        ("since", "c.created_at >= %(since)s"),
        ("until", "c.created_at < %(until)s"),
    ):
        if getattr(wanted, name) is not None:
            conditions.append(condition)
    parameters: dict[str, Any] = msgspec.structs.asdict(wanted)
    if wanted.provider is not None:
        parameters["provider"] = wanted.provider.lower()
    return conditions, parameters


def _json(body: bytes | None) -> Any:
    return None if body is None else msgspec.json.decode(body)


def prompt_preview(request: Any) -> str | None:
    """The beginning of what was asked: the last message of a chat, or the first text to embed."""
    if not isinstance(request, dict):
        return None
    messages, texts = request.get("messages"), request.get("input")
    asked: Any = request.get("prompt")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        asked = messages[-1].get("content")
        if isinstance(asked, list):
            asked = " ".join(str(part["text"]) for part in asked if isinstance(part, dict) and "text" in part)
    elif texts is not None:
        asked = texts[0] if isinstance(texts, list) and texts else texts
    return asked[:PREVIEW_CHARACTERS] if isinstance(asked, str) else None
