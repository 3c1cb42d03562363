-- Three servers: n1 coordinates, n2 and n3 hold rows. Run on n1.
CREATE EXTENSION shardman;
CREATE SERVER s2 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port :'n2port', dbname 'postgres');
CREATE SERVER s3 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port :'n3port', dbname 'postgres');
CREATE USER MAPPING FOR postgres SERVER s2 OPTIONS (user 'postgres');
CREATE USER MAPPING FOR postgres SERVER s3 OPTIONS (user 'postgres');
