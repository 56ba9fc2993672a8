"""Tokens from the command line."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging

Json = dict[str, Any]


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def token() -> None:
        """Who may do what over HTTP.

        A server that other machines reach lets nobody in without a token. What is done with one is recorded under its
        name.
        """

    study_command(
        token,
        "issue",
        examples="study token issue --name ada --scope write\n"
        "study token issue --name ci --scope read --expires 90d --json | jq -r .token",
    )(issue)
    study_command(token, "list", examples="study token list\nstudy token list --as-of 2026-03-01 --json")(list_all)
    study_command(token, "revoke", examples="study token revoke ci")(revoke)


@click.option("--name", required=True, help="Whose it is: the actor of everything that is done with it.")
@click.option(
    "--scope",
    required=True,
    type=click.Choice(["read", "write", "admin"]),
    help="read: look; write: also ask and change; admin: also tokens and upkeep.",
)
@click.option("--expires", metavar="WHEN", help="After a time such as 90d, or at one such as 2026-12-31; else never.")
def issue(invocation: Invocation, name: str, scope: str, expires: str | None) -> None:
    """Issue a token. It is shown this once: what is recorded is its hash."""

    async def work(study: "Study") -> Json:
        return await study.tokens.issue(name, scope, study.context(), expires=expires)

    issued = invocation.run(work)

    def show(_console: Any) -> None:
        click.echo(issued["token"])
        click.echo("Keep it: it is not shown again. Clients send it as `Authorization: Bearer TOKEN`.", err=True)

    invocation.answer(issued, show)


@as_of_a_moment
@by_the_page
def list_all(invocation: Invocation, moment: "Moment", page: "Paging") -> None:
    """List the tokens, newest first, revoked ones too."""

    async def work(study: "Study") -> Json:
        return await study.tokens.list(moment, page)

    invocation.answer_page(
        invocation.run(work),
        ["name", "scope", "status", "issued (UTC)", "by", "expires (UTC)", "revoked (UTC)"],
        lambda each: [
            each["name"],
            each["scope"],
            each["status"],
            each["issued_at"][:19],
            each["issued_by"],
            (each["expires_at"] or "never")[:19],
            (each["revoked_at"] or "")[:19],
        ],
        nothing="No tokens.",
    )


@click.argument("name")
def revoke(invocation: Invocation, name: str) -> None:
    """Take a token back. Every server refuses it within a second; what was done with it stays recorded."""

    async def work(study: "Study") -> Json:
        return await study.tokens.revoke(name, study.context())

    revoked = invocation.run(work)
    invocation.answer(revoked, lambda _console: click.echo(f"Revoked {name}."))
