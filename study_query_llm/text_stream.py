"""An answer's text while it comes, for ordinary code."""

from collections.abc import Iterator
from functools import partial
from typing import Generic, TypeVar

from anyio.from_thread import BlockingPortal

from application.stream_answer import AnswerStream

T = TypeVar("T")


class TextStream(Generic[T]):
    """The pieces of an answer's text as they come; see AsyncStudy.stream."""

    def __init__(self, portal: BlockingPortal, stream: AnswerStream[str, T]) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def answer(self) -> T:
        """The answer, once the pieces are at their end. Raises what ended the call, or RuntimeError before that."""
        return self._stream.answer

    def __iter__(self) -> Iterator[str]:
        """The pieces; whoever stops before their end cancels the call. Raises Rejected, ProviderFailed, Unavailable."""
        pieces = aiter(self._stream)
        try:
            while (piece := self._portal.call(partial(anext, pieces, None))) is not None:
                yield piece
        finally:
            self.close()

    def __enter__(self) -> "TextStream[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the call if it is still under way, and wait until that is recorded."""
        self._portal.call(self._stream.aclose)
