CREATE FUNCTION shardman.describe_index(index oid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
    AS $$
        -- "ON ONLY" is how a partitioned index is printed; made again it must reach the leaves.
        SELECT CASE WHEN c.relkind = 'I'
                    THEN overlay(pg_get_indexdef(index) PLACING ' ON ' FROM
                                 length('CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
                                        || 'INDEX ' || quote_ident(c.relname)) + 1 FOR length(' ON ONLY '))
                    ELSE pg_get_indexdef(index) END
        FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
        WHERE c.oid = index
    $$;
COMMENT ON FUNCTION shardman.describe_index(oid) IS 'internal: CREATE INDEX with every name qualified, to make it again on another node';
REVOKE ALL ON FUNCTION shardman.describe_index(oid) FROM PUBLIC;

CREATE FUNCTION shardman.describe_leaf_foreign_key(foreign_key oid, leaf oid, referenced_leaf oid) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        -- The parent's definition with the leaf in place of the referenced parent.
        SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', leaf::regclass, k.conname,
                      overlay(pg_get_constraintdef(k.oid) PLACING referenced_leaf::regclass::text
                              FROM length(format('FOREIGN KEY (%s) REFERENCES ', n.columns)) + 1
                              FOR length(k.confrelid::regclass::text)))
        FROM pg_constraint AS k
             CROSS JOIN LATERAL (
                 SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY e.n) AS columns
                 FROM unnest(k.conkey) WITH ORDINALITY AS e(attnum, n)
                      JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = e.attnum) AS n
        WHERE k.oid = foreign_key
    $$;
COMMENT ON FUNCTION shardman.describe_leaf_foreign_key(oid, oid, oid) IS 'internal: the statement that has a leaf reference the leaf of the same partition';
REVOKE ALL ON FUNCTION shardman.describe_leaf_foreign_key(oid, oid, oid) FROM PUBLIC;

CREATE FUNCTION shardman.describe_attachments(rel oid) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
    AS $$
        WITH commented(kind, name, classoid, objoid, objsubid) AS (
            SELECT 'TABLE', '', 'pg_class'::regclass, rel, 0
            UNION ALL
            SELECT 'COLUMN', '.' || quote_ident(attname), 'pg_class'::regclass, rel, attnum
            FROM pg_attribute WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped
            UNION ALL
            SELECT 'INDEX', indexrelid::regclass::text, 'pg_class'::regclass, indexrelid, 0
            FROM pg_index WHERE indrelid = rel
            UNION ALL
            SELECT 'CONSTRAINT', quote_ident(conname) || ' ON ', 'pg_constraint'::regclass, oid, 0
            -- A foreign key's comment is part of its definition.
            FROM pg_constraint WHERE conrelid = rel AND contype <> 'f'
            UNION ALL
            SELECT 'TRIGGER', quote_ident(tgname) || ' ON ', 'pg_trigger'::regclass, oid, 0
            FROM pg_trigger WHERE tgrelid = rel AND NOT tgisinternal
            UNION ALL
            SELECT 'POLICY', quote_ident(polname) || ' ON ', 'pg_policy'::regclass, oid, 0
            FROM pg_policy WHERE polrelid = rel
            UNION ALL
            SELECT 'STATISTICS', quote_ident(n.nspname) || '.' || quote_ident(x.stxname), 'pg_statistic_ext'::regclass, x.oid, 0
            FROM pg_statistic_ext AS x JOIN pg_namespace AS n ON n.oid = x.stxnamespace WHERE x.stxrelid = rel),
        granted(columns, acl) AS (
            SELECT '', relacl FROM pg_class WHERE oid = rel
            UNION ALL
            SELECT ' (' || quote_ident(attname) || ')', attacl
            FROM pg_attribute WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped),
        statements(step, name, sql) AS (
            SELECT 1, x.stxname::text, pg_get_statisticsobjdef(x.oid)
            FROM pg_statistic_ext AS x WHERE x.stxrelid = rel
            UNION ALL
            SELECT 2, tgname, pg_get_triggerdef(oid)
            FROM pg_trigger WHERE tgrelid = rel AND NOT tgisinternal
            UNION ALL
            SELECT 3, tgname, format('ALTER TABLE %s %s TRIGGER %I', rel::regclass, CASE tgenabled
                       WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, tgname)
            FROM pg_trigger WHERE tgrelid = rel AND NOT tgisinternal AND tgenabled <> 'O'
            UNION ALL
            SELECT 4, polname, format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, rel::regclass,
                       CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                       CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                                   WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                       (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY pg_get_userbyid(r))
                        FROM unnest(polroles) AS r))
                   || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '')
                   || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
            FROM pg_policy WHERE polrelid = rel
            UNION ALL
            SELECT 5, '1', format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', rel::regclass)
            FROM pg_class WHERE oid = rel AND relrowsecurity
            UNION ALL
            SELECT 5, '2', format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', rel::regclass)
            FROM pg_class WHERE oid = rel AND relforcerowsecurity
            UNION ALL
            -- What the owner has by default goes first, since it may have been given away.
            SELECT 6, '', format('REVOKE ALL ON %s FROM %I', rel::regclass, pg_get_userbyid(relowner))
            FROM pg_class WHERE oid = rel AND relacl IS NOT NULL
            UNION ALL
            SELECT 7, g.columns, format('GRANT %s ON %s TO %s', string_agg(a.privilege_type || g.columns, ', ' ORDER BY a.privilege_type),
                       rel::regclass, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
                   || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
            FROM granted AS g, aclexplode(g.acl) AS a
            GROUP BY g.columns, a.grantee, a.is_grantable
            UNION ALL
            SELECT 8, kind || name, format('COMMENT ON %s %s IS %L', kind, CASE
                       WHEN kind IN ('INDEX', 'STATISTICS') THEN name
                       WHEN kind IN ('TABLE', 'COLUMN') THEN rel::regclass || name
                       ELSE name || rel::regclass END, d.description)
            FROM commented JOIN pg_description AS d USING (classoid, objoid, objsubid))
        SELECT coalesce(jsonb_agg(sql ORDER BY step, name, sql), '[]') FROM statements
    $$;
COMMENT ON FUNCTION shardman.describe_attachments(oid) IS 'internal: statements that give a copy of a table its statistics objects, triggers, policies, grants and comments';
REVOKE ALL ON FUNCTION shardman.describe_attachments(oid) FROM PUBLIC;

CREATE FUNCTION shardman.describe_sequence(sequence oid) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        SELECT jsonb_build_object(
            'schema', n.nspname,
            'name', c.relname,
            -- PostgreSQL gives an identity column that comes from LIKE a sequence of bigint.
            'type_name', format_type(CASE WHEN a.attidentity <> '' THEN a.atttypid ELSE s.seqtypid END, NULL),
            'start', s.seqstart,
            'increment', s.seqincrement,
            'min', s.seqmin,
            'max', s.seqmax,
            'cycle', s.seqcycle,
            'sequence_id', m.sequence_id,
            'first', m.first_value,
            'block_size', m.block_size,
            'column', a.attname,
            'table', o.oid::regclass::text,
            'identity', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
            'attachments', (
                SELECT coalesce(jsonb_agg(t.sql ORDER BY t.step, t.sql), '[]')
                FROM (
                    SELECT 1 AS step, format('REVOKE ALL ON SEQUENCE %s FROM %I', sequence::regclass, pg_get_userbyid(c.relowner)) AS sql
                    WHERE c.relacl IS NOT NULL
                    UNION ALL
                    SELECT 2, format('GRANT %s ON SEQUENCE %s TO %s', string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type), sequence::regclass,
                                     CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
                              || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
                    FROM aclexplode(c.relacl) AS g GROUP BY g.grantee, g.is_grantable
                    UNION ALL
                    SELECT 3, format('COMMENT ON SEQUENCE %s IS %L', sequence::regclass, p.description)
                    FROM pg_description AS p
                    WHERE p.classoid = 'pg_class'::regclass AND p.objoid = sequence AND p.objsubid = 0) AS t))
        FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             JOIN pg_sequence AS s ON s.seqrelid = c.oid
             LEFT JOIN shardman.managed_sequence AS m ON m.rel = c.oid
             LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
             LEFT JOIN pg_class AS o ON o.oid = d.refobjid
             LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE c.oid = sequence
    $$;
COMMENT ON FUNCTION shardman.describe_sequence(oid) IS 'internal: a sequence''s definition, to make it again on another node';
REVOKE ALL ON FUNCTION shardman.describe_sequence(oid) FROM PUBLIC;

CREATE FUNCTION shardman.owned_sequences(rel oid) RETURNS SETOF oid
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        SELECT d.objid
        FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = rel AND d.refobjsubid > 0
          AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
        ORDER BY d.refobjsubid, s.relname
    $$;
COMMENT ON FUNCTION shardman.owned_sequences(oid) IS 'internal: the sequences that belong to columns of a table';
REVOKE ALL ON FUNCTION shardman.owned_sequences(oid) FROM PUBLIC;

CREATE FUNCTION shardman.describe_table(rel oid) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    -- With nothing else on the path every printed name comes out qualified; constants are printed so
    -- that every session reads them alike.
    SET search_path = pg_catalog SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
    AS $$
        SELECT jsonb_build_object(
            'schema', n.nspname,
            'name', c.relname,
            -- The name of partition 0's leaf, which a renamed table keeps.
            'leaf', (SELECT lc.relname FROM pg_inherits AS li JOIN pg_class AS lc ON lc.oid = li.inhrelid
                     WHERE li.inhparent = c.oid AND lc.relname LIKE '%\_0'),
            'columns', (
                SELECT jsonb_agg(jsonb_build_object(
                           'name', a.attname,
                           'type_name', format_type(a.atttypid, a.atttypmod),
                           'collation', CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 THEN
                               (SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
                                FROM pg_collation AS co JOIN pg_namespace AS cn ON cn.oid = co.collnamespace
                                WHERE co.oid = a.attcollation) END,
                           'not_null', a.attnotnull,
                           'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
                           'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END)
                       ORDER BY a.attnum)
                FROM pg_attribute AS a
                     JOIN pg_type AS t ON t.oid = a.atttypid
                     LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
            'constraints', coalesce((
                SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'definition', pg_get_constraintdef(k.oid))
                                 ORDER BY k.contype, k.conname)
                FROM pg_constraint AS k
                WHERE k.conrelid = c.oid AND k.contype IN ('c', 'p', 'u', 'x')), '[]'),
            'indexes', coalesce((
                SELECT jsonb_agg(shardman.describe_index(i.indexrelid) ORDER BY ic.relname)
                FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid
                WHERE i.indrelid = c.oid
                  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid)),
                '[]'),
            'sequences', coalesce((
                SELECT jsonb_agg(shardman.describe_sequence(q.rel) ORDER BY q.n) FROM shardman.owned_sequences(c.oid) WITH ORDINALITY AS q(rel, n)), '[]'),
            -- Columns whose default draws from a sequence of one node alone.
            'local_sequence_columns', coalesce((
                SELECT jsonb_agg(DISTINCT a.attname)
                FROM pg_attribute AS a
                     JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                     JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                          AND p.refclassid = 'pg_class'::regclass
                     JOIN pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
                WHERE a.attrelid = c.oid
                  AND s.oid NOT IN (SELECT shardman.owned_sequences(c.oid))
                  AND s.oid NOT IN (SELECT m.rel FROM shardman.managed_sequence AS m)), '[]'),
            'foreign_keys', coalesce((
                SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'definition', pg_get_constraintdef(k.oid),
                                                    'references', r.table_id,
                                                    'comment', obj_description(k.oid, 'pg_constraint')) ORDER BY k.conname)
                FROM pg_constraint AS k
                     JOIN (SELECT table_id, rel FROM shardman.sharded_table
                           UNION ALL SELECT table_id, rel FROM shardman.replicated_table) AS r ON r.rel = k.confrelid
                WHERE k.conrelid = c.oid AND k.contype = 'f'), '[]'),
            'column_settings', (
                SELECT coalesce(jsonb_agg(format('ALTER TABLE %s ALTER COLUMN %I SET %s', c.oid::regclass, a.attname, s.clause)
                                          ORDER BY a.attnum, s.clause), '[]')
                FROM pg_attribute AS a
                     JOIN pg_type AS t ON t.oid = a.atttypid,
                     LATERAL (VALUES
                         (CASE WHEN a.attstattarget >= 0 THEN 'STATISTICS ' || a.attstattarget END),
                         (CASE WHEN a.attstorage <> t.typstorage THEN 'STORAGE ' || CASE a.attstorage
                             WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END),
                         ('COMPRESSION ' || CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END),
                         -- Newer minor releases keep a version of their own among the options.
                         ((SELECT '(' || string_agg(o, ', ') || ')' FROM unnest(a.attoptions) AS o
                           WHERE o NOT LIKE 'pg\_attver=%'))) AS s(clause)
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND s.clause IS NOT NULL)
                || CASE WHEN c.reloftype = 0 THEN '[]'
                        ELSE jsonb_build_array(format('ALTER TABLE %s OF %s', c.oid::regclass, c.reloftype::regtype)) END,
            -- Of a replicated table; a partitioned one has none of its own.
            'storage', coalesce((
                SELECT jsonb_agg(o.prefix || quote_ident(split_part(o.option, '=', 1)) || ' = '
                                 || quote_literal(substr(o.option, strpos(o.option, '=') + 1)) ORDER BY o.prefix, o.option)
                FROM (SELECT '', unnest(c.reloptions)
                      UNION ALL
                      SELECT 'toast.', unnest(s.reloptions) FROM pg_class AS s WHERE s.oid = c.reltoastrelid)
                     AS o(prefix, option)), '[]'),
            'attachments', shardman.describe_attachments(c.oid))
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = rel
    $$;
COMMENT ON FUNCTION shardman.describe_table(oid) IS 'internal: a table''s definition with every name qualified, to make it again on another node';
REVOKE ALL ON FUNCTION shardman.describe_table(oid) FROM PUBLIC;

CREATE FUNCTION shardman.schema_digest() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        SELECT md5(concat(
            (SELECT string_agg(concat_ws(' ', r.table_id, pg_get_userbyid(c.relowner), shardman.describe_table(r.rel)),
                               E'\n' ORDER BY r.table_id)
             FROM shardman.replicated_table AS r JOIN pg_class AS c ON c.oid = r.rel),
            (SELECT string_agg(
                   concat_ws(' ', t.table_id, t.group_id, t.distribution_columns, t.leaf_options, pg_get_userbyid(c.relowner),
                             shardman.describe_table(t.rel), p.nodes,
                             -- Leaves are the same relations everywhere, each a table on one node.
                             l.leaves),
                   E'\n' ORDER BY t.table_id)
        FROM shardman.sharded_table AS t
             JOIN pg_class AS c ON c.oid = t.rel
             CROSS JOIN LATERAL (SELECT string_agg(node_id::text, ',' ORDER BY pnum) AS nodes
                                 FROM shardman.placement WHERE group_id = t.group_id) AS p
             CROSS JOIN LATERAL (SELECT string_agg(lc.relname || pg_get_userbyid(lc.relowner) || pg_get_expr(lc.relpartbound, lc.oid)
                                                   || (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attname)
                                                       FROM pg_attribute AS a WHERE a.attrelid = lc.oid AND a.attnum > 0 AND NOT a.attisdropped),
                                                   ';' ORDER BY lc.relname) AS leaves
                                 FROM pg_inherits AS i JOIN pg_class AS lc ON lc.oid = i.inhrelid
                                 WHERE i.inhparent = t.rel) AS l)))
    $$;
COMMENT ON FUNCTION shardman.schema_digest() IS 'a digest of everything managed: equal on all nodes whose managed schema is the same';
REVOKE ALL ON FUNCTION shardman.schema_digest() FROM PUBLIC;

CREATE FUNCTION shardman.describe_managed_roles() RETURNS text[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog SET datestyle = 'ISO'
    AS $$
        WITH managed AS (
            SELECT r.* FROM pg_authid AS r JOIN pg_auth_members AS m ON m.member = r.oid
            WHERE m.roleid = 'global'::regrole),
        settings(role, name, value) AS (
            SELECT m.rolname, split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
            FROM managed AS m JOIN pg_db_role_setting AS s ON s.setrole = m.oid AND s.setdatabase = 0,
                 unnest(s.setconfig) AS c),
        statements(step, role, sql) AS (
            -- One of that name may be there from an earlier attempt.
            SELECT 1, rolname, format('DO %L', format(
                       'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) %L)
                        THEN CREATE ROLE %I; END IF; END', rolname, rolname))
            FROM managed
            UNION ALL
            SELECT 2, rolname, format('ALTER ROLE %I WITH %s %s %s %s %s %s %s CONNECTION LIMIT %s PASSWORD %L%s', rolname,
                       CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
                       CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
                       CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
                       CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
                       CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
                       CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
                       CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
                       rolconnlimit, rolpassword, CASE WHEN rolvaliduntil IS NULL THEN '' ELSE format(' VALID UNTIL %L', rolvaliduntil) END)
            FROM managed
            UNION ALL
            -- Of other roles those exist on every node that PostgreSQL makes itself.
            SELECT 3, m.rolname, format('GRANT %I TO %I%s', g.rolname, m.rolname,
                       CASE WHEN am.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)
            FROM managed AS m JOIN pg_auth_members AS am ON am.member = m.oid JOIN pg_roles AS g ON g.oid = am.roleid
            WHERE g.rolname = 'global' OR g.oid < 16384 OR g.oid IN (SELECT oid FROM managed)
            UNION ALL
            -- The values of lists are stored as they are to be written.
            SELECT 4, role, format('ALTER ROLE %I SET %I TO %s', role, name, CASE
                       WHEN name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
                       THEN value ELSE quote_literal(value) END)
            FROM settings
            UNION ALL
            SELECT 5, rolname, format('COMMENT ON ROLE %I IS %L', rolname, shobj_description(oid, 'pg_authid'))
            FROM managed WHERE shobj_description(oid, 'pg_authid') IS NOT NULL)
        SELECT coalesce(array_agg(sql ORDER BY step, role, sql), '{}') FROM statements
    $$;
COMMENT ON FUNCTION shardman.describe_managed_roles() IS 'internal: statements that make the managed roles on another node';
REVOKE ALL ON FUNCTION shardman.describe_managed_roles() FROM PUBLIC;
