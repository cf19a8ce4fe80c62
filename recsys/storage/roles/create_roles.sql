-- Once for the server, by a role with CREATEROLE. Members inherit the rights: GRANT otaku_service TO the_login;
-- Whoever migrates owns schema otaku: CREATE SCHEMA otaku AUTHORIZATION the_migrating_login;
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['otaku_backup', 'otaku_jobs', 'otaku_operations', 'otaku_service'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE 'CREATE ROLE ' || quote_ident(wanted) || ' NOLOGIN';
        END IF;
    END LOOP;
END $$;
