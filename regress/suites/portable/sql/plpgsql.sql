-- PL/pgSQL: loops, exception blocks, SQL from strings, cursors, procedures
-- with transaction control.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE pl_t (id int PRIMARY KEY, v int) :by_id;
\connect - - - :n2
CREATE FUNCTION pl_insert(lo int, hi int) RETURNS TABLE (added int, refused int) LANGUAGE plpgsql AS $$
DECLARE
  i int;
BEGIN
  added := 0;
  refused := 0;
  FOR i IN lo..hi LOOP
    BEGIN
      INSERT INTO pl_t VALUES (i, i * i);
      added := added + 1;
    EXCEPTION WHEN unique_violation THEN
      refused := refused + 1;
    END;
  END LOOP;
  RETURN NEXT;
END $$;
SELECT * FROM pl_insert(1, 10);
SELECT * FROM pl_insert(6, 15);
SELECT count(*), sum(v) FROM pl_t;

-- the same statement with many values: plans are cached in the function
CREATE FUNCTION pl_get(which int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  found_value int;
BEGIN
  SELECT v INTO STRICT found_value FROM pl_t WHERE id = which;
  RETURN found_value;
EXCEPTION
  WHEN no_data_found THEN RETURN -1;
END $$;
SELECT g, pl_get(g) FROM generate_series(1, 17, 2) g ORDER BY g;

CREATE FUNCTION pl_total() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  r record;
  total bigint := 0;
BEGIN
  FOR r IN SELECT * FROM pl_t ORDER BY id LOOP
    total := total + r.v;
    UPDATE pl_t SET v = v + 1 WHERE id = r.id AND r.id % 5 = 0;
  END LOOP;
  RETURN total;
END $$;
SELECT pl_total();
SELECT pl_total();

CREATE FUNCTION pl_dynamic(tab regclass, which int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  n int;
BEGIN
  EXECUTE format('UPDATE %s SET v = -v WHERE id = $1', tab) USING which;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;
SELECT pl_dynamic('pl_t', 3), pl_dynamic('pl_t', 333);

-- what an exception block undoes, and what it can tell
DO $$
DECLARE
  state text;
BEGIN
  UPDATE pl_t SET v = 0 WHERE id = 1;
  BEGIN
    UPDATE pl_t SET v = 1000;
    INSERT INTO pl_t VALUES (2, 2);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
    RAISE NOTICE 'caught %', state;
  END;
  BEGIN
    PERFORM 1 / (v - v) FROM pl_t;
  EXCEPTION WHEN division_by_zero THEN
    RAISE NOTICE 'caught division_by_zero';
  END;
END $$;
\connect - - - :n3
SELECT * FROM pl_t ORDER BY id;

CREATE PROCEDURE pl_batches() LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 100..105 LOOP
    INSERT INTO pl_t VALUES (i, i);
    IF i % 2 = 0 THEN
      COMMIT;
    ELSE
      ROLLBACK;
    END IF;
  END LOOP;
END $$;
CALL pl_batches();
\connect - - - :n1
SELECT id FROM pl_t WHERE id >= 100 ORDER BY id;
CREATE FUNCTION pl_sql(int) RETURNS SETOF pl_t LANGUAGE sql AS 'SELECT * FROM pl_t WHERE id > $1 ORDER BY id';
SELECT * FROM pl_sql(14);
SELECT f.id FROM pl_t t, LATERAL pl_sql(t.id) f WHERE t.id = 102;
DROP FUNCTION pl_sql(int);
\connect - - - :n2
DROP FUNCTION pl_insert(int, int);
DROP FUNCTION pl_get(int);
DROP FUNCTION pl_total();
DROP FUNCTION pl_dynamic(regclass, int);
\connect - - - :n3
DROP PROCEDURE pl_batches();
DROP TABLE pl_t;
