"""The loops of `services.profiles.naming`: what may name an interest, and the names themselves, as bytes."""

import numpy as np

from services.core.native import native

TELLING = 0.5
"""A category never names an interest unless at least half of the shop's items lack it."""

LISTED = 3
LISTED_SHARE = 0.2
"""Categories and brands that hold at least this share of an interest are listed with it, three at most."""

SEPARATOR = np.frombuffer(" · ".encode(), np.uint8)
JOIN = np.frombuffer(b", ", np.uint8)
MOST_PARTS = 5
"""Of a name: what names the interest, its brand, and the medoid's category, brand and id."""

_INTS, _FLOATS, _CODES, _BYTES = (f"Array({kind}, 1, 'C', True)" for kind in ("int64", "float64", "int32", "uint8"))


@native()
def _summed(codes, sums, size, code, share):
    """Add the share of a code to its sum; how many codes there are now."""
    for place in range(size):
        if codes[place] == code:
            sums[place] += share
            return size
    codes[size], sums[size] = code, share
    return size + 1


@native()
def _best(codes, values, size, kept, at, kept_values):
    """Put the codes with the largest values ≥ `LISTED_SHARE` into `kept[at:]`, largest first, of equal ones the
    smallest code; the place after them."""
    count = 0
    for place in range(size):
        code, value = codes[place], values[place]
        if not value >= LISTED_SHARE:
            continue
        to = count
        while to > 0 and (value > kept_values[to - 1] or (value == kept_values[to - 1] and code < kept[at + to - 1])):
            to -= 1
        if to == LISTED:
            continue
        count = min(count + 1, LISTED)
        for moved in range(count - 1, to, -1):
            kept[at + moved], kept_values[moved] = kept[at + moved - 1], kept_values[moved - 1]
        kept[at + to], kept_values[to] = code, value
    return at + count


@native(
    "Tuple((int64[:,::1], int64[::1], int64[::1], int64[::1], int64[::1]))"
    f"({_INTS}, {_INTS}, {_INTS}, {_FLOATS}, {_CODES}, {_CODES}, {_CODES}, {_FLOATS}, {_FLOATS}, float64, float64)"
)
def words(medoid, cluster, row, share, starts, categories, brand, level, rarity, name_share, brand_share):
    """What may name and describe c clusters, whose `medoid` (c,) and members (`cluster`, `row`, `share`) are as
    `Interests` has them; the rest is the catalogue's, categories as CSR `starts` and codes, their `rarity` the share of
    the shop's items that lack them.

    Returns (c, 4) codes, −1 for none: what names the cluster, the deepest category that holds `name_share` of it or
    the two most telling; the brand that holds `brand_share`; and the deepest category of the medoid itself. Then what
    is listed, each as (c + 1,) starts and codes: categories, and brands.
    """
    clusters = len(medoid)
    begins = np.zeros(clusters + 1, np.int64)
    for of in cluster:
        begins[of + 1] += 1
    begins = begins.cumsum()
    order, to = np.empty(len(cluster), np.int64), begins[:-1].copy()
    most = 1
    for member in range(len(cluster)):
        order[to[cluster[member]]] = member
        to[cluster[member]] += 1
        most += 1 + starts[row[member] + 1] - starts[row[member]]
    codes, sums, telling, scratch = np.empty(most, np.int64), np.empty(most), np.empty(most), np.empty(LISTED)
    named = np.full((clusters, 4), -1)
    category_starts, listed_categories = np.zeros(clusters + 1, np.int64), np.empty(clusters * LISTED, np.int64)
    brand_starts, listed_brands = np.zeros(clusters + 1, np.int64), np.empty(clusters * LISTED, np.int64)
    for of in range(clusters):
        size = 0
        for place in range(begins[of], begins[of + 1]):
            item = row[order[place]]
            for at in range(starts[item], starts[item + 1]):
                size = _summed(codes, sums, size, categories[at], share[order[place]])
        deepest = -1.0
        for place in range(size):
            code, value = codes[place], sums[place]
            telling[place] = value * rarity[code]
            if value >= name_share - 1e-9 and rarity[code] >= TELLING:
                depth = 1.0 + level[code] + value / 1e3
                if depth > deepest or (depth == deepest and code < named[of, 0]):
                    deepest, named[of, 0] = depth, code
        first = category_starts[of]
        end = category_starts[of + 1] = _best(codes, telling, size, listed_categories, first, scratch)
        if named[of, 0] < 0:
            for place in range(min(end - first, 2)):
                named[of, place] = listed_categories[first + place]
        size = 0
        for place in range(begins[of], begins[of + 1]):
            if brand[row[order[place]]] >= 0:
                size = _summed(codes, sums, size, brand[row[order[place]]], share[order[place]])
        first = brand_starts[of]
        brand_starts[of + 1] = _best(codes, sums, size, listed_brands, first, scratch)
        dominant = brand_share
        for place in range(size):
            if sums[place] > dominant or (
                sums[place] == dominant and (named[of, 2] < 0 or codes[place] < named[of, 2])
            ):
                dominant, named[of, 2] = sums[place], codes[place]
        deepest = -1.0
        for at in range(starts[medoid[of]], starts[medoid[of] + 1]):
            code, depth = categories[at], 1.0 + level[categories[at]]
            if depth > deepest or (depth == deepest and code < named[of, 3]):
                deepest, named[of, 3] = depth, code
    listed_categories, listed_brands = listed_categories[: category_starts[-1]], listed_brands[: brand_starts[-1]]
    return named, category_starts, listed_categories, brand_starts, listed_brands


@native()
def _put(out, at, data, start, end):
    for place in range(start, end):
        out[at + place - start] = data[place]
    return at + end - start


@native()
def _same(one, start, end, other, begin, stop):
    same = end - start == stop - begin
    place = 0
    while same and start + place < end:
        same = one[start + place] == other[begin + place]
        place += 1
    return same


@native()
def _taken(out, ends, first, of, at):
    """Whether the name at `out[ends[of]:at]` is that of one of the clusters from `first`, or empty."""
    for earlier in range(first, of):
        if _same(out, ends[earlier], ends[earlier + 1], out, ends[of], at):
            return True
    return at == ends[of]


@native()
def _chosen(out, at, parts, codes, category_at, category_texts, brand_at, brand_texts):
    """Write the name of a cluster without what its medoid adds; the place after it. `parts` (5, 2) say where its parts
    are, 0 from where there are no more."""
    parts[:] = 0
    count, begin = 0, at
    if codes[0] >= 0:
        at = _put(out, at, category_texts, category_at[codes[0]], category_at[codes[0] + 1])
        if codes[1] >= 0:
            at = _put(out, at, JOIN, 0, len(JOIN))
            at = _put(out, at, category_texts, category_at[codes[1]], category_at[codes[1] + 1])
        parts[0, 0], parts[0, 1] = begin, at
        count = 1
    if codes[2] >= 0:
        if count:
            at = _put(out, at, SEPARATOR, 0, len(SEPARATOR))
        parts[count, 0] = at
        at = _put(out, at, brand_texts, brand_at[codes[2]], brand_at[codes[2] + 1])
        parts[count, 1] = at
    return at


@native()
def _added(out, at, parts, begin, data, start, end):
    """Write a further word of a name that begins at `begin`, if it is none of its parts; the place after it."""
    count = 0
    while parts[count, 1]:
        if _same(out, parts[count, 0], parts[count, 1], data, start, end):
            return at
        count += 1
    if start == end:
        return at
    if at > begin:
        at = _put(out, at, SEPARATOR, 0, len(SEPARATOR))
    parts[count, 0] = at
    at = _put(out, at, data, start, end)
    parts[count, 1] = at
    return at


@native(
    "Tuple((int32[::1], uint8[::1]))"
    f"({_INTS}, {_INTS}, Array(int64, 2, 'C', True), {_CODES}, {', '.join(3 * [_CODES, _BYTES])})"
)
def names(user, medoid, named, brand, category_at, category_texts, brand_at, brand_texts, item_at, item_texts):
    """The names of c clusters, as offsets (c + 1,) and UTF-8; `named` is from `words`, texts are the catalogue's."""
    clusters = len(user)
    room = 0
    for of in range(clusters):
        room += MOST_PARTS * len(SEPARATOR) + len(JOIN) + item_at[medoid[of] + 1] - item_at[medoid[of]]
        for code in (named[of, 0], named[of, 1], named[of, 3]):
            room += 0 if code < 0 else category_at[code + 1] - category_at[code]
        for code in (named[of, 2], np.int64(brand[medoid[of]])):
            room += 0 if code < 0 else brand_at[code + 1] - brand_at[code]
    out, ends, parts = (
        np.empty(room, np.uint8),
        np.zeros(clusters + 1, np.int64),
        np.zeros((MOST_PARTS + 1, 2), np.int64),
    )
    first = 0
    while first < clusters:
        last, clear = first, True
        while last < clusters and user[last] == user[first]:
            at = _chosen(out, ends[last], parts, named[last], category_at, category_texts, brand_at, brand_texts)
            clear &= not _taken(out, ends, first, last, at)
            last += 1
            ends[last] = at
        for of in range(last if clear else first, last):
            begin = ends[of]
            at = _chosen(out, begin, parts, named[of], category_at, category_texts, brand_at, brand_texts)
            own, item = named[of, 3], medoid[of]
            for extra in range(3):
                if not _taken(out, ends, first, of, at):
                    break
                code, of_word, texts = own, category_at, category_texts
                if extra == 1:
                    code, of_word, texts = np.int64(brand[item]), brand_at, brand_texts
                elif extra == 2:
                    code, of_word, texts = item, item_at, item_texts
                if code >= 0:
                    at = _added(out, at, parts, begin, texts, of_word[code], of_word[code + 1])
            ends[of + 1] = at
        first = last
    return ends.astype(np.int32), out[: ends[-1]]
