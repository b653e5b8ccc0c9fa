"""Claim: Portrait's text encoder is 1.8 times as fast as sentence-transformers on the same model, device and texts.

    python benchmarks/embedding_text.py [--json OUT]

The figure is the ratio of texts a second (ours / theirs) as the median over interleaved repeats, so that a busy machine
slows both. Texts are drawn from a fixed word list and, where PORTRAIT_TEST_DATA is set, also real product titles;
the lowest ratio of the sets counts. Needs `sentence-transformers`, which the MiniLM package brings with it.
"""

import argparse
import gzip
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np

from services.encoders.text import TextEncoder, load_text_encoder

BAR = 1.8
TEXTS = 512
REPEATS = 5
WORDS = (
    *("soft", "matte", "lipstick", "hydrating", "night", "cream", "organic", "argan", "oil", "brush", "set", "travel"),
    *("size", "for", "men", "women", "dry", "sensitive", "skin", "vitamin", "c", "serum", "natural", "hair", "colour"),
    *("shampoo", "8", "oz", "pack", "of", "2", "professional", "nail", "polish", "gel", "eye", "liner", "black"),
)


def simulated_titles(count: int, seed: int = 7) -> list[str]:
    """Titles of 4 to 24 words, different every time."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=n)) + f" no {i}" for i, n in enumerate(random.integers(4, 25, count))]


def real_titles(count: int) -> list[str]:
    """Titles of real beauty products; empty where the data is not there."""
    folder = os.environ.get("PORTRAIT_TEST_DATA")
    path = Path(folder or "/nonexistent") / "amazon-beauty-2014" / "items.tsv.gz"
    if not path.is_file():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        next(lines)
        titles = [line.split("\t")[1] for line in lines]
    return list(dict.fromkeys(title for title in titles if title))[:count]


def compare(ours: TextEncoder, theirs: object, titles: list[str]) -> dict[str, float]:
    """Median texts a second of both, the median ratio, and the lowest cosine between the two encoders' vectors."""
    warm = titles[:128]
    ours.encode(warm), theirs.encode(warm, normalize_embeddings=True)
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(REPEATS):
        start = time.perf_counter()
        mine = ours.encode(titles)
        middle = time.perf_counter()
        reference = theirs.encode(titles, normalize_embeddings=True)
        rates["ours"].append(len(titles) / (middle - start))
        rates["theirs"].append(len(titles) / (time.perf_counter() - middle))
    return {
        "ours_per_s": round(statistics.median(rates["ours"]), 1),
        "theirs_per_s": round(statistics.median(rates["theirs"]), 1),
        "ratio": round(statistics.median(a / b for a, b in zip(rates["ours"], rates["theirs"], strict=True)), 3),
        "lowest_cosine": round(float((mine * reference).sum(1).min()), 5),
    }


def run(device: str = "auto") -> dict:
    """The measured claim: name, figure, bar, whether it holds, and the figures behind it."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 only this comparison needs it

    from services.encoders.pretrained import packaged_path  # noqa: PLC0415 keeps the offline switch first

    ours = load_text_encoder(device=device)
    theirs = SentenceTransformer(str(packaged_path("all-MiniLM-L6-v2")), device=str(ours.policy.device))
    figures: dict = {"simulated": compare(ours, theirs, simulated_titles(TEXTS))}
    if titles := real_titles(TEXTS):
        figures["beauty_titles"] = compare(ours, theirs, titles)
    ratio = min(figure["ratio"] for figure in figures.values())
    figures |= {"device": str(ours.policy.device), "autocast": str(ours.policy.dtype), "repeats": REPEATS}
    return {"name": "embedding_text", "figure": ratio, "bar": BAR, "holds": ratio >= BAR, "figures": figures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    text = json.dumps(run(arguments.device), indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
