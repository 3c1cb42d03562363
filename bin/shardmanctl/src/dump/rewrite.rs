//! From pg_dump's text of one node to statements for another place.

use std::collections::HashMap;

use super::plan::ShardedTable;

/// Where the dump is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One PostgreSQL server without the extension.
    Plain,
    /// A cluster: sharded tables are sharded again.
    Cluster,
}

/// Gives sharded tables the form that they are to have. The text is pg_dump's:
/// `CREATE TABLE name (`, lines of columns, `)`, `PARTITION BY …;`.
pub fn rewrite(dump: &str, tables: &[ShardedTable], target: Target) -> String {
    let known: HashMap<&str, &ShardedTable> =
        tables.iter().map(|table| (table.name.as_str(), table)).collect();
    let mut roots: HashMap<i64, &str> = HashMap::new();
    let mut current: Option<&ShardedTable> = None;
    let mut written = String::with_capacity(dump.len());
    for line in dump.lines() {
        if line.contains("EXTENSION") && line.contains(" shardman") {
            continue;
        }
        if let Some(name) = line.strip_prefix("CREATE TABLE ").and_then(|l| l.strip_suffix(" (")) {
            current = known.get(name).copied();
        }
        let line = match current {
            Some(table) if line.starts_with("PARTITION BY HASH ") && line.ends_with(';') => {
                current = None;
                let root = *roots.entry(table.group).or_insert(table.name.as_str());
                with_clause(table, root, target)
            }
            _ => everywhere(line, &known, target),
        };
        written += &line;
        written.push('\n');
    }
    written
}

fn with_clause(table: &ShardedTable, root: &str, target: Target) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut options = Vec::new();
    if target == Target::Cluster {
        options.push(format!("distributed_by = {}", quoted(&table.columns)));
        options.push(match root == table.name {
            true => format!("num_parts = {}", table.parts),
            false => format!("colocate_with = {}", quoted(root)),
        });
    }
    options.extend(table.storage.iter().cloned());
    match options.is_empty() {
        true => ";".to_owned(),
        false => format!("WITH ({});", options.join(", ")),
    }
}

/// pg_dump makes keys and indexes of a partitioned table alone and attaches
/// those of its partitions; here there is nothing to attach.
fn everywhere(line: &str, known: &HashMap<&str, &ShardedTable>, target: Target) -> String {
    if target == Target::Plain && !line.contains(" ON ONLY ") {
        return line.to_owned();
    }
    let is_sharded = |rest: &str| {
        known.keys().any(|name| {
            rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    if let Some(rest) = line.strip_prefix("ALTER TABLE ONLY ")
        && is_sharded(rest)
    {
        return format!("ALTER TABLE {rest}");
    }
    if let Some((create, rest)) = line.split_once(" ON ONLY ")
        && (create.starts_with("CREATE INDEX") || create.starts_with("CREATE UNIQUE INDEX"))
        && is_sharded(rest)
    {
        return format!("{create} ON {rest}");
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> ShardedTable {
        ShardedTable {
            name: name.into(),
            group: 1,
            columns: "id".into(),
            parts: 6,
            storage: vec!["fillfactor = '70'".into()],
            stored_columns: "id".into(),
        }
    }

    const DUMP: &str = "\
CREATE EXTENSION IF NOT EXISTS shardman WITH SCHEMA shardman;
CREATE TABLE public.a (
    id integer NOT NULL
)
PARTITION BY HASH (id);
CREATE TABLE public.b (
    id integer
)
PARTITION BY HASH (id);
CREATE TABLE public.users_own (
    id integer
)
PARTITION BY HASH (id);
ALTER TABLE ONLY public.a
    ADD CONSTRAINT a_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.users_own
CREATE INDEX i ON ONLY public.b USING btree (id);
";

    #[test]
    fn for_a_cluster_tables_are_sharded_again_and_stay_together() {
        let tables = [table("public.b"), table("public.a")];
        let written = rewrite(DUMP, &tables, Target::Cluster);
        assert_eq!(
            written,
            "\
CREATE TABLE public.a (
    id integer NOT NULL
)
WITH (distributed_by = 'id', num_parts = 6, fillfactor = '70');
CREATE TABLE public.b (
    id integer
)
WITH (distributed_by = 'id', colocate_with = 'public.a', fillfactor = '70');
CREATE TABLE public.users_own (
    id integer
)
PARTITION BY HASH (id);
ALTER TABLE public.a
    ADD CONSTRAINT a_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.users_own
CREATE INDEX i ON public.b USING btree (id);
"
        );
    }

    #[test]
    fn for_one_server_they_are_plain_tables() {
        let written = rewrite(DUMP, &[table("public.a")], Target::Plain);
        assert!(written.contains("NOT NULL\n)\nWITH (fillfactor = '70');\n"), "{written}");
        assert!(written.contains("CREATE TABLE public.b (\n    id integer\n)\nPARTITION BY HASH"));
        assert!(!written.contains("EXTENSION"));
    }
}
