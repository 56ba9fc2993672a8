"""The options that say what is done to a prompt or a message before it is sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from domain.preprocessing import Preprocessing

PREPROCESSING_KEYS = ("template", "fields", "preprocess")

F = TypeVar("F", bound=Callable[..., Any])


def preprocessing_options(command: F) -> F:
    """Give a command the options template, fields and preprocess, for `preprocessing_of`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def preprocessing_of(options: dict[str, Any], own: dict[str, Any] | None = None) -> "Preprocessing | None":
    """Take the steps out of the options; a line's own template, fields and steps override them. Raises Rejected."""
    from domain.preprocessing import parse_steps

    given = {**{name: options.pop(name) for name in PREPROCESSING_KEYS}, **(own or {})}
    return parse_steps(
        _converted(given, "preprocess", list[str], "a list of steps"),
        template=_converted(given, "template", str | None, "a text"),
        fields=_converted(given, "fields", dict[str, str], "texts by their names"),
    )


def _converted(given: dict[str, Any], name: str, shape: Any, told: str) -> Any:
    import msgspec

    from domain.errors import Rejected

    try:
        return msgspec.convert(given[name], shape)
    except msgspec.ValidationError:
        raise Rejected(f"{name} must be {told}", fields=(name,)) from None


def _fields(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or name in fields:
            raise click.BadParameter(f"{each!r} is given twice" if equals else f"{each!r} is not NAME=VALUE")
        fields[name] = value
    return fields


def _steps(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    return [] if value is None else value.split(",")


OPTIONS = (
    click.option("--template", help="What to put the prompt into: {user_input}, and {name} for each --field."),
    click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", callback=_fields, help="For the template."),
    click.option(
        "--preprocess",
        metavar="A,B",
        callback=_steps,
        help="control, whitespace, pii or pii:US, truncate:2000 (characters) or truncate:500t (tokens), "
        "in a fixed order.",
    ),
)
