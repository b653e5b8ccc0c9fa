"""What a training job has published, and its promotion."""

from typing import Any

from services.core.errors import Conflict
from services.registry.manifest import ModelManifest
from services.registry.registry import ModelRegistry


def published(registry: ModelRegistry, manifest: ModelManifest, *, promote: bool) -> dict[str, Any]:
    """What a training job answers: the version and how it did, whether it serves now, and what the gate said where it
    was to `promote`."""
    answer = {
        "version": manifest.version,
        "epochs": manifest.epochs,
        "seconds": manifest.seconds,
        "metrics": {name: value.mean for name, value in manifest.metrics.items()},
        "gain": manifest.gain.mean,
        "taught_by": manifest.taught_by,
    }
    return answer | (_promoted(registry, manifest.version) if promote else {"promoted": False})


def _promoted(registry: ModelRegistry, version: str) -> dict[str, Any]:
    try:
        return {"verdict": registry.promote(version).reason, "promoted": True}
    except Conflict as error:
        return {"verdict": error.detail, "promoted": False}
