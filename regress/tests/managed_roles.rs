//! Roles in the role `global` are the same on every node.

use anyhow::ensure;
use regress::{Session, TestCluster};

/// All that PostgreSQL keeps about managed roles.
const ROLES: &str = "SELECT r.rolname, a.rolpassword, a.rolcanlogin, a.rolsuper, a.rolcreatedb, a.rolconnlimit, a.rolvaliduntil,
            ARRAY(SELECT g.rolname || m.admin_option FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                  WHERE m.member = a.oid ORDER BY 1),
            ARRAY(SELECT s.setconfig FROM pg_db_role_setting AS s WHERE s.setrole = a.oid),
            shobj_description(a.oid, 'pg_authid')
     FROM shardman.users AS r JOIN pg_authid AS a ON a.oid = r.role ORDER BY 1";

fn roles(node: &Session) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    node.run("RESET ROLE")?;
    node.rows(ROLES)
}

fn agree(nodes: &[Session]) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    let first = roles(&nodes[0])?;
    for node in &nodes[1..] {
        let other = roles(node)?;
        ensure!(first == other, "{first:?}\n{other:?}");
    }
    Ok(first)
}

#[test]
fn a_managed_role_is_the_same_on_every_node() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let mut nodes = vec![cluster.session(1)?, cluster.session(2)?];
    nodes[1].run("ALTER SYSTEM SET log_statement = 'all'; ")?;
    nodes[1].run("SELECT pg_reload_conf()")?;
    let statements = [
        "CREATE ROLE app LOGIN PASSWORD 'geheim' CONNECTION LIMIT 7 IN ROLE global",
        "CREATE USER dba CREATEDB CREATEROLE IN ROLE global",
        "ALTER ROLE app VALID UNTIL '2041-02-03 04:05:06+00' PASSWORD 'geheim'",
        "ALTER ROLE app SET search_path = \"a b\", public",
        "ALTER ROLE app SET application_name = 'it''s'",
        "ALTER ROLE app RESET ALL",
        "ALTER ROLE app SET search_path = \"a b\", public",
        "GRANT app TO dba WITH ADMIN OPTION",
        "GRANT pg_monitor TO app",
        "COMMENT ON ROLE app IS 'the application'",
        "ALTER ROLE app RENAME TO application",
        "CREATE ROLE short_lived IN ROLE global",
        "REVOKE pg_monitor FROM application",
        "DROP ROLE short_lived",
    ];
    for (number, sql) in statements.iter().enumerate() {
        let before = agree(&nodes)?;
        // The second logs what it gets, so it takes no clear text from a client.
        let at = if sql.contains("geheim") { 0 } else { number % 2 };
        nodes[at].run(sql)?;
        let after = agree(&nodes).map_err(|error| error.context(format!("after {sql}")))?;
        ensure!(before != after, "nothing was changed by {sql}");
    }
    let log = std::fs::read_to_string(cluster.dir().join("node2.log"))?;
    ensure!(log.contains("CREATE ROLE app"), "the log has what came from the other node");
    ensure!(!log.contains("geheim"), "a password travelled");

    // In a user's transaction, by a user who is managed too.
    let before = agree(&nodes)?;
    nodes[0].run("BEGIN; SET LOCAL ROLE dba; CREATE ROLE gone IN ROLE global; ROLLBACK")?;
    ensure!(before == agree(&nodes)?, "a rollback left something");
    nodes[0].run("BEGIN; SET LOCAL ROLE dba; CREATE ROLE kept IN ROLE global; COMMIT")?;
    ensure!(before.len() + 1 == agree(&nodes)?.len(), "a commit did not");

    // Others are a node's own, until they are told to be managed.
    nodes[0].run("CREATE ROLE here; GRANT application TO here")?;
    ensure!(nodes[1].integer("SELECT count(*) FROM pg_roles WHERE rolname = 'here'")? == 0);
    let error = nodes[0].failure("GRANT global TO here")?;
    ensure!(error.code().code() == "42704", "{error:?}");
    nodes[1].run("CREATE ROLE here")?;
    nodes[0].run("REVOKE application FROM here; GRANT global TO here")?;
    ensure!(agree(&nodes)?.len() == before.len() + 2);

    cluster.dev(&["add"])?;
    nodes.push(cluster.session(3)?);
    agree(&nodes)?;
    nodes[2].run("DROP ROLE kept")?;
    ensure!(agree(&nodes)?.len() == before.len() + 1);
    Ok(())
}
