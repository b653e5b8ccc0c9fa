"""Relevance judgements from a file: which product is how good an answer to which query."""

import gzip
import html
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from services.core.errors import ImportFailed, InvalidInput

QUERY, ITEM, GRADE = "query", "item_id", "grade"
REQUIRED = (QUERY, ITEM, GRADE)
TEXTS = ("title", "description", "brand", "categories")
"""What a file may say of its products, where no catalogue is named beside it."""
KNOWN_LAYOUTS: tuple[Mapping[str, str], ...] = (
    {QUERY: "search_term", ITEM: "product_uid", "title": "product_title", GRADE: "relevance"},
    {QUERY: "query", ITEM: "product_id", "title": "product_title", GRADE: "esci_label"},
)
"""Columns by which public files are recognised: Home Depot's, and Amazon's shopping queries."""
ESCI = {"E": 3.0, "S": 2.0, "C": 1.0, "I": 0.0}
"""Amazon's labels: exact, substitute, complement, irrelevant."""
ARCHIVE_LIMIT = 2 << 30


@dataclass(frozen=True)
class Judgements:
    """`queries`: distinct, in the file's order. Rows are sorted by query: row r judges `item` int64 (r,) (a row of
    `items`) with `grade` float64 (r,); query q owns the rows `starts[q]` to `starts[q + 1]`. `items`: `item_id` and the
    `TEXTS` of the file."""

    source: str
    queries: list[str]
    items: pl.DataFrame
    item: NDArray[np.int64]
    grade: NDArray[np.float64]
    starts: NDArray[np.int64]

    @property
    def owner(self) -> NDArray[np.int64]:
        """int64 (rows,): the query of each row."""
        return np.repeat(np.arange(len(self.queries)), np.diff(self.starts))

    @property
    def gain(self) -> NDArray[np.float64]:
        """2^(grade − lowest) − 1 (Burges et al. 2005), the lowest grade of the file being worth nothing."""
        return np.exp2(self.grade - self.grade.min()) - 1


def read_judgements(path: Path, mapping: Mapping[str, str] | None = None, encoding: str | None = None) -> Judgements:
    """The judgements of a CSV, TSV or JSON-lines file, plain, gzipped or alone in a zip archive.

    `mapping`: our column → the file's; what is not mapped has our name or the layout of a known file. A pair that is
    judged twice counts with its mean grade.

    Raises:
        ImportFailed: the file cannot be read, or a column is missing.
        InvalidInput: a grade is no number.
    """
    frame = _table(_content(path), path, encoding)
    names = _columns(frame.columns, mapping or {}, path)
    rows = frame.select(pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in names.items())
    rows = rows.drop_nulls([QUERY, ITEM]).with_columns(
        pl.col(GRADE).replace(ESCI if rows[GRADE].is_in(list(ESCI)).all() else {}).cast(pl.Float64, strict=False)
    )
    if not len(rows):
        raise ImportFailed(f"{path}: no row has a query and a product: check the columns, or name them with --map")
    if rows[GRADE].null_count() or not rows[GRADE].is_finite().all():
        raise InvalidInput(f"{path}: a grade is missing or no number: --map grade=COLUMN names another column")
    pairs = rows.group_by(QUERY, ITEM, maintain_order=True).agg(pl.col(GRADE).mean())
    texts = [pl.col(name).map_elements(html.unescape, return_dtype=pl.String) for name in TEXTS if name in rows.columns]
    items = (
        rows.with_columns(texts)
        .select(ITEM, *(name for name in TEXTS if name in rows.columns))
        .unique(ITEM, keep="first", maintain_order=True)
    )
    queries = pairs[QUERY].unique(maintain_order=True)
    place = dict(zip(queries.to_list(), range(len(queries)), strict=True))
    row = dict(zip(items[ITEM].to_list(), range(len(items)), strict=True))
    owner = np.array([place[query] for query in pairs[QUERY].to_list()])
    order = np.argsort(owner, kind="stable")
    return Judgements(
        source=path.name,
        queries=queries.to_list(),
        items=items,
        item=np.array([row[item] for item in pairs[ITEM].to_list()], np.int64)[order],
        grade=pairs[GRADE].to_numpy()[order],
        starts=np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=len(queries))))),
    )


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                files = [
                    entry for entry in archive.infolist() if not entry.is_dir() and "__MACOSX" not in entry.filename
                ]
                if len(files) != 1:
                    raise ImportFailed(f"{path}: holds {len(files)} files: unpack it and name the one with judgements")
                if files[0].file_size > ARCHIVE_LIMIT:
                    raise ImportFailed(f"{path}: unpacks to more than 2 GiB: take the part that is wanted out of it")
                return archive.read(files[0])
    except OSError as error:
        raise ImportFailed(f"{path}: cannot be read ({error.strerror or error}): check the path") from error
    except (EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ImportFailed(f"{path}: is damaged ({error}): copy or download it again") from error
    return data


def _table(data: bytes, path: Path, encoding: str | None) -> pl.DataFrame:
    """All columns as text; UTF-8 where that fits, else Latin-1, unless the encoding is named."""
    try:
        text = data.decode(encoding or "utf-8-sig")
    except LookupError as error:
        raise InvalidInput(f"{encoding} is no known encoding: try utf-8, latin-1 or gb18030") from error
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise ImportFailed(f"{path}: is not {encoding}: name another with --encoding") from error
        text = data.decode("latin-1")
    if not text.strip():
        raise ImportFailed(f"{path}: the file is empty")
    raw = io.BytesIO(text.encode())
    first = text.split("\n", 1)[0]
    try:
        if first.lstrip().startswith("{"):
            return pl.read_ndjson(raw)
        return pl.read_csv(raw, separator="\t" if "\t" in first else ",", infer_schema=False)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ImportFailed(f"{path}: is neither CSV, TSV nor JSON lines: {error}") from error


def _columns(columns: list[str], mapping: Mapping[str, str], path: Path) -> dict[str, str]:
    """Our column to the file's, for what the file has."""
    unknown = [name for name in mapping if name not in (*REQUIRED, *TEXTS)]
    if unknown:
        raise InvalidInput(f"--map {unknown[0]}: judgements have {', '.join((*REQUIRED, *TEXTS))}")
    lowered = {column.strip().lower(): column for column in columns}
    found = {name: lowered[name] for name in (*REQUIRED, *TEXTS) if name in lowered}
    for layout in KNOWN_LAYOUTS:
        if all(name in lowered for name in layout.values()):
            found |= {ours: lowered[theirs] for ours, theirs in layout.items()}
    for ours, theirs in mapping.items():
        if theirs not in columns:
            raise ImportFailed(f"{path}: --map {ours}={theirs} names no column: the file has {', '.join(columns)}")
        found[ours] = theirs
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise ImportFailed(
            f"{path}: has no column {missing[0]}: it has {', '.join(columns)}; name it with --map {missing[0]}=THEIRS"
        )
    return found
