"""The pipeline that a published model makes over a snapshot: the gateway's, and a replay's."""

from services.core.errors import CorruptArtefact
from services.features.snapshot import ItemSnapshot
from services.recommend.learned import LearnedRanker
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.queries import LearnedQueries
from services.registry.artefact import LoadedModel


def pipeline_over(snapshot: ItemSnapshot, model: LoadedModel | None) -> RecommendationPipeline:
    """The pipeline with a model's query vectors and ranker; None: the linear blend.

    Raises:
        CorruptArtefact: the model reads other content vectors than the items have.
    """
    if model is None:
        return RecommendationPipeline(snapshot)
    manifest = model.manifest
    if manifest.space != snapshot.space:
        raise CorruptArtefact(
            f"Model {manifest.version} reads vectors of {manifest.space}, but the items have those of "
            f"{snapshot.space}: train it again"
        )
    ranker = None if model.ranker is None else LearnedRanker(model.ranker, manifest.version)
    return RecommendationPipeline(snapshot, ranker, queries=LearnedQueries(model.user_model, model.words, snapshot))
