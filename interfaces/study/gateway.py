"""What other people's clients send, passed on to the providers and recorded."""

import asyncio

from application.notebook import Context
from application.providers import AttemptFailed, Provider
from application.relay_request import Begun, Relayed, RelayRequest, RequestToRelay
from application.stream_answer import AnswerStream, StreamAnswer
from interfaces.study.words import Json

NAMED = ("model", "deployment")  # what a provider calls them
LISTING_SECONDS = 5.0  # for a provider to list its models; the ones that are configured are listed in any case


class Gateway:
    """Relays requests, and tells which models there are."""

    def __init__(self, relay_request: RelayRequest, stream_answer: StreamAnswer) -> None:
        self._relay_request = relay_request
        self._stream_answer = stream_answer

    async def relay(self, asked: RequestToRelay, context: Context) -> Relayed:
        """Relay a request; see the use case."""
        return await self._relay_request(asked, context)

    def stream(self, asked: RequestToRelay, context: Context) -> AnswerStream[Begun | bytes, Relayed]:
        """Relay a request, and get the pieces of the reply as they come. Whoever leaves cancels the call."""
        return self._stream_answer.begin(lambda tell: self._relay_request(asked, context, tell))

    async def models(self) -> list[Json]:
        """Every model by the name that the gateway takes, PROVIDER/MODEL; the default provider's first."""
        providers = self._relay_request.providers()
        found = await asyncio.gather(*(_models_of(provider) for provider in providers))
        return [
            {"id": f"{provider.name}/{model}", "object": "model", "created": 0, "owned_by": provider.name}
            for provider, models in zip(providers, found, strict=True)
            for model in models
        ]

    async def model(self, name: str) -> Json | None:
        """One of them, by the name that a request would give; None if there is none."""
        full = self._relay_request.full_name(name)
        return next((model for model in await self.models() if model["id"] == full), None)


async def _models_of(provider: Provider) -> list[str]:
    """Those that it lists, and the ones that are set, whether it can be reached or not."""
    configured = {getattr(provider, f"{kind}_{what}", None) for kind in ("chat", "embedding") for what in NAMED}
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            listed = await provider.models()
    except (AttemptFailed, TimeoutError):
        listed = []
    return sorted({*listed, *(name for name in configured if name)})
