"""What a client of the gateway wants besides an answer, said in headers: ours, and the ones of other gateways."""

import re
from typing import Any

import msgspec
from msgspec import Struct

from application.group_calls import GroupPlace, group_place
from domain.errors import Rejected
from domain.events import Metadata
from domain.groups import LARGEST_METADATA
from domain.identity import canonical_json
from interfaces.duration import seconds_of

OURS = "x-sq-"
KNOWN = {"x-sq-group", "x-sq-tags", "x-sq-metadata", "x-sq-cache", "x-sq-share"}
METADATA_HEADERS = ("x-litellm-spend-logs-metadata", "x-sq-metadata")  # the later one wins
TAG_HEADERS = ("x-litellm-tags", "x-sq-tags")
PROPERTY = "helicone-property-"
SESSION = "helicone-session-id"
RETRY = "x-stainless-retry-count"
# Of a client's headers those that a provider goes by; a key, a cookie or a name of the client's own stays here.
FOR_THE_PROVIDER = ("openai-beta", "idempotency-key")
YES, NO = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}
MOST_TAGS = 50
LONGEST_TAG_CHARACTERS = 200
COUNT = re.compile(r"[0-9]{1,4}")


class Wishes(Struct, frozen=True, kw_only=True):
    """What the headers say."""

    group: GroupPlace | None = None
    metadata: Metadata = {}
    cache_seconds: float | None = None
    share: bool = False
    client_retry: int = 0
    for_the_provider: dict[str, str] = {}


def wishes_of(headers: dict[str, str]) -> Wishes:
    """Read the headers, whose names are in lower case. Raises Rejected naming the header at fault."""
    unknown = sorted(name for name in headers if name.startswith(OURS) and name not in KNOWN)
    if unknown:
        raise Rejected(
            f"There is no header {', '.join(unknown)}; there are {', '.join(sorted(KNOWN))}", fields=tuple(unknown)
        )
    group, cache = headers.get("x-sq-group"), headers.get("x-sq-cache")
    return Wishes(
        group=_group(group) if group else None,
        metadata=_metadata(headers),
        cache_seconds=seconds_of(cache, "x-sq-cache") if cache else None,
        share=_yes_or_no(headers.get("x-sq-share", ""), "x-sq-share"),
        client_retry=int(found) if COUNT.fullmatch(found := headers.get(RETRY, "")) else 0,
        for_the_provider={name: headers[name] for name in FOR_THE_PROVIDER if name in headers},
    )


def _group(written: str) -> GroupPlace | None:
    try:
        place = group_place(written)
        if place is not None:
            _ = place.group_id  # which says what is wrong with the names
    except Rejected as error:
        raise Rejected(f"x-sq-group: {error}", fields=("x-sq-group",)) from None
    return place


def _metadata(headers: dict[str, str]) -> Metadata:
    found: Metadata = {}
    for name, value in headers.items():
        if name.startswith(PROPERTY) and (key := name.removeprefix(PROPERTY)):
            found[key] = value
    if headers.get(SESSION):
        found["session_id"] = headers[SESSION]
    for name in METADATA_HEADERS:
        if headers.get(name):
            found |= _object(headers[name], name)
    tags = [tag for name in TAG_HEADERS if headers.get(name) for tag in _tags(headers[name], name)]
    if tags:
        found["tags"] = list(dict.fromkeys(tags))
    if len(canonical_json(found)) > LARGEST_METADATA:
        raise Rejected(f"x-sq-metadata has at most {LARGEST_METADATA:,} bytes of JSON", fields=("x-sq-metadata",))
    return found


def _object(value: str, name: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected(f"{name} is not JSON: {error}", fields=(name,)) from None
    if not isinstance(found, dict):
        raise Rejected(f'{name} must be a JSON object such as {{"run": 7}}', fields=(name,))
    return found


def _tags(value: str, name: str) -> list[str]:
    tags = [tag for part in value.split(",") if (tag := part.strip())]
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG_CHARACTERS for tag in tags):
        raise Rejected(
            f"{name} has at most {MOST_TAGS} tags, divided by commas, of at most {LONGEST_TAG_CHARACTERS} characters",
            fields=(name,),
        )
    return tags


def _yes_or_no(value: str, name: str) -> bool:
    said = value.strip().lower()
    if said not in YES | NO:
        raise Rejected(f"{name} is true or false, not {value[:40]!r}", fields=(name,))
    return said in YES
