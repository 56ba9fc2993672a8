"""Clustering methods that other distributions bring, found by the entry points of one group.

An entry point's name is the method's; its value is a `domain.clustering.Method` of that name. All are looked for when
first asked for; one that is broken is told to who asks for it, and in the list of methods, never in the way of another.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from domain.clustering.methods import METHOD_NAME, METHODS, Method
from domain.errors import Rejected

GROUP = "study_query_llm.methods"


class InstalledMethods(Mapping[str, Method]):
    """Our methods and those of plug-ins, by name, ours first. Getting a broken plug-in raises Rejected, naming it."""

    def __init__(self) -> None:
        self._points: dict[str, tuple[EntryPoint, ...]] | None = None
        self._loaded: dict[str, Method] = dict(METHODS)

    def __getitem__(self, name: str) -> Method:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._found()[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*METHODS, *sorted(name for name in self._found() if name not in METHODS)))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in METHODS or name in self._found()

    def documents(self) -> list[dict[str, Any]]:
        """What users see of each; a broken one says why in `error`, and one that takes a name of ours too."""
        shown = []
        for name in self:
            try:
                shown.append({**self[name].document(), "error": self._shadowed(name)})
            except Rejected as broken:
                shown.append({"method": name, "installed": False, "error": str(broken)})
        return shown

    def _found(self) -> dict[str, tuple[EntryPoint, ...]]:
        if self._points is None:
            found: dict[str, tuple[EntryPoint, ...]] = {}
            for point in entry_points(group=GROUP):
                found[point.name] = (*found.get(point.name, ()), point)
            self._points = found
        return self._points

    def _shadowed(self, name: str) -> str | None:
        if name in METHODS and name in self._found():
            whose = " and ".join(map(_origin, self._found()[name]))
            return f"{whose} offers a method {name!r} too; a plug-in can't take the name of ours, which is run"
        return None


def _load(name: str, points: tuple[EntryPoint, ...]) -> Method:
    if len(points) > 1:
        raise _broken(name, points, "two distributions offer a method of this name")
    try:
        method = points[0].load()
    except Exception as error:  # noqa: BLE001 - whatever others' code does, the other methods go on
        raise _broken(name, points, f"{type(error).__name__}: {error}") from None
    if not isinstance(method, Method):
        raise _broken(name, points, f"it is a {type(method).__name__}, not a domain.clustering.Method")
    if method.name != name or not METHOD_NAME.fullmatch(name):
        raise _broken(
            name, points, f"its name is {method.name!r}; both names must be the same, of a-z, 0-9 and single hyphens"
        )
    if not (isinstance(method.parameters, type) and issubclass(method.parameters, Struct)):
        raise _broken(name, points, "its parameters are no msgspec.Struct")
    if not callable(method.run):
        raise _broken(name, points, "its `run` can't be called")
    try:
        method.document()
    except Exception as error:  # noqa: BLE001 - as above
        raise _broken(name, points, f"its parameters have no JSON schema: {error}") from None
    return replace(method, distribution=_whose(points[0]))


def _whose(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "?"


def _origin(point: EntryPoint) -> str:
    return f"{_whose(point)} ({point.value})"


def _broken(name: str, points: tuple[EntryPoint, ...], reason: str) -> Rejected:
    return Rejected(
        f"The method {name!r} of {' and '.join(map(_origin, points))} can't be used: {reason}. Mend or uninstall it",
        fields=("method",),
    )
