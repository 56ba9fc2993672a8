"""`study sweep resume` and `cancel`: what they say, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest

from tests.interfaces.cli.conftest import Study

NO_SWEEP = "0195512a-7c00-7000-8000-000000000001"


def test_a_finished_sweep_is_resumed_as_it_is_and_cannot_be_cancelled(study_here: Study, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    np.save(tmp_path / "v.npy", chance.normal(0, 1, (40, 6)).astype(np.float32))
    words = ("sweep", "run", "--vectors", "v.npy", "--k-max", "3", "--restarts", "2", "--pca-dim", "0", "--json")
    swept = study_here(*words).document
    resumed = study_here("sweep", "resume", swept["sweep_id"], "--json")
    assert (resumed.code, resumed.document) == (0, swept)
    assert "Chosen: K" in study_here("sweep", "resume", swept["sweep_id"]).out
    refused = study_here("sweep", "cancel", swept["sweep_id"], "--json")
    assert refused.code == 2
    assert (refused.document["title"], refused.document["existing_id"]) == ("Conflict", swept["sweep_id"])
    nowhere = study_here(*words, "--force", "--compute", "somewhere")
    assert (nowhere.code, nowhere.document["fields"]) == (2, ["compute"])
    assert study_here("sweep", "resume", swept["sweep_id"], "--compute", "tcp://x").code == 2
    assert study_here("sweep", "show", swept["sweep_id"], "--json").document["status"] == "finished"


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_there_must_be_such_a_sweep(study_here: Study, command: str) -> None:
    for sweep_id in (NO_SWEEP, "nonsense"):
        refused = study_here("sweep", command, sweep_id, "--json")
        assert (refused.code, refused.document["title"]) == (3, "Not found")
