"""The layer order of the tree, and who may import the heavy frameworks: read from the sources, nothing imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("services", "feature_repo", "training")

LAYERS: tuple[tuple[str, ...], ...] = (
    ("services.core",),
    ("feature_repo.names",),  # names alone: the database's models use them too
    ("services.db", "services.networks", "services.encoders"),
    ("services.features", "services.registry"),
    ("services.ingest", "services.profiles", "services.recommend", "services.search"),
    ("services.workers", "services.serve", "services.cli"),
)
"""From left to right: each imports itself and what stands left of it."""

BESIDE: dict[str, tuple[str, ...]] = {
    "services.runtime": ("services.core",),
    "services.simulation": ("services.core",),
    "feature_repo": ("services.core", "feature_repo.names", "services.features"),
    "training": (
        "services.core",
        "services.db",
        "services.features",
        "services.networks",
        "services.registry",
        "services.recommend",
        "services.search",
        "feature_repo.names",
    ),
    "training.text_encoder": ("services.core", "services.encoders", "training"),
    "training.search_cross_encoder": ("services.encoders.device", "services.networks", "training"),
}
"""What stands outside the row, with what it may import. Adapting the text encoder is the one training that reads texts:
it must cut, pool and prefix them as serving does (ADR 7); the cross-encoder's asks what the processor multiplies."""

EXTRA: dict[str, tuple[str, ...]] = {
    "services.cli": ("services.runtime", "services.simulation", "services.workers.dispatch"),
    "services.serve": ("services.workers.dispatch",),
}
"""Narrow passages: jobs are asked for through the dispatcher alone; the command line starts the other two."""

FRAMEWORKS: dict[str, tuple[str, ...]] = {
    "feast": ("feature_repo", "services.features.online", "services.features.offline"),
    "celery": ("services.workers",),
    "ray": ("services.serve", "training.ray_workers"),
    "mlflow": ("services.registry.mlflow_log",),
    "peft": ("services.encoders.adapter", "training.text_encoder"),
    "training": ("training",),
}
"""Where each may be imported, at the top of a module or inside a function."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Every imported name, absolute, with the names of `from` imports appended."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def component(name: str) -> str | None:
    """The layer's component a name of ours belongs to; the longest match."""
    known = [part for layer in LAYERS for part in layer] + list(BESIDE)
    matches = [part for part in known if inside(name, part)]
    return max(matches, key=len) if matches else None


def allowed(importer: str) -> set[str]:
    if importer in BESIDE:
        return {importer, *BESIDE[importer]}
    rank = next(index for index, layer in enumerate(LAYERS) if importer in layer)
    return {importer, *EXTRA.get(importer, ()), *(part for layer in LAYERS[:rank] for part in layer)}


def violations(path: Path) -> list[str]:
    module = module_name(path)
    importer = component(module)
    if importer is None:
        return [] if module in PACKAGES else [f"{module} belongs to no layer: name it in LAYERS or BESIDE"]
    tree = ast.parse(path.read_text(), str(path))
    found = []
    for name in imports(tree, module, path.name == "__init__.py"):
        target = component(name)
        if target is not None and not any(inside(name, permitted) for permitted in allowed(importer)):
            found.append(f"{module} imports {name}: {importer} may not import {target}")
        for framework, homes in FRAMEWORKS.items():
            if inside(name, framework) and not any(inside(module, home) for home in homes):
                found.append(f"{module} imports {name}: only {', '.join(homes)} may")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_imports_only_what_stands_left_of_it(package: str) -> None:
    found = [line for path in sources() if inside(module_name(path), package) for line in violations(path)]
    assert found == []


@pytest.mark.parametrize(
    ("module", "source", "complaints"),
    [
        ("services/db/a.py", "from services.core import paths", 0),
        ("services/db/a.py", "from services.networks import ranker", 1),
        ("services/core/a.py", "def f():\n    import services.db.session", 1),
        ("services/recommend/a.py", "from services.search.index import Index", 1),
        ("services/cli/a.py", "from services.runtime.launch import x", 0),
        ("services/features/online.py", "import feast", 0),
        ("services/features/snapshot.py", "from feast import FeatureStore", 1),
        ("services/serve/a.py", "import training.trainer", 2),
        ("services/profiles/a.py", "from .celery import x", 0),
        ("services/somewhere/a.py", "", 1),
    ],
)
def test_the_check_itself_sees_what_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, source: str, complaints: int
) -> None:
    monkeypatch.setattr("test_layers.ROOT", tmp_path)
    path = tmp_path / module
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert len(violations(path)) == complaints
