"""Deployments are asked once whether they are there; what may pass is not remembered."""

import random
from datetime import timedelta

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from application.call_provider import AttemptPolicy, CallProvider
from application.embed_texts import EmbedTexts, TextsToEmbed
from application.providers import AttemptFailed
from application.validate_deployments import ProbePolicy, Validated, ValidateDeployments
from domain.calls import CallAnswered, CallFailed, CallRequested
from domain.deployments import DeploymentProbed
from domain.errors import Rejected
from tests.application.test_embed_texts import Embedding
from tests.support.given_when_then import CONTEXT, SteppingClock
from tests.support.scripted_provider import Directory, ScriptedProvider, failure

DAY = 86_400.0


class Validating:
    """Validates the deployments of a provider that fails as scripted."""

    def __init__(self, *script: AttemptFailed, looks_first: bool = True) -> None:
        self.clock = SteppingClock()
        self.provider = ScriptedProvider(script)
        self.embedding = Embedding(self.provider, clock=self.clock)
        self.store = self.embedding.store
        self.looks_first = looks_first
        self.use = self.another_process()

    def another_process(self) -> ValidateDeployments:
        """One that has only the store in common."""
        book = self.embedding.book
        return ValidateDeployments(
            book,
            CallProvider(book, chance=random.Random(0)),
            Directory(self.provider),
            lambda: ProbePolicy(
                attempts=AttemptPolicy(attempts=1),
                remembered_seconds=DAY,
                before_embedding=lambda name: self.looks_first and name == "scripted",
            ),
        )

    async def __call__(self, *models: str, again: bool = False) -> list[Validated]:
        return await self.use("scripted", models, CONTEXT, again=again)

    def embed_texts(self) -> EmbedTexts:
        """Embeds with a look at the deployment first."""
        check = self.use.check_before_embedding
        return Embedding(self.provider, store=self.store, ids=self.embedding.book.ids, check_deployment=check).embed


async def test_a_deployment_is_asked_once_and_remembered_with_its_time_in_other_processes_too() -> None:
    validating = Validating()
    (first,) = await validating("e")
    validating.clock.seconds += 60
    (again,) = await validating("e")
    (elsewhere,) = await validating.another_process()("scripted", ["e"], CONTEXT)
    assert (first.outcome, first.remembered) == ("available", False)
    assert (again.outcome, again.remembered, again.probed_at, again.call_id) == (
        "available",
        True,
        first.probed_at,
        first.call_id,
    )
    assert elsewhere == again
    (asked,) = validating.store.facts(CallRequested)
    assert isinstance(asked, CallRequested)
    assert asked.metadata == {"purpose": "deployment validation"}
    assert len(validating.store.facts(CallAnswered)) == 1


async def test_a_missing_one_is_remembered_and_told_once() -> None:
    validating = Validating(failure("not_found", transient=False))
    with capture_logs() as logs:
        found = [*(await validating("gone")), *(await validating("gone", "e", "gone"))]
    assert [(each.model, each.outcome) for each in found] == [
        ("gone", "missing"),
        ("gone", "missing"),
        ("e", "available"),
        ("gone", "missing"),
    ]
    assert [(entry["model"], entry["outcome"]) for entry in logs] == [("gone", "missing")]
    assert len(validating.store.facts(CallFailed)) == 1


async def test_trouble_that_may_pass_is_not_remembered() -> None:
    validating = Validating(failure("rate_limited"), failure("authentication", transient=False))
    found = [(await validating("e"))[0] for _ in range(3)]
    assert [each.outcome for each in found] == ["unknown", "unknown", "available"]
    assert "rate_limited" in str(found[0].reason)
    assert len(validating.store.facts(DeploymentProbed)) == 1


async def test_what_is_remembered_ends_after_its_time_or_when_asked_again() -> None:
    validating = Validating(failure("not_found", transient=False))
    assert (await validating("e"))[0].outcome == "missing"
    validating.store.events = [
        structs.replace(event, recorded_at=event.recorded_at - timedelta(seconds=DAY + 1))
        for event in validating.store.events
    ]
    (later,) = await validating("e")
    assert (later.outcome, later.remembered) == ("available", False)
    validating.provider.script.append(failure("not_found", transient=False))
    assert (await validating("e"))[0].outcome == "available"
    assert (await validating("e", again=True))[0].outcome == "missing"
    assert [fact.outcome for fact in validating.store.facts(DeploymentProbed)] == [  # type: ignore[attr-defined]
        "missing",
        "available",
        "missing",
    ]


async def test_a_batch_of_chats_is_not_begun_with_a_deployment_that_is_missing() -> None:
    validating = Validating(failure("not_found", transient=False))
    for _ in range(2):
        with pytest.raises(Rejected, match="no deployment 'gone' for chat"):
            await validating.use.check_before_asking("scripted", "gone", CONTEXT)
    assert len(validating.provider.sent) == 1
    await Validating(failure("not_found", transient=False), looks_first=False).use.check_before_asking(
        "scripted", "gone", CONTEXT
    )


async def test_texts_are_not_sent_to_a_deployment_that_is_missing() -> None:
    validating = Validating(failure("not_found", transient=False))
    embed = validating.embed_texts()
    for _ in range(2):
        with pytest.raises(Rejected, match="no deployment 'e' for embeddings") as rejected:
            await embed(TextsToEmbed(texts=("a", "bb")), CONTEXT)
        assert rejected.value.fields == ("model",)
    assert len(validating.store.facts(CallRequested)) == 1


async def test_texts_are_sent_without_a_look_where_that_is_switched_off_or_nothing_is_known() -> None:
    validating = Validating(looks_first=False)
    await validating.embed_texts()(TextsToEmbed(texts=("a", "bb")), CONTEXT)
    assert validating.store.facts(DeploymentProbed) == []
    validating = Validating(failure("timeout"))
    embedded = await validating.embed_texts()(TextsToEmbed(texts=("a", "bb")), CONTEXT)
    assert len(embedded.call_ids) == 2
    assert validating.store.facts(DeploymentProbed) == []


async def test_no_names_are_rejected() -> None:
    for names in ([], [""], ["m"] * 101):
        with pytest.raises(Rejected) as rejected:
            await Validating()(*names)
        assert rejected.value.fields == ("models",)
