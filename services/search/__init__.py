"""Search: query understanding, lexical and dense retrieval, ranking, facets and suggestions over one item snapshot."""
