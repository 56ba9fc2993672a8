"""Providers that another installed distribution brings, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database

ROOT = Path(__file__).parents[3]
PARROT = """
from application.providers import PreparedRequest, ProviderAnswer
from domain.calls import Tokens
from domain.errors import Rejected
import msgspec

class Parrot:
    name = "my-parrot"
    endpoint = "memory"

    def __init__(self, settings):
        if "MY_PARROT_WORD" not in settings:
            raise Rejected("my-parrot is not configured: set MY_PARROT_WORD", fields=("MY_PARROT_WORD",))
        self.word = settings["MY_PARROT_WORD"]

    def prepare_chat(self, request):
        body = msgspec.json.encode({"messages": request.messages})
        return PreparedRequest(provider=self.name, endpoint=self.endpoint, operation="chat", model="p", body=body)

    def prepare_embeddings(self, request):
        raise Rejected("A parrot embeds nothing")

    async def send(self, prepared, *, timeout_seconds):
        body = msgspec.json.encode({"choices": [{"message": {"content": self.word}}]})
        return ProviderAnswer(
            body=body, media_type="application/json", http_status=None, headers={}, model="p", tokens=Tokens(),
            latency_ms=1.0, text=self.word, text_path=("choices", "0", "message", "content"),
        )

    stream = send

    async def models(self):
        return ["p"]

    async def aclose(self):
        raise OSError("stuck")

class Mute(Parrot):
    name = "mute"
    send = None

    def __init__(self, settings):
        pass

class Alias(Mute):
    send = Parrot.send
    name = "somebody-else"

class Clumsy(Mute):
    name = "clumsy"
    send = Parrot.send

    async def send(self, prepared, *, timeout_seconds):
        return {}["the parrot's own mistake"]

def choking(settings):
    raise ValueError(f"can't use {settings['CHOKING_KEY']}")
"""


@pytest.fixture
def environment(tmp_path: Path, database: Database) -> dict[str, str]:
    """Where two distributions are installed that bring providers, good ones and bad ones."""
    site = tmp_path / "site"
    entries = {
        "parrots": {
            "My-Parrot": "parrots:Parrot",
            "mute": "parrots:Mute",
            "alias": "parrots:Alias",
            "choking": "parrots:choking",
            "clumsy": "parrots:Clumsy",
            "gone": "nowhere_at_all:Provider",
            "openai": "parrots:Parrot",
            "twice": "parrots:Parrot",
        },
        "copycats": {"twice": "parrots:Mute"},
    }
    for name, points in entries.items():
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[study_query_llm.providers]", *lines, ""]))
    (site / "parrots.py").write_text(PARROT)
    (tmp_path / ".env").write_text("MY_PARROT_WORD=hello\n")
    return {
        "PATH": "",
        "PYTHONPATH": f"{ROOT}:{site}",
        "DATABASE_URL": database.application_uri,
        "STUDY_HOME": str(tmp_path / "home"),
        "CHOKING_KEY": "planted-key",
        "STUDY_CHAT_ATTEMPTS": "1",
    }


def study(environment: dict[str, str], folder: Path, *words: str) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", *words, "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_plug_in_is_listed_and_asked_like_our_own_and_broken_ones_stand_in_nobodys_way(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, listed, _ = study(environment, tmp_path, "providers", "--models")
    assert code == 0
    assert [(each["provider"], each["models"]) for each in listed["items"] if each["provider"] == "my-parrot"] == [
        ("my-parrot", ["p"])
    ]
    assert {each["provider"] for each in listed["items"]} == {"local", "my-parrot", "clumsy"}
    code, answer, err = study(environment, tmp_path, "ask", "hello?", "--provider", "MY-PARROT")
    assert (code, answer["text"], answer["provider"]) == (0, "hello", "my-parrot"), err


def test_what_is_wrong_with_a_plug_in_is_told_by_the_doctor_and_to_who_asks_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, checked, err = study(environment, tmp_path, "doctor")
    told = {each["check"]: each["detail"] for each in checked["items"] if not each["ok"]}
    assert set(told) == {f"provider {name}" for name in ("alias", "choking", "gone", "mute", "openai", "twice")}
    assert code == 1
    for name, reason in {
        "alias": "must be 'alias'",
        "choking": "parrots (parrots:choking) can't be made: ValueError: can't use [setting]",
        "gone": "ModuleNotFoundError: No module named 'nowhere_at_all'",
        "mute": "it has no send",
        "openai": "ours is asked",
        "twice": "two distributions",
    }.items():
        assert reason in told[f"provider {name}"]
    assert "planted-key" not in str(checked) + err
    code, refused, _ = study(environment, tmp_path, "ask", "hello?", "--provider", "gone")
    assert code == 2
    assert "No module named 'nowhere_at_all'" in refused["detail"]
    code, refused, _ = study(environment, tmp_path, "ask", "hello?", "--provider", "nobody")
    assert "my-parrot" in refused["detail"]


def test_a_plug_in_that_lacks_a_setting_is_not_broken_and_names_it(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".env").unlink()
    code, refused, _ = study(environment, tmp_path, "ask", "hello?", "--provider", "my-parrot")
    assert (code, refused["fields"]) == (2, ["MY_PARROT_WORD"])


def test_a_call_whose_provider_makes_a_mistake_is_recorded_as_failed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, failed, err = study(environment, tmp_path, "ask", "hello?", "--provider", "clumsy")
    assert code == 1
    assert "KeyError" in failed["detail"]
    assert "Traceback" not in err
    _, call, _ = study(environment, tmp_path, "call", failed["call_id"])
    assert (call["status"], call["error"]["kind"]) == ("failed", "unexpected")
