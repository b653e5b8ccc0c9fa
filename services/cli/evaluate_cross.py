"""The cross-encoder of `portrait evaluate search`: from judged lists to what it adds to the learned ranker."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

from services.cli.output import error_console

TAUGHT = "training.search_cross_evaluation"
"""Loaded by name: services do not depend on training."""

TOLD_STEPS = 100


def cross_encoder_result(name: str, lists: Any, protocol: Any) -> Any:
    """`training.search_evaluation.SearchResult` of the learned ranker that also has a cross-encoder's scores.

    `lists` are `training.search_evaluation.JudgedLists` with what was searched for; the cross-encoder starts from the
    configured text encoder.

    Raises:
        ConfigurationError: the text encoder is no BERT or MPNet.
    """
    from services.core.settings import get_settings  # noqa: PLC0415 - loaded when needed
    from services.encoders.text import load_text_encoder  # noqa: PLC0415 - as above
    from services.networks.cross_encoder import PairTokenizer, network_of, split_encoder  # noqa: PLC0415 - as above

    taught = importlib.import_module(TAUGHT)
    encoder = load_text_encoder(get_settings().text_encoder, "cpu")
    config = network_of(encoder.model)
    tokenizer = PairTokenizer(encoder.tokenizer, config)
    judged = lists.judgements
    queries, titles = tokenizer.texts(lists.searched), tokenizer.texts(judged.items["title"].fill_null("").to_list())
    pairs = tokenizer.pairs(
        [queries[query] for query in judged.owner.tolist()], [titles[item] for item in judged.item.tolist()]
    )
    with tempfile.TemporaryDirectory(prefix="portrait-cross-") as folder:
        return taught.evaluate_cross_encoder(
            name, lists, pairs, split_encoder(encoder.model, config), protocol, Path(folder), tell=_Teller()
        )


class _Teller:
    """Says now and then how far a teaching is, and the mean error of the pairs since."""

    def __init__(self) -> None:
        self._errors: list[float] = []

    def __call__(self, step: dict[str, float]) -> None:
        self._errors.append(step["squared"])
        done, whole = int(step["step"]) + 1, int(step["of"])
        if done % TOLD_STEPS == 0 or done == whole:
            mean = sum(self._errors) / len(self._errors)
            self._errors.clear()
            error_console().print(f"cross-encoder: {done} of {whole} steps, squared error {mean:.3f}")
