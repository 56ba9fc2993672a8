"""Whom the server runs as, and where that account can keep its files.

Postgres refuses to run as root. As root we lend it an unprivileged account that exists already; no account is made,
and no folder that isn't ours is opened to anybody.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from domain.errors import Unavailable

SYSTEM_FOLDER = Path("/var/lib/study-query-llm")
LONGEST_SOCKET_FOLDER_BYTES = 90  # the kernel takes 107 with the socket's own name


class Account(NamedTuple):
    """An account of the operating system; `borrowed` when it is not the one that runs this process."""

    uid: int
    gid: int
    home: str
    borrowed: bool

    def how_to_run(self) -> dict[str, Any]:
        """Arguments of `subprocess.run` that make a program run as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.borrowed else {}

    def own(self, path: Path) -> None:
        """Hand a file or folder of ours over to the account."""
        if self.borrowed:
            os.chown(path, self.uid, self.gid)


def serving_account() -> Account:
    """The account the server runs as: our own, or for root `postgres` or `nobody`."""
    import pwd

    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), str(Path.home()), borrowed=False)
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid, "/", borrowed=True)
    raise Unavailable(
        "Postgres can't run as root, and there is neither an account postgres nor nobody; set DATABASE_URL"
    )


def server_folder(home: Path, account: Account) -> Path:
    """Where the server of this home lives: inside it, or, where the account can't get there, under /var/lib."""
    inside = home / "postgres"
    if not account.borrowed or _can_reach(account, home):
        return inside
    return SYSTEM_FOLDER / "embedded" / _short_hash(home)


def socket_folder(folder: Path, account: Account) -> Path:
    """The 0700 folder of the unix socket; a short one under /tmp if the path is too long for the kernel."""
    inside = folder / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER_BYTES:
        return make_private(inside, account)
    return make_private(Path("/tmp") / f"study-{account.uid}-{_short_hash(folder)}", account)  # noqa: S108 - checked


def make_private(folder: Path, account: Account) -> Path:
    """Make a folder that only the account can enter. Raises Unavailable if somebody else made it before."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (account.uid, os.geteuid()):
            raise Unavailable(
                f"{folder} belongs to somebody else; remove it, or set STUDY_HOME to another folder"
            ) from None
    account.own(folder)
    folder.chmod(0o700)
    return folder


def _can_reach(account: Account, folder: Path) -> bool:
    """Whether the account may pass through every folder on the way that exists already."""
    return all(_may_enter(account, parent.stat()) for parent in (folder, *folder.parents) if parent.exists())


def _may_enter(account: Account, found: os.stat_result) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
