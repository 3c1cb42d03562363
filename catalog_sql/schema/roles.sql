-- The role that node sessions log in with. It owns nothing, is a member of
-- nothing and may do nothing: a node session acts as the user whose statement
-- it carries. Its password is the cluster's credential, set when the node
-- founds or joins a cluster.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'shardman_node') THEN
        CREATE ROLE shardman_node NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT LOGIN;
    END IF;
END
$$;
COMMENT ON ROLE shardman_node IS 'shardman: node sessions log in as this role';

-- Membership marks a role as managed: CREATE ROLE … IN ROLE global.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'global') THEN
        CREATE ROLE global NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOLOGIN;
    END IF;
END
$$;
COMMENT ON ROLE global IS 'shardman: members of this role are managed, the same on every node';
