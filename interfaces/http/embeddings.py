"""Embeddings: texts in, vectors out, each distinct text paid for once."""

from typing import Annotated, Any
from uuid import UUID

import numpy as np
from litestar import Router, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from application.embed_texts import Embedded, TextsToEmbed
from interfaces.http.calls import GroupBody
from interfaces.http.parameters import OpenStudy, RequestContext
from interfaces.http.problems import problem_responses

MOST_TEXTS = 10_000


class EmbeddingsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts to embed, in order."""

    texts: Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)]
    provider: str | None = None
    model: str | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    group: GroupBody | None = None
    metadata: dict[str, Any] = {}


class EmbeddedText(Struct, frozen=True, kw_only=True):
    """One text's vector, bit for bit the provider's float32, and the call that paid for it."""

    index: int
    vector: list[float]
    model: str
    dimension: int
    norm: float
    request_hash: str
    cached: bool
    call_id: UUID


class EmbeddedTexts(Struct, frozen=True, kw_only=True):
    """Vectors in the order of the texts, durable at `position`."""

    items: list[EmbeddedText]
    position: int | None


@post("/embeddings", summary="Embed texts", status_code=200, responses=problem_responses(400, 413, 502, 503))
async def embed_texts(
    data: Annotated[
        EmbeddingsBody, Body(title="What to embed", examples=[Example(value={"texts": ["a cat", "a dog"]})])
    ],
    study: OpenStudy,
    context: RequestContext,
) -> EmbeddedTexts:
    """Embed texts. Those embedded before under equal circumstances come from the cache, and no provider is called."""
    wanted = TextsToEmbed(
        texts=tuple(data.texts),
        provider=data.provider,
        model=data.model,
        dimensions=data.dimensions,
        group=None if data.group is None else data.group.place(),
        metadata=data.metadata,
    )
    return _answer(await study.embeddings.of_texts(wanted, context))


def _answer(embedded: Embedded) -> EmbeddedTexts:
    norms = np.linalg.norm(embedded.vectors.astype(np.float64), axis=1)
    items = [
        EmbeddedText(
            index=index,
            vector=vector.tolist(),
            model=embedded.model,
            dimension=len(vector),
            norm=float(norms[index]),
            request_hash=embedded.request_hashes[index],
            cached=bool(embedded.cached[index]),
            call_id=embedded.call_ids[index],
        )
        for index, vector in enumerate(embedded.vectors)
    ]
    return EmbeddedTexts(items=items, position=embedded.position)


ROUTES = Router("/", route_handlers=[embed_texts], tags=["embeddings"])
