"""The Home Depot search judgements as a shop: 54,667 products with their titles, and 11,795 queries with grades.

The file is looked for in `PORTRAIT_HOME_DEPOT`, else in ../shared/data/home-depot-search/train.csv.zip. Vectors of
titles and queries are kept in `PORTRAIT_HOME`, as `portrait evaluate search` keeps them: only the first run takes
minutes.
"""

import os
from pathlib import Path

from benchmarks._data import SHARED
from services.core.errors import NotFound
from training.search_judgements import Judgements, read_judgements

ENVIRONMENT = "PORTRAIT_HOME_DEPOT"
DEFAULT = SHARED / "home-depot-search" / "train.csv.zip"


def home_depot() -> Judgements:
    """All judgements.

    Raises:
        NotFound: the file is not there.
    """
    named = os.environ.get(ENVIRONMENT)
    path = Path(named) if named else DEFAULT
    if not path.is_file():
        raise NotFound(f"{path} is not there: set {ENVIRONMENT} to the Home Depot judgements (train.csv.zip)")
    return read_judgements(path)
