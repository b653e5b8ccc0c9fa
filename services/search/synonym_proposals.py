"""Proposals that wait for a person's word: `HOME/search/synonym_proposals.json`."""

from pathlib import Path

import msgspec

from services.core.errors import CorruptArtefact, NotFound
from services.search.synonym_mining import Proposal
from services.search.synonyms import FILE, SynonymFile

PROPOSALS = "synonym_proposals.json"


def write_proposals(search: Path, found: list[Proposal]) -> None:
    """Keep these proposals in place of the earlier ones."""
    search.mkdir(parents=True, exist_ok=True)
    temporary = search / f".{PROPOSALS}.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    temporary.replace(search / PROPOSALS)


def read_proposals(search: Path) -> list[Proposal]:
    """The proposals that wait; none before the first were made.

    Raises:
        CorruptArtefact: the file cannot be read.
    """
    try:
        return msgspec.json.decode((search / PROPOSALS).read_bytes(), type=list[Proposal])
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptArtefact(f"{search / PROPOSALS} cannot be read: run `portrait search synonyms propose`") from error


def accept(search: Path, first: str, second: str) -> SynonymFile:
    """Make a proposal a synonym: the file that serving reads holds it from now on.

    Raises:
        NotFound: it was not proposed (any pair may be written into the file by hand).
    """
    waiting = read_proposals(search)
    wanted = {first, second}
    if not any({proposal.first, proposal.second} == wanted for proposal in waiting):
        raise NotFound(f"“{first}” and “{second}” were not proposed: see `portrait search synonyms list`")
    synonyms = SynonymFile.read(search / FILE)
    if not any(wanted <= set(group) for group in synonyms.groups):
        synonyms = synonyms.with_group((first, second))
        synonyms.write(search / FILE)
    write_proposals(search, [proposal for proposal in waiting if {proposal.first, proposal.second} != wanted])
    return synonyms
