"""Synonyms from a file that a person edits: `HOME/search/synonyms.toml`.

groups = [["couch", "sofa", "settee"], ["ac", "air conditioner"]]     # all mean the same
[oneway]
laptop = ["notebook"]                                                # laptop also finds notebook, not the reverse
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.core.errors import ConfigurationError
from services.search.text.analyser import Analyser

FILE = "synonyms.toml"
LONGEST = 4
"""Words of a phrase that has synonyms."""

Terms = tuple[str, ...]


@dataclass(frozen=True)
class SynonymFile:
    """`groups`: phrases that mean the same. `oneway`: by phrase what it finds as well."""

    groups: tuple[tuple[str, ...], ...] = ()
    oneway: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "SynonymFile":
        """The file's synonyms; none where there is no file.

        Raises:
            ConfigurationError: it is not TOML, or of another shape; the detail says where.
        """
        try:
            return cls.parse(path.read_bytes(), path)
        except FileNotFoundError:
            return cls()

    @classmethod
    def parse(cls, content: bytes, path: object) -> "SynonymFile":
        """The synonyms of a file of this content; `path`: where it is, for people.

        Raises:
            ConfigurationError: as `read`.
        """
        try:
            data = tomllib.loads(content.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not TOML: {error}") from error
        groups, oneway = data.get("groups", []), data.get("oneway", {})
        if not _lists_of_text(groups) or not isinstance(oneway, dict) or not _lists_of_text(list(oneway.values())):
            raise ConfigurationError(f'{path}: write groups = [["couch", "sofa"], …] and [oneway] phrase = ["other"]')
        return cls(tuple(map(tuple, groups)), {phrase: tuple(others) for phrase, others in oneway.items()})

    def with_group(self, phrases: Sequence[str]) -> "SynonymFile":
        """The same with one more group."""
        return SynonymFile((*self.groups, tuple(phrases)), self.oneway)

    def write(self, path: Path) -> None:
        """Store it as a person would write it, one group a line."""
        lines = ["groups = [", *(f"  [{_texts(group)}]," for group in self.groups), "]", ""]
        if self.oneway:
            lines += [
                "[oneway]",
                *(f"{_text(phrase)} = [{_texts(others)}]" for phrase, others in self.oneway.items()),
                "",
            ]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text("\n".join(lines), "utf-8")
        temporary.replace(path)


class Synonyms:
    """Analysed synonyms: what else a sequence of terms may be called."""

    def __init__(self, file: SynonymFile, analyser: Analyser) -> None:
        self._others: dict[Terms, list[Terms]] = {}
        for group in file.groups:
            phrases = [_analysed(phrase, analyser) for phrase in group]
            for terms in phrases:
                self._add(terms, (other for other in phrases if other != terms))
        for phrase, others in file.oneway.items():
            self._add(_analysed(phrase, analyser), (_analysed(other, analyser) for other in others))

    def of(self, terms: Sequence[str]) -> list[tuple[int, int, Terms]]:
        """(first, last, other terms) for each phrase among the terms that has synonyms; longer phrases first."""
        if not self._others:
            return []
        found: list[tuple[int, int, Terms]] = []
        for length in range(min(LONGEST, len(terms)), 0, -1):
            for first in range(len(terms) - length + 1):
                for other in self._others.get(tuple(terms[first : first + length]), ()):
                    found.append((first, first + length - 1, other))
        return found

    def _add(self, phrase: Terms, others: Iterable[Terms]) -> None:
        if phrase:
            known = self._others.setdefault(phrase, [])
            known += [other for other in others if other and other not in known]


def _analysed(phrase: str, analyser: Analyser) -> Terms:
    return tuple(token.terms[0] for token in analyser.tokens(phrase))[:LONGEST]


def _lists_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, list) and all(isinstance(t, str) for t in v) for v in value)


def _texts(phrases: Iterable[str]) -> str:
    return ", ".join(map(_text, phrases))


def _text(phrase: str) -> str:
    """A TOML basic string."""
    escaped = phrase.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
