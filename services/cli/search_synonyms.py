"""`portrait search synonyms`: what is known, what the shop's data proposes, and a person's yes.

Where hosts share no home, what is known lies in object storage.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from services.core.storage import ObjectStorage
    from services.search.synonym_mining import Proposal

Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def group() -> typer.Typer:
    """The commands."""
    commands = typer.Typer(help="Synonyms: list, propose from the shop's own data, accept.", no_args_is_help=True)
    commands.command("list")(list_synonyms)
    commands.command()(propose)
    commands.command()(accept)
    commands.command()(publish)
    return commands


def list_synonyms(json: Json = False) -> None:
    """The synonyms in force, and the proposals that wait."""
    from services.search.search_storage import STORED_SYNONYMS, stored_synonyms  # noqa: PLC0415 - as above
    from services.search.synonym_proposals import read_proposals  # noqa: PLC0415 - loaded when needed
    from services.search.synonyms import FILE, SynonymFile  # noqa: PLC0415 - as above

    search, storage = _search(), _storage()
    stored = None if storage is None else stored_synonyms(storage)
    synonyms, waiting = SynonymFile.read(search / FILE) if stored is None else stored, read_proposals(search)
    where = f"{search / FILE}" if storage is None or stored is None else f"{storage.url}/{STORED_SYNONYMS}"
    if json:
        print_json({"groups": synonyms.groups, "oneway": dict(synonyms.oneway), "proposals": waiting})
        return
    console().print(f"{where}: {len(synonyms.groups)} groups, {len(synonyms.oneway)} one-way")
    rows: list[tuple[str, str]] = [("=", ", ".join(phrases)) for phrases in synonyms.groups]
    rows += [("→", f"{phrase} → {', '.join(others)}") for phrase, others in synonyms.oneway.items()]
    print_table(("", "synonyms"), rows)
    _show(waiting)


def propose(
    most: Annotated[int, typer.Option("--most", help="How many to keep.")] = 100,
    json: Json = False,
) -> None:
    """Look for pairs of words whose items mean the same. Nothing changes until a pair is accepted."""
    import numpy as np  # noqa: PLC0415 - loaded when needed: --help stays quick

    from services.core.errors import NotReady  # noqa: PLC0415 - as above
    from services.core.paths import HomePaths  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.features.snapshot import ItemSnapshot, current_snapshot  # noqa: PLC0415 - as above
    from services.features.snapshot_storage import pull_snapshot  # noqa: PLC0415 - as above
    from services.features.stored_versions import pull_version  # noqa: PLC0415 - as above
    from services.search.index.search_index import SearchIndex, current_index  # noqa: PLC0415 - as above
    from services.search.search_storage import INDEXES  # noqa: PLC0415 - as above
    from services.search.synonym_mining import propose_from_vectors  # noqa: PLC0415 - as above
    from services.search.synonym_proposals import write_proposals  # noqa: PLC0415 - as above

    paths, storage = HomePaths(get_settings().home), _storage()
    if storage is not None:
        pull_snapshot(paths.snapshots, storage)
        pull_version(INDEXES, paths.search, storage)
    folders = current_snapshot(paths.snapshots), current_index(paths.search)
    if folders[0] is None or folders[1] is None:
        raise NotReady("Proposals need an item snapshot and a search index: import items and let the workers finish")
    snapshot, index = ItemSnapshot.open(folders[0], exact=True), SearchIndex.open(folders[1])
    at = index.rows_in(snapshot)
    vectors = np.where(at[:, None] >= 0, snapshot.vectors[at], 0).astype(np.float32)
    found = propose_from_vectors(index.vocabulary, index.postings, vectors, index.analyser)[:most]
    write_proposals(paths.search, found)
    if json:
        print_json(found)
    else:
        _show(found)


def accept(
    first: Annotated[str, typer.Argument(help="One word of a proposal.")],
    second: Annotated[str, typer.Argument(help="The other one.")],
) -> None:
    """Make a proposal a synonym. Gateways take it up by themselves."""
    from services.search.search_storage import pull_synonyms, push_synonyms  # noqa: PLC0415 - loaded when needed
    from services.search.synonym_proposals import accept as accept_proposal  # noqa: PLC0415 - as above
    from services.search.synonyms import FILE  # noqa: PLC0415 - as above

    search, storage = _search(), _storage()
    if storage is not None:
        pull_synonyms(search, storage)
    accept_proposal(search, first, second)
    if storage is not None:
        push_synonyms(search / FILE, storage)
    console().print(f"{first} = {second}: added to {search / FILE if storage is None else storage.url}")


def publish(
    file: Annotated[Path | None, typer.Argument(help="The file; that of this home, if none is named.")] = None,
) -> None:
    """Make the synonyms of a file those of all hosts, which share no home but object storage."""
    from services.core.errors import ConfigurationError  # noqa: PLC0415 - loaded when needed
    from services.search.search_storage import push_synonyms  # noqa: PLC0415 - as above
    from services.search.synonyms import FILE  # noqa: PLC0415 - as above

    storage = _storage()
    if storage is None:
        raise ConfigurationError(
            f"PORTRAIT_STORAGE_URL is not set: gateways take up {_search() / FILE} by themselves, nothing is published"
        )
    synonyms = push_synonyms(_search() / FILE if file is None else file, storage)
    console().print(f"{storage.url}: {len(synonyms.groups)} groups, {len(synonyms.oneway)} one-way")


def _search() -> Path:
    from services.core.paths import HomePaths  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above

    return HomePaths(get_settings().home).search


def _storage() -> "ObjectStorage | None":
    from services.core.settings import get_settings  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.storage import open_storage  # noqa: PLC0415 - as above

    return open_storage(get_settings().storage_url)


def _show(found: "list[Proposal]") -> None:
    rows = [
        (
            proposal.first,
            proposal.second,
            proposal.evidence,
            f"{proposal.score:.2f}",
            *proposal.items,
            proposal.together,
        )
        for proposal in found
    ]
    print_table(("word", "word", "evidence", "score", "items", "items", "together"), rows, title="Proposed")
