"""The providers that can be asked."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, study_command

if TYPE_CHECKING:
    from interfaces.study import Study


def add_to(study: click.Group) -> None:
    """Add the command."""
    study_command(study, "providers", examples="study providers --models\nstudy providers --validate --json")(providers)


@click.option("--models", is_flag=True, help="Ask each for its models or deployments.")
@click.option("--validate", is_flag=True, help="Ask the default models or deployments once whether they are there.")
@click.option("--again", is_flag=True, help="With --validate: ask again, whatever is remembered.")
def providers(invocation: Invocation, models: bool, validate: bool, again: bool) -> None:
    """Show which providers can be asked with the settings as they are."""
    from domain.errors import Rejected
    from interfaces.cli.tables import table

    if again and not validate:
        raise Rejected("--again says how to --validate: give both", fields=("again",))

    async def work(study: "Study") -> list[dict[str, Any]]:
        return [
            await _shown(study, name, models=models, validate=validate, again=again)
            for name in study.providers.configured()
        ]

    items = invocation.run(work)
    columns = ["provider", "endpoint", *(["models"] if models else []), *(["validated"] if validate else [])]
    rows = [
        [
            item["provider"],
            item["endpoint"],
            *([item.get("error") or ", ".join(item["models"])] if models else []),
            *(["\n".join(map(_line, item["validated"]))] if validate else []),
        ]
        for item in items
    ]
    invocation.answer({"items": items, "next_cursor": None}, lambda console: console.print(table(columns, rows)))


async def _shown(study: "Study", name: str, *, models: bool, validate: bool, again: bool) -> dict[str, Any]:
    from msgspec import to_builtins

    from application.providers import AttemptFailed

    item: dict[str, Any] = {"provider": name, "endpoint": study.registry.create(name).endpoint}
    if models:
        try:
            item["models"] = await study.providers.models(name)
        except AttemptFailed as failure:
            item |= {"models": None, "error": str(failure)}
    if validate:
        found = await study.providers.validate_defaults(name, study.context(), again=again)
        item["validated"] = [to_builtins(each) for each in found]
    return item


def _line(validated: dict[str, Any]) -> str:
    when = validated["probed_at"][:16].replace("T", " ")
    remembered = ", remembered" if validated["remembered"] else ""
    why = f"; {validated['reason']}" if validated["reason"] else ""
    return f"{validated['operation']} {validated['model']}: {validated['outcome']}{why} ({when} UTC{remembered})"
