"""Amazon product metadata as lines: the public collections of 2014 (Python literals), 2018 and 2023 (JSON)."""

import ast
import html
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import polars as pl

from services.ingest.importers.base import ROW, Chunk, ImportOptions, Kind, Unreadable
from services.ingest.importers.json_lines import ORIGINAL_LENGTH, Records, decode_block
from services.ingest.importers.lines import Block, read_blocks
from services.ingest.importers.source import Head, Source
from services.ingest.item_wire import ITEM_TYPES, attributes_json
from services.ingest.rules import limits
from services.ingest.rules.ratings import RatingScale

JSON = msgspec.json.Decoder(dict[str, Any])
PYTHON_LITERAL = re.compile(r"^\s*\{\s*'")
REVIEW_WORDS = ("reviewerID", '"rating":')
IMAGE_KEYS = ("hi_res", "large", "thumb")
DETAILS = 24
"""How many of a product's details (2023) become attributes."""


class AmazonMetadata:
    """Products with title, description, brand, categories, price and pictures."""

    format = "amazon-metadata"
    kind = Kind.ITEMS
    description = "Amazon product metadata of 2014, 2018 or 2023"
    rating_scale = RatingScale()
    identity = ()

    def recognises(self, head: Head) -> bool:
        line = head.lines[0]
        named = "asin'" in line or 'asin"' in line
        return line.lstrip().startswith("{") and named and not any(word in line for word in REVIEW_WORDS)

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        for block in read_blocks(source):
            records = _decode(block)
            items = [_item(value) for value in records.values]
            columns = {name: [item.get(name) for item in items] for name in ITEM_TYPES}
            kept = {name: dtype for name, dtype in ITEM_TYPES.items() if name not in ("price", "published_at")}
            frame = pl.DataFrame(
                [pl.Series(name, columns[name], dtype=dtype) for name, dtype in kept.items()]
                + [pl.Series("price", columns["price"], dtype=pl.String), pl.Series(ROW, records.rows, dtype=pl.Int64)]
            )
            yield Chunk(frame, records.read, records.unreadable)


def _decode(block: Block) -> Records[dict[str, Any]]:
    if not any(PYTHON_LITERAL.match(line[:80].decode("utf-8", "replace")) for line in block.lines[:1]):
        return decode_block(block, JSON)
    rows, values, unreadable = [], [], []
    for row, line in enumerate(block.lines, block.first):
        if not line.strip():
            continue
        try:
            value = ast.literal_eval(line.decode("utf-8"))
            if not isinstance(value, dict):
                raise ValueError("not a dictionary")
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            message = f"the line is no Python literal ({type(error).__name__}): write one product a line"
            unreadable.append(Unreadable(row, message, line[:ORIGINAL_LENGTH].decode("utf-8", "replace")))
            continue
        rows.append(row)
        values.append(value)
    return Records(rows, values, unreadable, block.first + len(block.lines) - 1)


def _item(product: dict[str, Any]) -> dict[str, Any]:
    details = product.get("details") if isinstance(product.get("details"), dict) else {}
    price = product.get("price")
    return {
        "item_id": _string(product.get("parent_asin") or product.get("asin")),
        "title": _string(product.get("title")),
        "description": _description(product)[: limits.DESCRIPTION_LENGTH],
        "brand": _short(product.get("brand") or product.get("store") or details.get("Brand")),
        "categories": _categories(product)[: limits.CATEGORIES],
        "price": None if price is None else str(price),
        "attributes": attributes_json(_attributes(product, details)),
        "image_urls": _images(product)[: limits.URLS],
        "video_urls": _videos(product)[: limits.URLS],
        "available": True,
    }


def _string(value: Any) -> str | None:
    return html.unescape(value) if isinstance(value, str) else None


def _short(value: Any) -> str | None:
    """A brand; 2018's page scraps ("\\n by\\n  …") are cleaned, what is longer than a name is none."""
    text = re.sub(r"^\s*by\s+", "", " ".join(value.split())) if isinstance(value, str) else ""
    return text if 0 < len(text) <= limits.NAME_LENGTH else None


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text.strip()]


def _description(product: dict[str, Any]) -> str:
    return " ".join([*_texts(product.get("description")), *_texts(product.get("features") or product.get("feature"))])


def _categories(product: dict[str, Any]) -> list[str]:
    """2014 has a list of paths, 2018 and 2023 one path; the main category comes first where the path is empty."""
    paths = product.get("categories") or product.get("category") or []
    flat: Iterable[Any] = [c for path in paths for c in (path if isinstance(path, list) else [path])]
    names = [c for c in flat if isinstance(c, str) and 0 < len(c) <= limits.NAME_LENGTH]
    return names or [c for c in _texts(product.get("main_category") or product.get("main_cat")) if "<" not in c]


def _images(product: dict[str, Any]) -> list[str]:
    found: list[Any] = [product.get("imUrl")]
    found += product.get("imageURLHighRes") or product.get("imageURL") or []
    for image in product.get("images") or []:
        if isinstance(image, dict):
            found.append(next((image[key] for key in IMAGE_KEYS if image.get(key)), None))
    return _urls(found)


def _videos(product: dict[str, Any]) -> list[str]:
    videos = product.get("videos")
    return _urls(video.get("url") for video in videos if isinstance(video, dict)) if isinstance(videos, list) else []


def _urls(found: Iterable[Any]) -> list[str]:
    return [url for url in found if isinstance(url, str) and re.fullmatch(r"https?://\S{1,2000}", url)]


def _attributes(product: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """Details that are single values, and the sales rank where it is a number."""
    kept = {k[: limits.ID_LENGTH]: v for k, v in details.items() if isinstance(v, str | int | float | bool)}
    attributes = {k: v[:500] if isinstance(v, str) else v for k, v in list(kept.items())[:DETAILS]}
    ranks = product.get("salesRank")
    if isinstance(ranks, dict) and ranks:
        attributes["sales_rank"] = next(iter(ranks.values()))
    return attributes
