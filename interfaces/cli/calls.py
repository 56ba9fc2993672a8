"""Looking at what was asked."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.call_filter import filtered, searched
from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command
from interfaces.cli.terminal import echo_text, for_stdout

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging


def add_to(study: click.Group) -> None:
    """Add the commands."""
    study_command(
        study,
        "calls",
        examples="study calls --status failed --since 2026-03-01\n"
        "study calls --search primes --as-of 2026-03-01T12:00:00Z\n"
        "study calls --search '\"prime numbers\" OR integer* -rome' --in answer --by rank",
    )(calls)
    study_command(
        study,
        "call",
        examples="study call 0195512a-7c00-7000-8000-000000000001\n"
        "study call 0195512a-7c00-7000-8000-000000000001 --verify\n"
        "study call 0195512a-7c00-7000-8000-000000000001 --bytes response --out answer.json",
    )(call)
    study_command(
        study,
        "history",
        examples="study history call 0195512a-7c00-7000-8000-000000000001\nstudy history sweep ID --json",
    )(history)


@filtered
@searched
@click.option(
    "--by", "order", type=click.Choice(["newest", "rank"]), help="Newest first, or the best of the newest 1000."
)
@as_of_a_moment
@by_the_page
def calls(invocation: Invocation, moment: "Moment", page: "Paging", **filters: Any) -> None:
    """List calls, newest first."""
    from interfaces.cli.tables import short
    from interfaces.study.calls import calls_wanted

    async def work(study: "Study") -> dict[str, Any]:
        return await study.calls.list(calls_wanted(**filters), moment, page)

    found = invocation.run(work)
    if "searched" in found:
        _show_found(invocation, found)
        return
    invocation.answer_page(
        found,
        ["call", "at (UTC)", "model", "status", "ms", "first token", "tokens/s", "USD", "error"],
        lambda call: [
            call["call_id"],
            call["created_at"][:19].replace("T", " "),
            f"{call['provider']}/{call['model']}",
            call["status"],
            None if call["latency_ms"] is None else round(call["latency_ms"]),
            None if call["first_token_ms"] is None else round(call["first_token_ms"]),
            None if call["tokens_per_second"] is None else round(call["tokens_per_second"]),
            call["cost"],
            short((call["error"] or {}).get("message"), 40),
        ],
        nothing="No calls.",
    )


def _show_found(invocation: Invocation, found: dict[str, Any]) -> None:
    """Calls with the words that they were found by in bold."""
    from interfaces.cli.tables import marked

    invocation.answer_page(
        found,
        ["call", "at (UTC)", "model", "status", "found"],
        lambda call: [
            call["call_id"],
            call["created_at"][:19].replace("T", " "),
            f"{call['provider']}/{call['model']}",
            call["status"],
            marked(call["found"]),
        ],
        nothing="No calls.",
    )
    behind = found["searched"]["behind_events"]
    if behind and not invocation.as_json:
        click.echo(f"The newest {behind:,} events are not in the index yet; ask again when it has read them", err=True)


@click.argument("call_id")
@as_of_a_moment
@click.option("--verify", is_flag=True, help="Hash the bytes that were sent and received, and compare with the events.")
@click.option(
    "--bytes",
    "part",
    type=click.Choice(["request", "response", "completion", "original"]),
    help="Write these exact bytes instead, once their hash is right.",
)
@click.option("--version", type=int, help="With --bytes: of this event; else of the last one that has them.")
@click.option("--out", default="-", metavar="FILE|-", help="With --bytes: where to; - is stdout, the default.")
def call(
    invocation: Invocation,
    call_id: str,
    moment: "Moment",
    verify: bool,
    part: str | None,
    version: int | None,
    out: str,
) -> None:
    """Show one call: request, attempts, answer; or its exact bytes."""
    from interfaces.cli.tables import table

    if part is not None:
        _write_bytes(invocation, call_id, part, version, moment, out)
        return
    if verify:
        _verify(invocation, call_id, moment)
        return

    async def work(study: "Study") -> dict[str, Any]:
        return await study.calls.get(call_id, moment)

    found = invocation.run(work)
    plain = (
        "how",
        "source_call_id",
        "status",
        "provider",
        "model",
        "modality",
        "created_at",
        "latency_ms",
        "first_token_ms",
        "tokens_per_second",
        "total_ms",
        "tokens",
        "cost",
        "saved",
        "price",
        "preprocessing",
        "actor",
        "error",
    )
    rows = [[name, str(found[name])] for name in plain if found.get(name) is not None]
    attempts = [
        [each["attempt"], each["outcome"], each["latency_ms"], (each["error"] or {}).get("message")]
        for each in found["attempts_made"]
    ]

    def show(console: Any) -> None:
        console.print(table(["call", found["call_id"]], rows))
        console.print(table(["attempt", "outcome", "ms", "error"], attempts))
        for name in ("prompt", "text", "partial_text"):
            if found.get(name):
                console.print(f"{name.replace('_', ' ')}:", style="bold")
                console.print(for_stdout(found[name]), markup=False, highlight=False)

    invocation.answer(found, show)


def _write_bytes(
    invocation: Invocation, call_id: str, part: str, version: int | None, moment: "Moment", out: str
) -> None:
    import msgspec

    from interfaces.cli.files import written_whole

    async def work(study: "Study") -> Any:
        return await study.bodies.get(call_id, part, moment, version=version)

    kept, body = invocation.run(work)
    if out == "-":
        if sys.stdout.isatty():  # what a provider sent must not be obeyed
            echo_text(body.decode("utf-8", "backslashreplace"))
        else:
            sys.stdout.buffer.write(body)
        return
    with written_whole(Path(out)) as file:
        file.write(body)
    document = {**msgspec.to_builtins(kept), "out": out}
    invocation.answer(
        document, lambda _console: click.echo(f"Wrote {kept.size:,} bytes to {out}; SHA-256 {kept.sha256}")
    )


def _verify(invocation: Invocation, call_id: str, moment: "Moment") -> None:
    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.bodies.list(call_id, moment, verify=True)

    found = invocation.run(work)
    rows = [
        [each["version"], each["part"], each["size"], each["media_type"], each["sha256"], each["sha256_ok"]]
        for each in found["items"]
    ]
    columns = ["event", "part", "bytes", "media type", "SHA-256", "right"]
    invocation.answer(found, lambda console: console.print(table(columns, rows)))
    if not all(each["sha256_ok"] for each in found["items"]):
        click.echo("Some bytes are not what was recorded.", err=True)
        raise SystemExit(1)


@click.argument("kind", type=click.Choice(["call", "group", "dataset", "vectors", "sweep", "artifact", "conversation"]))
@click.argument("entity_id", metavar="ID")
def history(invocation: Invocation, kind: str, entity_id: str) -> None:
    """Show every event of one thing, in order, with what it says."""
    import json

    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.history.of(kind, entity_id)

    found = invocation.run(work)
    rows = [
        [
            event["position"],
            event["occurred_at"][:23],
            event["event"],
            event["actor"],
            json.dumps(event["facts"], ensure_ascii=False)[:400],
        ]
        for event in found["items"]
    ]
    invocation.answer(found, lambda console: console.print(table(["position", "at", "event", "actor", "facts"], rows)))
    if found["next_cursor"] and not invocation.as_json:
        click.echo(f"There are more: study events --entity {entity_id} --cursor {found['next_cursor']}", err=True)
