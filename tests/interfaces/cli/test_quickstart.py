from pathlib import Path

from tests.interfaces.cli.conftest import Study


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
