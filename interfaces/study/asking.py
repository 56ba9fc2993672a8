"""Asking models."""

from application.ask_model import Answer, AskModel, Question
from application.notebook import Context
from application.stream_answer import AnswerStream, StreamAnswer


class Asking:
    """Asks, for one answer, for several, or for one while it comes."""

    def __init__(self, ask_model: AskModel, stream_answer: StreamAnswer) -> None:
        self._ask_model = ask_model
        self._stream_answer = stream_answer

    async def ask(self, question: Question, context: Context) -> list[Answer]:
        """Ask; one answer a sample. Raises Rejected, ProviderFailed, Unavailable."""
        return await self._ask_model.answers(question, context)

    def stream(self, question: Question, context: Context) -> AnswerStream:
        """Ask, and get the answer's text as it comes. Whoever leaves the stream cancels the call."""
        return self._stream_answer(question, context)

    async def aclose(self) -> None:
        """Cancel the streams that are still open, and wait until that is recorded."""
        await self._stream_answer.aclose()
