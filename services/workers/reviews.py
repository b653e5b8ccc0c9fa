"""Give review texts their sentiment."""

from collections.abc import Callable
from functools import cache

import numpy as np
from sqlalchemy import Engine

from services.db.reviews import count_unscored, unscored_reviews, write_sentiments
from services.db.session import transaction
from services.encoders.sentiment import SentimentModel, load_sentiment

CHUNK = 2_000


@cache
def _model() -> SentimentModel:
    return load_sentiment()


def score_reviews(engine: Engine, progress: Callable[[float], None]) -> int:
    """Score all reviews that have no sentiment yet, a chunk a transaction; how many there were."""
    with transaction(engine) as connection:
        total = count_unscored(connection)
    done = 0
    while done < total:
        with transaction(engine) as connection:
            rows = unscored_reviews(connection, CHUNK)
            if not rows:
                break
            scores = np.nan_to_num(_model().score([text for _, _, text in rows]))
            write_sentiments(connection, [(key, timestamp) for key, timestamp, _ in rows], scores.tolist())
        done += len(rows)
        progress(done / total)
    return done
