"""Compare the definitions with the registry, and apply them: `python -m feature_repo.registry_sync plan|apply`.

Does what `feast plan` and `feast apply` do, in one process, and prints one JSON document: the changes by object.
Nothing is applied when nothing changed.
"""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureStore, OnDemandFeatureView
from feast.data_source import DataSource, PushSource
from feast.diff.property_diff import TransitionType
from feast.diff.registry_diff import FeastObjectDiff
from feast.entity import Entity as AnyEntity
from feast.feature_view import DUMMY_ENTITY, FeatureView
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.repo_contents import RepoContents
from feast.repo_operations import apply_total_with_repo_instance
from sqlalchemy.exc import OperationalError, ProgrammingError

from feature_repo import definitions, names
from services.core.errors import PortraitError

FOLDER = Path(__file__).resolve().parent
USAGE, FAILED = 2, 1


def contents() -> RepoContents:
    """The definitions as Feast's own parser finds them, each object once."""
    found: list[Any] = list({id(value): value for value in definitions.gather().values()}.values())
    views = [value for value in found if isinstance(value, FeatureView)]
    sources = [value for value in found if isinstance(value, DataSource)]
    sources += [source for view in views for source in (view.batch_source, view.stream_source) if source]
    sources += [source.batch_source for source in sources if isinstance(source, PushSource) and source.batch_source]
    entities: list[AnyEntity] = [value for value in found if isinstance(value, Entity)]
    return RepoContents(
        projects=[definitions.project],
        data_sources=list({id(source): source for source in sources}.values()),
        entities=[*entities, DUMMY_ENTITY],
        feature_views=views,
        feature_services=[value for value in found if isinstance(value, FeatureService)],
        on_demand_feature_views=[value for value in found if isinstance(value, OnDemandFeatureView)],
        stream_feature_views=[],
        label_views=[],
        permissions=[],
    )


def plan(store: FeatureStore) -> list[dict[str, str]]:
    """What `apply` would change: kind, name and action (create, update, delete) of each object."""
    registry_diff, _, _ = store.plan(contents())
    return [
        {
            "kind": str(diff.feast_object_type.value),
            "name": str(diff.name),
            "action": diff.transition_type.name.lower(),
        }
        for diff in registry_diff.feast_object_diffs
        if diff.name != DUMMY_ENTITY.name and _changes(diff)
    ]


def _changes(diff: FeastObjectDiff) -> bool:
    """Whether a difference is one of definitions.

    Once a view was materialised, Feast also compares when its sources were registered: that alone is no change.
    """
    if diff.transition_type is not TransitionType.UPDATE:
        return diff.transition_type is not TransitionType.UNCHANGED
    return any(
        _without_times(found.val_existing) != _without_times(found.val_declared)
        for found in diff.feast_object_property_diffs
    )


def _without_times(value: Any) -> Any:
    if not isinstance(value, DataSourceProto):
        return value
    copy = DataSourceProto()
    copy.CopyFrom(value)
    copy.ClearField("meta")
    if copy.HasField("batch_source"):
        copy.batch_source.ClearField("meta")
    return copy


def apply(store: FeatureStore) -> list[dict[str, str]]:
    """Bring the registry to the definitions. Returns what changed."""
    changes = plan(store)
    if changes:
        apply_total_with_repo_instance(store, names.PROJECT, store.registry, contents(), skip_source_validation=False)
    return changes


def main(arguments: list[str]) -> int:
    actions = {"plan": plan, "apply": apply}
    if len(arguments) != 1 or arguments[0] not in actions:
        sys.stderr.write("usage: python -m feature_repo.registry_sync plan|apply\n")
        return USAGE
    warnings.simplefilter("ignore", RuntimeWarning)  # Feast calls on-demand views experimental
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Feast prints what it does
            changes = actions[arguments[0]](FeatureStore(repo_path=str(FOLDER)))
        answer: dict[str, Any] = {"changes": changes}
    except PortraitError as error:
        answer = {"error": error.detail}
    except (OperationalError, ProgrammingError) as error:
        answer = {"error": _database_sentence(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return FAILED if "error" in answer else 0


def _database_sentence(error: OperationalError | ProgrammingError) -> str:
    if isinstance(error, OperationalError):
        return "PostgreSQL does not answer: see `portrait doctor`"
    return "The database lacks the schema `feast`: run `python -m services.db.migrate`, then apply again"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
