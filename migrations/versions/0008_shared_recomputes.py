"""A full recompute in parts that any number of processes take.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE recompute_runs (
  run_id uuid CONSTRAINT pk_recompute_runs PRIMARY KEY DEFAULT gen_random_uuid(),
  name text NOT NULL CONSTRAINT uq_recompute_runs_name UNIQUE,
  as_of timestamptz NOT NULL,
  from_states boolean NOT NULL,
  reference_version integer NOT NULL,
  began pg_snapshot NOT NULL,
  pool_users text[] NOT NULL,
  pool_events bigint[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE recompute_parts (
  run_id uuid NOT NULL CONSTRAINT fk_recompute_parts_run_id_recompute_runs
    REFERENCES recompute_runs (run_id) ON DELETE CASCADE,
  part integer NOT NULL,
  user_ids text[] NOT NULL,
  events bigint NOT NULL,
  report jsonb,
  CONSTRAINT pk_recompute_parts PRIMARY KEY (run_id, part)
);
CREATE INDEX ix_recompute_parts_open ON recompute_parts (run_id, part) WHERE report IS NULL;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS recompute_parts, recompute_runs")
