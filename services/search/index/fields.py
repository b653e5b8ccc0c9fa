"""The catalogue's items as the texts that are searched, and as analysed terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from services.core.columns import ITEM_ID
from services.search.config import FIELDS
from services.search.text.analyser import Analyser, Token

SEARCHED = (ITEM_ID, "title", "brand", "categories", "attributes", "description")
"""The columns of the catalogue that the index is made of."""
MAX_CHARACTERS = 4_000
"""Of a field: what follows in a long description says little that its beginning does not."""


@dataclass(frozen=True)
class AnalysedItems:
    """m items in ascending order of id: `tokens` by field a list of tokens for each item."""

    item_ids: list[str]
    tokens: dict[str, list[list[Token]]]


def searched_columns(items: pa.Table) -> pa.Table:
    """Those of `SEARCHED` in a fixed order of rows; absent ones empty. Attributes stay JSON text."""
    columns = []
    for name in SEARCHED:
        if name in items.column_names:
            columns.append(items[name])
        else:
            columns.append(pa.nulls(items.num_rows, pa.list_(pa.string()) if name == "categories" else pa.string()))
    return pa.table(dict(zip(SEARCHED, columns, strict=True))).sort_by(ITEM_ID).combine_chunks()


def analyse_items(items: pa.Table, analyser: Analyser) -> AnalysedItems:
    """Analyses the searched columns of the items."""
    table = searched_columns(items)
    texts = field_texts(table)
    tokens = {name: [analyser.tokens(text[:MAX_CHARACTERS]) if text else [] for text in texts[name]] for name in FIELDS}
    return AnalysedItems(table[ITEM_ID].cast(pa.string()).to_pylist(), tokens)


def field_texts(table: pa.Table) -> dict[str, list[str]]:
    """The text of each field of each item of `searched_columns`."""
    found: dict[str, list[str]] = {}
    for name in ("title", "brand", "description"):
        found[name] = pc.fill_null(table[name].cast(pa.string()), "").to_pylist()
    found["categories"] = [_joined(dict.fromkeys(path or ())) for path in table["categories"].to_pylist()]
    encoded = table["attributes"].cast(pa.string()).combine_chunks().dictionary_encode()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    distinct = [_attribute_text(text) for text in encoded.dictionary.to_pylist()]
    found["attributes"] = ["" if i is None else distinct[i] for i in encoded.indices.to_pylist()]
    return found


def _attribute_text(text: str | None) -> str:
    """Keys and scalar values of a JSON object; a value of true says no more than its key."""
    pairs: dict[str, Any] = orjson.loads(text) if text else {}
    parts: list[str] = []
    for key, value in sorted(pairs.items()):
        values: Sequence[Any] = value if isinstance(value, list) else [value]
        scalars = [str(v) for v in values if isinstance(v, str | int | float) and not isinstance(v, bool)]
        if scalars or value is True:
            parts += [key, *scalars]
    return _joined(parts)


def _joined(parts: Any) -> str:
    """Texts that stand apart: no measure or word reaches over the joint."""
    return " ; ".join(parts)
