"""Claim: review sentiment ranks good above bad reviews better than VADER (English) and SnowNLP (Chinese) do.

    PORTRAIT_TEST_DATA=… python benchmarks/sentiment.py [--json OUT]

AUC of good (rating ≥ 4, or label 1) against bad (rating ≤ 2, or label 0) per corpus, and texts a second. The figure is
the lowest advantage in AUC over the library that ships the lexicon or corpus; the bar is 0. Chinese books, computers
and hotels are left out: the corpus behind both Chinese models overlaps with them. SnowNLP is slow: Chinese is sampled.
"""

import argparse
import csv
import gzip
import json
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from services.encoders.fit_sentiment import read_reviews
from services.encoders.sentiment import load_sentiment, vader_scores

SAMPLE = 500
OVERLAPPING = ("书籍", "计算机", "酒店")

Corpus = tuple[list[str], np.ndarray]


def auc(scores: np.ndarray, good: np.ndarray) -> float:
    """Area under the ROC curve by ranks, ties counted half (Mann & Whitney 1947)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive, negative = good.sum(), (~good).sum()
    return float((rank[good].sum() - positive * (positive + 1) / 2) / (positive * negative))


def english_corpora(folder: Path) -> dict[str, Corpus]:
    """Amazon reviews with text and a clear rating."""
    with gzip.open(folder / "All_Beauty_5_2018.json.gz", "rt", encoding="utf-8") as lines:
        beauty = [(row.get("reviewText", ""), row["overall"]) for row in map(json.loads, lines)]
    with (folder / "Musical_instruments_first5049.csv").open(encoding="utf-8", newline="") as file:
        music = [(row[4], float(row[5])) for row in csv.reader(file)]
    clear = {
        name: [(text, rating) for text, rating in rows if text and rating != 3]
        for name, rows in (("amazon_beauty", beauty), ("amazon_music", music))
    }
    return {name: ([t for t, _ in rows], np.array([r >= 4 for _, r in rows])) for name, rows in clear.items()}


def chinese_corpora(folder: Path) -> dict[str, Corpus]:
    """A fixed sample of each product category, and of the delivery reviews."""
    rows: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for file in ("online_shopping_10_cats.zip", "waimai_10k.csv"):
        for row in read_reviews(folder / file):
            if row.get("cat") not in OVERLAPPING and row["review"].strip():
                rows[row.get("cat", "外卖")].append((row["review"], row["label"] == "1"))
    corpora = {}
    for name, reviews in rows.items():
        chosen = np.random.default_rng(0).permutation(len(reviews))[:SAMPLE]
        corpora[name] = ([reviews[i][0] for i in chosen], np.array([reviews[i][1] for i in chosen]))
    return corpora


def snownlp_scores(texts: list[str]) -> np.ndarray:
    from snownlp import SnowNLP  # noqa: PLC0415 only this comparison needs it

    return np.array([SnowNLP(text).sentiments for text in texts])


def run() -> dict:
    """The measured claim; `holds` is None where the data is not there."""
    folder = Path(os.environ.get("PORTRAIT_TEST_DATA", "/nonexistent"))
    name, bar = "sentiment", 0.0
    if not (folder / "chinese-reviews").is_dir():
        reason = "PORTRAIT_TEST_DATA does not name the folder of review files"
        return {"name": name, "figure": None, "bar": bar, "holds": None, "figures": {"skipped": reason}}
    model = load_sentiment()
    figures = {}
    advantages = []
    for corpora, baseline, baseline_name in (
        (english_corpora(folder / "amazon-reviews"), vader_scores, "vader"),
        (chinese_corpora(folder / "chinese-reviews"), snownlp_scores, "snownlp"),
    ):
        ours_all, theirs_all = [], []
        for corpus, (texts, good) in corpora.items():
            start = time.perf_counter()
            ours = model.score(texts)
            middle = time.perf_counter()
            theirs = baseline(texts)
            end = time.perf_counter()
            mine, reference = auc(ours, good), auc(theirs, good)
            ours_all.append(mine)
            theirs_all.append(reference)
            recall = [((ours > 0) == good)[good == side].mean() for side in (True, False)]
            figures[corpus] = {
                "good": int(good.sum()),
                "bad": int((~good).sum()),
                "auc": round(mine, 4),
                f"auc_{baseline_name}": round(reference, 4),
                "accuracy": round(float(((ours > 0) == good).mean()), 4),
                "balanced_accuracy": round(float(np.mean(recall)), 4),
                "texts_per_s": round(len(texts) / (middle - start)),
                f"texts_per_s_{baseline_name}": round(len(texts) / (end - middle)),
            }
        advantages.append(float(np.mean(ours_all) - np.mean(theirs_all)))
        figures[f"mean_auc_with_{baseline_name}_as_baseline"] = [
            round(float(np.mean(ours_all)), 4),
            round(float(np.mean(theirs_all)), 4),
        ]
    figure = round(min(advantages), 4)
    return {"name": name, "figure": figure, "bar": bar, "holds": figure >= bar, "figures": figures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(run(), indent=1, ensure_ascii=False)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
