"""What can be suggested: queries people asked, categories, brands, and the phrases that recur in titles."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import log1p

from services.search.text.analyser import Analyser, Kind, Token
from services.search.text.normal import normalise

LONGEST = 3
LEAST_ITEMS = 3
"""Items whose titles must have a phrase before it is suggested."""
LEAST_USERS = 2
"""People who must have asked a query before others see it: what one person asks may speak of that person."""
MOST_CHARACTERS = 60
MOST_PHRASES = 200_000


class Source(IntEnum):
    """Where a suggestion comes from."""

    QUERY = 0
    CATEGORY = 1
    BRAND = 2
    TITLE = 3


FACTOR: Mapping[Source, float] = {Source.QUERY: 2.0, Source.CATEGORY: 1.5, Source.BRAND: 1.5, Source.TITLE: 1.0}
"""What ln(1 + count) is multiplied with: asked once says more than held by one item."""


@dataclass(frozen=True)
class Phrase:
    """`text` as it is shown; `weight`: how likely it is meant; `category`, `brand`: of most of its items, or ""."""

    text: str
    source: Source
    weight: float
    category: str = ""
    brand: str = ""


def title_phrases(
    titles: Sequence[Sequence[Token]],
    categories: Sequence[Sequence[str] | None],
    brands: Sequence[str | None],
    analyser: Analyser,
) -> list[Phrase]:
    """Runs of up to `LONGEST` words that `LEAST_ITEMS` titles have, but those only ever part of a longer one."""
    counts: Counter[str] = Counter()
    inside: dict[str, str] = {}
    examples: defaultdict[str, list[int]] = defaultdict(list)
    for row, tokens in enumerate(titles):
        for phrase, longer in dict(_runs(tokens, analyser)).items():
            counts[phrase] += 1
            inside[phrase] = longer if inside.get(phrase, longer) == longer else ""
            if len(examples[phrase]) < 32:
                examples[phrase].append(row)
    found = []
    for phrase, count in counts.items():
        if count >= LEAST_ITEMS and counts.get(inside[phrase], 0) < count:
            rows = examples[phrase]
            category = _most(path[-1] for row in rows if (path := categories[row]))
            brand = _most(name for row in rows if (name := brands[row]))
            found.append(Phrase(phrase, Source.TITLE, FACTOR[Source.TITLE] * log1p(count), category, brand))
    return found


def name_phrases(categories: Sequence[Sequence[str] | None], brands: Sequence[str | None]) -> list[Phrase]:
    """Categories and brands, weighed by their items."""
    in_category = Counter(name for path in categories for name in dict.fromkeys(path or ()))
    of_brand = Counter(name for name in brands if name)
    found = [
        Phrase(name, Source.CATEGORY, FACTOR[Source.CATEGORY] * log1p(count), category=name)
        for name, count in in_category.items()
    ]
    return found + [
        Phrase(name, Source.BRAND, FACTOR[Source.BRAND] * log1p(count), brand=name) for name, count in of_brand.items()
    ]


def query_phrases(asked: Mapping[str, int]) -> list[Phrase]:
    """Queries that found something, asked by at least `LEAST_USERS` people; spelt as most people spell them."""
    counts: Counter[str] = Counter()
    for query, count in asked.items():
        counts[" ".join(normalise(query).split())[:MOST_CHARACTERS]] += count
    return [
        Phrase(query, Source.QUERY, FACTOR[Source.QUERY] * log1p(count))
        for query, count in counts.items()
        if query and count >= LEAST_USERS
    ]


def distinct(phrases: Iterable[Phrase], analyser: Analyser) -> list[Phrase]:
    """Of the phrases that are analysed alike ("oak table", "Oak tables") the weightiest; weightiest first."""
    best: dict[tuple[str, ...], Phrase] = {}
    for phrase in phrases:
        key = tuple(analyser.terms(phrase.text))
        if key and len(phrase.text) <= MOST_CHARACTERS:
            known = best.get(key)
            if known is None or phrase.weight > known.weight:
                best[key] = phrase
    return sorted(best.values(), key=lambda phrase: (-phrase.weight, phrase.text))[:MOST_PHRASES]


def _runs(tokens: Sequence[Token], analyser: Analyser) -> Iterable[tuple[str, str]]:
    """(phrase, the longer phrase it is the beginning of, or "") of a title."""
    for first, token in enumerate(tokens):
        if not _opens(token, analyser):
            continue
        text, previous = token.text, ""
        texts = []
        for at in range(first, min(first + LONGEST, len(tokens))):
            if tokens[at].kind not in (Kind.WORD, Kind.CJK):
                break
            text = token.text if at == first else _joined(text, tokens[at - 1], tokens[at])
            if not analyser.is_stop(tokens[at].terms[0]):
                texts.append(text)
        for position, text in enumerate(texts):
            previous = texts[position + 1] if position + 1 < len(texts) else ""
            yield text, previous


def _opens(token: Token, analyser: Analyser) -> bool:
    return token.kind in (Kind.WORD, Kind.CJK) and len(token.text) > 1 and not analyser.is_stop(token.terms[0])


def _joined(text: str, before: Token, token: Token) -> str:
    together = before.kind is Kind.CJK and token.kind is Kind.CJK and before.end == token.start
    return text + token.text if together else f"{text} {token.text}"


def _most(names: Iterable[str]) -> str:
    """The name that more than half have, else ""."""
    counted = Counter(names)
    if not counted:
        return ""
    name, count = counted.most_common(1)[0]
    return name if 2 * count > counted.total() else ""
