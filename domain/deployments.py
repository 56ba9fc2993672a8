"""Whether a provider has a deployment (or model) of a name, as facts: asked once, and remembered."""

from typing import Literal
from uuid import UUID

from domain.events import Fact, stored_as
from domain.identity import content_id

ProbedOperation = Literal["chat", "embeddings"]
ProbeOutcome = Literal["available", "missing"]


@stored_as("deployment.probed.v1")
class DeploymentProbed(Fact, frozen=True, kw_only=True):
    """A deployment was asked for next to nothing, and answered, or the provider said that it has none of that name.

    What may be over later, such as a rate limit or an outage, says neither and is not written down here.
    """

    provider: str
    endpoint: str
    model: str
    operation: ProbedOperation
    outcome: ProbeOutcome
    call_id: UUID  # of the probe, which is a call like any other
    http_status: int | None = None


def deployment_id(*, provider: str, endpoint: str, model: str, operation: str) -> UUID:
    """The stream of all that was found out about one deployment's use for one thing."""
    return content_id("deployment", provider, endpoint, model, operation)
