import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.errors import Unavailable
from infrastructure.embedded_postgres import EmbeddedPostgres, Running
from infrastructure.embedded_postgres.account import serving_account
from infrastructure.embedded_postgres.binaries import programs

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
ORDINARY_USER = 65534 if AS_ROOT else os.geteuid()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    embedded = EmbeddedPostgres(tmp_path)
    embedded.stop()
    shutil.rmtree(embedded.status().data_folder.parent)


def keeper(running: Running) -> psycopg.Connection:
    return psycopg.connect(running.application_uri, autocommit=True, application_name="study keeper test")


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
    running = EmbeddedPostgres(home).start(lambda running: running)
    with psycopg.connect(running.owner_uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")
    for pid in postgres_processes(home):
        os.kill(pid, signal.SIGKILL)
    with EmbeddedPostgres(home).start(keeper) as connection, connection.cursor() as cursor:
        assert connection.info.server_version >= 180000
        with psycopg.connect(running.owner_uri) as owner:
            assert owner.execute("SELECT n FROM kept").fetchall() == [(42,)]
        cursor.close()


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


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from infrastructure.embedded_postgres import EmbeddedPostgres; "
        "EmbeddedPostgres(Path(sys.argv[1])).start(lambda r: None); "
        "print(EmbeddedPostgres(Path(sys.argv[1])).status().pid)"
    )
    starting = [
        subprocess.Popen([sys.executable, "-c", script, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
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


def test_data_of_another_major_version_is_refused(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    data = embedded.status().data_folder
    data.mkdir()
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(Unavailable, match="made by Postgres 16"):
        embedded.start(keeper)


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start(keeper).close()
    embedded.stop()
    (embedded.status().data_folder / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(Unavailable, match="no_such_setting"):
        embedded.start(keeper)
