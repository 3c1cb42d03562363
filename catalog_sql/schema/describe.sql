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

CREATE FUNCTION shardman.describe_table(rel oid) RETURNS jsonb
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    -- With nothing else on the path every printed name comes out qualified; constants are printed so
    -- that every session reads them alike.
    SET search_path = pg_catalog SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
    AS $$
        SELECT jsonb_build_object(
            'schema', n.nspname,
            'name', c.relname,
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
                WHERE k.conrelid = c.oid AND k.contype IN ('c', 'p', 'u')), '[]'),
            'indexes', coalesce((
                SELECT jsonb_agg(shardman.describe_index(i.indexrelid) ORDER BY ic.relname)
                FROM pg_index AS i JOIN pg_class AS ic ON ic.oid = i.indexrelid
                WHERE i.indrelid = c.oid
                  AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid)),
                '[]'),
            'sequence_columns', coalesce((
                SELECT jsonb_agg(DISTINCT a.attname)
                FROM pg_attribute AS a
                     LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                     LEFT JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                                             AND p.refclassid = 'pg_class'::regclass
                     LEFT JOIN pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND (s.oid IS NOT NULL OR a.attidentity <> '')), '[]'),
            'foreign_keys', coalesce((
                SELECT jsonb_agg(k.conname ORDER BY k.conname)
                FROM pg_constraint AS k
                WHERE k.conrelid = c.oid AND k.contype = 'f'), '[]'))
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = rel
    $$;
COMMENT ON FUNCTION shardman.describe_table(oid) IS 'internal: a table''s definition with every name qualified, to make it again on another node';
REVOKE ALL ON FUNCTION shardman.describe_table(oid) FROM PUBLIC;
