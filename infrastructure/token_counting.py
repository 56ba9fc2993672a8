"""How many tokens a text has, by the model that is to read it: OpenAI's published encodings."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from domain.errors import Rejected

if TYPE_CHECKING:
    import tiktoken

FALLBACK_ENCODING = "o200k_base"  # of the newest models, for those whose encoding nobody has published


class EncodedTexts:
    """The port Tokenizer over one encoding."""

    def __init__(self, encoding: "tiktoken.Encoding") -> None:
        self._encoding = encoding
        self.name = encoding.name

    def count(self, text: str) -> int:
        """How many tokens the text has; what looks like a special token is read as text."""
        return len(self._encoding.encode_ordinary(text))

    def first(self, text: str, most: int) -> str:
        """The beginning of a text that has at most so many tokens, cut between characters."""
        tokens = self._encoding.encode_ordinary(text)
        if len(tokens) <= most:
            return text
        kept = most
        while kept > 0:
            start = self._encoding.decode_bytes(tokens[:kept]).decode("utf-8", errors="ignore")
            # A beginning by itself may be encoded otherwise than as a part of the whole, in more tokens.
            over = self.count(start) - most
            if over <= 0:
                return start
            kept -= over
        return ""


class PublishedEncodings:
    """The port Tokenizers. An encoding is loaded when it is first needed, which may fetch it from the network."""

    def for_model(self, model: str) -> EncodedTexts:
        """The tokenizer of a model, or that of the newest ones. Raises Rejected when it can't be had."""
        encoding = self._library.model
        try:
            name = encoding.encoding_name_for_model(model)
        except KeyError:
            name = FALLBACK_ENCODING
        try:
            return EncodedTexts(self._library.get_encoding(name))
        except (OSError, ValueError) as error:
            raise Rejected(
                f"The encoding {name} can't be loaded ({type(error).__name__}); it is fetched once from the network; "
                "on a machine without one, set TIKTOKEN_CACHE_DIR to a folder that holds it, or truncate to characters",
                fields=("preprocess",),
            ) from error

    @cached_property
    def _library(self) -> Any:
        try:
            import tiktoken
            import tiktoken.model
        except ImportError:
            raise Rejected(
                "Tokens are counted by tiktoken, which isn't installed: pip install 'study-query-llm[tokens]', or "
                "truncate to characters",
                fields=("preprocess",),
            ) from None
        return tiktoken
