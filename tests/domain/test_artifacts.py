import pytest

from domain.artifacts import (
    checked_artifact_type,
    checked_extension,
    checked_name,
    content_type_of,
    name_part,
)
from domain.errors import Rejected


@pytest.mark.parametrize("name", ["run/step/results.json", "a/k=2/labels.npy", "лаба/шаг/итог.csv"])
def test_a_name_is_parts_with_slashes_between(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "run/../../x", "run//x", "run/./x", "run/.. /x", "run\\x", "C:/x", "a\0b", "a\nb", "n" * 401],
)
def test_a_name_that_leads_elsewhere_is_rejected(name: str) -> None:
    with pytest.raises(Rejected, match="no artifact name"):
        checked_name(name)


@pytest.mark.parametrize(
    ("text", "part"),
    [("k=2", "k=2"), ("a b/c", "a-b-c"), ("../..", "unnamed"), ("..hidden", "hidden"), ("Schritt 1: é", "Schritt-1-é")],
)
def test_any_text_becomes_one_part_of_a_name(text: str, part: str) -> None:
    assert name_part(text) == part
    assert checked_name(f"{name_part(text)}/x.json")


def test_a_type_is_a_word_and_an_ending_is_short() -> None:
    assert checked_artifact_type("sweep_labels") == "sweep_labels"
    assert (checked_extension("JSON"), content_type_of("json")) == ("json", "application/json")
    assert content_type_of("xyz") == "application/octet-stream"
    for wrong in ("", "../x", ".hidden", "a b", "t" * 101):
        with pytest.raises(Rejected, match="one word"):
            checked_artifact_type(wrong)
    for wrong in ("", "a/b", "e" * 17):
        with pytest.raises(Rejected, match="no ending"):
            checked_extension(wrong)
