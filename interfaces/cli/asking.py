"""Asking models, and looking at what was asked."""

import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_option, moment, study_command
from interfaces.cli.terminal import echo_text, for_stdout
from interfaces.duration import seconds_of

if TYPE_CHECKING:
    from application.ask_model import Answer, Question
    from application.group_calls import GroupPlace
    from application.stream_answer import AnswerStream
    from interfaces.study import Study

PROMPTS_IN_FLIGHT = 16
# What a line of a file may say, and what the question calls it.
PROMPT_KEYS = {
    "prompt": "prompt",
    "messages": "messages",
    "system": "system",
    "provider": "provider",
    "model": "model",
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "n": "samples",
    "group": "group",
    "metadata": "metadata",
    "attempts": "attempts",
    "attempt_timeout_s": "attempt_timeout_seconds",
    "call_timeout_s": "call_timeout_seconds",
    "share": "share",
    "cache": "cache_seconds",
}


def add_to(study: click.Group) -> None:
    """Add the commands."""
    study_command(
        study,
        "ask",
        examples='study ask "Name three primes"\n'
        'study ask "Name three primes" --provider openai --model gpt-4o-mini -n 5 --group batch/primes\n'
        'study ask "Name three primes" --temperature 0 --cache 1h\n'
        'study ask "Tell me a story" --stream\n'
        "study ask --file prompts.jsonl --json > answers.json",
    )(ask)
    study_command(
        study,
        "calls",
        examples="study calls --status failed --since 2026-03-01\n"
        "study calls --search primes --as-of 2026-03-01T12:00:00Z",
    )(calls)
    study_command(study, "call", examples="study call 0195512a-7c00-7000-8000-000000000001")(call)
    study_command(
        study,
        "history",
        examples="study history call 0195512a-7c00-7000-8000-000000000001\nstudy history sweep ID --json",
    )(history)
    study_command(study, "providers", examples="study providers --models")(providers)


def _duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    from domain.errors import Rejected

    try:
        return None if value is None else seconds_of(value, "cache")
    except Rejected as error:
        raise click.BadParameter(str(error)) from None


@click.argument("prompt", required=False)
@click.option("--file", type=click.Path(path_type=Path), help='One {"prompt": …} or {"messages": […]} a line.')
@click.option("--provider", help="azure, openai, hyperbolic or local; without it, the first that is configured.")
@click.option("--model", help="Model, or deployment on Azure.")
@click.option("--system", help="System message.")
@click.option("--temperature", type=float, help="0 to 2; not sent unless given.")
@click.option("--max-tokens", type=int, help="Bound on the answer; not sent unless given.")
@click.option("--seed", type=int, help="Seed, for providers that take one.")
@click.option("-n", "samples", type=int, default=1, show_default=True, help="Answers to ask for, each a call.")
@click.option("--group", metavar="TYPE/NAME", help="Group that the calls join.")
@click.option("--attempts", type=int, help="How often to try; STUDY_CHAT_ATTEMPTS.")
@click.option("--attempt-timeout", "attempt_timeout_seconds", type=float, metavar="S", help="STUDY_ATTEMPT_TIMEOUT_S.")
@click.option("--call-timeout", "call_timeout_seconds", type=float, metavar="S", help="STUDY_CALL_TIMEOUT_S.")
@click.option(
    "--no-share", "share", flag_value=False, default=True, help="Call even while the same request is under way."
)
@click.option(
    "--cache",
    "cache_seconds",
    metavar="TTL",
    callback=_duration,
    help="Take an answer that the same request got within 90 (seconds), 10m, 1h, 7d; needs temperature 0 or a seed.",
)
@click.option("--stream", is_flag=True, help="Print the answer while it comes.")
def ask(
    invocation: Invocation, prompt: str | None, file: Path | None, group: str | None, stream: bool, **options: Any
) -> None:
    """Ask a model. The call is recorded before it is made, and its answer before you see it."""
    from application.ask_model import Question
    from domain.errors import Rejected

    if (prompt is None) == (file is None):
        raise Rejected("Give either a PROMPT or --file", fields=("prompt", "file"))
    place = group_place(group)
    if file is not None and stream:
        raise Rejected("The answers to a file come together: leave away --stream, or --file", fields=("file", "stream"))
    if file is not None:
        _ask_file(invocation, _read_prompts(file, options, place))
        return
    question = Question(prompt=prompt, group=place, **options)

    async def work(study: "Study") -> "list[Answer]":
        if stream:
            return [await _print_stream(study.stream(question, study.context()), quietly=invocation.as_json)]
        return await study.ask(question, study.context())

    answers = [document_of(answer) for answer in invocation.run(work)]
    document = answers[0] if len(answers) == 1 else {"items": answers, "next_cursor": None}
    invocation.answer(document, lambda _console: _show_answers(answers, printed=stream))


async def _print_stream(stream: "AnswerStream", *, quietly: bool) -> "Answer":
    """Print each piece at once, and end its line also if the rest doesn't come."""
    last = "\n"
    async with stream:
        try:
            async for piece in stream:
                last = piece
                if not quietly:
                    echo_text(piece, nl=False)
        finally:
            if not quietly and not last.endswith("\n"):
                click.echo()
    return stream.answer


def _show_answers(answers: list[dict[str, Any]], *, printed: bool) -> None:
    for answer in answers:
        if not (printed and answer["text"]):
            echo_text(answer["text"] or "(the answer has no text)")
        tokens = answer["tokens"]["total"]
        about = f"{answer['provider']}/{answer['model']}, {answer['latency_ms']:.0f} ms, {tokens or '?'} tokens"
        if answer["shared_with"] is not None:
            about += f", shared with call {answer['shared_with']}"
        if answer["cached"]:
            about += ", from the cache"
        if answer["first_token_ms"] is not None:
            about += f", the first after {answer['first_token_ms']:.0f} ms"
        if answer["tokens_per_second"] is not None:
            about += f", {answer['tokens_per_second']:.0f} a second"
        where = (
            f"study call {answer['call_id']}"
            if answer["position"] is not None
            else f"call {answer['call_id']} waits in the journal, since the store is away: study doctor --mend"
        )
        told = click.style(f"— {about}; {where}", dim=True)
        click.echo(told, err=True, color=False if os.environ.get("NO_COLOR") else None)


def _read_prompts(file: Path, options: dict[str, Any], place: "GroupPlace | None") -> "dict[int, Question]":
    """The questions of a file by the lines they stand on, counted from 1. Raises NotFound, Rejected."""
    import msgspec

    from application.ask_model import Question
    from domain.errors import Rejected
    from infrastructure.table_files import read_bounded

    questions: dict[int, Question] = {}
    for number, line in enumerate(read_bounded(file).removeprefix(BOM_UTF8).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            given = msgspec.json.decode(line, type=dict[str, Any])
            unknown = set(given) - set(PROMPT_KEYS)
            if unknown:
                raise Rejected(f"unknown key {', '.join(sorted(unknown))}")
            named = {PROMPT_KEYS[key]: value for key, value in given.items()}
            if "group" in named:
                named["group"] = group_place(named["group"])
            if "cache_seconds" in named:
                named["cache_seconds"] = seconds_of(msgspec.convert(named["cache_seconds"], str | float), "cache")
            questions[number] = msgspec.convert({**options, "group": place, **named}, Question)
        except (msgspec.DecodeError, Rejected) as error:
            raise Rejected(f"{file}, line {number}: {error}", fields=("file",)) from None
    if not questions:
        raise Rejected(f"{file} holds no prompt", fields=("file",))
    return questions


def _ask_file(invocation: Invocation, questions: "dict[int, Question]") -> None:
    """Ask everything with bounded concurrency; the order is kept, and a failure stays with its line."""
    import asyncio

    from domain.errors import ProviderFailed, Rejected

    with invocation.progress() as progress:

        async def work(study: "Study") -> list[dict[str, Any]]:
            context = study.context()
            places = asyncio.Semaphore(PROMPTS_IN_FLIGHT)
            done = 0

            async def answers_of(question: "Question") -> list[dict[str, Any]]:
                nonlocal done
                async with places:
                    try:
                        answered = [document_of(answer) for answer in await study.ask(question, context)]
                    except ProviderFailed as failure:
                        answered = [
                            {"call_id": failure.call_id, "status": "failed", "text": None, "error": str(failure)}
                        ]
                    except Rejected as failure:
                        answered = [{"call_id": None, "status": "rejected", "text": None, "error": str(failure)}]
                done += 1
                progress("asking", done, len(questions))
                return answered

            # When the store is lost, every question has ended before the study is closed under it.
            try:
                async with asyncio.TaskGroup() as tasks:
                    asked = {line: tasks.create_task(answers_of(question)) for line, question in questions.items()}
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None
            return [{"line": line, **answer} for line, answered in asked.items() for answer in answered.result()]

        items = invocation.run(work)
    failed = [item for item in items if item["status"] != "success"]
    invocation.answer({"items": items, "next_cursor": None}, lambda _console: _show_lines(items))
    if failed:
        click.echo(f"{len(failed)} of {len(items)} failed; the first: {failed[0]['error']}", err=True)
        raise SystemExit(1)


def _show_lines(items: list[dict[str, Any]]) -> None:
    import json

    for item in items:
        echo_text(json.dumps(item, ensure_ascii=False))


@click.option("--provider", help="Only this provider's.")
@click.option("--model", help="Only this model's.")
@click.option("--modality", type=click.Choice(["text", "embedding", "image", "audio"]), help="Only this kind.")
@click.option(
    "--status", type=click.Choice(["requested", "success", "failed", "cancelled", "in_doubt"]), help="Only these."
)
@click.option("--group", metavar="TYPE/NAME", help="Only the members of a group.")
@click.option("--since", callback=moment, metavar="WHEN", help="Not before this time (UTC unless it says).")
@click.option("--until", callback=moment, metavar="WHEN", help="Before this time.")
@click.option("--search", metavar="TEXT", help="Only those whose prompt or answer holds this text.")
@as_of_option
@click.option("--limit", type=int, default=50, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on after a page: its next_cursor.")
def calls(invocation: Invocation, **filters: Any) -> None:
    """List calls, newest first."""
    from interfaces.cli.tables import short, table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.calls(**filters)

    page = invocation.run(work)
    rows = [
        [
            call["call_id"],
            call["created_at"][:19].replace("T", " "),
            f"{call['provider']}/{call['model']}",
            call["status"],
            None if call["latency_ms"] is None else round(call["latency_ms"]),
            None if call["first_token_ms"] is None else round(call["first_token_ms"]),
            None if call["tokens_per_second"] is None else round(call["tokens_per_second"]),
            short((call["error"] or {}).get("message"), 40),
        ]
        for call in page["items"]
    ]
    columns = ["call", "at (UTC)", "model", "status", "ms", "first token", "tokens/s", "error"]
    invocation.answer(page, lambda console: console.print(table(columns, rows) if rows else "No calls."))


@click.argument("call_id")
@as_of_option
def call(invocation: Invocation, call_id: str, as_of: str | None) -> None:
    """Show one call: request, attempts, answer."""
    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.call(call_id, as_of=as_of)

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


@click.argument("kind", type=click.Choice(["call", "group", "dataset", "vectors", "sweep", "artifact"]))
@click.argument("entity_id", metavar="ID")
def history(invocation: Invocation, kind: str, entity_id: str) -> None:
    """Show every event of one thing, in order, with what it says."""
    import json

    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.history(kind, entity_id)

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


@click.option("--models", is_flag=True, help="Ask each for its models or deployments.")
def providers(invocation: Invocation, models: bool) -> None:
    """Show which providers can be asked with the settings as they are."""
    from application.providers import AttemptFailed
    from interfaces.cli.tables import table

    async def work(study: "Study") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for name in study.providers():
            item: dict[str, Any] = {"provider": name, "endpoint": study.registry.create(name).endpoint}
            if models:
                try:
                    item["models"] = await study.models(name)
                except AttemptFailed as failure:
                    item |= {"models": None, "error": str(failure)}
            items.append(item)
        return items

    items = invocation.run(work)
    rows = [
        [item["provider"], item["endpoint"], item.get("error") or ", ".join(item.get("models") or [])] for item in items
    ]
    invocation.answer(
        {"items": items, "next_cursor": None},
        lambda console: console.print(table(["provider", "endpoint", "models" if models else ""], rows)),
    )


def group_place(group: str | None) -> "GroupPlace | None":
    """TYPE/NAME as a place in a group. Raises Rejected."""
    from application.group_calls import GroupPlace
    from domain.errors import Rejected

    if group is None:
        return None
    group_type, slash, name = str(group).partition("/")
    if not slash or not group_type or not name:
        raise Rejected(f"A group is written TYPE/NAME, such as batch/primes, not {group!r}", fields=("group",))
    return GroupPlace(group_type=group_type, name=name)


def document_of(answer: "Answer") -> dict[str, Any]:
    """An answer in the shape of the HTTP answers."""
    import msgspec

    return {**msgspec.to_builtins(answer), "tokens": token_counts(answer)}


def token_counts(answer: "Answer") -> dict[str, int | None]:
    """All four counts, null where the provider said nothing."""
    tokens = answer.tokens
    return {"prompt": tokens.prompt, "completion": tokens.completion, "total": tokens.total, "cached": tokens.cached}
