"""Every setting, read once and typed: from the environment, then `.env`, then `issuetide.toml` of the working folder.

The names that other tools share are theirs (GITHUB_TOKEN, ANTHROPIC_API_KEY, DATABASE_URL, OPENSEARCH_URL); ours begin
with ISSUETIDE_. In `issuetide.toml` the same names are written in lower case.
"""

import unicodedata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from etl.errors import ConfigurationError


def _default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("issuetide", appauthor=False))


class Settings(BaseSettings):
    """The settings of one process. Secrets are `SecretStr`: they never show in a repr, a log or an error."""

    model_config = SettingsConfigDict(
        env_file=".env", toml_file="issuetide.toml", extra="ignore", frozen=True, env_ignore_empty=True
    )

    github_token: SecretStr | None = Field(
        None, description="GitHub token, or several, comma separated; without one GitHub allows 60 calls an hour"
    )
    github_app_id: str | None = Field(None, description="a GitHub App to read with: its id; needs the extra `app`")
    github_app_private_key: SecretStr | None = Field(
        None, description="the App's private key as PEM text; its line ends may be written as \\n"
    )
    github_app_private_key_file: Path | None = Field(None, description="or the file that holds the key")
    github_app_installation_id: int | None = Field(
        None, ge=1, description="the App's installation; unset: found by the repository's owner"
    )
    github_api_url: str = Field(
        "https://api.github.com", description="REST root; for GitHub Enterprise https://HOST/api/v3"
    )
    anthropic_api_key: SecretStr | None = Field(None, description="Anthropic API key; without one `rules` answers")
    anthropic_base_url: str | None = Field(
        None, description="another address of the Anthropic API (a proxy, a test server)"
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15+ as postgresql://… or postgres://…; unset: the embedded PostgreSQL"
    )
    opensearch_url: SecretStr | None = Field(
        None, description="OpenSearch 2.19+ or 3.x; `local`: the server of `issuetide servers`; unset: documents wait"
    )
    opensearch_username: str | None = Field(None, description="user name for OpenSearch, where the URL has none")
    opensearch_password: SecretStr | None = Field(None, description="its password, as it is: nothing percent-encoded")
    opensearch_ca_file: Path | None = Field(
        None, description="certificate authorities to trust for OpenSearch and Dashboards (PEM); unset: the machine's"
    )
    opensearch_client_cert_file: Path | None = Field(
        None, description="a client certificate to show to OpenSearch (PEM)"
    )
    opensearch_client_key_file: Path | None = Field(
        None, description="its key, not encrypted (PEM); unset: it is in the certificate's file"
    )
    opensearch_aws_region: str | None = Field(
        None, description="sign requests (SigV4) for Amazon OpenSearch Service in this region; needs the extra `aws`"
    )
    opensearch_aws_service: Literal["es", "aoss"] = Field(
        "es", description="what they are signed for: `es`, or `aoss` (Serverless)"
    )
    dashboards_url: SecretStr | None = Field(
        None, description="OpenSearch Dashboards, for `issuetide dashboards import`"
    )
    dashboards_username: str | None = Field(None, description="user name for Dashboards, where the URL has none")
    dashboards_password: SecretStr | None = Field(None, description="its password, as it is")
    issuetide_model: str = Field("claude-haiku-5-5", description="the Anthropic model that classifies")
    issuetide_task: str = Field("issue_kind", description="the tasks of a run without --task, comma separated")
    issuetide_tasks_dir: Path | None = Field(
        None, description="a folder of your own task files, beside the shipped ones"
    )
    issuetide_index_prefix: str = Field("issuetide", description="OpenSearch indices are PREFIX-classifications, …")
    issuetide_data_dir: Path = Field(
        default_factory=_default_data_dir, description="where the embedded PostgreSQL and the local OpenSearch live"
    )
    issuetide_deadline_minutes: float = Field(
        50.0, gt=0, description="a run ends by then, also when it has to wait for a limit"
    )
    issuetide_max_calls: int | None = Field(None, ge=1, description="cap on calls to GitHub per run; unset: no cap")
    issuetide_sweep_calls: int = Field(
        10,
        ge=0,
        description="calls per repository and run that re-read what is stored, for what no list of changes tells",
    )
    issuetide_sweep_hours: float = Field(
        24.0, ge=0, le=87_600, description="a new round of that re-reading begins at most this often; 0: with every run"
    )
    issuetide_timelines: Literal["off", "estimated", "all"] = Field(
        "estimated",
        description="whose timeline is read from those calls: `off`, `estimated` (a reopening nobody saw), `all`",
    )
    issuetide_near: Literal["off", "on"] = Field(
        "off", description="`on`: runs also look for issues that are nearly the same; needs the extra `near`"
    )
    issuetide_inherit: Literal["off", "on"] = Field(
        "off",
        description="`on`: a text that differs from an answered one in nothing that matters inherits its answer, once"
        " audits have shown that this is right",
    )
    issuetide_inherit_audit: float = Field(
        0.05, ge=0, le=1, description="the share of such texts that are asked about all the same, for comparison"
    )
    issuetide_cascade: Literal["off", "on"] = Field(
        "off",
        description="`on`: a trained local model answers what it is sure of, Claude the rest (`issuetide train`); needs"
        " the extra `ml`",
    )
    issuetide_cascade_audit: float = Field(
        0.05, ge=0, le=1, description="the share of the local model's answers that Claude is asked for all the same"
    )
    issuetide_max_cost_usd: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="cap on dollars per run; unset: no cap"
    )
    issuetide_max_cost_usd_day: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="cap on dollars per UTC day, of all runs together; unset: no cap"
    )
    issuetide_max_cost_usd_month: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="cap on dollars per UTC month, of all runs together; unset: no cap"
    )
    issuetide_max_items: int | None = Field(None, ge=1, description="cap on texts asked per run; unset: no cap")
    issuetide_pack: int = Field(
        10, ge=1, le=20, description="how many texts share a request to Anthropic at most; 1: each has its own"
    )
    issuetide_executor: Literal["auto", "sync", "batch"] = Field(
        "auto",
        description="how Claude is asked: `sync` at once, `batch` within a day for half the price, `auto` by how many"
        " texts wait",
    )
    issuetide_batch_from: int = Field(
        1000, ge=1, description="`auto` takes batches where so many texts of a task wait, or more"
    )
    issuetide_batch_pack: int = Field(20, ge=1, le=20, description="how many texts share a request of a batch at most")
    issuetide_threads: int = Field(8, ge=1, le=64, description="requests to Anthropic at the same time")
    issuetide_max_wait_seconds: float = Field(
        120.0, gt=0, description="the longest single retry-after that is waited out at Anthropic"
    )

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not (isinstance(value, str) and not value.strip())}

    @field_validator("*", mode="before")
    @classmethod
    def _plain_text(cls, value: object, field: ValidationInfo) -> object:
        """Without the space and the line end that copying leaves; what is no text is refused here, not in a driver."""
        if not isinstance(value, str) or field.field_name == "github_app_private_key":  # a PEM has line ends
            return value
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value.strip()):
            raise ValueError("it holds a line end or another character that is no text; copy it again")
        return value.strip()

    @field_validator("github_api_url", "anthropic_base_url")
    @classmethod
    def _absolute_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("must be an absolute http:// or https:// URL")
        if "@" in parts.netloc:
            raise ValueError("must hold no user name and no password: it is shown in messages")
        return value.rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic-settings passes it by name)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before `.env` before `issuetide.toml`."""
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls)


def read_settings(**overrides: Any) -> Settings:  # noqa: ANN401  (the same names and types as the fields above)
    """The settings of this process; `overrides` win over every other place.

    Raises:
        ConfigurationError: a value is malformed; the message names the setting and never shows a secret.
    """
    try:
        _check_env_file(Path(".env"))
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "settings"
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"setting {name} cannot be used: {reason}") from None
    except (SettingsError, OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"issuetide.toml or .env cannot be read: {error}") from None


def _check_env_file(path: Path) -> None:
    """Passes unless `.env` has a line that would be left out: a key whose quote is not closed is no missing key."""
    if not path.is_file():
        return
    from dotenv.parser import parse_stream

    with path.open(encoding="utf-8") as file:
        for binding in parse_stream(file):
            if binding.error:
                raise ConfigurationError(
                    f".env line {binding.original.line}: not of the form NAME=value, or a quote is open"
                )
