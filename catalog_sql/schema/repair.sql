-- What pg_dump took from a node of another cluster, as psql restores it: hash-partitioned tables that this
-- cluster does not know, whose partitions have names of leaves and lie in the schemas of leaves.

CREATE FUNCTION shardman.restored_tables()
    RETURNS TABLE (rel oid, distribution_columns text, num_parts integer, leaves oid[], kin text, obstacle text)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        WITH leaf AS (
            SELECT c.oid, c.relnamespace = 'shardman_data'::regnamespace AS is_real, i.inhparent,
                   (regexp_match(c.relname, '^shard_([0-9]+)_'))[1]::bigint AS table_id,
                   (regexp_match(c.relname, '_([0-9]+)$'))[1]::integer AS pnum,
                   (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'modulus ([0-9]+)'))[1]::integer AS modulus
            FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
            WHERE c.relnamespace IN ('shardman_data'::regnamespace, 'shardman_remote'::regnamespace)
              AND c.relkind = 'r' AND c.relname ~ '^shard_[0-9]+_.*_[0-9]+$'
              AND (i.inhparent IS NULL OR i.inhparent NOT IN (SELECT t.rel FROM shardman.sharded_table AS t))),
        restored AS (
            SELECT p.partrelid AS rel, p.partattrs, min(l.table_id) AS table_id, max(l.modulus) AS num_parts
            FROM pg_partitioned_table AS p JOIN leaf AS l ON l.inhparent = p.partrelid
            WHERE p.partstrat = 'h' AND p.partexprs IS NULL
            GROUP BY p.partrelid, p.partattrs
            HAVING min(l.modulus) = max(l.modulus)),
        -- Also those that another node's dump has brought, which are not attached.
        gathered AS (
            SELECT r.rel, array_agg(l.oid ORDER BY l.is_real DESC, l.pnum) AS leaves,
                   string_agg(l.pnum::text, ',' ORDER BY l.pnum) FILTER (WHERE l.is_real) AS held
            FROM restored AS r JOIN leaf AS l ON l.inhparent = r.rel OR (l.inhparent IS NULL AND l.table_id = r.table_id)
            GROUP BY r.rel)
        SELECT r.rel, k.columns, r.num_parts, g.leaves, format('%s of %s: %s', g.held, r.num_parts, k.types), (
                   SELECT min(o.what) FROM (
                       SELECT format('Table %s references it.', f.conrelid::regclass) AS what
                       FROM pg_constraint AS f
                       WHERE f.confrelid = r.rel AND f.contype = 'f'
                         AND f.conrelid NOT IN (SELECT rel FROM restored) AND f.conrelid NOT IN (SELECT oid FROM leaf)
                       UNION ALL
                       SELECT format('Rule %I is on it, or the view %s reads it.', w.rulename, w.ev_class::regclass)
                       FROM pg_depend AS d JOIN pg_rewrite AS w ON w.oid = d.objid
                       WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
                         AND d.refobjid = r.rel) AS o)
        FROM restored AS r JOIN gathered AS g USING (rel)
             CROSS JOIN LATERAL (
                 SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.n) AS columns,
                        string_agg(a.atttypid || ' ' || a.attcollation, ', ' ORDER BY u.n) AS types
                 FROM unnest(r.partattrs::int2[]) WITH ORDINALITY AS u(attnum, n)
                      JOIN pg_attribute AS a ON a.attrelid = r.rel AND a.attnum = u.attnum) AS k
        ORDER BY r.table_id, r.rel
    $$;
COMMENT ON FUNCTION shardman.restored_tables() IS 'internal: tables that were sharded where pg_dump took them; those with the same kin were colocated, as far as can be told';
REVOKE ALL ON FUNCTION shardman.restored_tables() FROM PUBLIC;

CREATE FUNCTION shardman.restored_foreign_keys() RETURNS SETOF text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        -- As the leaves have them: the parents' are lost, since their keys are not valid without all partitions.
        WITH leaf AS (SELECT t.rel, l.oid FROM shardman.restored_tables() AS t, unnest(t.leaves) AS l(oid))
        SELECT DISTINCT ON (l.rel, k.conname)
               format('ALTER TABLE %s ADD CONSTRAINT %I %s', l.rel::regclass, k.conname,
                      overlay(pg_get_constraintdef(k.oid) PLACING coalesce(r.rel, k.confrelid)::regclass::text
                              FROM length(format('FOREIGN KEY (%s) REFERENCES ', n.columns)) + 1
                              FOR length(k.confrelid::regclass::text)))
        FROM leaf AS l JOIN pg_constraint AS k ON k.conrelid = l.oid AND k.contype = 'f'
             LEFT JOIN leaf AS r ON r.oid = k.confrelid
             CROSS JOIN LATERAL (
                 SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY e.n) AS columns
                 FROM unnest(k.conkey) WITH ORDINALITY AS e(attnum, n)
                      JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = e.attnum) AS n
        ORDER BY l.rel, k.conname, l.oid
    $$;
COMMENT ON FUNCTION shardman.restored_foreign_keys() IS 'internal: the foreign keys of restored tables, to be added when the tables are sharded';
REVOKE ALL ON FUNCTION shardman.restored_foreign_keys() FROM PUBLIC;

CREATE FUNCTION shardman.restored_references() RETURNS SETOF oid
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog
    AS $$
        -- A sharded table can reference no other ones than sharded and replicated ones.
        WITH RECURSIVE leaf AS (SELECT t.rel, l.oid FROM shardman.restored_tables() AS t, unnest(t.leaves) AS l(oid)),
        referenced(rel, depth) AS (
            SELECT k.confrelid, 1 FROM leaf AS l JOIN pg_constraint AS k ON k.conrelid = l.oid AND k.contype = 'f'
            UNION
            SELECT k.confrelid, r.depth + 1
            FROM referenced AS r JOIN pg_constraint AS k ON k.conrelid = r.rel AND k.contype = 'f'
            WHERE k.confrelid <> k.conrelid AND r.depth < 100)
        SELECT c.oid FROM referenced AS r JOIN pg_class AS c ON c.oid = r.rel
        WHERE c.relkind = 'r' AND c.oid NOT IN (SELECT oid FROM leaf)
          AND c.oid NOT IN (SELECT t.rel FROM shardman.replicated_table AS t)
        GROUP BY c.oid ORDER BY max(r.depth) DESC, c.oid
    $$;
COMMENT ON FUNCTION shardman.restored_references() IS 'internal: ordinary tables that restored ones reference, those first that others of them reference';
REVOKE ALL ON FUNCTION shardman.restored_references() FROM PUBLIC;

CREATE FUNCTION shardman.repair() RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'repair_wrapper';
COMMENT ON FUNCTION shardman.repair() IS 'makes tables sharded again that pg_dump took from a node of another cluster and psql restored here under shardman.restoring; returns how many';
REVOKE ALL ON FUNCTION shardman.repair() FROM PUBLIC;
