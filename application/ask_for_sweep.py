"""Ask for a sweep and leave: the request is an event, which whoever runs sweeps finds in the log."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.compute import LOCAL
from application.embed_texts import EmbedTexts, TextsToEmbed
from application.gather_sweep import GatherSweep
from application.import_dataset import ImportDataset, hash_of_texts, hash_of_vectors
from application.notebook import Context
from application.ports import AppendConflict
from application.sweep_request import check_config
from application.sweep_turns import SweepTurns
from domain.clustering.methods import Method
from domain.sweeps import (
    LEFT_TO_SERVERS,
    SweepConfig,
    SweepRequested,
    SweepState,
    SweepStatus,
    fingerprint,
    hash_of_request_hashes,
    sweep_id_of,
)

REQUESTED = SweepRequested.__struct_fields__


class SweepAsked(Struct, frozen=True, kw_only=True):
    """A sweep that is finished, under way, or will be; what was asked is durable up to the position."""

    sweep_id: UUID
    position: int
    status: SweepStatus


class AskForSweep:
    """Asks. What was asked before is found again by its id, which needs no vectors to be known."""

    def __init__(
        self,
        turns: SweepTurns,
        datasets: ImportDataset,
        embed: EmbedTexts,
        gather: GatherSweep,
        methods: Mapping[str, Method],
    ) -> None:
        self._turns = turns
        self._notebook = turns.notebook
        self._datasets = datasets
        self._embed = embed
        self._gather = gather
        self._methods = methods

    async def of_dataset(
        self,
        name: str,
        config: SweepConfig,
        context: Context,
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        salt: str | None = None,
        compute: str = LOCAL,
    ) -> SweepAsked:
        """Of a dataset, which is embedded first where it isn't yet. Raises NotFound, Rejected, Unavailable."""
        dataset = await self._datasets.load(name)
        check_config(config, len(dataset.texts), self._methods)
        wanted = TextsToEmbed(texts=dataset.texts, provider=provider, model=model, dimensions=dimensions)
        rows = hash_of_request_hashes(self._embed.request_hashes(wanted))
        return await self._ask(
            SweepRequested(
                fingerprint=fingerprint(config, rows, dataset.texts_sha256, dataset.labels_sha256),
                config=config,
                dataset_id=dataset.dataset_id,
                dataset_name=dataset.name,
                provider=provider,
                model=model,
                dimensions=dimensions,
                salt=salt,
                compute=_elsewhere(compute),
            ),
            context,
        )

    async def of_vectors(
        self,
        vectors: NDArray[np.float32],
        config: SweepConfig,
        context: Context,
        *,
        texts: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        salt: str | None = None,
        compute: str = LOCAL,
    ) -> SweepAsked:
        """Of vectors made elsewhere, (n, d) float32, which are kept first, and so are their texts. Raises Rejected."""
        check_config(config, len(vectors), self._methods)
        vectors_id, dataset = await self._gather.keep_vectors(vectors, context, texts=texts, labels=labels)
        return await self._ask(
            SweepRequested(
                fingerprint=fingerprint(
                    config,
                    hash_of_vectors(vectors),
                    None if texts is None else hash_of_texts(texts),
                    None if labels is None else hash_of_texts(labels),
                ),
                config=config,
                dataset_id=None if dataset is None else dataset.dataset_id,
                dataset_name=None if dataset is None else dataset.name,
                vectors_id=vectors_id,
                salt=salt,
                compute=_elsewhere(compute),
            ),
            context,
        )

    async def again(self, sweep_id: UUID, context: Context, *, compute: str = LOCAL) -> SweepAsked:
        """Ask that somebody goes on with a sweep. Raises NotFound."""
        state = await self._turns.known(sweep_id)
        asked: dict[str, Any]
        if state.started is not None:
            source = state.started.source
            asked = {
                "fingerprint": state.started.fingerprint,
                "config": state.started.config,
                "dataset_id": source.dataset_id,
                "dataset_name": source.dataset_name,
                "vectors_id": source.vectors_id,
                "provider": source.embedding_provider,
                "model": source.embedding_model,
                "salt": state.started.salt,
            }
        else:
            asked = {name: getattr(state.requested, name) for name in REQUESTED if name != "compute"}
        return await self._write(sweep_id, SweepRequested(**asked, compute=_elsewhere(compute)), context)

    async def _ask(self, fact: SweepRequested, context: Context) -> SweepAsked:
        return await self._write(sweep_id_of(fact.fingerprint, fact.salt), fact, context)

    async def _write(self, sweep_id: UUID, fact: SweepRequested, context: Context) -> SweepAsked:
        """Ask, unless it is finished, or whoever runs sweeps has been asked already and will not forget it."""
        while True:
            state = await self._turns.load(sweep_id)
            if state.status == "finished" or (state.requested is not None and state.status in LEFT_TO_SERVERS):
                return await self._asked(sweep_id, state)
            try:
                entry = self._notebook.entry(context, sweep_id, state.version + 1, fact)
                position = await self._notebook.write(entry)
            except AppendConflict:
                continue  # somebody else asked, or ran it, meanwhile
            return SweepAsked(sweep_id=sweep_id, position=position, status="requested")

    async def _asked(self, sweep_id: UUID, state: SweepState) -> SweepAsked:
        events = await self._notebook.store.read_stream(sweep_id, after_version=state.version - 1)
        return SweepAsked(sweep_id=sweep_id, position=events[-1].position, status=state.status)


def _elsewhere(compute: str) -> str | None:
    return None if compute == LOCAL else compute
