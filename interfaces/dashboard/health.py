"""Health: whether the store, the read models and the providers are well, and what to do if not."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import badge, count
from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.tables import cards, section, table

COLUMNS = ("Read model", "State", "Position", "Events behind", "Seconds behind", "")


async def draw(page: Page) -> Drawn:
    """How things stand now, whatever moment is looked at."""
    health = await page.study.house.health()
    rows = (await page.study.house.status())["items"] if health["store"]["ok"] else []
    unanswered = (await page.study.audit.unanswered())["items"] if rows else []
    parts = [cards(_parts(health, len(unanswered)))]
    if rows:
        listed = table(COLUMNS, [_row(row) for row in rows], caption="Read models", numbers=(2, 3, 4))
        parts.append(
            section(
                "Read models",
                Markup(
                    "<p class=note>Tables that are built from the events, and can be "
                    "built again: <code>study projections rebuild</code>.</p>"
                ),
                listed,
            )
        )
    parts.append(section("Providers", _providers(page)))
    return Drawn("Health", tuple(parts), lead="How things stand now.")


def _parts(health: dict[str, Any], unanswered: int) -> list[tuple[str, Markup]]:
    told = {
        "Store": health["store"].get("detail") or f"position {count(health['store'].get('position'))}",
        "Read models": health["follower"].get("detail")
        or (
            f"stopped: {', '.join(health['follower']['stopped'])}"
            if health["follower"]["stopped"]
            else "up to date"
            if not health["follower"]["lag_events"]
            else f"{count(health['follower']['lag_events'])} events behind"
        ),
    }
    ok = {
        "Store": health["store"]["ok"],
        "Read models": health["follower"]["ok"] and not health["follower"].get("stopped"),
    }
    if "journal" in health:
        told["Journal"] = f"{count(health['journal']['waiting_bytes'])} bytes wait to be stored"
        ok["Journal"] = health["journal"]["waiting_bytes"] == 0
    told["Unanswered calls"] = f"{unanswered} on the first page"
    ok["Unanswered calls"] = True
    return [
        (name, Markup('{}<span class="note">{}</span>').format(badge("well" if ok[name] else "unwell"), text))
        for name, text in told.items()
    ]


def _row(row: dict[str, Any]) -> list[str | Markup]:
    failed = row["failed_position"]
    state = row["state"] if failed is None else "stopped"
    why = "" if failed is None else f"at event {failed}: {row['failed_reason']}"
    return [
        row["name"],
        badge(state),
        count(row["position"]),
        count(row["lag_events"]),
        f"{row['lag_seconds']:.1f}",
        why,
    ]


def _providers(page: Page) -> Markup:
    names = page.study.providers.configured()
    return Markup(
        "<p>{}</p><p class=note>Others are configured by their keys: see <code>study doctor</code>.</p>"
    ).format(", ".join(names))


VIEW = View("health", "Health", "h", draw)
