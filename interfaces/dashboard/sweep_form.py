"""The form that starts a sweep: what, by which method, for which K, and how one is chosen. Imports Panel."""

from collections.abc import Mapping
from typing import Any

import msgspec
from markupsafe import Markup

from domain.errors import Rejected
from interfaces.dashboard.controls import Changing, button, column, folded, line, one_of, row
from interfaces.dashboard.filled_in import does, text_in, whole_in
from interfaces.dashboard.page import Page
from interfaces.dashboard.sweep_progress import SweepProgress
from interfaces.dashboard.sweep_source import Offered, wanted_vectors
from interfaces.dashboard.tables import link
from interfaces.sweep_options import SweepOptions, named_values

NO_TEXTS = "none"
CHOSEN_K, EVERY_K = "the chosen K", "every K"


class SweepForm:
    """The fields, the button and what came of pressing it."""

    def __init__(self, page: Page, offered: Offered) -> None:
        self._page, self._offered = page, offered
        self._methods = {
            each["method"]: each
            for each in page.study.sweeps.method_documents()
            if each["installed"] and not each["error"]
        }
        self._rules = {each["rule"]: each for each in page.study.sweeps.rule_documents()}
        self._vectors = {each.name: each for each in offered.vectors}
        names = [*(each["name"] for each in offered.datasets), *self._vectors]
        asked = page.text("dataset")
        self.source = one_of("What to cluster", names, asked if asked in names else names[0])
        self.texts = one_of("Texts of the vectors", [NO_TEXTS], NO_TEXTS)
        self.provider = one_of("Who embeds", page.study.providers.configured(), page.usual_provider)
        self.model = line("Embedding model", hint="the provider’s default")
        self.method = one_of("Method", list(self._methods), "k-means")
        self.rule = one_of("K is chosen by", list(self._rules), "silhouette")
        self.k_min = line("Smallest K", value="2")
        self.k_max = line("Largest K", value="20")
        self.restarts = line("Restarts", value="10")
        self.seed = line("Seed", value="0")
        self.pca_dim = line("Principal components", value="64")
        self.summarise = line("Who names the clusters", hint="PROVIDER/MODEL, or nobody")
        self.named = one_of("Names for", [CHOSEN_K, EVERY_K], CHOSEN_K)
        self._about_method, self._about_rule = Changing(), Changing()
        self._parameters: dict[str, Any] = {}
        self._of_method = column()
        self.start = button("Start the sweep", primary=True)
        self.result, self.progress = Changing(), SweepProgress(page)
        self.source.param.watch(self._source_chosen, "value")
        self.method.param.watch(self._method_chosen, "value")
        self.rule.param.watch(self._rule_chosen, "value")
        does(self.start, self.result, self._ask)
        self._source_chosen()
        self._method_chosen()
        self._rule_chosen()
        self.fields = column(
            row(self.source, self.texts, self.provider, self.model),
            row(self.method, self.k_min, self.k_max),
            self._about_method.part,
            self._of_method,
            row(self.rule, self.summarise, self.named),
            self._about_rule.part,
            folded("Restarts, seed and principal components", row(self.restarts, self.seed, self.pca_dim)),
            row(self.start),
        )

    def _source_chosen(self, _event: Any = None) -> None:
        vectors = self._vectors.get(self.source.value)
        self.texts.visible = vectors is not None
        self.provider.visible = self.model.visible = vectors is None
        if vectors is not None:
            fit = self._offered.texts_for(vectors)
            self.texts.options = [NO_TEXTS, *fit]
            self.texts.value = vectors.texts or NO_TEXTS

    def _method_chosen(self, _event: Any = None) -> None:
        method = self._methods[self.method.value]
        self.k_min.disabled = self.k_max.disabled = method["finds_k"]
        found = " It finds the number of clusters itself." if method["finds_k"] else ""
        self._about_method.show(_note(method["description"] + found))
        properties = method["parameters"].get("properties", {})
        self._parameters = {name: _field(name, schema) for name, schema in properties.items()}
        self._of_method[:] = [row(*self._parameters.values())] if self._parameters else []

    def _rule_chosen(self, _event: Any = None) -> None:
        self._about_rule.show(_note(self._rules[self.rule.value]["description"]))

    async def _ask(self) -> Markup:
        sweeps = self._page.study.sweeps
        context, config = await self._page.context(), self._options().config(sweeps.methods)
        asked = await sweeps.ask(context, config=config, **await self._wanted())
        self.progress.begin(asked.sweep_id)
        way = link(self._page.href("sweeps", sweep=asked.sweep_id), f"Sweep {asked.sweep_id}")
        return Markup('<p role="status">{}: the same data and options are always this sweep.</p>').format(way)

    async def _wanted(self) -> dict[str, Any]:
        vectors = self._vectors.get(self.source.value)
        if vectors is None:
            return {"dataset": self.source.value, "provider": self.provider.value, "model": text_in(self.model)}
        texts = None if self.texts.value == NO_TEXTS else self.texts.value
        return await wanted_vectors(self._page.study, vectors, texts)

    def _options(self) -> SweepOptions:
        """What the form says. Raises Rejected naming the field."""
        finds_k = self._methods[self.method.value]["finds_k"]
        wanted = {
            "method": self.method.value,
            "k_min": None if finds_k else whole_in(self.k_min),
            "k_max": None if finds_k else whole_in(self.k_max),
            "restarts": whole_in(self.restarts),
            "seed": whole_in(self.seed),
            "pca_dim": whole_in(self.pca_dim),
            "parameters": self._values(),
            "choose_by": self.rule.value,
            "summarise": text_in(self.summarise),
            "name_every_k": self.named.value == EVERY_K,
        }
        try:
            return msgspec.convert({name: each for name, each in wanted.items() if each is not None}, SweepOptions)
        except msgspec.ValidationError as error:
            raise Rejected(f"The form can’t be right: {error}") from None

    def _values(self) -> dict[str, Any]:
        given = {name: text_in(field) for name, field in self._parameters.items()}
        return named_values((f"{name}={value}" for name, value in given.items() if value is not None), "a parameter")


def _field(name: str, schema: Mapping[str, Any]) -> Any:
    usual = schema.get("default")
    if "enum" in schema:
        return one_of(name, [str(each) for each in schema["enum"]], None if usual is None else str(usual))
    return line(name, value="" if usual is None else str(usual), hint=str(schema.get("description", "")))


def _note(text: str) -> Markup:
    return Markup('<p class="note">{}</p>').format(text)
