-- The jobs and the commands of `otaku`: write all rows and change no table. A staging table of theirs is a temporary
-- one, which PostgreSQL lets everybody create unless TEMPORARY was revoked from PUBLIC.
GRANT USAGE ON SCHEMA otaku TO otaku_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA otaku TO otaku_jobs;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA otaku TO otaku_jobs;
-- Written by those who migrate alone.
REVOKE INSERT, UPDATE, DELETE ON otaku.alembic_version, otaku.schema_compatibility FROM otaku_jobs;
-- Append-only, for its owner too.
REVOKE UPDATE, DELETE ON otaku.decisions FROM otaku_jobs;
