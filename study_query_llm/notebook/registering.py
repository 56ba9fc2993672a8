"""Answers and vectors are values of the use cases, which know no HTML; here they learn how to show themselves."""

from collections.abc import Callable, Mapping
from typing import Any

from application.ask_model import Answer
from application.batches import Unanswered
from application.continue_conversation import TakenTurn
from application.embed_texts import Embedded
from application.import_dataset import Dataset
from study_query_llm.notebook.pages import answer_page, dataset_page, embedded_page, turn_page, unanswered_page

PAGES: Mapping[type, Callable[[Any], str]] = {
    Answer: answer_page,
    Unanswered: unanswered_page,
    TakenTurn: turn_page,
    Embedded: embedded_page,
    Dataset: dataset_page,
}


def show_in_notebooks() -> None:
    """Give each its `_repr_html_`, by which Jupyter, VS Code and marimo ask."""
    for shown, page in PAGES.items():
        shown._repr_html_ = page  # type: ignore[attr-defined]
