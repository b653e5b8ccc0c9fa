"""`POST /v1/search/similar-image` with real photos: how many of the first answers show the same kind of thing.

The catalogue is the test photos of the clothing data (PORTRAIT_TEST_DATA names the folder above it, else
../shared/data), whose titles say nothing; the validation photos, which no item has, are uploaded one after the other.
All through `portrait up`: items over HTTP, pictures embedded by the workers. The yardstick is a random order.

Run: `python -m benchmarks.photo_search`.
"""

import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks._data import data_folder
from benchmarks.rest import _portrait
from services.core.addresses import read_addresses
from services.core.paths import HomePaths

COUNT = 10
WARM_UP = 5


def run() -> dict[str, Any]:
    """The share of the first ten answers that are of the uploaded photo's class, and of the first alone."""
    folder = data_folder("product-photos")
    catalogue, asked = (sorted((folder / part).glob("*/*.jpg")) for part in ("test", "validation"))
    kinds = {f"photo-{number}": photo.parent.name for number, photo in enumerate(catalogue)}
    home = Path(tempfile.mkdtemp(prefix="pp-")).resolve()
    try:
        _portrait(home, "up", "--detach", "--wait", "--port", "0", "--timeout", "600")
        addresses = read_addresses(home)
        assert addresses is not None and addresses.http_url is not None  # `up --wait` returned
        with httpx.Client(base_url=addresses.http_url, timeout=60.0) as client:
            _stock(client, HomePaths(home).media, catalogue)
            _portrait(home, "embed")
            answers, seconds = _ask(client, asked, len(catalogue))
    finally:
        _portrait(home, "down")
        shutil.rmtree(home, ignore_errors=True)
    right = np.array(
        [[kinds[item] == photo.parent.name for item in answer] for photo, answer in zip(asked, answers, strict=True)]
    )
    shares = Counter(kinds.values())
    chance = float(np.mean([shares[photo.parent.name] / len(catalogue) for photo in asked]))
    by_kind = {
        kind: round(float(right[[photo.parent.name == kind for photo in asked]].mean()), 3) for kind in sorted(shares)
    }
    figure = float(right.mean())
    return {
        "name": "photo_search",
        "figure": round(figure, 3),
        "bar": None,
        "holds": None,
        "figures": {
            "first_is_of_the_class": round(float(right[:, 0].mean()), 3),
            "first_ten_of_the_class": round(figure, 3),
            "chance": round(chance, 3),
            "by_class": by_kind,
            "photos_in_the_catalogue": len(catalogue),
            "photos_asked": len(asked),
            "p50_ms": round(float(np.quantile(seconds, 0.5)) * 1e3, 1),
            "p99_ms": round(float(np.quantile(seconds, 0.99)) * 1e3, 1),
        },
    }


def _stock(client: httpx.Client, media: Path, catalogue: list[Path]) -> None:
    """One item a photo, with a title that does not say what it shows."""
    media.mkdir(exist_ok=True)
    items = []
    for number, photo in enumerate(catalogue):
        shutil.copyfile(photo, media / f"{number}.jpg")
        items.append({"item_id": f"photo-{number}", "title": "Piece", "image_urls": [f"file:{number}.jpg"]})
    client.put("/v1/items", json={"items": items}).raise_for_status()


def _ask(client: httpx.Client, asked: list[Path], items: int) -> tuple[list[list[str]], list[float]]:
    """The first answers to each photo, and how long each took, once all items are found."""
    until = time.monotonic() + 120.0
    while len(_found(client, asked[0], min(items, 100))) < min(items, 100):
        if time.monotonic() > until:
            raise TimeoutError("items are not found by photo two minutes after they were embedded")
        time.sleep(1.0)
    for photo in asked[:WARM_UP]:
        _found(client, photo, COUNT)
    answers, seconds = [], []
    for photo in asked:
        began = time.perf_counter()
        answers.append(_found(client, photo, COUNT))
        seconds.append(time.perf_counter() - began)
    return answers, seconds


def _found(client: httpx.Client, photo: Path, count: int) -> list[str]:
    answer = client.post(
        "/v1/search/similar-image",
        params={"count": count},
        content=photo.read_bytes(),
        headers={"content-type": "image/jpeg"},
    )
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # the image encoder is not loaded yet
        return []
    return [item["item_id"] for item in answer.raise_for_status().json()["items"]]


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
