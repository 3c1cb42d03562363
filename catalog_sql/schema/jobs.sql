-- Jobs. They live in the metadata log: every node shows the same.
CREATE FUNCTION shardman.jobs_json() RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'jobs_json_wrapper';
COMMENT ON FUNCTION shardman.jobs_json() IS 'internal: all jobs, as this node has applied the metadata log';

CREATE FUNCTION shardman.wait_cmd(id bigint) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'wait_cmd_wrapper';
COMMENT ON FUNCTION shardman.wait_cmd(bigint) IS 'waits until a job is over and returns its status: success, done, failed or canceled; canceling the wait leaves the job alone';

CREATE FUNCTION shardman.cancel_cmd(id bigint) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cancel_cmd_wrapper';
COMMENT ON FUNCTION shardman.cancel_cmd(bigint) IS 'has a job stop and take back what it has made; for its owner and superusers';

CREATE FUNCTION shardman.resume_cmd(id bigint) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resume_cmd_wrapper';
COMMENT ON FUNCTION shardman.resume_cmd(bigint) IS 'has a job that failed, was canceled or left something out tried again; for its owner and superusers';

CREATE FUNCTION shardman.rm_node(id integer, force boolean DEFAULT false) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rm_node_wrapper';
COMMENT ON FUNCTION shardman.rm_node(integer, boolean) IS 'takes a node out of the cluster, as a job whose id it returns; one that holds partitions only by force, and then they are lost';

CREATE FUNCTION shardman.leave_cluster() RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'leave_cluster_wrapper';
COMMENT ON FUNCTION shardman.leave_cluster() IS 'on a server that was removed from its cluster: forgets the cluster; DROP EXTENSION and CREATE EXTENSION make it ready to join again';

REVOKE ALL ON FUNCTION shardman.rm_node(integer, boolean), shardman.leave_cluster() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardman.leave_cluster() TO shardman_node;

CREATE VIEW shardman.cmd_log AS
    SELECT j.id, j.cmd_type, j.cmd_opts, j.status, j.message, j.owner, j.driver, j.attempt, j.state, j.progress,
           pg_catalog.to_timestamp(j.submitted_at / 1e6) AS submitted,
           pg_catalog.to_timestamp(j.started_at / 1e6) AS started,
           pg_catalog.to_timestamp(j.ended_at / 1e6) AS ended
    FROM pg_catalog.jsonb_to_recordset(shardman.jobs_json()::pg_catalog.jsonb) AS j(
        id bigint, cmd_type text, cmd_opts text[], status text, message text, owner text, driver integer,
        attempt bigint, state text, progress jsonb, submitted_at bigint, started_at bigint, ended_at bigint);
COMMENT ON VIEW shardman.cmd_log IS 'jobs of the cluster: what they do, how they stand (waiting, in progress, success, done, failed, canceled), who drives them; progress has what each node does';

CREATE VIEW shardman.cmd_opts AS
    SELECT j.id * 100 + o.position AS id, j.id AS cmd_id, o.opt
    FROM shardman.cmd_log AS j CROSS JOIN LATERAL pg_catalog.unnest(j.cmd_opts) WITH ORDINALITY AS o(opt, position);
COMMENT ON VIEW shardman.cmd_opts IS 'the options of jobs, in order';

GRANT SELECT ON shardman.cmd_log, shardman.cmd_opts TO PUBLIC;
