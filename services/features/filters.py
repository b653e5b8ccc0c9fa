"""What an item must satisfy, as requests spell it, and as boolean masks over a snapshot's items."""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from services.core.wire import Scalar, Text
from services.features.snapshot import ItemSnapshot


class PriceRange(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds in the shop's currency, both inclusive. Items without a price are left out."""

    min: Annotated[float, Meta(ge=0)] | None = None
    max: Annotated[float, Meta(ge=0)] | None = None


class ItemFilter(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What an item must satisfy: every given field, any of a field's values."""

    categories: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    brands: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    price: PriceRange | None = None
    available: Annotated[
        bool | None, Meta(description="True (default): available items only; null: any; false: unavailable ones only.")
    ] = True
    attributes: Annotated[
        dict[Text, Scalar | Annotated[tuple[Scalar, ...], Meta(max_length=50)]],
        Meta(max_length=20, description="Attribute to the value it must have, or to the values one of which it must."),
    ] = {}

    @property
    def selective(self) -> bool:
        """Whether items are asked for that lists of available items may lack."""
        fields = self.categories or self.brands or self.price is not None or self.attributes
        return bool(fields) or self.available is False


def filter_mask(wanted: ItemFilter, snapshot: ItemSnapshot, indices: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of the items satisfy the filter, bool (n,)."""
    mask = np.ones(indices.size, bool)
    if wanted.available is not None:
        mask &= snapshot.available[indices] == wanted.available
    if wanted.brands:
        codes = _codes(snapshot.brand_index, wanted.brands)
        mask &= np.isin(snapshot.brand[indices], codes)
    if wanted.price is not None:
        mask &= _within(snapshot.price[indices], wanted.price)
    if wanted.categories:
        codes = _codes(snapshot.category_index, wanted.categories)
        mask &= has_any(snapshot.category_indptr, snapshot.category_codes, codes, indices)
    for name, value in wanted.attributes.items():
        codes = _attribute_codes(snapshot, name, value)
        mask &= has_any(snapshot.attribute_indptr, snapshot.attribute_codes, codes, indices)
    return mask


def passing_rows(wanted: ItemFilter, snapshot: ItemSnapshot) -> NDArray[np.int32]:
    """All items of the snapshot that satisfy the filter, int32 ascending.

    One pass over the column of the field that is likely to leave fewest; the others are asked of what that leaves.
    """
    rest = wanted
    if wanted.categories:
        codes, rest = _codes(snapshot.category_index, wanted.categories), replace(wanted, categories=())
        rows = rows_with_any(snapshot.category_indptr, snapshot.category_codes, codes, len(snapshot.category_names))
    elif wanted.brands:
        codes, rest = _codes(snapshot.brand_index, wanted.brands), replace(wanted, brands=())
        rows = np.flatnonzero(np.isin(snapshot.brand, codes))
    elif wanted.attributes:
        (name, value), *others = wanted.attributes.items()
        codes, rest = _attribute_codes(snapshot, name, value), replace(wanted, attributes=dict(others))
        rows = rows_with_any(snapshot.attribute_indptr, snapshot.attribute_codes, codes, len(snapshot.attribute_names))
    elif wanted.price is not None:
        rows, rest = np.flatnonzero(_within(snapshot.price, wanted.price)), replace(wanted, price=None)
    elif wanted.available is not None:
        rows, rest = np.flatnonzero(snapshot.available == wanted.available), replace(wanted, available=None)
    else:
        rows = np.arange(snapshot.count)
    found = rows.astype(np.int32)
    return found[filter_mask(rest, snapshot, found)]


def rows_with_any(
    indptr: NDArray[np.integer], values: NDArray[np.integer], codes: NDArray[np.int32], names: int
) -> NDArray[np.intp]:
    """The rows of a CSR that hold any of the codes, ascending; `names`: how many codes there are."""
    if not codes.size:
        return np.empty(0, np.intp)
    sought = np.zeros(names, bool)
    sought[codes] = True
    hits = np.flatnonzero(sought[values])
    rows = np.searchsorted(indptr, hits.astype(indptr.dtype), side="right") - 1
    return rows[np.flatnonzero(np.diff(rows, prepend=-1))]


def has_any(
    indptr: NDArray[np.integer], values: NDArray[np.int32], codes: NDArray[np.int32], rows: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which rows of a CSR hold any of the codes, bool (n,). The gathered slices are flattened, tested and counted."""
    if not codes.size or not rows.size:
        return np.zeros(rows.size, bool)
    starts = np.asarray(indptr)[rows].astype(np.int64)
    lengths = np.asarray(indptr)[rows + 1].astype(np.int64) - starts
    ends = lengths.cumsum()
    positions = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    hits = np.concatenate(([0], np.isin(values[positions], codes).cumsum()))
    return hits[ends] > hits[ends - lengths]


def attribute_key(name: str, value: Scalar) -> str:
    """How the snapshot spells an attribute and its value."""
    if isinstance(value, bool):
        return f"{name}={'true' if value else 'false'}"
    if isinstance(value, float) and value.is_integer():
        return f"{name}={int(value)}"
    return f"{name}={value}"


def _within(price: NDArray[np.float32], wanted: PriceRange) -> NDArray[np.bool_]:
    low = 0.0 if wanted.min is None else wanted.min
    high = np.inf if wanted.max is None else wanted.max
    return (price >= np.float32(low)) & (price <= np.float32(high))  # NaN compares false: unknown prices go


def _attribute_codes(snapshot: ItemSnapshot, name: str, value: Scalar | tuple[Scalar, ...]) -> NDArray[np.int32]:
    values = value if isinstance(value, tuple) else (value,)
    return _codes(snapshot.attribute_index, tuple(attribute_key(name, v) for v in values))


def _codes(known: dict[str, int], names: tuple[str, ...]) -> NDArray[np.int32]:
    return np.array([known[name] for name in names if name in known], np.int32)
