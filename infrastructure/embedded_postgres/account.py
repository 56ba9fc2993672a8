"""Whom the server runs as, and where that account can keep its files.

Postgres refuses to run as root. As root we lend it an unprivileged account that exists already; no account is made,
and no folder that isn't ours is opened to anybody. Other programs may run as that account too, so root follows no link
that it could have planted.
"""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

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
    """Where the server of this home lives: in it, or, where the account can't get there, under /var/lib.

    A link in the home then leads there. The choice is made once, so that neither a closed parent nor a moved home
    changes which data are found, and a new home in the place of a deleted one starts empty.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        inside = home.resolve() / "postgres"
        if inside.is_symlink():
            return _linked(inside)
        if not account.borrowed or _first_closed(home.resolve(), account) is None:
            return inside
        return _elsewhere(inside, account)
    except OSError as error:
        raise Unavailable(f"{home} can't be used for the embedded Postgres: {error}; set STUDY_HOME") from error


def make_server_folder(folder: Path, account: Account) -> None:
    """Make the folder that holds data, socket, log and locks; root keeps a borrowed account from renaming them."""
    if account.borrowed:
        _make(folder, account, os.geteuid(), os.getegid(), 0o711)
    else:
        make_private(folder, account)


def make_private(folder: Path, account: Account) -> Path:
    """Make a folder that only the account can enter. Raises Unavailable if somebody else made it before."""
    return _make(folder, account, account.uid, account.gid, 0o700)


def make_passable(folder: Path) -> None:
    """Make a folder of ours that every account may pass through, whatever the umask; one that exists stays as it is."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    folder.chmod(0o711)


def socket_folder(folder: Path, account: Account) -> Path:
    """The 0700 folder of the unix socket; a short one under /tmp if the path is too long for the kernel."""
    inside = folder / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER_BYTES:
        return make_private(inside, account)
    short = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return make_private(Path("/tmp") / f"study-{account.uid}-{short}", account)  # noqa: S108 - checked


def put_file(path: Path, text: str, account: Account) -> None:
    """Put a file of the account's in the place of whatever is there, a link included."""
    making = path.with_name(f"{path.name}.new")
    making.unlink(missing_ok=True)
    with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        _hand_over(file.fileno(), account)
    making.replace(path)


def make_log(path: Path, account: Account) -> None:
    """Make a log that the account can append to, since it can't make files beside it."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _hand_over(opened, account)
    finally:
        os.close(opened)


def _hand_over(opened: int, account: Account) -> None:
    if account.borrowed:
        os.fchown(opened, account.uid, account.gid)


def _linked(link: Path) -> Path:
    if link.lstat().st_uid != os.geteuid():
        raise Unavailable(f"{link} is a link that somebody else made; remove it, or set STUDY_HOME to another folder")
    return link.resolve()


def _elsewhere(inside: Path, account: Account) -> Path:
    closed = _first_closed(inside.parent, account)
    if inside.exists():
        raise Unavailable(
            f"{inside} holds a store, but the account it runs as (uid {account.uid}) can't pass through {closed}; "
            f"chmod o+x {closed}, or set STUDY_HOME to another folder"
        )
    folder = SYSTEM_FOLDER / "embedded" / uuid4().hex[:12]
    make_passable(SYSTEM_FOLDER)
    make_passable(folder.parent)
    closed = _first_closed(folder.parent, account)
    if closed is not None:
        raise Unavailable(
            f"The account Postgres runs as (uid {account.uid}) can't pass through {closed}; chmod o+x {closed}, "
            "or set DATABASE_URL"
        )
    try:
        inside.symlink_to(folder)
    except FileExistsError:
        return _linked(inside)  # another process was faster
    return folder


def _first_closed(folder: Path, account: Account) -> Path | None:
    """The first folder on the way, itself included, that the account may not pass through."""
    return next((each for each in (*reversed(folder.parents), folder) if not _may_enter(account, each.stat())), None)


def _may_enter(account: Account, found: os.stat_result) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _make(folder: Path, account: Account, uid: int, gid: int, mode: int) -> Path:
    """Checked and changed through one opened folder, so that it can't be exchanged for a link in between."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _not_ours(folder) from error
    try:
        if os.fstat(opened).st_uid not in (account.uid, os.geteuid()):
            raise _not_ours(folder)
        if account.borrowed:
            os.fchown(opened, uid, gid)
        os.fchmod(opened, mode)
    finally:
        os.close(opened)
    return folder


def _not_ours(folder: Path) -> Unavailable:
    return Unavailable(f"{folder} belongs to somebody else; remove it, or set STUDY_HOME to another folder")
