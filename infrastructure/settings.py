"""Settings: flags over environment over ./.env over files of secrets over defaults; secrets never printed."""

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from domain.errors import Rejected
from infrastructure.providers.settings import ProviderSettings

USABLE_TOKEN = re.compile(r"[\x21-\x7e]{16,512}")
SECRETS, DEFAULT_SECRETS = "STUDY_SECRETS", "/run/secrets"
NEW_FILE_NS = 2_000_000_000  # within which a file may be written twice at what the disk calls the same time
LogLevel = Literal["debug", "info", "warning", "error"]


def default_home() -> Path:
    """The platform's user data folder; for root /var/lib/study-query-llm."""
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/study-query-llm")
    return Path(platformdirs.user_data_dir("study-query-llm", appauthor=False))


class Settings(ProviderSettings, BaseSettings):
    """Everything that can be set from outside; field names are the environment's names in lower case."""

    # An empty variable counts as not set, so that it doesn't hide the older name of the same setting.
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", populate_by_name=True
    )
    _flags: dict[str, Any] = PrivateAttr(default_factory=dict)
    _outside: int = PrivateAttr(default=0)  # what they were read from, as a hash, since it holds keys
    _latest: "Settings | None" = PrivateAttr(default=None)

    study_secrets: Path = Path(DEFAULT_SECRETS)  # a folder of files, each named as the setting whose value it holds
    study_home: Path = Field(default_factory=default_home)
    database_url: SecretStr | None = None
    legacy_database_url: SecretStr | None = None  # sqlite:////path or postgresql://…: of an older notebook
    study_artifacts: SecretStr | None = None  # a folder, or an fsspec URL, which may hold a login
    study_largest_upload_mb: int = Field(default=1024, ge=1, le=1_000_000)
    study_log_level: LogLevel = "warning"
    study_chat_attempts: int = Field(default=3, ge=1, le=20)
    study_embed_attempts: int = Field(default=6, ge=1, le=20)
    study_attempt_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    study_call_timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    study_gateway_attempts: int = Field(default=1, ge=1, le=20)
    study_gateway_timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    study_probe_deployments: bool = True
    study_probe_ttl_s: float = Field(default=86_400.0, ge=0, le=31_536_000)
    study_drain_s: float = Field(default=30.0, ge=0, le=86_400)
    study_prices: Path | None = None
    study_in_doubt_after_s: float = Field(default=15.0, ge=0, le=3600)
    study_compute: str = ""  # schedulers that sweeps asked for over HTTP may be computed at, with commas between
    panel_address: str = "127.0.0.1"  # where `study serve` listens
    panel_port: int = Field(default=8000, ge=0, le=65_535)
    study_ready_lag_s: float = Field(default=60.0, gt=0, le=86_400)
    study_token: SecretStr | None = None  # counts as an admin's
    study_token_rate: float = Field(default=100.0, ge=0, le=1_000_000)  # requests a second of each token; 0: no limit
    study_token_burst: int = Field(default=200, ge=1, le=1_000_000)
    study_token_concurrency: int = Field(default=200, ge=0, le=1_000_000)  # at a time; 0: no limit

    def artifacts_place(self) -> str:
        """Where artifacts lie: a folder or an fsspec URL, which must not be shown."""
        given = None if self.study_artifacts is None else self.study_artifacts.get_secret_value()
        return given or str(self.earlier_artifacts_folder())

    def compute_addresses(self) -> tuple[str, ...]:
        """Where sweeps that are asked for over HTTP may be computed, beside here."""
        return tuple(address.strip() for address in self.study_compute.split(",") if address.strip())

    def earlier_artifacts_folder(self) -> Path:
        """Where artifacts always lay before each store had a part of its own, and another place could be chosen."""
        return self.study_home / "artifacts"

    def afresh(self) -> "Settings":
        """The settings as the environment has them now, under the same flags. Raises Rejected.

        They are read anew only when something has changed, since that takes a millisecond, and each call asks.
        """
        latest = self._latest or self
        if latest._outside != _outside():
            latest = self._latest = read_settings(**self._flags)
        return latest

    def flags(self) -> dict[str, str]:
        """What was given beside the environment, for another process of ours; it may hold a password."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self._flags.items()
        }

    @field_validator("database_url", mode="before")
    @classmethod
    def _postgres_only(cls, value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text and not str(text).startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        if text:
            _check_url(str(text))
        return text or None

    @field_validator("study_token")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not USABLE_TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(
                "must have 16 to 512 printable characters without spaces, since whoever guesses it may do everything; "
                "`study token issue` makes a good one"
            )
        return value

    @field_validator("study_log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def _check_url(url: str) -> None:
    """Raise ValueError for what libpq would misread; never shows the URL, since it may hold a password."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except Error:
        parts = {"port": "unreadable"}
    ports = parts.get("port", "").replace(",", "")
    if (not ports.isdecimal() and ports) or "@" in parts.get("host", "") + parts.get("dbname", ""):
        raise ValueError(
            "can't be read as a libpq URL; check its parameters, and write special characters of the password "
            "as %40 for @, %2F for /, %3A for :, %25 for %"
        )


def _outside() -> int:
    """What all settings but the flags are read from, hashed. Every call asks, so that it takes some microseconds."""
    files = (str(Settings.model_config["env_file"]), *_secret_files())
    return hash((tuple(_environment().items()), *((file, _state_of(file)) for file in files)))


def _environment() -> Mapping[Any, Any]:
    """The environment as it is now. Python keeps it as bytes, which need not be decoded to be compared."""
    kept: Mapping[Any, Any] | None = vars(os.environ).get("_data")
    return os.environ if kept is None else kept


def _secrets_folder() -> str:
    """Only the environment can say where it is: it is read before all else."""
    return os.environ.get(SECRETS) or DEFAULT_SECRETS


def _secret_files() -> list[str]:
    try:
        with os.scandir(_secrets_folder()) as found:
            return sorted(each.path for each in found if each.is_file())
    except OSError:
        return []


def _state_of(file: str) -> tuple[int, int, int, bytes | None] | None:
    """What changes with a file: time, size and place, and its bytes while it is so new that they alone could."""
    try:
        found = Path(file).stat()
        is_new = time.time_ns() - found.st_mtime_ns < NEW_FILE_NS
        return found.st_mtime_ns, found.st_size, found.st_ino, Path(file).read_bytes() if is_new else None
    except OSError:
        return None


def read_settings(**flags: Any) -> Settings:
    """Settings as they are now; flags that are None count as not given. Raises Rejected naming each wrong setting."""
    given = {name: value for name, value in flags.items() if value is not None}
    outside = _outside()
    secrets = Path(_secrets_folder())
    try:
        from_files: dict[str, Any] = {"_secrets_dir": secrets} if secrets.is_dir() else {}
        settings = Settings(**from_files, **given)
    except SettingsError as error:
        what = error.__cause__.__class__.__name__ if error.__cause__ else "it is no folder"
        raise Rejected(
            f"{secrets}: {error} ({what}); a file there has the value of a setting as its text, and lets us read it",
            fields=(SECRETS,),
        ) from None
    except ValidationError as error:
        wrong = [
            (str(problem["loc"][0]).upper(), problem["msg"].removeprefix("Value error, "))
            for problem in error.errors(include_input=False)
        ]
        raise Rejected(
            "; ".join(f"{name}: {message}" for name, message in wrong), fields=tuple(name for name, _ in wrong)
        ) from None
    settings._flags = given
    settings._outside = outside
    return settings
