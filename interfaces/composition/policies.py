"""How often and how long a provider is tried, as the settings say."""

from msgspec import structs

from application.call_provider import AttemptPolicy
from application.validate_deployments import ProbePolicy
from infrastructure.settings import Settings

PROBE_ATTEMPTS = 2
HAVE_DEPLOYMENTS = {"azure"}  # whose models are what somebody deployed, or has deleted since


def chat_policy(settings: Settings) -> AttemptPolicy:
    """Chats are tried a few times, with short waits: somebody waits for the answer."""
    return AttemptPolicy(
        attempts=settings.study_chat_attempts,
        attempt_timeout_seconds=settings.study_attempt_timeout_s,
        call_timeout_seconds=settings.study_call_timeout_s,
        longest_wait_seconds=10.0,
    )


def embed_policy(settings: Settings) -> AttemptPolicy:
    """Embeddings are tried more often: there are many, and they are asked for in bulk."""
    return AttemptPolicy(
        attempts=settings.study_embed_attempts,
        attempt_timeout_seconds=settings.study_attempt_timeout_s,
        call_timeout_seconds=settings.study_call_timeout_s,
        longest_wait_seconds=30.0,
    )


def gateway_policy(settings: Settings) -> AttemptPolicy:
    """What other people's clients send is tried once, since they try again by themselves, and wait as they like."""
    return AttemptPolicy(
        attempts=settings.study_gateway_attempts,
        attempt_timeout_seconds=settings.study_gateway_timeout_s,
        call_timeout_seconds=max(settings.study_gateway_timeout_s, settings.study_call_timeout_s),
        longest_wait_seconds=10.0,
    )


def probe_policy(settings: Settings) -> ProbePolicy:
    """A deployment is probed quickly, and what came of it is remembered."""
    return ProbePolicy(
        attempts=structs.replace(embed_policy(settings), attempts=PROBE_ATTEMPTS),
        remembered_seconds=settings.study_probe_ttl_s,
        before_embedding=lambda provider: settings.study_probe_deployments and provider in HAVE_DEPLOYMENTS,
    )
