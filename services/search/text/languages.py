"""Stems and stop words by language and script, from data/languages.toml."""

import tomllib
import unicodedata
from functools import cache
from importlib import resources

import Stemmer

from services.core.errors import ConfigurationError
from services.search.text.normal import folded

CACHED_STEMS = 500_000


class Languages:
    """Stems words of a shop's language with its stemmer, of another script with that script's."""

    def __init__(self, language: str) -> None:
        """Raises ConfigurationError where there is no stemmer for `language` ("none" stems nothing)."""
        if language != "none" and language not in Stemmer.algorithms():
            known = ", ".join(("none", *Stemmer.algorithms()))
            raise ConfigurationError(f"There is no stemmer for {language!r}; there are: {known}")
        data = _data()
        self._own = None if language == "none" else Stemmer.Stemmer(language, 0)
        self._language = language
        self._scripts = {script: Stemmer.Stemmer(name, 0) for script, name in data["stemmers"].items()}
        self._stems: dict[str, str] = {}
        listed = [data["stopwords"].get(language, ""), data["stopwords"]["chinese"]]
        self._stop = frozenset(self.stem(word) for text in listed for word in text.split())

    def stem(self, word: str) -> str:
        """The stem of a normalised word, without Latin accents."""
        known = self._stems.get(word)
        if known is None:
            known = folded(self._stemmed(word))
            if len(self._stems) >= CACHED_STEMS:
                self._stems.clear()
            self._stems[word] = known
        return known

    def is_stop(self, term: str) -> bool:
        """Whether an analysed term is too common to demand."""
        return term in self._stop

    def _stemmed(self, word: str) -> str:
        if word.isascii():
            return word if self._own is None else self._own.stemWord(word)
        script = unicodedata.name(word[0], "").partition(" ")[0]
        stemmer = self._own if script == "LATIN" else self._scripts.get(script)
        return word if stemmer is None else stemmer.stemWord(word)


@cache
def _data() -> dict[str, dict[str, str]]:
    return tomllib.loads(resources.files("services.search").joinpath("data/languages.toml").read_text("utf-8"))
