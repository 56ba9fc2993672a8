"""A fact that has changed twice, in registries of the tests' own: what each version of the software knew."""

from domain.events import Fact, FactRegistry, RetiredFact


class MeasuredInFahrenheit(RetiredFact, frozen=True, kw_only=True):
    """A temperature was measured, in degrees Fahrenheit."""

    fahrenheit: float

    def upcast(self) -> "MeasuredInCelsius":
        return MeasuredInCelsius(celsius=(self.fahrenheit - 32) / 1.8)


class MeasuredInCelsius(RetiredFact, frozen=True, kw_only=True):
    """A temperature was measured, in degrees Celsius."""

    celsius: float

    def upcast(self) -> "TemperatureMeasured":
        return TemperatureMeasured(kelvin=round(self.celsius + 273.15, 2), place="unknown")


class TemperatureMeasured(Fact, frozen=True, kw_only=True):
    """A temperature was measured somewhere."""

    kelvin: float
    place: str


def at_first() -> FactRegistry:
    """What the first version of the software knew."""

    class Measured(Fact, frozen=True, kw_only=True):
        fahrenheit: float

    registry = FactRegistry()
    registry.stored_as("temperature.measured.v1")(Measured)
    return registry


def later() -> FactRegistry:
    """What the second one knew."""

    class Measured(Fact, frozen=True, kw_only=True):
        celsius: float

    registry = FactRegistry()
    registry.stored_as("temperature.measured.v2")(Measured)
    registry.retired_as("temperature.measured.v1")(MeasuredInFahrenheit)
    return registry


def today() -> FactRegistry:
    """What the third one knows."""
    registry = FactRegistry()
    registry.stored_as("temperature.measured.v3")(TemperatureMeasured)
    registry.retired_as("temperature.measured.v2")(MeasuredInCelsius)
    registry.retired_as("temperature.measured.v1")(MeasuredInFahrenheit)
    return registry
