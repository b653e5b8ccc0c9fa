"""What the next snapshot of a shop costs when little has changed: processor time over that of the first.

100,000 items × 384 in clusters: built from nothing, then with other engagement alone, as comes every few minutes, then
with a hundredth of the items under new vectors. `PORTRAIT_BENCH_ITEMS` is the size. Run:
`python -m benchmarks.snapshot_again`.
"""

import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._sizes import size
from benchmarks._synthetic_shop import NOW, synthetic_tables, vector_column
from services.features.snapshot_build import build_snapshot, publish
from services.features.snapshot_files import read_manifest
from services.features.snapshot_tables import SnapshotTables

BAR = 0.5
CHANGED = 0.01


def run() -> dict[str, Any]:
    """Seconds of a core for each build, and what the later ones are of the first."""
    items = int(size("ITEMS", 100_000, 5_000))
    tables = synthetic_tables(items)
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        first, of_first = _built(tables, Path(folder))
        moved = replace(tables, engagement=_moved(tables.engagement))
        again, of_again = _built(moved, Path(folder))
        changed, of_changed = _built(replace(moved, vectors=_changed(tables.vectors)), Path(folder))
    return {
        "name": "snapshot_again",
        "figure": round(again / first, 2),
        "bar": BAR,
        "holds": again <= BAR * first,
        "figures": {
            "items": items,
            "first_s": first,
            "other_engagement_s": again,
            "other_vectors_s": changed,
            "other_vectors_over_first": round(changed / first, 2),
            "recall": [index["recall"] for index in (of_first, of_again, of_changed)],
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


def _built(tables: SnapshotTables, folder: Path) -> tuple[float, dict[str, Any]]:
    began = time.process_time()
    version = build_snapshot(tables, folder, now=NOW)
    seconds = round(time.process_time() - began, 2)
    return seconds, read_manifest(publish(folder, version)).index


def _moved(engagement: pa.Table) -> pa.Table:
    """Half the items a little more popular."""
    popularity = engagement["popularity"].to_numpy().copy()
    popularity[::2] *= 0.99
    place = engagement.schema.get_field_index("popularity")
    return engagement.set_column(place, "popularity", pa.array(popularity, pa.float32()))


def _changed(vectors: pa.Table) -> pa.Table:
    """Some items under vectors of others, a little turned."""
    random = np.random.default_rng(3)
    matrix = np.frombuffer(b"".join(vectors["vector"].to_pylist()), "<f4").reshape(vectors.num_rows, -1).copy()
    rows = random.choice(len(matrix), int(CHANGED * len(matrix)), replace=False)
    matrix[rows] = matrix[random.permutation(len(matrix))[: len(rows)]] + 0.02 * random.standard_normal(
        (len(rows), matrix.shape[1]), np.float32
    )
    matrix[rows] /= np.linalg.norm(matrix[rows], axis=1, keepdims=True)
    return vectors.set_column(vectors.schema.get_field_index("vector"), "vector", vector_column(matrix))


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
