"""What each kind of thing shows of itself."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from application.ask_model import Answer
from application.batches import Unanswered
from application.continue_conversation import TakenTurn
from application.embed_texts import Embedded
from application.import_dataset import Dataset
from application.summarise_texts import Summary
from interfaces.study import Json
from study_query_llm.notebook.curve import curve
from study_query_llm.notebook.elements import aside, clipped, facts, framed, heading, prose, said, table, warning

MOST_ROWS = 20
MOST_COLUMNS = 10
FIRST_COLUMNS = (
    "call_id", "sweep_id", "group_id", "dataset_id", "artifact_id", "conversation_id", "position", "name", "method",
    "status", "group_type", "event", "kind", "text", "similarity", "provider", "model", "chosen_k", "latency_ms",
    "attempts", "cost", "created_at", "started_at", "occurred_at",
)  # fmt: skip


def answer_page(answer: Answer) -> str:
    """The text, and under it who gave it at what price."""
    return framed(
        prose(answer.text) if answer.text is not None else warning("The model gave no text"),
        warning("The model declined to answer") if answer.refused else "",
        aside(
            [
                f"{answer.provider}/{answer.model}",
                _tokens(answer),
                f"{answer.latency_ms:,.0f} ms",
                f"{answer.attempts} attempts" if answer.attempts > 1 else "",
                _usd(answer.cost),
                "from the cache" if answer.cached else "",
                "shared with another call" if answer.shared_with else "",
                f"call {answer.call_id}",
            ]
        ),
    )


def unanswered_page(outcome: Unanswered) -> str:
    """Why there is no answer."""
    call = "" if outcome.call_id is None else f"call {outcome.call_id}"
    return framed(warning(f"{outcome.status}: {outcome.error}"), aside([call]) if call else "")


def turn_page(turn: TakenTurn) -> str:
    """The answer of a turn."""
    return answer_page(turn.answer)


def embedded_page(embedded: Embedded) -> str:
    """How many vectors, of what length, by whom, and what they cost."""
    rows, length = embedded.vectors.shape
    return framed(
        heading(f"{rows:,} vectors of {length:,} dimensions"),
        aside(
            [
                f"{embedded.provider}/{embedded.model}",
                f"{int(np.count_nonzero(embedded.cached)):,} from the cache",
                _usd(embedded.cost),
            ]
        ),
    )


def dataset_page(dataset: Dataset) -> str:
    """A dataset's first rows."""
    first = dataset.texts[:MOST_ROWS]
    labels = None if dataset.labels is None else dataset.labels[:MOST_ROWS]
    rows = [(text,) for text in first] if labels is None else list(zip(first, labels, strict=True))
    return framed(
        heading(f"Dataset {dataset.name}"),
        table(["text"] if labels is None else ["text", "label"], rows),
        aside([_of(len(first), len(dataset.texts))]),
    )


def batch_page(name: str, outcomes: Sequence[Answer | Unanswered]) -> str:
    """What came of a batch's first questions, failures among them."""
    failed = sum(isinstance(outcome, Unanswered) for outcome in outcomes)
    rows = [
        (place, outcome.text, f"{outcome.provider}/{outcome.model}", outcome.latency_ms)
        if isinstance(outcome, Answer)
        else (place, f"{outcome.status}: {outcome.error}", "", None)
        for place, outcome in enumerate(outcomes[:MOST_ROWS])
    ]
    return framed(
        heading(f"Batch {name}: {len(outcomes) - failed:,} of {len(outcomes):,} answered"),
        warning(f"{failed:,} without an answer; .unanswered says why") if failed else "",
        table(["", "answer", "model", "ms"], rows),
        aside([_of(len(rows), len(outcomes))]),
    )


def summaries_page(name: str, summaries: Sequence[Summary]) -> str:
    """The first summaries, and which of them are none."""
    fell_back = sum(summary.fell_back for summary in summaries)
    shown = summaries[:MOST_ROWS]
    return framed(
        heading(f"Summaries {name}: {len(summaries):,}"),
        warning(f"{fell_back:,} fell back to the first text; .fell_back says why") if fell_back else "",
        table(["", "summary", "fell back"], [(at, each.text, each.fell_back) for at, each in enumerate(shown)]),
        aside([_of(len(shown), len(summaries))]),
    )


def sweep_page(sweep: Json) -> str:
    """The curves, the chosen K and the clusters; of one that isn't finished, how far it has come."""
    steps = sorted(sweep["steps"], key=lambda step: int(step["k"]))
    k_values = [step["k"] for step in steps]
    chosen_k = sweep["chosen_k"]
    curves = [
        curve(
            title, k_values, [step.get(name) for step in steps], chosen_k=chosen_k,
            spread=[step.get(of_spread) for step in steps] if of_spread else None,
        )
        for title, name, of_spread in (
            ("Silhouette", "silhouette", None),
            ("Stability ± std", "stability_ari_mean", "stability_ari_std"),
            ("Agreement with labels, NMI", "nmi", None),
        )
    ] if len(steps) > 1 else []  # fmt: skip
    clusters = [
        (each["cluster"], each["name"], each["size"], ", ".join(each.get("keywords") or ()))
        for each in sweep["clusters"]
    ]
    reason = sweep.get("reason")
    return framed(
        heading(f"Sweep by {sweep['method']}: " + (f"K = {chosen_k}" if chosen_k is not None else sweep["status"])),
        aside([sweep.get("explanation") or f"{len(steps)} steps finished", f"sweep {sweep['sweep_id']}"]),
        warning(str(reason)) if reason else "",
        *curves,
        table(["cluster", "name", "size", "keywords"], clusters) if clusters else "",
    )


def group_page(group: Json, children: Sequence[Json]) -> str:
    """A group's description, how many calls it has, and what it links to."""
    links = [(each["link_type"], f"{each['group_type']}/{each['name']}") for each in children[:MOST_ROWS]]
    return framed(
        heading(f"Group {group['group_type']}/{group['name']}"),
        aside([group.get("description") or "", f"{said(group['member_count'])} calls", f"group {group['group_id']}"]),
        facts(group.get("metadata") or {}) if group.get("metadata") else "",
        table(["link", "to"], links) if links else "",
    )


def conversation_page(conversation_id: Any, messages: Sequence[Json]) -> str:
    """What was said, the newest at the end."""
    shown = messages[-MOST_ROWS:]
    earlier = len(messages) - len(shown)
    return framed(
        heading(f"Conversation of {len(messages):,} messages"),
        aside([f"{earlier:,} earlier ones are not shown" if earlier else "", f"conversation {conversation_id}"]),
        *[piece for each in shown for piece in (aside([str(each["role"])]), prose(str(each["content"])))],
    )


def rows_page(rows: Sequence[Json]) -> str:
    """The first rows as a table of what is short; .to_frame() has the rest."""
    if not rows:
        return framed(aside(["No rows"]))
    shown = rows[:MOST_ROWS]
    columns = _columns(shown)
    hidden = len({name for row in shown for name in row}) - len(columns)
    return framed(
        table(columns, [[row.get(name) for name in columns] for row in shown]),
        aside([_of(len(shown), len(rows)), f"{hidden} more columns in .to_frame()" if hidden else ""]),
    )


def _columns(rows: Sequence[Json]) -> list[str]:
    """Columns that hold something, and nothing nested; those that people look for first."""
    names = dict.fromkeys(name for row in rows for name in row)
    plain = [
        name
        for name in names
        if any(row.get(name) not in (None, "") for row in rows)
        and not any(isinstance(row.get(name), dict | list) for row in rows)
    ]
    return sorted(plain, key=lambda name: FIRST_COLUMNS.index(name) if name in FIRST_COLUMNS else 99)[:MOST_COLUMNS]


def _of(shown: int, count: int) -> str:
    return f"{count:,} rows" if shown == count else f"the first {shown:,} of {count:,} rows"


def _tokens(answer: Answer) -> str:
    total = answer.tokens.total
    return "" if total is None else f"{total:,} tokens"


def _usd(cost: Decimal | None) -> str:
    return "" if cost is None else f"${clipped(f'{cost.normalize():f}', 12)}"
