"""Two senders that begin a month at the same moment make its partition once.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION ensure_event_partition(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  first timestamptz := date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
  last timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
  name text := 'events_' || to_char(moment AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
  IF to_regclass(name) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(hashtext('ensure_event_partition'));
  IF to_regclass(name) IS NULL THEN
    -- ATTACH locks out other partition makers alone; CREATE … PARTITION OF would lock out every reader until commit.
    {create}
  END IF;
END $$;
"""

CREATE = """EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, last);"""

# Waiting for an advisory lock does not refresh the catalogue's cache, so to_regclass may still say that there is no
# such table. Whoever held the lock before has committed: a table that exists is attached too.
CREATE_OR_FIND = f"""BEGIN
    {CREATE}
    EXCEPTION WHEN duplicate_table THEN NULL;
    END;"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(FUNCTION.format(create=CREATE_OR_FIND).replace("%", "%%"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(FUNCTION.format(create=CREATE).replace("%", "%%"))
