"""The Home Depot search judgements as a shop: 54,667 products with their titles, and 11,795 queries with grades.

The file is looked for in `PORTRAIT_HOME_DEPOT`, else in ../shared/data/home-depot-search/train.csv.zip.
"""

import html
import io
import os
import zipfile
from pathlib import Path

import polars as pl

from services.core.errors import NotFound

ENVIRONMENT = "PORTRAIT_HOME_DEPOT"
DEFAULT = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "home-depot-search" / "train.csv.zip"


def judgements(path: Path | None = None) -> pl.DataFrame:
    """Columns query, item_id, title, grade (1–3), in the file's order.

    Raises:
        NotFound: the file is not there.
    """
    named = os.environ.get(ENVIRONMENT)
    path = path or (Path(named) if named else DEFAULT)
    if not path.is_file():
        raise NotFound(f"{path} is not there: set {ENVIRONMENT} to the Home Depot judgements (train.csv.zip)")
    with zipfile.ZipFile(path) as archive:
        data = archive.read(archive.namelist()[0]).decode("latin-1")
    frame = pl.read_csv(io.BytesIO(data.encode()))
    return frame.select(
        query=pl.col("search_term"),
        item_id=pl.col("product_uid").cast(pl.String),
        title=pl.col("product_title").map_elements(html.unescape, return_dtype=pl.String),
        grade=pl.col("relevance").cast(pl.Float32),
    )


def catalogue(judged: pl.DataFrame) -> pl.DataFrame:
    """The products: item_id and title, ascending by id."""
    return judged.select("item_id", "title").unique("item_id", keep="first").sort("item_id")
