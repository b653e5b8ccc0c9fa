"""Readable names of interests, from the categories and brands of their items."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from services.profiles.arrow_texts import array_of, texts_of
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.interests import Interests
from services.profiles.naming_kernels import names, words
from services.profiles.ranked import SparseRows


@dataclass(frozen=True)
class InterestNames:
    """Per cluster its name, and its listed categories and brands, heaviest first, as rows of the catalogue's codes."""

    names: pa.Array
    categories: SparseRows
    brands: SparseRows


def name_interests(found: Interests, catalogue: Catalogue, config: ProfileConfig) -> InterestNames:
    """Name each cluster by the deepest category that holds half of its weight, and its brand where one dominates.

    Among equally deep categories the heavier is taken, then the first by name; one that most of the shop carries says
    nothing, and the two most telling categories stand in for it. A cluster without any category or brand is named by
    its medoid's item id. Of a user's clusters with the same name the lighter ones get their medoid's own deepest
    category, brand or id as well.

    Categories are listed by how heavy they are, less so the more of the shop they hold.
    """
    brand = catalogue.brand.astype(np.int32, copy=False)
    named, *listed = words(
        found.medoid,
        found.member_cluster,
        found.member_row,
        found.member_share,
        *catalogue.category_codes,
        brand,
        catalogue.category_level,
        (1.0 - catalogue.category_coverage).astype(np.float64, copy=False),
        config.name_share,
        config.brand_share,
    )
    texts = (texts_of(some) for some in (catalogue.category_names, catalogue.brand_names, catalogue.item_ids))
    made = names(found.user, found.medoid, named, brand, *(array for both in texts for array in both))
    categories, brands = (SparseRows(starts, codes, np.ones(len(codes))) for starts, codes in (listed[:2], listed[2:]))
    return InterestNames(array_of(*made), categories, brands)
