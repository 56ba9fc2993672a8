"""What people type into and press on a page that is alive, and HTML that changes. Imports Panel."""

from collections.abc import Sequence
from typing import Any

import panel
from markupsafe import Markup

from interfaces.dashboard.assets import ASSETS_AT

STYLES = [f"{ASSETS_AT}/controls.css"]
PAGE_STYLES = [f"{ASSETS_AT}/page.css"]


class Changing:
    """HTML that is replaced while somebody looks; `part` is what stands on the page."""

    def __init__(self, html: Markup | None = None) -> None:
        self.part = panel.pane.HTML(
            str(html or ""), sizing_mode="stretch_width", margin=0, stylesheets=PAGE_STYLES, sanitize_html=False
        )

    def show(self, html: Markup) -> None:
        """Show this instead. Panel escapes what it sends, which markup would not be a second time: so as plain text."""
        self.part.object = str(html)


def long_text(label: str, *, rows: int = 4, hint: str = "", value: str = "", css: Sequence[str] = ()) -> Any:
    """Several lines of text, which may grow."""
    return panel.widgets.TextAreaInput(
        name=label,
        value=value,
        placeholder=hint,
        rows=rows,
        auto_grow=True,
        max_rows=24,
        max_length=1_000_000,
        css_classes=list(css),
        **_wide(),
    )


def line(label: str, *, hint: str = "", value: str = "") -> Any:
    """One line of text."""
    return panel.widgets.TextInput(name=label, value=value, placeholder=hint, **_wide())


def one_of(label: str, options: Sequence[str], value: str | None = None) -> Any:
    """One of a few words."""
    return panel.widgets.Select(name=label, options=list(options), value=value, **_wide())


def offered(label: str, *, hint: str = "", value: str = "") -> Any:
    """A word of one's own, or one of those that are offered: set its `options`."""
    return panel.widgets.AutocompleteInput(
        name=label,
        value=value,
        placeholder=hint,
        restrict=False,
        min_characters=0,
        case_sensitive=False,
        search_strategy="includes",
        **_wide(),
    )


def button(label: str, *, primary: bool = False, **more: Any) -> Any:
    """Something to press."""
    return panel.widgets.Button(
        name=label, button_type="primary" if primary else "default", stylesheets=STYLES, margin=(0, 8, 0, 0), **more
    )


def row(*parts: Any) -> Any:
    """Parts beside each other, below each other where there is no room."""
    return panel.Row(
        *parts, sizing_mode="stretch_width", margin=0, css_classes=["row"], stylesheets=STYLES, min_width=1
    )


def column(*parts: Any) -> Any:
    """Parts below each other."""
    return panel.Column(*parts, sizing_mode="stretch_width", margin=0, min_width=1, styles={"gap": "10px"})


def folded(title: str, *parts: Any) -> Any:
    """Parts that show when their title is pressed."""
    return panel.Card(
        *parts,
        header=Changing(Markup("<span>{}</span>").format(title)).part,
        collapsed=True,
        sizing_mode="stretch_width",
        margin=(4, 0),
        stylesheets=STYLES,
        css_classes=["folded"],
    )


def _wide() -> dict[str, Any]:
    return {
        "sizing_mode": "stretch_width",
        "margin": 0,
        "stylesheets": STYLES,
        "min_width": 1,
        "styles": {"flex": "1 1 150px"},
    }
