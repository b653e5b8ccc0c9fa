"""The data of an offline evaluation from files in the import formats."""

import hashlib
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from services.core import columns
from services.core.clock import utc_now
from services.core.errors import ImportFailed
from services.core.settings import Settings
from services.encoders.content import item_texts
from services.encoders.text import load_text_encoder
from services.ingest.event_rules import EventRules
from services.ingest.importers.base import ROW, ImportOptions, Kind
from services.ingest.importers.formats import choose_importer
from services.ingest.importers.source import Source
from services.ingest.item_rules import ItemRules
from services.profiles.shop_data import EvaluationData

FORMAT_ALIASES = {"sequences": "user-sequences"}


def read_data(
    events: Path, items: Path | None, settings: Settings, *, format: str, options: ImportOptions, encode: bool
) -> EvaluationData:
    """Events and catalogue of files. Rows that an import would reject are left out.

    Items of the events that the catalogue lacks are ranked too, without a text. `encode`: make text vectors, which
    are kept under the home's cache.
    """
    log = _read(Kind.EVENTS, events, FORMAT_ALIASES.get(format, format), options)
    catalogue = _items_of(log) if items is None else _read(Kind.ITEMS, items, "auto", ImportOptions())
    table = catalogue.unique(columns.ITEM_ID, keep="last", maintain_order=True)
    bare = _items_of(log).join(table, columns.ITEM_ID, how="anti")
    table = pl.concat([table.select(bare.columns), bare], how="vertical_relaxed").sort(columns.ITEM_ID)
    vectors, space = text_vectors(table, settings) if encode and items is not None else (None, "")
    return EvaluationData(
        events.name, log.to_arrow(compat_level=pl.CompatLevel.oldest()), _arrow(table), vectors, space
    )


def text_vectors(items: pl.DataFrame, settings: Settings) -> tuple[NDArray[np.float32], str]:
    """(vectors, space) of the items' texts under the configured encoder, from the cache where they were made before.

    Items without a text have zero rows.
    """
    encoder = load_text_encoder(settings.text_encoder, settings.device)
    whole = _texts(items)
    known = np.array([bool(text) for text in whole])
    texts = [text for text in whole if text]
    digest = hashlib.blake2b(encoder.version.encode(), digest_size=16)
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    cached = settings.home / "cache" / f"text-{digest.hexdigest()}.npy"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        temporary = cached.with_suffix(".tmp.npy")
        np.save(temporary, encoder.encode(texts))
        temporary.rename(cached)
    vectors = np.zeros((len(whole), encoder.dimension), np.float32)
    vectors[known] = np.load(cached)
    return vectors, encoder.version


def _texts(items: pl.DataFrame) -> list[str]:
    columns_of_text = (items[name].to_list() for name in ("title", "brand", "categories", "description"))
    return item_texts(*columns_of_text, [orjson.loads(text or "{}") for text in items["attributes"].to_list()])


def _read(kind: Kind, path: Path, format: str, options: ImportOptions) -> pl.DataFrame:
    source = Source(path)
    importer = choose_importer(source, kind, format)
    scale = options.rating_scale or importer.rating_scale
    rules = (
        EventRules(importer.format, utc_now(), scale, importer.identity, options.zone)
        if kind is Kind.EVENTS
        else ItemRules(options.list_separator, options.zone)
    )
    parts = [rules.apply(chunk.frame).frame.drop(ROW) for chunk in importer.read(source, options)]
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if rows.is_empty():
        raise ImportFailed(
            f"{path}: no row is good: try `portrait import {kind} {path}` to see what is wrong with them"
        )
    return rows


def _items_of(events: pl.DataFrame) -> pl.DataFrame:
    """A bare catalogue of the events' items: no titles, so nothing to encode."""
    ids = events.select(pl.col(columns.ITEM_ID).drop_nulls().unique().sort())
    return ids.with_columns(
        title=pl.lit(""),
        description=pl.lit(None, pl.String),
        brand=pl.lit(None, pl.String),
        categories=pl.lit([], dtype=pl.List(pl.String)),
        price=pl.lit(None, pl.Float64),
        currency=pl.lit(None, pl.String),
        attributes=pl.lit("{}"),
        available=pl.lit(True),
        published_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )


def _arrow(items: pl.DataFrame) -> pa.Table:
    """The catalogue as the database would return it: lists, flags and attributes are never null."""
    filled = items.with_columns(
        pl.col("categories").fill_null([]), pl.col("attributes").fill_null("{}"), pl.col("available").fill_null(True)
    )
    table = filled.to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = [pa.field(f.name, _plain(f.type)) for f in table.schema]
    return table.cast(pa.schema(plain)).combine_chunks()


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.list_(pa.string()) if pa.types.is_large_list(kind) else kind
