"""The clusters of one K after another: a choice that moves the map and the table. Imports Panel."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.clusters import cluster_table, step_cards
from interfaces.dashboard.controls import Changing, button, column, one_of, row
from interfaces.dashboard.filled_in import told
from interfaces.dashboard.page import Page
from interfaces.dashboard.sweep_charts import scatter, shown
from interfaces.report import ReportData


class SweepMap:
    """What is seen of each K, for one page."""

    def __init__(self, page: Page, data: ReportData, first: ReportData) -> None:
        """data: of the chosen K; first: of the K that is looked at first"""
        self._page, self._data = page, data
        chosen = data.sweep["chosen_k"]
        self._words = {_words(step["k"], chosen): step["k"] for step in data.sweep["steps"]}
        at = first.sweep["chosen_k"]
        self.k = one_of("K, the number of clusters", list(self._words), _words(at, chosen))
        self._fewer, self._more = button("← Fewer"), button("More →")
        self._cards, self._table = Changing(), Changing()
        self._map = shown(scatter(first))
        self._show(first)
        self.k.param.watch(self._chosen, "value")
        self._fewer.on_click(lambda _event: self._step(-1))
        self._more.on_click(lambda _event: self._step(1))
        self.parts = (
            row(self.k, self._fewer, self._more),
            column(self._cards.part),
            self._map,
            self._table.part,
        )

    def _step(self, by: int) -> None:
        words = list(self._words)
        at = words.index(self.k.value) + by
        if 0 <= at < len(words):
            self.k.value = words[at]

    async def _chosen(self, _event: Any) -> None:
        k = self._words[self.k.value]

        async def look() -> Markup:
            data = await self._page.study.reports.of_k(self._data, k)
            if k == self._words[self.k.value]:  # nobody has gone on to another meanwhile
                self._map.object = scatter(data)
                self._show(data)
            return Markup("")

        wrong = await told(look)
        if wrong:
            self._table.show(wrong)

    def _show(self, data: ReportData) -> None:
        self._cards.show(step_cards(self._page, data))
        self._table.show(cluster_table(self._page, data))
        words = list(self._words)
        at = words.index(self.k.value)
        self._fewer.disabled, self._more.disabled = at == 0, at == len(words) - 1


def _words(k: int, chosen: int) -> str:
    return f"{k} (chosen)" if k == chosen else str(k)
