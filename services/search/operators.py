"""Query operators, where they are asked for: "phrases", -excluded, field:word. What is malformed is plain text."""

import re
from dataclasses import dataclass

from services.search.config import FIELDS
from services.search.text.analyser import Analyser
from services.search.text.normal import normalise
from services.search.understanding import Demand

FIELD_NAMES: dict[str, str] = {
    **{name: name for name in FIELDS},
    "category": "categories",
    "attribute": "attributes",
}
"""How a field may be called in a query."""

_PART = re.compile(r'(?P<minus>-)?(?:(?P<field>[a-z]+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
MAX_DEMANDS = 16


@dataclass(frozen=True)
class ParsedQuery:
    """`text`: what is searched for, without what is excluded. `demands`: what the operators ask for."""

    text: str
    demands: tuple[Demand, ...]


def parse(query: str, analyser: Analyser) -> ParsedQuery:
    """Reads the operators of a query. Never fails; a colon behind no field's name is part of the word."""
    kept: list[str] = []
    demands: list[Demand] = []
    for match in _PART.finditer(normalise(query)):
        name = FIELD_NAMES.get(match["field"] or "")
        text = match["phrase"] if match["phrase"] is not None else match["word"]
        if match["field"] and name is None:
            text = f"{match['field']}:{text}"
        terms = tuple(token.terms[0] for token in analyser.tokens_of_normalised(text))
        excluded = match["minus"] is not None
        if terms and (excluded or name is not None or match["phrase"] is not None):
            demands.append(Demand(terms, name, excluded))
        if not excluded:
            kept.append(text)
    return ParsedQuery(" ".join(kept), tuple(demands[:MAX_DEMANDS]))
