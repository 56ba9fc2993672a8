"""Files that are there whole and durable, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from domain.errors import Rejected


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside its place, which it takes at the end of the block, once it is on the disk.

    What was there before stays when the block fails. Raises Rejected where it can't be written.
    """
    making = path.with_name(f".{path.name}.{os.getpid()}.part") if path.name else path
    try:
        with making.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)
        _make_durable(path.parent)
    except OSError as error:
        raise Rejected(f"{path} can't be written: {error.strerror or error}", fields=("out",)) from None
    finally:
        if path.name:
            making.unlink(missing_ok=True)


def _make_durable(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
