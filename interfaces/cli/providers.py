"""The providers that can be asked."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, study_command

if TYPE_CHECKING:
    from interfaces.study import Study


def add_to(study: click.Group) -> None:
    """Add the command."""
    study_command(study, "providers", examples="study providers --models")(providers)


@click.option("--models", is_flag=True, help="Ask each for its models or deployments.")
def providers(invocation: Invocation, models: bool) -> None:
    """Show which providers can be asked with the settings as they are."""
    from application.providers import AttemptFailed
    from interfaces.cli.tables import table

    async def work(study: "Study") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for name in study.providers.configured():
            item: dict[str, Any] = {"provider": name, "endpoint": study.registry.create(name).endpoint}
            if models:
                try:
                    item["models"] = await study.providers.models(name)
                except AttemptFailed as failure:
                    item |= {"models": None, "error": str(failure)}
            items.append(item)
        return items

    items = invocation.run(work)
    rows = [
        [item["provider"], item["endpoint"], item.get("error") or ", ".join(item.get("models") or [])] for item in items
    ]
    invocation.answer(
        {"items": items, "next_cursor": None},
        lambda console: console.print(table(["provider", "endpoint", "models" if models else ""], rows)),
    )
