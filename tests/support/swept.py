"""A small study from texts to named clusters, made as people make them, with the offline provider."""

from application.import_dataset import Table
from domain.sweeps import SweepConfig
from interfaces.study import Json, Study

THINGS = ("train", "bus", "plane", "boat", "ferry", "tram")
TEXTS = [f"a {thing} to {town}" for town in ("Rome", "Oslo") for thing in THINGS] + [
    f"bake {how} {what}" for how in ("sweet", "dark") for what in ("bread", "cake", "buns", "pies", "tarts", "rolls")
]


def config_of(**changes: object) -> SweepConfig:
    """A sweep that takes no time."""
    given = {"k_values": (2, 3), "restarts": 2, "pca_dim": 4, "summarise": "local/local-extract", **changes}
    return SweepConfig(method="k-means", **given)  # type: ignore[arg-type]


async def swept(study: Study, **changes: object) -> Json:
    """Import texts, embed them, sweep, name the clusters; the sweep's document."""
    context = study.context()
    table = Table(columns={"text": list(TEXTS), "topic": ["travel"] * 12 + ["baking"] * 12})
    await study.datasets.add(table, context, name="things", text_column="text", label_column="topic")
    sweep_id = await study.sweeps.of_dataset("things", context, config=config_of(**changes), provider="local")
    return await study.sweeps.get(sweep_id)
