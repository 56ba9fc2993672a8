"""What all rooms of a study share: the shape of their answers, and how ids and stages are written."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from application.sweep_progress import Progress
from domain.errors import NotFound

Json = dict[str, Any]


def id_of(value: UUID | str) -> UUID:
    """An id as people write it. Raises NotFound for what is none."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise NotFound(f"{value[:60]!r} is no id; ids look like 0195512a-7c00-7000-8000-000000000001") from None


def stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """The progress of one stage of a longer work."""
    return None if progress is None else lambda done, total: progress(name, done, total)


def is_id(value: str) -> bool:
    """Whether a text is an id, and not a name."""
    try:
        UUID(value)
    except ValueError:
        return False
    return True
