"""Marking what a negation turns round, so that "not bad" is a word of its own and no longer "bad".

The words after a negation become one unit with it (Das & Chen 2001; Pang et al. 2002), here at most three words, not
beyond punctuation or a conjunction: "doesn't smell bad" becomes "doesn't not'smell not'bad".
"""

import re

NEGATIONS = (
    "not|no|never|nothing|none|without|hardly|"
    "(?:can|won|don|doesn|didn|isn|wasn|aren|weren|ain|couldn|shouldn|wouldn|haven|hasn|hadn)'?t|cannot"
)
SPAN = re.compile(rf"\b({NEGATIONS})\b((?:[ ]+[\w']+){{1,3}})", re.IGNORECASE)
ENDS = frozenset({"but", "and", "or", "because", "which"})
PASSED = frozenset(
    (
        *("a", "an", "the", "to", "of", "in", "on", "at", "as", "with", "it", "this", "that", "i", "my", "me"),
        *("is", "are", "was", "were", "be", "been", "have", "had"),
        *("any", "all", "so", "too", "very", "really", "ever", "only", "just", "sure"),
    )
)
"""Words that say the same with and without a negation: they stay as they are."""


def mark_negations(text: str) -> str:
    """The text with every negated word written as `not'word`: the apostrophe counts as part of a word."""
    return SPAN.sub(_mark, text.replace("’", "'"))


def _mark(found: re.Match[str]) -> str:
    marked = [found.group(1)]
    ended = False
    for word in found.group(2).split():
        ended = ended or word.lower() in ENDS
        marked.append(word if ended or word.lower() in PASSED else f"not'{word}")
    return " ".join(marked)
