CREATE SCHEMA shardman_data;
