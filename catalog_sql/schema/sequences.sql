-- Managed sequences: each node counts through blocks that the metadata log
-- hands out. A column's default stays nextval('…'): PostgreSQL's functions lead
-- to ours by their planner support function.

CREATE FUNCTION shardman.nextval(sequence regclass) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nextval_wrapper';
COMMENT ON FUNCTION shardman.nextval(regclass) IS 'the next value of a sequence, unique in the cluster if the sequence is managed; calls of nextval() become calls of this';

CREATE FUNCTION shardman.setval(sequence regclass, value bigint) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'setval_wrapper';
COMMENT ON FUNCTION shardman.setval(regclass, bigint) IS 'has every node go on after a value; calls of setval() become calls of this';

CREATE FUNCTION shardman.setval(sequence regclass, value bigint, is_called boolean) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'setval_is_called_wrapper';
COMMENT ON FUNCTION shardman.setval(regclass, bigint, boolean) IS 'has every node go on after a value, or, if is_called is false, with it';

CREATE FUNCTION shardman.unused_value(sequence regclass) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'unused_value_wrapper';
COMMENT ON FUNCTION shardman.unused_value(regclass) IS 'a value of a managed sequence after all that any node has been given; it is not given again';

CREATE FUNCTION shardman.next_value(seq regclass) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog
    AS 'SELECT nextval(seq)';
COMMENT ON FUNCTION shardman.next_value(regclass) IS 'nextval() under the name that Postgres Pro Shardman once gave it';

CREATE FUNCTION shardman.sequence_support(internal) RETURNS internal
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sequence_support_wrapper';
COMMENT ON FUNCTION shardman.sequence_support(internal) IS 'internal: the planner support function of nextval() and setval()';

CREATE FUNCTION shardman.restore_sequence_functions() RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'restore_sequence_functions_wrapper';
COMMENT ON FUNCTION shardman.restore_sequence_functions() IS 'internal: takes shardman out of nextval() and setval(), as DROP EXTENSION does';

CREATE FUNCTION shardman.forget_sequence_block(sequence_id bigint) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'forget_sequence_block_wrapper';
COMMENT ON FUNCTION shardman.forget_sequence_block(bigint) IS 'internal: another node has set a sequence';

REVOKE ALL ON FUNCTION shardman.restore_sequence_functions() FROM PUBLIC;

-- Without a row in pg_depend, which would make built-in functions depend on the
-- extension; they are put back when it is dropped.
UPDATE pg_catalog.pg_proc SET prosupport = 'shardman.sequence_support(internal)'::pg_catalog.regprocedure
    WHERE oid = ANY (ARRAY['pg_catalog.nextval(regclass)', 'pg_catalog.setval(regclass,bigint)',
                           'pg_catalog.setval(regclass,bigint,boolean)']::pg_catalog.regprocedure[]);

CREATE VIEW shardman.sequence AS
    SELECT n.nspname AS seqns, c.relname AS seqname, s.seqmin, s.seqmax, m.block_size AS seqblk,
           m.rel::regclass AS rel, s.seqincrement, s.seqcycle
    FROM shardman.managed_sequence AS m
         JOIN pg_catalog.pg_class AS c ON c.oid = m.rel
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = m.rel;
COMMENT ON VIEW shardman.sequence IS 'managed sequences: seqblk values are handed to a node at a time';
GRANT SELECT ON shardman.sequence TO PUBLIC;

CREATE FUNCTION shardman.distribute_table(rel regclass, distributed_by text, num_parts integer DEFAULT NULL, colocate_with text DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'distribute_table_wrapper';
COMMENT ON FUNCTION shardman.distribute_table(regclass, text, integer, text) IS 'makes a table of this node, with its rows, a sharded one; it cannot be written to meanwhile';

CREATE FUNCTION shardman.create_hash_partitions(rel_name name, expr text, part_count integer, redundancy integer DEFAULT 0)
    RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    AS $$
    BEGIN
        IF redundancy OPERATOR(pg_catalog.<>) 0 THEN
            RAISE EXCEPTION 'partitions cannot have replicas'
                USING ERRCODE = 'feature_not_supported', HINT = 'Leave out redundancy.';
        END IF;
        PERFORM shardman.distribute_table(pg_catalog.quote_ident(rel_name)::pg_catalog.regclass, expr, part_count);
    END
    $$;
COMMENT ON FUNCTION shardman.create_hash_partitions(name, text, integer, integer) IS 'distribute_table() as pg_shardman spelled it; expr is a column or a list of columns';

CREATE FUNCTION shardman.create_hash_partitions(node_id integer, relation text, expr text, partitions_count integer, rebalance boolean DEFAULT true)
    RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    AS $$
    BEGIN
        IF node_id OPERATOR(pg_catalog.<>) shardman.my_id() THEN
            RAISE EXCEPTION 'table "%" must be distributed on the node that holds it', relation
                USING ERRCODE = 'feature_not_supported', HINT = 'Call this function on that node.';
        END IF;
        PERFORM shardman.distribute_table(relation::pg_catalog.regclass, expr, partitions_count);
    END
    $$;
COMMENT ON FUNCTION shardman.create_hash_partitions(integer, text, text, integer, boolean) IS 'the same as its first version spelled it; partitions are placed evenly in any case';
