-- Refused before anything is made. An unset setting means that the library is
-- not preloaded; the first C function then says so.
DO $$
BEGIN
    IF pg_catalog.current_database() <> pg_catalog.current_setting('shardman.database', true) THEN
        RAISE EXCEPTION 'extension "shardman" can only be created in database "%"',
                        pg_catalog.current_setting('shardman.database')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Connect to that database, or change shardman.database and restart the server.';
    END IF;
END
$$;
