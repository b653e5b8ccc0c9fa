"""The embedded runtime: PostgreSQL and Valkey from wheels, and the supervision of every other process."""
