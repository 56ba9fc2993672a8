"""Files that commands write: whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(out: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its name when the block ends well. Raises Rejected for what can't be written."""
    from domain.errors import Rejected

    temporary = out.with_name(f".{out.name}.{os.getpid()}") if out.name else out
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(out)
    except OSError as error:
        raise Rejected(f"{out} can't be written: {error.strerror or error}", fields=("out",)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()  # there only if it did not become the file
