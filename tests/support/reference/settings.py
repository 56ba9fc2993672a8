"""docs/reference/settings.md: every setting with its default, and what .env.example says of it."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from infrastructure.settings import Settings

ROOT = Path(__file__).parents[3]

INTRODUCTION = """# Settings

They are read from flags, then the environment, then `.env` in the current folder, then files in `/run/secrets`
(`/run/secrets/openai_api_key`), the first one that has a value; an empty one counts as not set. They are read afresh
for every call, so that a running server picks up a changed `.env` or file. Keys, passwords and
tokens are never printed. This page is generated from the program and from `.env.example`.
"""


def settings_page() -> str:
    """Every setting, in the order of .env.example."""
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    lines = [INTRODUCTION, "| setting | default | what it says |", "|---|---|---|"]
    for meaning, names in groupby(meanings().items(), key=itemgetter(1)):
        together = [name for name, _ in names]
        written = "<br>".join(_names(name, fields[name]) for name in together)
        defaults = "<br>".join(_default(fields[name]) or "·" for name in together)
        lines.append(f"| {written} | {defaults if defaults.strip('<br>·') else ''} | {meaning} |".replace("  ", " "))
    return "\n".join(lines) + "\n"


def meanings() -> dict[str, str]:
    """What .env.example says of each setting: the comment above it, or above the ones that it follows directly."""
    found: dict[str, str] = {}
    comment: list[str] = []
    in_comment = False
    for line in (ROOT / ".env.example").read_text().splitlines():
        if line.startswith("# "):
            comment = [*comment, line[2:]] if in_comment else [line[2:]]
        elif line.startswith("#"):
            found[line[1:].partition("=")[0]] = " ".join(comment).replace("|", "\\|")
        in_comment = line.startswith("# ")
    return found


def _names(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    others = [str(each).upper() for each in alias.choices] if isinstance(alias, AliasChoices) else []
    return f"`{name}`" + "".join(f", or `{other}`" for other in others if other != name)


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default == "" or field.default_factory is not None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
