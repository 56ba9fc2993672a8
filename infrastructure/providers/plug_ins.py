"""Providers that other distributions bring, found by the entry points of one group.

A plug-in's name is the provider's; its value is a callable that is given the settings of that name and returns an
object with the methods of the port, see docs/how-to/providers.md. It is loaded when it is first asked for, and
what is wrong with it is told there and in `study doctor`, never in the way of another provider.
"""

import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from dotenv import dotenv_values

from application.providers import Provider
from domain.errors import Rejected

GROUP = "study_query_llm.providers"
# A provider that can't stream says so by having no `stream`.
PORT = sorted(name for name in vars(Provider) if not name.startswith("_") and name != "stream")


class BrokenPlugIn(Rejected):
    """A plug-in that can't be made; the text says whose it is and why."""


def installed() -> dict[str, tuple[EntryPoint, ...]]:
    """The plug-ins by name, in lower case; where several have one, `make` refuses them."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        name = point.name.lower()
        found[name] = (*found.get(name, ()), point)
    return found


def settings_of(name: str) -> dict[str, str]:
    """What the environment and ./.env say to a plug-in now: every variable whose name begins with its own.

    For the plug-in my-lab these are MY_LAB_API_KEY, MY_LAB_MODEL … Empty ones count as not set.
    """
    prefix = f"{name.upper().replace('-', '_')}_"
    found: Mapping[str, str | None] = {**dotenv_values(".env"), **os.environ}
    return {key: value for key, value in found.items() if key.startswith(prefix) and value and value.strip()}


def make(name: str, points: tuple[EntryPoint, ...], settings: Mapping[str, str]) -> Provider:
    """The provider that a plug-in makes. Raises Rejected as the plug-in does for a missing setting, or BrokenPlugIn."""
    if len(points) > 1:
        raise _broken(name, points, "two distributions offer a provider of this name")
    try:
        provider: Provider = points[0].load()(dict(settings))
    except Rejected:
        raise
    except Exception as error:  # noqa: BLE001 - whatever others' code does, the other providers go on
        told = f"{type(error).__name__}: {error}"
        for value in settings.values():  # any of them may be a key
            told = told.replace(value, "[setting]")
        raise _broken(name, points, told) from None
    missing = [method for method in PORT if not callable(getattr(provider, method, None))]
    if missing:
        raise _broken(name, points, f"it has no {', '.join(missing)}")
    if getattr(provider, "name", None) != name or not isinstance(getattr(provider, "endpoint", None), str):
        raise _broken(name, points, f"the record names its name, which must be {name!r}, and its endpoint, a text")
    return provider


def _broken(name: str, points: tuple[EntryPoint, ...], reason: str) -> BrokenPlugIn:
    origins = " and ".join(f"{point.dist.name if point.dist else '?'} ({point.value})" for point in points)
    return BrokenPlugIn(
        f"The provider {name!r} of {origins} can't be made: {reason}. Mend or uninstall it", fields=("provider",)
    )
