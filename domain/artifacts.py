"""Files that were kept, as facts, and the names that people find them by. A file is durable before its event is."""

import re
from uuid import UUID

from domain.errors import Rejected
from domain.events import Fact, Metadata, stored_as
from domain.identity import content_id

CONTENT_TYPES = {
    "json": "application/json",
    "npy": "application/x-npy",
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "txt": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
}
ANY_CONTENT = "application/octet-stream"
LARGEST_NAME = 400  # characters

WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
EXTENSION = re.compile(r"[a-z0-9]{1,16}")
NOT_IN_A_NAME = re.compile(r"[^\w.=+@-]+")


@stored_as("artifact.kept.v1")
class ArtifactKept(Fact, frozen=True, kw_only=True):
    """A file was kept under its content's hash. `name` is how people find it: {run}/{step}/{type}.{ext}."""

    sha256: str
    byte_size: int
    content_type: str
    artifact_type: str
    name: str
    group_id: UUID | None = None
    call_id: UUID | None = None
    shape: tuple[int, ...] | None = None
    metadata: Metadata = {}


def artifact_id_of(name: str, sha256: str) -> UUID:
    """The id of an artifact: the same content under the same name is one artifact."""
    return content_id("artifact", name, sha256)


def checked_name(name: str) -> str:
    """An artifact's name: parts with slashes between, none of which leads out of its folder. Raises Rejected."""
    if (
        len(name) > LARGEST_NAME
        or any(part.strip(" ") in ("", ".", "..") for part in name.split("/"))
        or any(character in name for character in ("\\", "\0", ":"))
        or not name.isprintable()
    ):
        raise Rejected(f"{name[:80]!r} is no artifact name; write it as run/step/type.ext", fields=("name",))
    return name


def checked_artifact_type(artifact_type: str) -> str:
    """What an artifact is: results, labels, components, metrics, report, or any other word. Raises Rejected."""
    if not WORD.fullmatch(artifact_type):
        raise Rejected(
            f"An artifact's type is one word of letters, digits, _, . and -, not {artifact_type[:60]!r}",
            fields=("artifact_type",),
        )
    return artifact_type


def checked_extension(extension: str) -> str:
    """A file's ending without its dot, in lower case. Raises Rejected."""
    if not EXTENSION.fullmatch(extension.lower()):
        raise Rejected(
            f"{extension[:30]!r} is no ending of a file's name, such as json, npy, parquet or csv", fields=("file",)
        )
    return extension.lower()


def name_part(text: str) -> str:
    """A text as one part of an artifact's name: what would be read as something else becomes a hyphen."""
    return NOT_IN_A_NAME.sub("-", text).strip(".-")[:100] or "unnamed"


def content_type_of(extension: str) -> str:
    """The content type that goes with a file's ending."""
    return CONTENT_TYPES.get(extension, ANY_CONTENT)
