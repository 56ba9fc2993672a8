"""Asking models."""

from application.ask_batch import AskBatch, Progress, Tell
from application.ask_model import Answer, AskModel, Question
from application.batches import AnsweredBatch, BatchItem, BatchToAsk, Outcome
from application.notebook import Context
from application.stream_answer import AnswerStream, StreamAnswer


class Asking:
    """Asks: once, several times, many questions, or for an answer while it comes."""

    def __init__(self, ask_model: AskModel, ask_batch: AskBatch, stream_answer: StreamAnswer) -> None:
        self._ask_model = ask_model
        self._ask_batch = ask_batch
        self._stream_answer = stream_answer

    async def ask(self, question: Question, context: Context) -> Answer:
        """Ask once. Raises Rejected, ProviderFailed, Unavailable."""
        return await self._ask_model(question, context)

    async def samples(self, question: Question, context: Context) -> list[Outcome]:
        """Ask for several answers to one question. Raises what the first one failed with when all of them did."""
        return await self._ask_batch.samples(question, context)

    async def batch(
        self,
        batch: BatchToAsk,
        context: Context,
        *,
        progress: Progress | None = None,
        tell: Tell | None = None,
    ) -> AnsweredBatch:
        """Ask many questions; what this batch was answered before is given again. Raises Rejected, Unavailable."""
        return await self._ask_batch(batch, context, progress=progress, tell=tell)

    def stream_batch(self, batch: BatchToAsk, context: Context) -> AnswerStream[BatchItem, AnsweredBatch]:
        """Ask many questions, and get each item as it is done. Whoever leaves cancels the calls under way."""

        async def run(tell: Tell) -> AnsweredBatch:
            return await self._ask_batch(batch, context, tell=tell)

        return self._stream_answer.begin(run)

    def stream(self, question: Question, context: Context) -> AnswerStream[str, Answer]:
        """Ask, and get the answer's text as it comes. Whoever leaves the stream cancels the call."""
        return self._stream_answer(question, context)

    async def aclose(self) -> None:
        """Cancel the streams that are still open, and wait until that is recorded."""
        await self._stream_answer.aclose()
