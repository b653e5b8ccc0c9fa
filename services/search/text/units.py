"""Numbers and units of measure as one spelling each: `1-1/2 in.` is 1.5 and inch. The units are data/units.toml."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

NUMBER = re.compile(
    r"\d{1,3}(?:\s+|-)\d{1,2}/\d{1,2}(?!\d)|\d{1,2}/\d{1,2}(?![\d/])"
    r"|\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
)
"""A mixed number, a fraction, grouped thousands, a decimal."""

DENOMINATORS = frozenset((2, 3, 4, 5, 6, 8, 10, 12, 16, 32, 64))
_FRACTION = re.compile(r"(?:(\d+)(?:\s+|-))?(\d+)/(\d+)")
_DIGITS = re.compile(r"\d+")
_TIMES = re.compile(r"(?:\s*(?:dia|[whdl])\b\.?)?\s*(?:[x*]|by\b)\s*(?=[\d.])")
"""Between the measures of a size, after the letter of a direction: `36 in. w x 72 in. l`."""
_IN_ONE = re.compile(r"[\s-]+\d+(?!\s*(?:in\b|\"|x\b|\d*/))")
"""What follows the `in` of `3 in 1`, which is no inch."""


class Measure(NamedTuple):
    """A number (`value`, as search spells it) and its unit, None without one; `start`, `end` in the text."""

    value: str
    unit: str | None
    start: int
    end: int


@dataclass(frozen=True)
class Units:
    """`pattern` matches a unit right after a number; `names`: the unit of each spelling without dots and spaces."""

    pattern: re.Pattern[str]
    names: dict[str, str]


def measures(text: str, start: int) -> list[Measure]:
    """The number at `start` with its unit, and those it is multiplied with (`4 ft. x 6 ft.`); empty where none is.

    "24/7" is no fraction: two numbers, which do not make a size, so only the first is returned.
    """
    found: list[Measure] = []
    at = start
    while measure := _measure(text, at):
        found.append(measure)
        times = _TIMES.match(text, measure.end)
        if times is None:
            break
        at = times.end()
    return found


def number_text(written: str) -> str | None:
    """A number as search spells it: "1-1/2" is "1.5", "1,000" is "1000"; None for a fraction that is none ("24/7")."""
    match = _FRACTION.fullmatch(written)
    if match is not None:
        whole, over, under = int(match[1] or 0), int(match[2]), int(match[3])
        return None if over >= under or under not in DENOMINATORS else _plain(whole + over / under)
    if "." not in written:
        return written.replace(",", "").lstrip("0") or "0"
    return _plain(float(written.replace(",", "")))


@cache
def units() -> Units:
    """The units of data/units.toml."""
    data = tomllib.loads(resources.files("services.search").joinpath("data/units.toml").read_text("utf-8"))
    names: dict[str, str] = {}
    loose: set[str] = set()
    attached: set[str] = set()
    for group in data.values():
        for name, spellings in group.items():
            close = spellings.get("attached", ())
            loose |= set(spellings["loose"])
            attached |= set(close)
            names |= {_spelling(s): name for s in (*spellings["loose"], *close)}
    pattern = rf"(?:[\s-]{{0,2}}(?:{_any(loose)})|(?:{_any(attached)}))(?![^\W_])\.?"
    return Units(re.compile(pattern), names)


def _measure(text: str, at: int) -> Measure | None:
    number = NUMBER.match(text, at)
    if number is None:
        return None
    value, end = number_text(number[0]), number.end()
    if value is None:
        digits = _DIGITS.match(text, at)
        assert digits is not None  # a number of this kind begins with one
        return Measure(digits[0], None, at, digits.end())
    unit = units().pattern.match(text, end)
    if unit is not None and not (text.startswith("in", unit.end() - 2) and _IN_ONE.match(text, unit.end())):
        return Measure(value, units().names[_spelling(unit[0])], at, unit.end())
    return Measure(value, None, at, end)


def _plain(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _spelling(written: str) -> str:
    return "".join(c for c in written if not c.isspace() and c not in ".-")


def _any(spellings: set[str]) -> str:
    """Alternatives, longest first; a dot, a space or a hyphen may stand between the parts of each."""
    return "|".join(
        r"[\s.-]{1,2}".join(re.escape(part) for part in spelling.split())
        for spelling in sorted(spellings, key=lambda s: (-len(s), s))
    )
