from pathlib import Path

import pytest

from domain.errors import Rejected
from infrastructure.settings import read_settings


def test_flags_go_over_the_environment_which_goes_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("STUDY_CHAT_ATTEMPTS=4\nSTUDY_EMBED_ATTEMPTS=4\nSTUDY_LOG_LEVEL=debug\n")
    monkeypatch.setenv("STUDY_EMBED_ATTEMPTS", "5")
    monkeypatch.setenv("STUDY_LOG_LEVEL", "INFO")
    settings = read_settings(study_log_level="error", database_url=None)
    assert (settings.study_chat_attempts, settings.study_embed_attempts) == (4, 5)
    assert settings.study_log_level == "error"


def test_settings_read_afresh_see_the_environment_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "first")
    settings = read_settings(study_chat_attempts=7)
    monkeypatch.setenv("OPENAI_MODEL", "second")
    assert settings.openai_model == "first"
    assert settings.afresh().openai_model == "second"
    assert settings.afresh().study_chat_attempts == 7


def test_settings_are_read_again_only_when_something_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings()
    assert settings.afresh() is settings
    (tmp_path / ".env").write_text("OPENAI_MODEL=one\n")
    changed = settings.afresh()
    assert (changed.openai_model, settings.afresh() is changed) == ("one", True)
    (tmp_path / ".env").write_text("OPENAI_MODEL=two\n")
    assert settings.afresh().openai_model == "two"
    monkeypatch.setenv("OPENAI_MODEL", "three")
    assert settings.afresh().openai_model == "three"
    monkeypatch.setenv("STUDY_CHAT_ATTEMPTS", "none")
    for _ in range(2):
        with pytest.raises(Rejected):
            settings.afresh()


def test_an_empty_variable_does_not_hide_the_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "")
    monkeypatch.setenv("AZURE_API_KEY", "older")
    key = read_settings().azure_openai_api_key
    assert key is not None
    assert key.get_secret_value() == "older"


@pytest.mark.parametrize(
    ("name", "value"),
    [("STUDY_CHAT_ATTEMPTS", "none"), ("STUDY_ATTEMPT_TIMEOUT_S", "-1"), ("DATABASE_URL", "mysql://u:sekret@h/d")],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Rejected, match=name) as rejected:
        read_settings()
    assert "sekret" not in str(rejected.value)
    assert "Value error" not in str(rejected.value)


def test_a_secret_may_lie_in_a_file_of_its_name_which_is_read_last_and_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.setenv("STUDY_SECRETS", str(secrets))
    (secrets / "openai_api_key").write_text("sk-from-a-file\n")
    (secrets / "OPENAI_MODEL").write_text("from-a-file")
    (secrets / "azure_api_key").write_text("older name")
    (secrets / "..data").mkdir()
    settings = read_settings()
    assert settings.openai_api_key is not None
    assert settings.azure_openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-from-a-file"
    assert settings.azure_openai_api_key.get_secret_value() == "older name"
    assert settings.openai_model == "from-a-file"
    (secrets / "OPENAI_MODEL").write_text("changed")
    assert settings.afresh().openai_model == "changed"
    (tmp_path / ".env").write_text("OPENAI_MODEL=from-dotenv\n")
    assert settings.afresh().openai_model == "from-dotenv"
    monkeypatch.setenv("OPENAI_MODEL", "from-the-environment")
    assert settings.afresh().openai_model == "from-the-environment"


def test_a_file_of_secrets_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_SECRETS", str(tmp_path))
    (tmp_path / "study_token").write_bytes(b"\xff\xfe")
    with pytest.raises(Rejected, match=r"study_token.*as its text"):
        read_settings()
