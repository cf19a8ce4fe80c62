-- `otaku backup`: reads everything and writes nothing.
GRANT USAGE ON SCHEMA otaku TO otaku_backup;
GRANT SELECT ON ALL TABLES IN SCHEMA otaku TO otaku_backup;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA otaku TO otaku_backup;
