"""The lexical index: built from the catalogue, updated by difference, published by an atomic swap."""
