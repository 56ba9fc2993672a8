"""A registry of stored names accepts no gap, no circle and no second meaning."""

import pytest

from domain.events import FactRegistry, UnknownStoredName
from tests.support.thermometers import MeasuredInCelsius, MeasuredInFahrenheit, TemperatureMeasured, today


def test_every_earlier_version_leads_to_the_newest() -> None:
    registry = today()
    assert registry.upcasts("temperature.measured.v1") == (MeasuredInFahrenheit, MeasuredInCelsius)
    assert registry.upcasts("temperature.measured.v3") == ()
    assert registry.stored_names(TemperatureMeasured) == tuple(f"temperature.measured.v{n}" for n in (1, 2, 3))


def test_a_version_that_leads_nowhere_is_refused() -> None:
    registry = FactRegistry()
    registry.stored_as("temperature.measured.v3")(TemperatureMeasured)
    with pytest.raises(ValueError, match=r"register temperature\.measured\.v2, to which it leads, first"):
        registry.retired_as("temperature.measured.v1")
    with pytest.raises(ValueError, match=r"register temperature\.measured\.v5"):
        registry.retired_as("temperature.measured.v4")


def test_two_versions_are_never_written_at_once() -> None:
    registry = today()
    with pytest.raises(ValueError, match=r"v3 is current already; register the older of the two by `retired_as`"):
        registry.stored_as("temperature.measured.v4")


@pytest.mark.parametrize("number", [1, 3])
def test_a_name_is_given_once(number: int) -> None:
    name = f"temperature.measured.v{number}"
    for register in (today().stored_as, today().retired_as):
        with pytest.raises(ValueError, match="already names"):
            register(name)


@pytest.mark.parametrize("name", ["temperature.measured", "temperature.measured.v0", "temperature.measured.v1.x"])
def test_a_name_without_a_version_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no stored name"):
        FactRegistry().stored_as(name)


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(UnknownStoredName, match=r"temperature\.measured\.v4"):
        today().decoded_as("temperature.measured.v4")
