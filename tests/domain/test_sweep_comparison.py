from typing import Any

from domain.sweep_comparison import compare_sweeps, same_rows


def sweep(**changes: Any) -> dict[str, Any]:
    return {
        "sweep_id": "a",
        "config": {"seed": 0, "method": "k-means", "parameters": {"rank": 2}},
        "source": {"n_samples": 10, "vectors_sha256": "v", "texts_sha256": "t", "dataset_id": None},
        "software": {"numpy": "2.4.6"},
        "duration_s": 1.0,
        "chosen_k": 2,
        "chosen_by": "silhouette",
        "steps": [{"k": 2, "silhouette": 0.5, "labels_sha256": "x"}, {"k": 3, "silhouette": 0.4, "labels_sha256": "y"}],
        **changes,
    }


def test_a_sweep_does_not_differ_from_itself() -> None:
    found = compare_sweeps(sweep(), sweep(), {(2, 2): 1.0, (3, 3): 1.0})
    assert found["differences"] == []
    assert {"config.seed", "config.parameters.rank", "source.n_samples", "software.numpy"} <= set(found["equal"])
    assert [step["differ"] for step in found["steps"]] == [{}, {}]
    assert all(step["same_labels"] for step in found["steps"])
    assert (found["same_rows"], found["chosen_ari"]) == (True, 1.0)


def test_what_differed_is_named_by_its_path_and_nothing_else_is() -> None:
    other = sweep(
        config={"seed": 1, "method": "k-means", "parameters": {"rank": 3}},
        software={"numpy": "2.5", "blas": "openblas"},
        chosen_k=3,
        steps=[{"k": 3, "silhouette": 0.6, "labels_sha256": "z"}, {"k": 4, "silhouette": 0.1, "labels_sha256": "w"}],
    )
    found = compare_sweeps(sweep(), other, {(3, 3): 0.25, (2, 3): 0.5})
    assert [(each["about"], each["field"], each["first"], each["second"]) for each in found["differences"]] == [
        ("config", "config.seed", 0, 1),
        ("config", "config.parameters.rank", 2, 3),
        ("software", "software.numpy", "2.4.6", "2.5"),
        ("software", "software.blas", None, "openblas"),
        ("result", "chosen_k", 2, 3),
    ]
    assert [(step["k"], step["in_first"], step["in_second"], step["ari"]) for step in found["steps"]] == [
        (2, True, False, None),
        (3, True, True, 0.25),
        (4, False, True, None),
    ]
    assert found["steps"][1]["differ"]["silhouette"] == {"first": 0.4, "second": 0.6}
    assert not any(step["same_labels"] for step in found["steps"])
    assert found["chosen_ari"] == 0.5


def test_labels_are_compared_only_of_the_same_rows() -> None:
    def source(**changes: Any) -> dict[str, Any]:
        return sweep(source={**sweep()["source"], **changes})

    assert same_rows(sweep(), source(vectors_sha256="w"))
    assert not same_rows(sweep(), source(vectors_sha256="w", texts_sha256="u"))
    assert not same_rows(sweep(), source(n_samples=11))
    assert not same_rows(source(vectors_sha256=None, texts_sha256=None), source(vectors_sha256=None, texts_sha256=None))
    found = compare_sweeps(sweep(), source(vectors_sha256="w", texts_sha256="u"), None)
    assert (found["same_rows"], found["chosen_ari"]) == (False, None)
