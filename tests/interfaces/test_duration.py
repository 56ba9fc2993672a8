import pytest

from domain.errors import Rejected
from interfaces.duration import seconds_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), (" 1h ", 3600), ("1.5h", 5400), ("7d", 604800), (30, 30), (0.5, 0.5)],
)
def test_a_length_of_time_is_read_as_people_write_it(written: str | float, seconds: float) -> None:
    assert seconds_of(written, "cache") == seconds


@pytest.mark.parametrize("written", ["", "h", "1 h 5", "-5", "1w", "0", 0, -1, float("nan"), float("inf"), "9" * 400])
def test_what_is_none_is_rejected_by_its_field(written: str | float) -> None:
    with pytest.raises(Rejected, match="no length of time such as 90") as rejected:
        seconds_of(written, "cache")
    assert rejected.value.fields == ("cache",)
