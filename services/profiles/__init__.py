"""User portraits from events: weights, decayed sums, vectors, interests, affinities, behaviour (docs/profiles.md)."""
