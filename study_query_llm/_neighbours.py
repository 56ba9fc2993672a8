"""The project's packages have plain names; make sure that the ones Python finds are ours, and say what shadows them."""

from importlib.util import find_spec
from pathlib import Path

OURS = ("domain", "application", "infrastructure", "projections", "interfaces")


def shadowed(home: Path) -> list[str]:
    """Which of our packages Python would take from somewhere else than `home`, and from where."""
    found = {name: find_spec(name) for name in OURS}
    return [
        f"{name} is {'missing' if spec is None or spec.origin is None else spec.origin}"
        for name, spec in found.items()
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parent.parent != home
    ]


_wrong = shadowed(Path(__file__).resolve().parent.parent)
if _wrong:
    raise ImportError(
        "study_query_llm needs its own packages beside it, but " + "; ".join(_wrong) + ". "
        "Install it in an environment of its own, and don't run from a folder that holds packages of these names."
    )
