-- Transactions that write on several nodes: all or nothing, savepoints, errors.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
\set VERBOSITY sqlstate
CREATE TABLE tx_account (id int PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0)) :by_id;
INSERT INTO tx_account SELECT g, 100 FROM generate_series(1, 12) g;

-- committed together
\connect - - - :n2
BEGIN;
UPDATE tx_account SET balance = balance - 30 WHERE id = 1;
UPDATE tx_account SET balance = balance + 30 WHERE id = 8;
SELECT id, balance FROM tx_account WHERE id IN (1, 8) ORDER BY id;
COMMIT;
\connect - - - :n3
SELECT id, balance FROM tx_account WHERE id IN (1, 8) ORDER BY id;

-- rolled back together
BEGIN;
UPDATE tx_account SET balance = 0;
INSERT INTO tx_account SELECT g, g FROM generate_series(20, 40) g;
DELETE FROM tx_account WHERE id < 5;
SELECT count(*), sum(balance) FROM tx_account;
ROLLBACK;
SELECT count(*), sum(balance) FROM tx_account;

-- an error undoes what other nodes did
BEGIN;
UPDATE tx_account SET balance = balance + 1;
UPDATE tx_account SET balance = balance - 1000 WHERE id = 3;
SELECT count(*) FROM tx_account;
COMMIT;
SELECT count(*), sum(balance) FROM tx_account;
UPDATE tx_account SET balance = balance - (id - 1) * 20;
SELECT count(*), sum(balance) FROM tx_account;

-- savepoints
\connect - - - :n1
BEGIN;
INSERT INTO tx_account VALUES (50, 1);
SAVEPOINT a;
INSERT INTO tx_account SELECT g, 2 FROM generate_series(51, 60) g;
SAVEPOINT b;
DELETE FROM tx_account;
SELECT count(*) FROM tx_account;
ROLLBACK TO SAVEPOINT b;
SELECT count(*) FROM tx_account;
INSERT INTO tx_account VALUES (51, 3);
ROLLBACK TO SAVEPOINT b;
RELEASE SAVEPOINT b;
UPDATE tx_account SET balance = 7 WHERE id = 55;
ROLLBACK TO SAVEPOINT a;
INSERT INTO tx_account VALUES (61, 4);
RELEASE SAVEPOINT a;
COMMIT;
\connect - - - :n2
SELECT * FROM tx_account WHERE id >= 50 ORDER BY id;

-- a savepoint before anything remote, and one around an error at once
BEGIN;
SAVEPOINT first;
SELECT count(*) FROM tx_account;
SELECT 1 / 0;
ROLLBACK TO SAVEPOINT first;
SELECT count(*) FROM tx_account;
INSERT INTO tx_account VALUES (70, -1);
ROLLBACK TO SAVEPOINT first;
INSERT INTO tx_account VALUES (71, 71);
COMMIT;
SELECT balance FROM tx_account WHERE id = 71;

-- isolation levels and read only
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM tx_account;
UPDATE tx_account SET balance = balance WHERE id < 4;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT id FROM tx_account WHERE id = 1;
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM tx_account;
INSERT INTO tx_account VALUES (80, 1);
ROLLBACK;

-- cursors
\connect - - - :n3
BEGIN;
DECLARE c CURSOR FOR SELECT id, balance FROM tx_account ORDER BY id;
FETCH 2 FROM c;
MOVE 3 IN c;
FETCH 2 FROM c;
UPDATE tx_account SET balance = balance + 5 WHERE id = 12;
FETCH 1 FROM c;
CLOSE c;
COMMIT;
BEGIN;
DECLARE s SCROLL CURSOR FOR SELECT id FROM tx_account ORDER BY id DESC;
FETCH 2 FROM s;
FETCH BACKWARD 1 FROM s;
FETCH LAST FROM s;
FETCH FIRST FROM s;
ROLLBACK;
DECLARE h CURSOR WITH HOLD FOR SELECT count(*) FROM tx_account;
FETCH h;
CLOSE h;

-- chains
BEGIN;
INSERT INTO tx_account VALUES (90, 1);
COMMIT AND CHAIN;
INSERT INTO tx_account VALUES (91, 1), (92, 1);
ROLLBACK;
\connect - - - :n1
SELECT id FROM tx_account WHERE id >= 90;
DROP TABLE tx_account;
