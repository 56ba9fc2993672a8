"""A chat that comes in pieces: server-sent events taken apart, and their chunks put together again.

The raw bytes are kept elsewhere; what is made here is what the provider would have answered in one piece.
"""

import re
from typing import Any, NamedTuple

import msgspec

from infrastructure.providers.wire_format import Malformed

DONE = b"[DONE]"
# Members of a chunk and of a choice that are put together in a way of their own.
OWN_WAY = frozenset({"object", "choices", "index", "delta"})


class ServerEvent(NamedTuple):
    """One event: its name ("" unless the server gives one) and its data, whole lines of which were joined."""

    name: str
    data: bytes


class ServerEvents:
    """Takes a stream of events apart, however its bytes were cut: inside a line, its end, or a character."""

    def __init__(self) -> None:
        self._rest = b""  # of a line that has not ended
        self._after_return = False  # a line feed that comes next belongs to the line that has ended already
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[ServerEvent]:
        """The events that these bytes complete."""
        if not received:
            return []
        if self._after_return and received.startswith(b"\n"):
            received = received[1:]
        self._after_return = received.endswith(b"\r")
        *lines, self._rest = re.split(rb"\r\n|\r|\n", self._rest + received)
        return [event for line in lines if (event := self._take(line)) is not None]

    def end(self) -> list[ServerEvent]:
        """The event that the end of the stream completes, since not every server ends with an empty line."""
        found = [self._take(self._rest), self._take(b"")]
        return [event for event in found if event is not None]

    def _take(self, line: bytes) -> ServerEvent | None:
        if not line:
            event = ServerEvent(self._name, b"\n".join(self._data)) if any(self._data) else None
            self._name, self._data = "", []
            return event
        field, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode(errors="replace")
        return None


class ErrorInStream(Exception):
    """The provider reported an error where a chunk should be; `body` is it, as an answer of its own would be."""

    def __init__(self, body: bytes) -> None:
        super().__init__("the stream holds an error")
        self.body = body


class ChunkedChat:
    """A chat completion that grows by chunks.

    has_begun: there was some text, reasoning, or a tool call; has_finished: a choice said why it ended.
    """

    def __init__(self) -> None:
        self._members: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self.has_begun = False
        self.has_finished = False

    def take(self, event: ServerEvent) -> str:
        """Add a chunk and return the text that it adds. Raises Malformed, ErrorInStream."""
        try:
            chunk = msgspec.json.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(f"a chunk of the stream is no JSON: {error}") from None
        if not isinstance(chunk, dict):
            raise Malformed("a chunk of the stream is no object")
        if event.name == "error" or chunk.get("error"):
            raise ErrorInStream(msgspec.json.encode({"error": chunk.get("error") or chunk}))
        self._members |= {name: value for name, value in chunk.items() if name not in OWN_WAY and value is not None}
        text = ""
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict):
                text += self._take_choice(choice)
        return text

    def completion(self) -> bytes | None:
        """All that came so far as the JSON of one answer; None before there was a choice."""
        if not self._choices:
            return None
        choices = [self._choices[index].whole(index) for index in sorted(self._choices)]
        return msgspec.json.encode({**self._members, "object": "chat.completion", "choices": choices})

    def _take_choice(self, choice: dict[str, Any]) -> str:
        index = choice.get("index")
        index = index if type(index) is int else 0
        grown = self._choices.setdefault(index, _Choice())
        text = grown.take(choice)
        self.has_begun = self.has_begun or grown.has_begun
        self.has_finished = self.has_finished or grown.members.get("finish_reason") is not None
        return text if index == 0 else ""


class _Choice:
    """One choice: its pieces of text by the member that they belong to, and its tool calls by index."""

    def __init__(self) -> None:
        self.members: dict[str, Any] = {}
        self.message: dict[str, Any] = {"role": "assistant", "content": None}
        self.pieces: dict[str, list[str]] = {}
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.has_begun = False

    def take(self, choice: dict[str, Any]) -> str:
        """Add a chunk's choice and return the text it adds: an answer's, or a refusal's."""
        self.members |= {name: value for name, value in choice.items() if name not in OWN_WAY and value is not None}
        delta = choice.get("delta")
        said = ""
        for name, value in (delta if isinstance(delta, dict) else {}).items():
            if name == "tool_calls" and isinstance(value, list):
                self._call_tools(value)
            elif name == "role":
                self.message["role"] = value or self.message["role"]
            elif isinstance(piece := _text_of(value) if name == "content" else value, str):
                self.pieces.setdefault(name, []).append(piece)
                self.has_begun = self.has_begun or piece != ""
                said += piece if name in ("content", "refusal") else ""
            elif value is not None:
                self.message[name] = value
        return said

    def whole(self, index: int) -> dict[str, Any]:
        """The choice as it stands in an answer of one piece."""
        message = self.message | {name: "".join(pieces) for name, pieces in self.pieces.items()}
        if self.tool_calls:
            message["tool_calls"] = [self.tool_calls[place] for place in sorted(self.tool_calls)]
        if not message["content"] and (self.tool_calls or message.get("refusal")):
            message["content"] = None
        return {"index": index, "finish_reason": None, **self.members, "message": message}

    def _call_tools(self, calls: list[Any]) -> None:
        for place, call in enumerate(calls):
            if not isinstance(call, dict):
                continue
            self.has_begun = True
            index = call.get("index")
            grown = self.tool_calls.setdefault(index if type(index) is int else place, {})
            grown |= {name: value for name, value in call.items() if name not in ("index", "function") and value}
            asked = call.get("function")
            function = grown.setdefault("function", {"name": "", "arguments": ""})
            for name, value in (asked if isinstance(asked, dict) else {}).items():
                if isinstance(value, str):
                    function[name] = function.get(name, "") + value


def _text_of(content: Any) -> Any:
    """A content's text where it comes in parts."""
    if not isinstance(content, list):
        return content
    return "".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
