"""Statements on what the vendor said of its models."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What the vendor said of a model, and when."""

    model: str
    lifecycle: str
    retires_at: datetime | None
    checked_at: datetime


def select_model_check(connection: Connection, model: str) -> ModelCheck | None:
    """The last check of `model`; None where there was none."""
    row = connection.execute(
        text("SELECT model, lifecycle, retires_at, checked_at FROM model_checks WHERE model = :model"), {"model": model}
    ).one_or_none()
    return None if row is None else ModelCheck(*row)


def upsert_model_check(connection: Connection, check: ModelCheck) -> None:
    """Remembers what the vendor said, in the place of what it said before."""
    connection.execute(
        text("""
            INSERT INTO model_checks (model, lifecycle, retires_at, checked_at)
            VALUES (:model, :lifecycle, :retires_at, :checked_at)
            ON CONFLICT (model) DO UPDATE
            SET (lifecycle, retires_at, checked_at) = (excluded.lifecycle, excluded.retires_at, excluded.checked_at)
        """),
        {
            "model": check.model,
            "lifecycle": check.lifecycle,
            "retires_at": check.retires_at,
            "checked_at": check.checked_at,
        },
    )
