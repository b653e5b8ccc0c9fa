"""Promoting what a training job has just published."""

from typing import Any

from services.core.errors import Conflict
from services.registry.registry import ModelRegistry


def promoted(registry: ModelRegistry, version: str, *, wanted: bool) -> dict[str, Any]:
    """Whether the version serves now, and what the gate said where that was `wanted`."""
    if not wanted:
        return {"promoted": False}
    try:
        return {"verdict": registry.promote(version).reason, "promoted": True}
    except Conflict as error:
        return {"verdict": error.detail, "promoted": False}
