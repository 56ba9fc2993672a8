"""Which processes are Postgres's, and running its programs.

A number in a pid file proves nothing, since numbers are reused. A server's processes are called postgres and work in
its data folder.
"""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from domain.errors import Unavailable
from infrastructure.embedded_postgres.account import Account
from infrastructure.embedded_postgres.binaries import programs

PROC = Path("/proc")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C"}
LOOK = 'for pid; do echo "$pid $(readlink "/proc/$pid/cwd")"; done'


def run(program: str, *arguments: str, account: Account, inherit: tuple[int, ...] = ()) -> str | None:
    """Run one of Postgres's programs as the account; returns what it said if it failed.

    inherit: file descriptors that it, and the server it starts, keep open
    Its output goes to a file: a pipe would stay open for as long as the server that it starts.
    """
    command = [str(programs(account) / program), *arguments]
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(  # noqa: S603 - our own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, "HOME": account.home},
                cwd="/",
                start_new_session=True,
                pass_fds=inherit,
                check=False,
                **account.how_to_run(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{command[0]} can't be run as uid {account.uid}: {error}; set DATABASE_URL") from error
        if done.returncode == 0:
            return None
        output.seek(0)
        return output.read().decode(errors="replace").strip()


def at_work_in(data: Path, account: Account) -> list[int]:
    """The living Postgres processes of a data folder; none where the system has no /proc to look at."""
    if not (PROC / "self").exists():
        return []
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
    return _of_those(pids, data, account)


def works_in(pid: int, data: Path, account: Account) -> bool:
    """Whether a process is a living Postgres of a data folder; without /proc, whether it lives at all."""
    if not (PROC / "self").exists():
        return _exists(pid)
    return bool(_of_those([pid], data, account))


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended by itself."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _of_those(pids: list[int], data: Path, account: Account) -> list[int]:
    folder = os.fsencode(data.resolve())
    found, hidden = [], []
    for pid in filter(_is_postgres, pids):
        try:
            if os.fsencode((PROC / str(pid) / "cwd").readlink()) == folder:
                found.append(pid)
        except PermissionError:
            hidden.append(pid)
        except OSError:
            continue
    # In most containers root may not look into the processes of others, but the account may look into its own.
    if hidden and account.borrowed:
        found += [pid for pid, working in _seen_by(account, hidden) if working == folder]
    return found


def _is_postgres(pid: int) -> bool:
    try:
        before, _, after = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return False
    return before.partition("(")[2] == "postgres" and after.split()[0] not in "ZX"


def _seen_by(account: Account, pids: list[int]) -> list[tuple[int, bytes]]:
    done = subprocess.run(  # noqa: S603 - numbers only
        ["/bin/sh", "-c", LOOK, "sh", *map(str, pids)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=ENVIRONMENT,
        cwd="/",
        check=False,
        **account.how_to_run(),
    )
    lines = (line.partition(b" ") for line in done.stdout.splitlines())
    return [(int(pid), working) for pid, _, working in lines if pid.isdigit()]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
