"""Keys are planted wherever one can be set, and looked for in everything that is produced."""

import base64
import json
import os
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from application.providers import AttemptFailed, ChatRequest
from infrastructure.journal_state import waiting_files
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.settings import read_settings
from tests.conftest import Database
from tests.interfaces.serving.test_serving import process
from tests.support.cut_line import CutLine
from tests.support.misbehaving_server import Behaviour, MisbehavingServer, Received
from tests.support.warm_process import WarmCommand

PLANTED = {
    "AZURE_OPENAI_API_KEY": "planted-azure-7f3e9a51c0d2",
    "OPENAI_API_KEY": "planted-openai-4b8d16e0a973",
    "HYPERBOLIC_API_KEY": "planted-hyperbolic-91c5d7f02b6e",
    "STUDY_TOKEN": "planted-token-2e6a80b4f1c9",
}
URL_PASSWORD = "planted-in-url-5d0f7c3a9e18"
URL_KEY = "planted-in-query-c41b6e8f2079"
STORE_PASSWORD = "planted-in-store-8a2d5f90e7b3"
BASIC = base64.b64encode(f"someone:{URL_PASSWORD}".encode()).decode()
SECRETS = [*PLANTED.values(), URL_PASSWORD, URL_KEY, STORE_PASSWORD, BASIC]
ASKED = ChatRequest(model=None, messages=({"role": "user", "content": "hello"},))
MISBEHAVIOURS = tuple(
    "echo echo_in_success ok moved malformed server_error reset_mid_body error_in_success truncated".split()
)


def echoing(request: Received) -> str:
    """All that the server was told, as it was told it and in plain words."""
    login = request.headers.get("authorization", "").removeprefix("Basic ")
    plain = base64.b64decode(login).decode() if login and " " not in login else ""
    return " ".join([request.path, *request.headers.values(), plain])


def rule(request: Received, number: int) -> str | Behaviour:
    """Misbehave in turn, and echo what was told in errors, headers and answers that can't be read."""
    name = MISBEHAVIOURS[number % len(MISBEHAVIOURS)]
    told = echoing(request)
    headers = f"x-request-id: {told}\r\nx-told: {told}\r\n"
    if name == "echo":
        body = json.dumps({"error": {"code": "invalid_api_key", "message": f"Incorrect key: {told}"}}).encode()
        return Behaviour("reply", status=401, body=body, headers=headers, delay_seconds=0)
    if name == "echo_in_success":
        answer = json.dumps({"choices": [{"message": {"content": "fine"}}], "told": request.headers}).encode()
        return Behaviour("reply", body=answer, headers=headers, delay_seconds=0)
    if name == "malformed":
        return Behaviour("reply", body=f'{{"choices": "{told}"'.encode(), headers=headers, delay_seconds=0)
    return name


@pytest.fixture
def provider() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as provider:
        provider.behave_by(rule)
        yield provider


@pytest.fixture
def settings(provider: MisbehavingServer, database: Database, tmp_path: Path) -> dict[str, str]:
    """Every secret there is, in the environment of a process."""
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        **PLANTED,
        "DATABASE_URL": with_password(database.application_uri),
        "STUDY_HOME": str(tmp_path / "home"),
        "STUDY_CHAT_ATTEMPTS": "1",
        "STUDY_LOG_LEVEL": "debug",
        "AZURE_OPENAI_ENDPOINT": with_login(provider.root),
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o-mini-deploy",
        "OPENAI_BASE_URL": with_login(provider.url),
        "HYPERBOLIC_ENDPOINT": with_login(provider.url),
        "HYPERBOLIC_MODEL": "tiny",
    }


def with_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, f"someone:{URL_PASSWORD}@{parts.netloc}", parts.path, f"key={URL_KEY}", ""))


def with_password(uri: str) -> str:
    """The test's server trusts its users, and so takes any password."""
    return uri if "password" in conninfo_to_dict(uri) else f"{uri}&password={STORE_PASSWORD}"


def assert_clean(where: str, produced: str | bytes) -> None:
    content = produced.encode(errors="replace") if isinstance(produced, str) else produced
    for secret in SECRETS:
        at = content.find(secret.encode())
        assert at < 0, f"{where}: …{content[max(0, at - 200) : at + 60]!r}"


def assert_store_is_clean(database: Database) -> None:
    """All bytes of all tables of all our schemas."""
    with psycopg.connect(database.owner_uri) as owner:
        tables = owner.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        rows = 0
        for (table,) in tables:
            with owner.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)".encode()) as copied:
                content = b"".join(bytes(block) for block in copied)
            rows += len(content) > 50
            assert_clean(table, content)
    assert rows > 4


def run_study(settings: dict[str, str], folder: Path, *words: str, **others: str) -> tuple[int, str]:
    with closing(WarmCommand(*words, folder=folder, environment={**settings, **others})) as command:
        code, out, error = command.ended()
    assert_clean(f"study {' '.join(words)}", out + error)
    return code, out + error


def test_no_command_shows_or_stores_a_secret(settings: dict[str, str], database: Database, tmp_path: Path) -> None:
    prompts = [
        {"prompt": f"{name} {n}", "provider": name} for name in ("openai", "azure", "hyperbolic") for n in range(9)
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps(prompt) for prompt in prompts))
    code, shown = run_study(settings, tmp_path, "ask", "--file", "prompts.jsonl", "--json")
    assert code == 1
    assert "[key]" in shown  # something was echoed
    for words in (
        ("ask", "hello", "--provider", "azure", "--model", "nowhere", "--json"),
        ("ask", "hello", "--provider", "hyperbolic"),
        ("providers", "--models", "--json"),
        ("doctor", "--json"),
    ):
        run_study(settings, tmp_path, *words)
    code, _ = run_study(settings, tmp_path, "calls", DATABASE_URL=f"postgresql://a:{STORE_PASSWORD}@127.0.0.1:1/none")
    assert code == 4
    run_study(settings, tmp_path, "calls", DATABASE_URL=f"postgresql://a:{STORE_PASSWORD}@/none?nonsense=1")
    run_study(settings, tmp_path, "calls", STUDY_CHAT_ATTEMPTS=STORE_PASSWORD)
    assert_store_is_clean(database)


def test_no_answer_and_no_log_of_the_server_shows_a_secret(
    settings: dict[str, str], database: Database, tmp_path: Path
) -> None:
    with process("--home", str(tmp_path / "home"), **settings) as (server, address, lines):
        for name in ("openai", "azure", "hyperbolic"):
            for number in range(len(MISBEHAVIOURS)):
                body = {"prompt": f"{name} {number}", "provider": name}
                answer = httpx.post(f"{address}/api/calls", json=body, timeout=60)
                assert answer.status_code in (201, 502), answer.text
                assert_clean("POST /api/calls", answer.text + str(answer.headers))
                found = answer.json()["call_id"]
                for path in (f"calls/{found}", f"calls/{found}/attempts", f"calls/{found}/events"):
                    shown = httpx.get(f"{address}/api/{path}", params={"at_least": 0}, timeout=60)
                    assert_clean(path, shown.text)
            assert_clean("models", httpx.get(f"{address}/api/providers/{name}/models", timeout=60).text)
        server.terminate()
        server.wait(timeout=30)
    assert len(lines) > 20
    assert_clean("the server's log", "".join(lines))
    assert_store_is_clean(database)


def test_no_report_shows_a_secret(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a train to Rome\na bus to Rome\nbake a cake\nbake bread\n")
    run_study(settings, tmp_path, "dataset", "import", "texts.txt", "--name", "texts", "--text-column", "text")
    words = "sweep run texts --provider local --k-max 2 --restarts 2 --pca-dim 2 --json".split()
    code, shown = run_study(settings, tmp_path, *words)
    assert code == 0, shown
    sweep_id = json.JSONDecoder().raw_decode(shown[shown.index("{") :])[0]["sweep_id"]
    code, shown = run_study(settings, tmp_path, "report", sweep_id, "--out", "report.html")
    assert code == 0, shown
    assert_clean("report.html", (tmp_path / "report.html").read_bytes())


async def test_no_repr_and_no_traceback_shows_a_secret(
    settings: dict[str, str],
    database: Database,
    provider: MisbehavingServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = read_settings()
    assert_clean("settings", repr(found) + str(found))
    registry = ProviderRegistry(found.afresh)
    for name in ("openai", "azure", "hyperbolic"):
        asked = registry.create(name)
        assert_clean(name, repr(asked) + repr(asked.prepare_chat(ASKED)) + asked.endpoint)
        for _ in MISBEHAVIOURS:
            try:
                answer = await asked.send(asked.prepare_chat(ASKED), timeout_seconds=30)
                assert_clean(name, repr(answer))
            except AttemptFailed as failure:
                told = [*traceback.format_exception(failure), repr(failure), repr(failure.error), repr(failure.body)]
                assert_clean(name, "".join(told))
    await registry.aclose()


def test_nothing_that_waits_in_the_journal_holds_a_secret(
    settings: dict[str, str], database: Database, provider: MisbehavingServer, tmp_path: Path
) -> None:
    with CutLine(database.application_uri) as line:

        def cutting(request: Received, _number: int) -> str | Behaviour:
            line.cut()
            return rule(request, 0)

        provider.behave_by(cutting)
        code, _ = run_study(settings, tmp_path, "ask", "hello", "--provider", "openai", DATABASE_URL=line.uri)
        assert code == 1
    waiting = waiting_files(tmp_path / "home")
    assert [file.calls for file in waiting] == [1]
    for file in (tmp_path / "home").rglob("*"):
        if file.is_file():
            assert_clean(str(file), file.read_bytes())
    assert b"invalid_api_key" in waiting[0].path.read_bytes()
