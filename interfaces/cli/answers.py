"""Answers as commands print them."""

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from interfaces.cli.terminal import echo_text, visible

if TYPE_CHECKING:
    from application.batches import Outcome
    from application.stream_answer import AnswerStream

T = TypeVar("T")


async def print_stream(stream: "AnswerStream[str, T]", *, quietly: bool) -> T:
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


def show_answers(answers: list[dict[str, Any]], *, printed: bool) -> None:
    """Print each answer, unless it was printed while it came, and on stderr what is to be known of it."""
    for answer in answers:
        if answer["status"] != "success":
            click.echo(f"Error: {visible(answer['error'])}", err=True)
            continue
        if not (printed and answer["text"]):
            echo_text(answer["text"] or "(the answer has no text)")
        tokens = answer["tokens"]["total"]
        about = f"{answer['provider']}/{answer['model']}, {answer['latency_ms']:.0f} ms, {tokens or '?'} tokens"
        if answer["cost"] is not None:
            about += f", ${answer['cost']}"
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
        click.echo(dimmed(f"— {about}; {where}"), err=True)


def dimmed(told: str) -> str:
    """What is to be known of an answer, set apart from it where there is colour."""
    return told if os.environ.get("NO_COLOR") else click.style(told, dim=True)


def document_of(outcome: "Outcome") -> dict[str, Any]:
    """An answer, or why there is none, in the shape of the HTTP answers."""
    import msgspec

    from interfaces.answer_document import outcome_document

    document: dict[str, Any] = msgspec.to_builtins(outcome_document(outcome))
    return document
