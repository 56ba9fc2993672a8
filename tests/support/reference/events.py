"""docs/reference/events.md: every event with its meaning and its fields."""

import re

import msgspec

from domain.events import FACTS, Fact, FactRegistry, RetiredFact
from tests.support import facts


def events_page(registry: FactRegistry = FACTS) -> str:
    """Every event with its meaning and its fields."""
    lines = [
        "# Events",
        "",
        "Every event that is stored, under its stored name. Each comes in an envelope: when it occurred, the actor,",
        "the process, a correlation id that all events of a command share, and the stream that caused it. The store",
        "adds the position and the time it was recorded. This page is generated; fields with a default may be missing",
        "in old events.",
    ]
    assert facts.EXAMPLES
    for name, fact_type in sorted(registry.current.items()):
        lines += _described(f"## {name}", fact_type)
    if registry.retired:
        lines += ["", "# Retired versions", "", "No longer written. Stored ones are read as the newest version."]
    for name, retired_type in sorted(registry.retired.items()):
        lines += _described(f"## {name}", retired_type)
    return "\n".join(lines) + "\n"


def _described(title: str, stored: type[Fact] | type[RetiredFact]) -> list[str]:
    fields = [
        f"| {field.name}{'' if field.required else ' (optional)'} | `{_type_name(field.type)}` |"
        for field in msgspec.structs.fields(stored)
    ]
    return ["", title, "", " ".join((stored.__doc__ or "").split()), "", "| field | type |", "|---|---|", *fields]


def _type_name(annotation: object) -> str:
    name = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    return re.sub(r"\b(?:typing|uuid|datetime|domain\.\w+)\.", "", name).replace("|", "\\|")
