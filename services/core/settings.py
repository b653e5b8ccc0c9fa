"""The one typed configuration of the process, read once from `PORTRAIT_*` environment variables."""

import ipaddress
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_TEXT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_IMAGE_ENCODER = "efficientnet-lite0"


class SurfaceBudget(BaseModel):
    """How far behind the event log portraits may be on one surface of the shop, and what is shown when they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_profile_lag_ms: int = Field(gt=0, description="Older events may not be missing from the portrait.")
    fallback: Literal["popular", "recent_events", "stale"] = Field(
        "popular",
        description="popular: what anybody is shown; recent_events: that, and the request's recent_events; "
        "stale: the portrait all the same.",
    )


class Settings(BaseSettings):
    """Everything a deployment may set. An unset address means: the embedded server under `home`."""

    model_config = SettingsConfigDict(env_prefix="PORTRAIT_", frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(Path(".portrait"), description="Folder of the embedded servers, snapshots, models and logs.")
    port: int = Field(8000, ge=0, le=65535, description="HTTP port; 0 takes a free one.")
    bind: str = Field("127.0.0.1", description="Listening address; any but loopback needs api_keys.")
    api_keys: SecretStr | None = Field(
        None, description="Comma-separated keys accepted as `Authorization: Bearer KEY`."
    )
    database_url: SecretStr | None = Field(None, description="postgresql://… of an external PostgreSQL with pgvector.")
    redis_url: SecretStr | None = Field(
        None, description="redis://… of an external Valkey or Redis (online store), redis+cluster://… of a cluster."
    )
    broker_url: SecretStr | None = Field(None, description="Celery broker; the online store's server when unset.")
    storage_url: str | None = Field(
        None, description="Object storage of snapshots, models and search (s3://…, file://…) where hosts share no home."
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    text_encoder: str = Field(DEFAULT_TEXT_ENCODER, description="Offline default or a Hugging Face model name or path.")
    image_encoder: str = Field(
        DEFAULT_IMAGE_ENCODER, description="Offline default or a Hugging Face model name or path."
    )
    mlflow_tracking_uri: str | None = Field(
        None, description="MLflow server; a SQLite file under `home` when unset, no MLflow at all when `none`."
    )
    surfaces: dict[str, SurfaceBudget] = Field(
        default_factory=dict, description="JSON: by surface how fresh portraits must be, and what is shown when not."
    )
    search_language: str = Field("english", description="Whose stems search uses: a Snowball stemmer's name, or none.")
    search_boosts: dict[str, float] = Field(
        default_factory=dict,
        description="JSON: what a word counts by field: title, brand, categories, attributes, description.",
    )
    search_meaning_floor: float = Field(
        0.45, ge=-1, le=1, description="Cosine from which an item that lacks the query's words is a result of a search."
    )
    search_rerank_ms: int = Field(
        200,
        ge=0,
        description="How long a search waits for the cross-encoder of its ranker, where it has one; 0: not at all.",
    )
    worker_idle_s: float = Field(
        90.0,
        ge=0,
        description="After so many seconds without a job a worker frees what torch, Feast and models take; 0: never.",
    )
    cpu_processes: int = Field(
        1, ge=1, description="Processes of a worker for recomputes, snapshots and statistics: a recompute uses all."
    )
    rate_limit: float | None = Field(
        None, gt=0, description="Requests a second of each API key, or of each address where no key is needed."
    )
    request_log_share: float = Field(
        1.0, ge=0, le=1, description="Share of served lists whose features are kept, for training and replay."
    )
    retention_days: int = Field(
        90,
        ge=31,
        description="Days for which is kept what was shown, how it was ranked, and what was searched for; training "
        "looks back 30.",
    )
    log_level: str = Field("INFO", pattern="^(?i:debug|info|warning|error)$")

    @field_validator("home")
    @classmethod
    def _absolute_home(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("database_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("PORTRAIT_DATABASE_URL must start with postgresql://")
        return value

    @model_validator(mode="after")
    def _open_address_needs_keys(self) -> "Settings":
        if not self.loopback_only and not self.keys:
            raise ValueError(
                f"PORTRAIT_BIND={self.bind} is reachable from other machines: set PORTRAIT_API_KEYS as well, "
                "or bind to 127.0.0.1"
            )
        return self

    @property
    def loopback_only(self) -> bool:
        if self.bind == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return False

    @property
    def keys(self) -> frozenset[str]:
        """The accepted API keys; empty means that loopback callers need none."""
        text = self.api_keys.get_secret_value() if self.api_keys else ""
        return frozenset(key.strip() for key in text.split(",") if key.strip())


@cache
def get_settings() -> Settings:
    """The process's settings. Tests build their own `Settings` instead of calling this."""
    return Settings()
