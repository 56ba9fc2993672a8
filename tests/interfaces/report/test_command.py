"""The command that gets a sweep again, and what it can't say."""

from typing import Any
from uuid import UUID

import pytest

from domain.sweeps import SweepConfig, SweepSource, SweepStarted
from interfaces.report import command_of, to_markdown, unsaid
from interfaces.report.page import render
from tests.support.reports import Page, report_data


def started(salt: str | None = None, vectors_id: UUID | None = None, **changes: Any) -> SweepStarted:
    """A sweep of a dataset, or of vectors made elsewhere."""
    config = SweepConfig(method="k-means", **{"k_values": (2, 3, 4), **changes})
    source = SweepSource(
        n_samples=60, n_features=8, vectors_sha256="a" * 64, dataset_name="intents", vectors_id=vectors_id
    )
    return SweepStarted(
        fingerprint="f" * 64, config=config, source=source, run_group_id=UUID(int=2), salt=salt, software={}
    )


def test_of_all_k_in_a_row_the_command_says_everything() -> None:
    assert "--k-min 2 --k-max 4" in command_of(started())
    assert unsaid(started()) == ()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"k_values": (2, 5, 10)}, "k=[2, 5, 10]. The command sweeps every K from 2 to 10"),
        ({"salt": "x"}, "This sweep was forced"),
        ({"vectors_id": UUID(int=3)}, "The vectors were made elsewhere"),
        ({"summarise": "python:mine.name_them"}, "a function of Python, mine.name_them"),
    ],
)
def test_what_the_command_can_not_say_is_told_beside_it(what: dict[str, Any], told: str) -> None:
    (line,) = unsaid(started(**what))
    assert told in line
    data = report_data(unsaid=(line,))
    assert line in Page(render(data)).text
    assert line.split(",")[0].replace("_", "\\_") in to_markdown(data)
    assert line not in Page(render(report_data())).text
