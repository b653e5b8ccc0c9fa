"""One spelling of a text: NFKC, case folded, one kind of quote and dash, nothing invisible; and offsets back."""

import unicodedata
from functools import lru_cache

SAME = str.maketrans(
    {
        **dict.fromkeys("‘’‛′ʹʼ`´", "'"),
        **dict.fromkeys("“”„‟″ʺ〃", '"'),
        **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
        **dict.fromkeys("⁄∕", "/"),
        **dict.fromkeys("×✕", "x"),
    }
)
"""What reads the same: quotation marks, dashes, slashes, the multiplication sign."""

LATIN_END = "\u0250"


def normalise(text: str) -> str:
    """The text as it is analysed. Control characters become spaces, invisible marks (direction, joiners) go."""
    if text.isascii():
        return text.lower() if text.isprintable() else "".join(map(_character, text))
    return "".join(map(_character, unicodedata.normalize("NFC", text)))


def normalise_with_offsets(text: str) -> tuple[str, list[int]]:
    """The normalised form of an NFC text, and for each of its characters, and its end, where it came from."""
    if text.isascii():
        return normalise(text), list(range(len(text) + 1))
    parts = list(map(_character, text))
    offsets = [position for position, part in enumerate(parts) for _ in part]
    return "".join(parts), [*offsets, len(text)]


@lru_cache(maxsize=16_384)
def _character(character: str) -> str:
    """One character by itself: a vulgar fraction must not run into the digit before it ("1½" is one and a half)."""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category in ("Cc", "Cs", "Co", "Cn"):
        return " "
    plain = unicodedata.normalize("NFKC", character).casefold().translate(SAME)
    return f" {plain}" if "/" in plain and len(plain) > 1 else plain


def folded(term: str) -> str:
    """A term of Latin letters without its accents; other scripts keep their marks, which tell words apart."""
    if term.isascii():
        return term
    kept: list[str] = []
    for character in unicodedata.normalize("NFD", term):
        if unicodedata.combining(character) and kept and kept[-1] < LATIN_END:
            continue
        kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))
