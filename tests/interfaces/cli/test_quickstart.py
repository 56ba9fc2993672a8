import os
from pathlib import Path

import pytest

from domain.errors import Rejected
from interfaces.report.writing import format_of
from tests.interfaces.cli.conftest import Study

NOBODY = 65534


def test_a_second_quickstart_comes_from_the_record(study: Study, tmp_path: Path) -> None:
    first = study("quickstart", "--json").document
    assert first["provider_calls"] > 0
    assert first["texts"] >= 300
    assert [step["k"] for step in first["sweep"]["steps"]] == list(range(2, 21))
    assert all(cluster["named_by_call_id"] for cluster in first["sweep"]["clusters"])
    report = (tmp_path / "report.html").read_bytes()
    (tmp_path / "report.html").unlink()

    again = study("quickstart")
    assert again.code == 0
    assert first["sweep"]["sweep_id"] in again.out
    assert "no provider was called" in again.out
    assert (tmp_path / "report.html").read_bytes() == report
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".report")] == []


def test_a_folder_that_takes_no_report_is_told_before_any_work() -> None:
    user = os.geteuid()
    os.seteuid(user or NOBODY)  # root may write everywhere
    try:
        with pytest.raises(Rejected, match="may not write into /"):
            format_of(Path("/report.html"))
    finally:
        os.seteuid(user)
