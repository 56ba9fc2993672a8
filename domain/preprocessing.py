"""What is done to a prompt before it is sent, and what is kept of that. Without a step nothing is changed.

The steps are a set and always run in one order. Control and zero-width characters go first, since they may hide an
e-mail address; personal data goes before the text is cut, so that no half of a number survives; the template comes
last, so that its own words are neither cut nor cleaned.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from domain.errors import Rejected
from domain.events import PayloadRef
from domain.identity import canonical_json, sha256_hex
from domain.personal_data import checked_region, without_personal_data
from domain.templates import checked_template, filled_in

STEPS = ("control", "whitespace", "pii", "truncate", "template")
DEFAULT_CHARACTERS = 10_000
MOST_KEPT = 10_000_000

Messages = tuple[dict[str, Any], ...]


class Tokenizer(Protocol):
    """What counts tokens as a model does."""

    @property
    def name(self) -> str:
        """The encoding's."""

    def count(self, text: str) -> int:
        """How many tokens the text has."""

    def first(self, text: str, most: int) -> str:
        """The beginning of a text that has at most so many tokens, cut between characters."""


class Preprocessing(Struct, frozen=True, kw_only=True):
    """Which steps run, with their parameters. Raises Rejected for what can't be done.

    pii_region: whose national phone numbers are looked for too; it means pii
    truncate_characters, truncate_tokens: at most one of them
    """

    control: bool = False
    whitespace: bool = False
    pii: bool = False
    pii_region: str | None = None
    truncate_characters: int | None = None
    truncate_tokens: int | None = None
    template: str | None = None
    fields: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.pii_region is not None and not self.pii:
            raise Rejected("A region for phone numbers needs the step pii", fields=("preprocess",))
        limits = [limit for limit in (self.truncate_characters, self.truncate_tokens) if limit is not None]
        if len(limits) > 1:
            raise Rejected("truncate takes characters or tokens, not both", fields=("preprocess",))
        if limits and not 1 <= limits[0] <= MOST_KEPT:
            raise Rejected(f"truncate must lie between 1 and {MOST_KEPT:,}, not {limits[0]}", fields=("preprocess",))
        if self.template is not None:
            checked_template(self.template, self.fields)
        elif self.fields:
            raise Rejected(
                "Fields are for a template; give one, or leave the fields away", fields=("template", "fields")
            )

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps that run, in the order in which they do."""
        wanted = {
            "control": self.control,
            "whitespace": self.whitespace,
            "pii": self.pii,
            "truncate": self.truncate_characters is not None or self.truncate_tokens is not None,
            "template": self.template is not None,
        }
        return tuple(step for step in STEPS if wanted[step])


class StepDone(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A step that ran, and what it changed in all texts together.

    replaced: how many of each kind of personal data. template, field_names: what the prompt was put into.
    tokenizer: which counted, for a cut at tokens
    """

    step: str
    parameter: str | None = None
    removed_characters: int = 0
    replaced: dict[str, int] = {}
    cut_characters: int = 0
    template: str | None = None
    field_names: tuple[str, ...] = ()
    tokenizer: str | None = None


class Preprocessed(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The steps that ran, also those that changed nothing, and what was asked before they did.

    original_sha256: of the canonical JSON {"fields": …, "messages": …}, which lies in part `original` unless personal
    data was found in it: whoever takes that out does not want it in a log that nothing is taken out of.
    """

    steps: tuple[StepDone, ...]
    original_sha256: str
    original: PayloadRef | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """Messages as they are sent, and what the event keeps.

    original: the bytes that lie beside it, None where they aren't kept
    """

    messages: Messages
    steps: tuple[StepDone, ...]
    original_sha256: str
    original: bytes | None


def parse_steps(
    names: Iterable[str], *, template: str | None = None, fields: dict[str, str] | None = None
) -> Preprocessing | None:
    """Steps as they are written, such as `pii:US` or `truncate:500t`; None for none of them and no template.

    A template is a step by being given; it may be named too. Raises Rejected naming the known steps and parameters.
    """
    chosen: dict[str, Any] = {}
    seen: set[str] = set()
    for written in names:
        name, colon, parameter = written.strip().partition(":")
        if name not in STEPS:
            raise Rejected(f"{name!r} is no step; use {', '.join(STEPS)}", fields=("preprocess",))
        if name in seen:
            raise Rejected(f"The step {name} is given twice", fields=("preprocess",))
        seen.add(name)
        chosen |= _chosen(name, parameter if colon else None)
    if "template" in seen and template is None:
        raise Rejected("The step template needs a template", fields=("preprocess", "template"))
    if not seen and template is None and not fields:
        return None
    return Preprocessing(**chosen, template=template, fields=fields or {})


def _chosen(name: str, parameter: str | None) -> dict[str, Any]:
    match name:
        case "pii":
            return {"pii": True, "pii_region": None if parameter is None else checked_region(parameter)}
        case "truncate":
            found = re.fullmatch(r"([0-9]{1,9})(t?)", str(DEFAULT_CHARACTERS) if parameter is None else parameter)
            if found is None:
                raise Rejected(
                    f"truncate:{parameter} can't be read; write truncate:2000 for characters, truncate:500t for tokens",
                    fields=("preprocess",),
                )
            return {"truncate_tokens" if found[2] else "truncate_characters": int(found[1])}
        case _ if parameter is not None:
            raise Rejected(
                f"The step {name} takes no parameter, such as {parameter!r}; pii:REGION and truncate:LIMIT take one",
                fields=("preprocess",),
            )
        case "template":
            return {}
        case _:
            return {name: True}


def preprocess(messages: Messages, wanted: Preprocessing, tokenizer: Tokenizer | None = None) -> Outcome:
    """Run the steps. Raises Rejected when one of them leaves nothing of a text.

    control, whitespace and truncate change the texts of role user, the template the last of them; pii changes every
    message's texts and the template's fields.
    tokenizer: for a cut at tokens
    """
    original = canonical_json({"messages": messages, "fields": wanted.fields})
    texts = _texts(messages)
    asked = [text for text in texts if text.role == "user"]
    fields = dict(wanted.fields)
    done: list[StepDone] = []
    if wanted.control:
        done.append(_clean(asked, "control", without_control_characters))
    if wanted.whitespace:
        done.append(_clean(asked, "whitespace", with_single_spaces))
    if wanted.pii:
        done.append(_mask(texts, fields, wanted.pii_region))
    if wanted.truncate_characters is not None or wanted.truncate_tokens is not None:
        done.append(_cut(asked, wanted, tokenizer))
    if wanted.template is not None:
        if not asked:
            raise Rejected("The template has no text of a user to stand around", fields=("template", "messages"))
        asked[-1].value = filled_in(wanted.template, asked[-1].value, fields)
        done.append(StepDone(step="template", template=wanted.template, field_names=tuple(fields)))
    return Outcome(
        messages=_with_texts(messages, texts),
        steps=tuple(done),
        original_sha256=sha256_hex(original),
        original=None if any(step.replaced for step in done) else original,
    )


class _Text:
    """One text of a message, while the steps change it. part: its place in a content that is a list."""

    def __init__(self, message: int, part: int | None, role: Any, value: str) -> None:
        self.message = message
        self.part = part
        self.role = role
        self.value = value

    def become(self, value: str, step: str) -> None:
        """Take another value, unless nothing would be left of it."""
        if self.value and not value.strip() and (self.value.strip() or not value):
            raise Rejected(
                f"The step {step} leaves nothing of the text in message {self.message}; leave away the step, or it",
                fields=("preprocess", f"messages[{self.message}]"),
            )
        self.value = value


def _texts(messages: Messages) -> list[_Text]:
    found: list[_Text] = []
    for place, message in enumerate(messages):
        content, role = message.get("content"), message.get("role")
        if isinstance(content, str):
            found.append(_Text(place, None, role, content))
        elif isinstance(content, (list, tuple)):
            found += [
                _Text(place, at, role, part["text"])
                for at, part in enumerate(content)
                if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
            ]
    return found


def _with_texts(messages: Messages, texts: Sequence[_Text]) -> Messages:
    changed = [dict(message) for message in messages]
    for text in texts:
        if text.part is None:
            changed[text.message]["content"] = text.value
        else:
            parts = list(changed[text.message]["content"])
            parts[text.part] = {**parts[text.part], "text": text.value}
            changed[text.message]["content"] = parts
    return tuple(changed)


def _clean(texts: list[_Text], step: str, cleaned: Callable[[str], str]) -> StepDone:
    removed = 0
    for text in texts:
        clean = cleaned(text.value)
        removed += len(text.value) - len(clean)
        text.become(clean, step)
    return StepDone(step=step, removed_characters=removed)


def _mask(texts: list[_Text], fields: dict[str, str], region: str | None) -> StepDone:
    replaced: dict[str, int] = {}

    def masked(value: str) -> str:
        value, found = without_personal_data(value, region=region)
        for kind, count in found.items():
            replaced[kind] = replaced.get(kind, 0) + count
        return value

    for text in texts:
        text.value = masked(text.value)
    for name, value in fields.items():
        fields[name] = masked(value)
    return StepDone(step="pii", parameter=region, replaced=replaced)


def _cut(texts: list[_Text], wanted: Preprocessing, tokenizer: Tokenizer | None) -> StepDone:
    cut = 0
    for text in texts:
        if wanted.truncate_tokens is None:
            kept = text.value[: wanted.truncate_characters]
        elif tokenizer is None:
            raise ValueError("A cut at tokens needs what counts them")
        else:
            kept = tokenizer.first(text.value, wanted.truncate_tokens)
        cut += len(text.value) - len(kept)
        text.become(kept, "truncate")
    if wanted.truncate_tokens is None:
        return StepDone(step="truncate", parameter=f"{wanted.truncate_characters}", cut_characters=cut)
    name = None if tokenizer is None else tokenizer.name
    return StepDone(step="truncate", parameter=f"{wanted.truncate_tokens}t", cut_characters=cut, tokenizer=name)


_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_JOINING = "\u0600-\u08ff\u0900-\u0dff"  # scripts that write with joiners: Arabic and those of India
_INVISIBLE = re.compile(
    f"((?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])"  # a family, a profession
    f"|(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])"
    "|\U0001f3f4[\U000e0030-\U000e007a]{1,8}\U000e007f)"  # the flags of England, Scotland and Wales
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\U000e0000-\U000e007f]"
)


def without_control_characters(text: str) -> str:
    """The text without control characters but tab and line feed, and without zero-width and direction marks.

    Carriage returns become line feeds. Joiners stay where they make one emoji of several, or join letters.
    """
    return _INVISIBLE.sub(r"\1", text.replace("\r\n", "\n").replace("\r", "\n"))


def with_single_spaces(text: str) -> str:
    """The text with single spaces, no white space at line ends and outside, and at most one blank line at a time."""
    spaced = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r"\n{3,}", "\n\n", spaced.replace(" \n", "\n")).strip()
