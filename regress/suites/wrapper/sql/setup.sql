-- The wrapper alone: one server has the extension, the two others know nothing of it.
\getenv n2 N2
\getenv n3 N3
CREATE EXTENSION shardman;
CREATE SERVER s2 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port :'n2', dbname 'postgres');
CREATE SERVER s3 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port :'n3', dbname 'postgres');
CREATE USER MAPPING FOR postgres SERVER s2 OPTIONS (user 'postgres');
CREATE USER MAPPING FOR postgres SERVER s3 OPTIONS (user 'postgres');
