"""What of an item is encoded, and the hash that says whether it was encoded before."""

import hashlib
from collections.abc import Mapping, Sequence

Attributes = Mapping[str, object] | None

TITLE_CHARACTERS = 300
DESCRIPTION_CHARACTERS = 800
TEXT_CHARACTERS = 1_500
"""About what 256 tokens hold: more would be cut by the encoder anyway."""
ATTRIBUTE_CHARACTERS = 200


def item_text(
    title: str,
    brand: str | None = None,
    categories: Sequence[str] | None = None,
    description: str | None = None,
    attributes: Attributes = None,
) -> str:
    """The text of an item as it is encoded: title, brand, category path, attributes, description, in this order.

    What says most comes first and the whole is bounded, so a long description never displaces the title. Parts that
    repeat the title are kept out. Empty when the item has no text at all.
    """
    head = _flat(title)[:TITLE_CHARACTERS]
    parts = [head]
    name = _flat(brand)
    if name and name.lower() not in head.lower():
        parts.append(name)
    parts.append(" > ".join(dict.fromkeys(filter(None, map(_flat, categories or ())))))
    parts.append(_attribute_text(attributes))
    parts.append(_flat(description)[:DESCRIPTION_CHARACTERS])
    return ". ".join(part for part in parts if part)[:TEXT_CHARACTERS]


def item_texts(
    titles: Sequence[str],
    brands: Sequence[str | None],
    categories: Sequence[Sequence[str] | None],
    descriptions: Sequence[str | None],
    attributes: Sequence[Attributes],
) -> list[str]:
    """`item_text` of many items, given as columns of equal length."""
    return [item_text(*row) for row in zip(titles, brands, categories, descriptions, attributes, strict=True)]


def content_hash(encoder_version: str, *parts: str | bytes) -> bytes:
    """16 bytes that change when the content or the encoder does (BLAKE2b).

    The content is an item's text, or its picture URLs or bytes. Parts are length-prefixed: ("ab", "c") and ("a", "bc")
    differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (encoder_version, *parts):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def content_hashes(encoder_version: str, contents: Sequence[str | Sequence[str | bytes]]) -> list[bytes]:
    """`content_hash` of each of many items; a content is a text or a list of parts, such as picture URLs."""
    return [
        content_hash(encoder_version, content) if isinstance(content, str) else content_hash(encoder_version, *content)
        for content in contents
    ]


def _flat(text: object) -> str:
    """One line without doubled spaces; empty for None."""
    return " ".join(str(text).split()) if text is not None else ""


def _attribute_text(attributes: Attributes) -> str:
    """`key value` pairs in the order of their keys, so that equal attributes give equal text."""
    if not attributes:
        return ""
    pairs = []
    for key in sorted(attributes, key=str):
        value = attributes[key]
        if isinstance(value, list | tuple):
            value = ", ".join(_flat(part) for part in value)
        if value not in (None, "", False) and len(_flat(value)) <= ATTRIBUTE_CHARACTERS:
            pairs.append(f"{_flat(key)}" if value is True else f"{_flat(key)} {_flat(value)}")
    return "; ".join(pairs)[:DESCRIPTION_CHARACTERS]
