import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.errors import Unavailable
from infrastructure.embedded_postgres import EmbeddedPostgres, Running, server
from infrastructure.embedded_postgres.account import serving_account
from infrastructure.embedded_postgres.binaries import programs

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
ORDINARY_USER = 65534 if AS_ROOT else os.geteuid()


@pytest.fixture(scope="module")
def lasting_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home that is set up once for all tests that leave its data sound."""
    home = tmp_path_factory.mktemp("home")
    yield home
    forget(home)


@pytest.fixture
def home(lasting_home: Path) -> Iterator[Path]:
    yield lasting_home
    EmbeddedPostgres(lasting_home).stop()


@pytest.fixture
def fresh_home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    forget(tmp_path)


def keeper(running: Running) -> psycopg.Connection:
    return psycopg.connect(running.application_uri, autocommit=True, application_name="study keeper test")


def keeps_a_row(home: Path) -> None:
    running = EmbeddedPostgres(home).start(lambda running: running)
    with psycopg.connect(running.owner_uri) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS n")


def has_the_row(home: Path) -> bool:
    running = EmbeddedPostgres(home).start(lambda running: running)
    with psycopg.connect(running.owner_uri) as connection:
        return connection.execute("SELECT FROM pg_tables WHERE tablename = 'kept'").fetchone() is not None


def is_alive(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT 1").fetchone() == (1,)


def forget(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.stop()
    shutil.rmtree(embedded.status().data_folder.parent)
    shutil.rmtree(home)


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home that every account can reach, which root's temporary folders are not."""
    home = Path("/tmp") / f"study-test-{uuid4().hex[:12]}"
    home.mkdir(mode=0o755)
    yield home
    home.chmod(0o755)
    forget(home)


def postgres_processes(home: Path) -> list[int]:
    data = EmbeddedPostgres(home).status().data_folder
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cwd").readlink() == data:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_it_starts_once_and_is_shared(home: Path) -> None:
    first = EmbeddedPostgres(home).start(keeper)
    pid = EmbeddedPostgres(home).status().pid
    second = EmbeddedPostgres(home).start(keeper)
    assert EmbeddedPostgres(home).status().pid == pid
    first.close()
    assert EmbeddedPostgres(home).stop_if_unused() is False
    second.close()
    assert stops_soon(home)


def stops_soon(home: Path) -> bool:
    """The server notices a closed connection a moment later."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if EmbeddedPostgres(home).stop_if_unused():
            return True
        time.sleep(0.02)
    return False


def test_the_last_user_stops_it_though_the_server_still_shows_its_keeper(home: Path) -> None:
    process = "00000000000000a1"

    def keeper_of_ours(running: Running) -> psycopg.Connection:
        return psycopg.connect(running.application_uri, application_name=f"study keeper {process}")

    leaving = EmbeddedPostgres(home).start(keeper_of_ours)
    other = EmbeddedPostgres(home).start(keeper)
    assert EmbeddedPostgres(home).stop_if_unused(leaving=process) is False
    other.close()
    deadline = time.monotonic() + 5
    while not EmbeddedPostgres(home).stop_if_unused(leaving=process):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not EmbeddedPostgres(home).status().running
    leaving.close()


def test_a_pinned_server_stays_until_it_is_stopped(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    embedded.pin()
    time.sleep(0.1)
    assert embedded.stop_if_unused() is False
    assert embedded.status().pinned
    assert embedded.stop() is True
    assert not embedded.status().running
    assert not embedded.status().pinned


def test_an_unpinned_server_stops_with_its_last_user_again(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.pin()
    embedded.start(keeper).close()
    embedded.unpin()
    assert stops_soon(home)


def test_a_server_whose_first_user_fails_is_stopped(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    with pytest.raises(ZeroDivisionError):
        embedded.start(lambda _: 1 / 0)
    assert not embedded.status().running


def test_a_killed_user_does_not_count(home: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from infrastructure.embedded_postgres import EmbeddedPostgres; "
        "import psycopg; k = EmbeddedPostgres(Path(sys.argv[1])).start("
        "lambda r: psycopg.connect(r.application_uri, application_name='study keeper x')); "
        "print('up', flush=True); time.sleep(60)"
    )
    user = subprocess.Popen([sys.executable, "-c", script, str(home)], cwd=ROOT, stdout=subprocess.PIPE)
    assert user.stdout is not None
    assert user.stdout.readline() == b"up\n"
    assert EmbeddedPostgres(home).stop_if_unused() is False
    user.kill()
    user.wait()
    user.stdout.close()
    assert stops_soon(home)


def test_after_kill_9_of_everything_what_was_committed_is_there(home: Path) -> None:
    keeps_a_row(home)
    for pid in postgres_processes(home):
        with suppress(ProcessLookupError):  # those whose postmaster is gone end by themselves
            os.kill(pid, signal.SIGKILL)
    running = EmbeddedPostgres(home).start(lambda running: running)
    with psycopg.connect(running.owner_uri) as connection:
        assert connection.info.server_version >= 180000
        assert connection.execute("SELECT n FROM kept").fetchall() == [(42,)]


def test_after_the_postmaster_alone_was_killed_its_orphans_are_ended(home: Path) -> None:
    old = EmbeddedPostgres(home).start(keeper)
    pid = EmbeddedPostgres(home).status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    EmbeddedPostgres(home).start(keeper).close()
    old.close()
    assert EmbeddedPostgres(home).status().pid != pid


def test_a_pid_file_that_names_an_unrelated_process_is_dropped(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    embedded.stop()
    pid_file = embedded.status().data_folder / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n{int(time.time())}\n5432\n/nowhere\n\n\n")
    embedded.start(keeper).close()
    assert embedded.status().pid != os.getpid()


def test_processes_that_start_at_once_share_one_server(fresh_home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from infrastructure.embedded_postgres import EmbeddedPostgres; "
        "EmbeddedPostgres(Path(sys.argv[1])).start(lambda r: None); "
        "print(EmbeddedPostgres(Path(sys.argv[1])).status().pid)"
    )
    starting = [
        subprocess.Popen([sys.executable, "-c", script, str(fresh_home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    pids = {process.communicate(timeout=60)[0].strip() for process in starting}
    assert len(pids) == 1
    assert pids.pop().isdecimal()


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 30)
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    assert len(str(embedded.status().socket_folder)) <= 90
    embedded.stop()
    shutil.rmtree(embedded.status().data_folder.parent)


def test_an_ordinary_user_can_run_it() -> None:
    """As root, a child drops its rights; its programs are the copy that every account can read."""
    home = Path("/tmp") / f"study-test-{uuid4().hex[:12]}"
    home.mkdir(mode=0o700)
    os.chown(home, ORDINARY_USER, ORDINARY_USER)
    copy = programs(serving_account()).parents[1]
    script = (
        "import os, pwd, sys; from pathlib import Path; import psycopg; "
        "from infrastructure.embedded_postgres import EmbeddedPostgres, binaries; "
        f"binaries._package_folder = lambda: Path({str(copy)!r}); "
        f"user = {ORDINARY_USER}; os.geteuid() == user or (os.setgroups([]), os.setgid(user), os.setuid(user)); "
        "os.environ['HOME'] = sys.argv[1]; e = EmbeddedPostgres(Path(sys.argv[1])); "
        "e.start(lambda r: psycopg.connect(r.application_uri).close()); "
        "print(e.status().data_folder.stat().st_uid == user, e.status().running); e.stop()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    shutil.rmtree(home)
    assert (done.stdout.strip(), done.stderr) == ("True True", "")


def test_a_full_server_is_left_to_its_users(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    used = embedded.start(keeper)
    running = embedded.start(lambda running: running)
    crowd = [psycopg.connect(running.owner_uri) for _ in range(99)]
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        psycopg.connect(running.owner_uri)
    assert embedded.stop_if_unused() is False
    embedded.start(lambda _: None)
    assert is_alive(used)
    for connection in (*crowd, used):
        connection.close()


def test_settings_of_the_users_own_servers_lead_nowhere_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedPostgres(home).start(keeper) as used:
        monkeypatch.setenv("PGPORT", "5999")
        EmbeddedPostgres(home).start(keeper).close()
        assert is_alive(used)


def test_a_home_reached_by_a_link_is_the_same_home(tmp_path: Path) -> None:
    home, link = tmp_path / ("deep" * 30), tmp_path / "link"
    home.mkdir()
    link.symlink_to(home)
    with EmbeddedPostgres(home).start(keeper) as used:
        EmbeddedPostgres(link).start(keeper).close()
        assert is_alive(used)
    forget(home)


def test_root_that_may_not_look_into_other_accounts_processes_shares_the_server(home: Path) -> None:
    """As in most containers, where root lacks SYS_PTRACE; an ordinary user needs no such right."""
    without_ptrace = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 19, 0, 0, 0); "
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[2], sys.argv[1]])"
    )
    script = (
        "import sys; from pathlib import Path; from infrastructure.embedded_postgres import EmbeddedPostgres; "
        "e = EmbeddedPostgres(Path(sys.argv[1])); e.start(lambda r: None); print(e.status().pid, e.stop_if_unused())"
    )
    with EmbeddedPostgres(home).start(keeper) as used:
        pid = EmbeddedPostgres(home).status().pid
        command = [sys.executable, "-c", without_ptrace, str(home), script]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert (done.stdout.strip(), done.stderr) == (f"{pid} False", "")
        assert is_alive(used)


def test_whoever_else_works_in_the_data_folder_is_left_alone(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    embedded.stop()
    bystander = subprocess.Popen(["sleep", "60"], cwd=embedded.status().data_folder)
    embedded.start(keeper).close()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_data_in_use_by_what_cannot_be_seen_are_not_touched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another container serves the same home: its processes are out of sight, its lock is not."""
    monkeypatch.setattr(server, "ORPHANS_SECONDS", 0.1)
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    embedded.stop()
    folder = embedded.status().data_folder.parent
    (folder / "data" / "postmaster.pid").write_text("1\n")
    with (folder / "serving").open("rb") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="stop it where it runs"):
            embedded.start(keeper)
    assert (folder / "data" / "postmaster.pid").read_text() == "1\n"


def test_a_server_whose_socket_was_cleaned_away_is_started_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENCE_SECONDS", 0.1)
    keeps_a_row(home)
    for file in EmbeddedPostgres(home).status().socket_folder.iterdir():
        file.unlink()
    assert has_the_row(home)


def test_a_home_that_was_moved_keeps_its_data_and_a_new_one_in_its_place_is_empty(tmp_path: Path) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    keeps_a_row(home)
    EmbeddedPostgres(home).stop()
    home.rename(moved)
    assert not has_the_row(home)
    assert has_the_row(moved)
    forget(home)
    forget(moved)


def test_a_home_that_was_closed_is_never_given_an_empty_store(open_home: Path) -> None:
    keeps_a_row(open_home)
    EmbeddedPostgres(open_home).stop()
    open_home.chmod(0o700)
    if AS_ROOT:
        with pytest.raises(Unavailable, match=f"chmod o\\+x {open_home}"):
            EmbeddedPostgres(open_home)
    else:
        assert has_the_row(open_home)


def test_a_private_umask_is_no_hindrance(open_home: Path) -> None:
    before = os.umask(0o077)
    try:
        home = open_home / "new"
        EmbeddedPostgres(home).start(keeper).close()
    finally:
        os.umask(before)
    forget(home)


def test_a_link_planted_in_the_data_is_replaced_not_followed(home: Path, tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    embedded.stop()
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    planted = embedded.status().data_folder / "postgresql.auto.conf"
    planted.unlink()
    planted.symlink_to(precious)
    embedded.start(keeper).close()
    assert (precious.read_text(), precious.stat().st_uid) == ("as it was", os.geteuid())
    assert not planted.is_symlink()


def test_every_acknowledged_commit_is_durable_and_checked(home: Path) -> None:
    running = EmbeddedPostgres(home).start(lambda running: running)
    with psycopg.connect(running.application_uri) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "autovacuum"):
            assert connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() == ("on",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() == (False,)
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'").fetchone() == (1.0,)


def test_a_first_start_that_was_interrupted_is_completed(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    (embedded.status().data_folder.parent / "provisioned").unlink()
    embedded.start(keeper).close()


def test_data_of_another_major_version_is_refused(fresh_home: Path) -> None:
    embedded = EmbeddedPostgres(fresh_home)
    data = embedded.status().data_folder
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(Unavailable, match="made by Postgres 16"):
        embedded.start(keeper)


def test_a_server_that_cannot_start_says_why(fresh_home: Path) -> None:
    embedded = EmbeddedPostgres(fresh_home)
    embedded.start(keeper).close()
    embedded.stop()
    (embedded.status().data_folder / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(Unavailable, match="no_such_setting"):
        embedded.start(keeper)
