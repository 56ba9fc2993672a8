"""Asking models."""

import json
import shlex
from codecs import BOM_UTF8
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.answers import dimmed, document_of, print_stream, show_answers
from interfaces.cli.command import Invocation, study_command
from interfaces.cli.preprocessing import PREPROCESSING_KEYS, preprocessing_of, preprocessing_options
from interfaces.cli.terminal import echo_text, visible
from interfaces.duration import seconds_of

if TYPE_CHECKING:
    from application.ask_model import Question
    from application.batches import AnsweredBatch, BatchToAsk, Outcome
    from domain.pricing import Total
    from interfaces.study import Study

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
        'study ask "Write to ada@example.org" --preprocess pii --template "{user_input} ({tone})" --field tone=kind\n'
        "study ask --file prompts.jsonl --json > answers.json",
    )(ask)


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
@click.option("--group", metavar="TYPE/NAME", help="Group that the calls join; of a file, batch/NAME names the batch.")
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
@preprocessing_options
@click.option("--stream", is_flag=True, help="Print the answer while it comes.")
@click.option("--in-flight", type=int, default=16, show_default=True, help="Of a file, how many to ask at a time.")
@click.option("--again", is_flag=True, help="Of a file, ask also what it was answered before.")
def ask(
    invocation: Invocation,
    prompt: str | None,
    file: Path | None,
    group: str | None,
    stream: bool,
    in_flight: int,
    again: bool,
    **options: Any,
) -> None:
    """Ask a model. The call is recorded before it is made, and its answer before you see it.

    A file is a batch: asked again, it pays only for what was not answered yet.
    """
    from application.ask_model import Question
    from application.batches import batch_of
    from application.group_calls import group_place
    from domain.errors import Rejected

    if (prompt is None) == (file is None):
        raise Rejected("Give either a PROMPT or --file", fields=("prompt", "file"))
    if file is not None and stream:
        raise Rejected("The answers to a file come together: leave away --stream, or --file", fields=("file", "stream"))
    if file is not None:
        questions = _read_prompts(file, options)
        how: dict[str, Any] = {"source_name": file.name, "in_flight": in_flight, "again": again}
        _ask_file(invocation, batch_of(tuple(questions.values()), group_place(group), **how), list(questions))
        return
    options["preprocessing"] = preprocessing_of(options)
    question = Question(prompt=prompt, group=group_place(group), **options)

    async def work(study: "Study") -> "Sequence[Outcome]":
        if stream:
            return [await print_stream(study.asking.stream(question, study.context()), quietly=invocation.as_json)]
        if question.samples == 1:
            return [await study.asking.ask(question, study.context())]
        return await study.asking.samples(question, study.context())

    answers = [document_of(outcome) for outcome in invocation.run(work)]
    document = answers[0] if len(answers) == 1 else {"items": answers, "next_cursor": None}
    invocation.answer(document, lambda _console: show_answers(answers, printed=stream))
    _exit_if_unanswered(answers)


def _read_prompts(file: Path, options: dict[str, Any]) -> "dict[int, Question]":
    """The questions of a file by the lines they stand on, counted from 1. Raises NotFound, Rejected."""
    import msgspec

    from application.ask_model import Question
    from application.group_calls import group_place
    from domain.errors import Rejected
    from infrastructure.table_files import read_bounded

    questions: dict[int, Question] = {}
    for number, line in enumerate(read_bounded(file).removeprefix(BOM_UTF8).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            given = msgspec.json.decode(line, type=dict[str, Any])
            preprocessing = {name: given.pop(name) for name in PREPROCESSING_KEYS if name in given}
            unknown = set(given) - set(PROMPT_KEYS)
            if unknown:
                raise Rejected(f"unknown key {', '.join(sorted(unknown))}")
            named = {PROMPT_KEYS[key]: value for key, value in given.items()}
            if "group" in named:
                named["group"] = group_place(named["group"])
            if "cache_seconds" in named:
                named["cache_seconds"] = seconds_of(msgspec.convert(named["cache_seconds"], str | float), "cache")
            common = dict(options)
            named["preprocessing"] = preprocessing_of(common, preprocessing)
            questions[number] = msgspec.convert({**common, **named}, Question)
        except (msgspec.ValidationError, Rejected) as error:
            raise Rejected(f"{file}, line {number}: {_by_its_key(str(error))}", fields=("file",)) from None
        except msgspec.DecodeError as error:
            raise Rejected(
                f'{file}, line {number}: {error}; each line is a question, such as {{"prompt": "Name a prime."}}',
                fields=("file",),
            ) from None
    if not questions:
        raise Rejected(f"{file} holds no prompt", fields=("file",))
    return questions


def _by_its_key(said: str) -> str:
    """What is wrong with a question, named as the line does."""
    for key, name in PROMPT_KEYS.items():
        said = said.replace(f"`$.{name}`", f"`{key}`")
    return said


def _ask_file(invocation: Invocation, batch: "BatchToAsk", lines: list[int]) -> None:
    """Ask everything; the order is kept, and a failure stays with its line."""
    import msgspec

    from interfaces.answer_document import item_document
    from interfaces.batch_document import batch_summary

    with invocation.progress() as progress:

        async def work(study: "Study") -> "AnsweredBatch":
            return await study.asking.batch(batch, study.context(), progress=partial(progress, "asking"))

        answered = invocation.run(work)
    items = [{"line": lines[item.index], **item_document(item)} for item in answered.items]
    document = {"items": items, "next_cursor": None, **msgspec.to_builtins(batch_summary(answered))}
    invocation.answer(document, lambda _console: _show_lines(items))
    given = sum(answer.cached or answer.shared_with is not None for answer in answered.answers)
    about = f"{len(items)} asked"
    if given:
        about += f", {given} of them without a call of their own"
    if answered.answers:
        about += f"; cost {_amount(answered.cost)}"
    if given:
        about += f", saved {_amount(answered.saved)}"
    told = f"— {about}; study calls --group {shlex.quote(f'batch/{answered.name}')}"
    click.echo(dimmed(told), err=True)
    _exit_if_unanswered(items)


def _amount(total: "Total") -> str:
    """A sum for people; what isn't known is said, and is no zero."""
    from domain.pricing import plain

    if total.usd is None:
        return "unknown"
    return f"${plain(total.usd)}" + (f" ({total.unknown} unknown)" if total.unknown else "")


def _exit_if_unanswered(items: list[dict[str, Any]]) -> None:
    failed = [item for item in items if item["status"] != "success"]
    if failed:
        click.echo(f"{len(failed)} of {len(items)} failed; the first: {visible(failed[0]['error'])}", err=True)
        raise SystemExit(1)


def _show_lines(items: list[dict[str, Any]]) -> None:
    for item in items:
        echo_text(json.dumps(item, ensure_ascii=False))
