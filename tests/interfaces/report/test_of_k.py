"""The clusters of a K that was not chosen: with their names, or with the words that tell them apart."""

from pathlib import Path

import pytest

from domain.errors import NotFound
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.conftest import Database
from tests.support.swept import swept


@pytest.mark.parametrize("every", [True, False])
async def test_another_k_has_names_where_every_k_was_named_and_words_always(
    database: Database, tmp_path: Path, every: bool
) -> None:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path)
    async with open_study(settings) as study:
        sweep = await swept(study, **({"name_every_k": True} if every else {}))
        data = await study.reports.data(sweep["sweep_id"])
        chosen = data.sweep["chosen_k"]
        assert await study.reports.of_k(data, chosen) is data
        other = await study.reports.of_k(data, 5 - chosen)  # of 2 and 3
        clusters = other.sweep["clusters"]
        assert [bool(each["name"]) for each in clusters] == [every] * (5 - chosen)
        assert [bool(each.get("named_by_call_id")) for each in clusters] == [every] * (5 - chosen)
        assert all(each["keywords"] and each["representatives"] for each in clusters)
        assert sum(each["size"] for each in clusters) == len(other.labels)
        with pytest.raises(NotFound, match="was not swept"):
            await study.reports.of_k(data, 9)
