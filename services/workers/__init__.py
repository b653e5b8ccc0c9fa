"""Background work: Celery carries it, Postgres remembers it (docs/operations.md)."""
