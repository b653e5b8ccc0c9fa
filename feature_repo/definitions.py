"""The one file that Feast reads: it gathers the Feast objects of this folder's modules.

Feast imports the files of a repository as top-level modules, which would make a second copy of everything that is
also imported as `feature_repo.…`. So `.feastignore` hides the modules gathered here: `entities`, `sources`, and every
`*_views` and `*_services`, among them those that are yet to be written.
"""

from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

from feast import Entity, FeatureService, OnDemandFeatureView, Project
from feast.data_source import DataSource
from feast.feature_view import FeatureView

from feature_repo import names
from feature_repo.entities import OWNER

GATHERED = ("entities", "sources", "*_views", "*_services")
KINDS = (DataSource, Entity, FeatureView, OnDemandFeatureView, FeatureService)


def gather() -> dict[str, object]:
    """Every Feast object of the gathered modules, by module and name."""
    stems = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    modules = [stem for stem in stems if any(fnmatch(stem, pattern) for pattern in GATHERED)]
    found: dict[str, object] = {}
    for stem in modules:
        members = vars(import_module(f"feature_repo.{stem}"))
        found |= {f"{stem}_{name}": value for name, value in members.items() if isinstance(value, KINDS)}
    return found


project = Project(
    name=names.PROJECT, description="User portraits, item features and what serving reads of them.", owner=OWNER
)
globals().update(gather())  # Feast finds objects by looking at a module's attributes
