"""A template's whole language: `{user_input}`, `{name}` of the caller's own fields, `{{` and `}}` for braces.

A summary's template has `{texts}` in place of `{user_input}`.

Unlike `str.format` it reaches nothing but those texts: no attribute, no index, no conversion, no format. What is filled
in is text and is never read as a template.
"""

from string import Formatter
from typing import NamedTuple

from domain.errors import Rejected

USER_INPUT = "user_input"
TEXTS = "texts"
MOST_TEMPLATE_CHARACTERS = 100_000
MOST_FIELDS = 100
MOST_FILLED_CHARACTERS = 10_000_000


class Piece(NamedTuple):
    """A text as it stands, and the name of the field behind it, if one is."""

    text: str
    name: str | None


def checked_template(template: str, fields: dict[str, str], *, what: str = USER_INPUT) -> list[Piece]:
    """The template's pieces. Raises Rejected naming the placeholder at fault, and the fields there are.

    what: the placeholder of that which the template is put around
    """
    if len(template) > MOST_TEMPLATE_CHARACTERS:
        raise Rejected(f"The template is longer than {MOST_TEMPLATE_CHARACTERS:,} characters", fields=("template",))
    _check_fields(fields, what)
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise Rejected(
            f"The template can't be read ({error}); write {{{{ and }}}} for braces that are meant as such",
            fields=("template",),
        ) from None
    pieces: list[Piece] = []
    for text, name, form, conversion in parsed:
        if name is not None:
            _check_placeholder(name, form, conversion, fields, what)
        pieces.append(Piece(text, name))
    if all(piece.name != what for piece in pieces):
        meant = "prompt" if what == USER_INPUT else what
        raise Rejected(
            f"The template has no {{{what}}}, so that the {meant} would be lost; put it where the {meant} belong"
            f"{'s' if what == USER_INPUT else ''}",
            fields=("template",),
        )
    return pieces


def filled_in(template: str, text: str, fields: dict[str, str], *, what: str = USER_INPUT) -> str:
    """The template with a text and its fields. Raises Rejected, also when the result would be too long."""
    values = {**fields, what: text}
    pieces = checked_template(template, fields, what=what)
    length = sum(len(text) + (0 if name is None else len(values[name])) for text, name in pieces)
    if length > MOST_FILLED_CHARACTERS:
        raise Rejected(
            f"The template and its fields come to {length:,} characters, more than the "
            f"{MOST_FILLED_CHARACTERS:,} that a prompt may have",
            fields=("template",),
        )
    return "".join(text + ("" if name is None else values[name]) for text, name in pieces)


def _check_fields(fields: dict[str, str], what: str) -> None:
    if len(fields) > MOST_FIELDS:
        raise Rejected(f"A template takes at most {MOST_FIELDS} fields, not {len(fields)}", fields=("fields",))
    for name, value in fields.items():
        if not name.isidentifier() or name == what:
            raise Rejected(
                f"{name!r} can't be a field's name; use letters, digits and _, and not {what}, the prompt",
                fields=("fields",),
            )
        if not isinstance(value, str):
            raise Rejected(f"Field {name} must be a text, not {type(value).__name__}", fields=("fields",))
        if len(value) > MOST_FILLED_CHARACTERS:
            raise Rejected(f"Field {name} is longer than {MOST_FILLED_CHARACTERS:,} characters", fields=("fields",))


def _check_placeholder(name: str, form: str | None, conversion: str | None, fields: dict[str, str], what: str) -> None:
    written = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
    if form or conversion or not name.isidentifier():
        raise Rejected(
            f"The template's {written[:100]} is no plain name: a placeholder takes no attribute, index, number, "
            "conversion or format; write {{ and }} for braces that are meant as such",
            fields=("template",),
        )
    if name != what and name not in fields:
        raise Rejected(
            f"The template names {written[:100]}, which isn't given; there are {', '.join([what, *fields])}",
            fields=("template", "fields"),
        )
