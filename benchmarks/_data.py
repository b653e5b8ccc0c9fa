"""Where the real data of benchmarks lie."""

import os
from pathlib import Path

from services.core.errors import NotFound

ENVIRONMENT = "PORTRAIT_TEST_DATA"
SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def data_folder(name: str) -> Path:
    """One data set, under the folder that `PORTRAIT_TEST_DATA` names, else ../shared/data.

    Raises:
        NotFound: it is not there.
    """
    folder = Path(os.environ.get(ENVIRONMENT) or SHARED) / name
    if not folder.is_dir():
        raise NotFound(f"{folder} is not there: set {ENVIRONMENT} to the folder that holds {name}")
    return folder
