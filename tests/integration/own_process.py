"""Parts of Portrait in a process of their own, on the session's servers."""

import os
import subprocess
import sys
from pathlib import Path

from services.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def variables(settings: Settings) -> dict[str, str]:
    """The environment of such a process."""
    return {
        **os.environ,
        "PORTRAIT_HOME": str(settings.home),
        "PORTRAIT_DATABASE_URL": settings.database_url.get_secret_value(),
        "PORTRAIT_REDIS_URL": settings.redis_url.get_secret_value(),
    }


def apply_definitions(settings: Settings) -> None:
    """As `portrait up` does before anything else reads features."""
    command = [sys.executable, "-m", "feature_repo.registry_sync", "apply"]
    subprocess.run(command, cwd=ROOT, env=variables(settings), capture_output=True, check=True, timeout=120)
