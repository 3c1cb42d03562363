//! Keys whose partition is known without a lookup.
//!
//! PostgreSQL hashes a bigint by the exclusive or of its two halves, so every
//! key `(h << 32) | (c # h)` is in the partition of `c`. One `c` a partition and
//! any `h` therefore give as many keys of a wanted partition as a script wants,
//! by arithmetic that pgbench can do, and the same keys on every system.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

use crate::client::Client;

/// Hash partitions of every sharded table.
pub const PARTITIONS: usize = 24;

/// The first `h` of inserted rows; loaded rows have smaller ones.
pub const FIRST_NEW_H: i64 = 1_000_000;

/// How many `h` each client of a run has to itself for the rows it inserts.
pub const NEW_H_PER_CLIENT: i64 = 200_000;

/// Which server holds which partition, and the keys in it.
pub struct Keys {
    /// The server, counted from 1, of each partition.
    placement: Vec<u16>,
    /// The `c` of each partition.
    constants: Vec<i64>,
    /// Loaded rows a partition: `h` is below this.
    rows: i64,
}

impl Keys {
    /// Finds a constant for each partition with the help of any server.
    pub fn find(client: &Client, placement: Vec<u16>, rows: i64) -> anyhow::Result<Self> {
        if placement.len() != PARTITIONS {
            bail!("{} partitions, not {PARTITIONS}", placement.len());
        }
        client.run("CREATE TABLE bench_probe (key bigint) PARTITION BY HASH (key)")?;
        let found = client.rows(&format!(
            "SELECT min(c) FROM generate_series(0, 2000) AS c, generate_series(0, {last}) AS p
             WHERE satisfies_hash_partition('bench_probe'::regclass, {PARTITIONS}, p, c::bigint)
             GROUP BY p ORDER BY p",
            last = PARTITIONS - 1
        ))?;
        client.run("DROP TABLE bench_probe")?;
        let constants: Vec<i64> = found
            .iter()
            .map(|text| text.parse().context("no constant"))
            .collect::<anyhow::Result<_>>()?;
        if constants.len() != PARTITIONS {
            bail!("constants for only {} partitions were found", constants.len());
        }
        Ok(Self { placement, constants, rows })
    }

    /// No keys at all, for a list of the workloads.
    pub fn none() -> Self {
        Self { placement: Vec::new(), constants: Vec::new(), rows: 0 }
    }

    /// Round robin, for when there is no cluster to copy the placement from.
    pub fn round_robin(servers: u16) -> Vec<u16> {
        (1..=servers).cycle().take(PARTITIONS).collect()
    }

    /// The server of each partition.
    pub fn placement(&self) -> &[u16] {
        &self.placement
    }

    /// How many partitions each server holds.
    pub fn counts(&self) -> BTreeMap<u16, usize> {
        let mut counts = BTreeMap::new();
        for server in &self.placement {
            *counts.entry(*server).or_default() += 1;
        }
        counts
    }

    /// Loaded rows in all.
    pub fn total_rows(&self) -> i64 {
        self.rows * PARTITIONS as i64
    }

    /// SQL for the key of row number `i` (a bigint column or expression), from 0.
    pub fn sql_of_row(&self, i: &str) -> String {
        let constants: Vec<String> = self.constants.iter().map(i64::to_string).collect();
        format!(
            "(({i} / {PARTITIONS}) << 32) \
             | (('{{{}}}'::bigint[])[1 + {i} % {PARTITIONS}] # ({i} / {PARTITIONS}))",
            constants.join(",")
        )
    }

    /// The key with this `h` in a partition of `server`.
    pub fn key(&self, server: u16, h: i64) -> anyhow::Result<i64> {
        let constants = self.of(server);
        let c = constants.first().with_context(|| format!("server {server} has no partition"))?;
        Ok((h << 32) | (c ^ h))
    }

    /// Lines of a pgbench script that set `variable` to a random constant of
    /// one of the partitions on `servers`.
    pub fn script_constant(&self, variable: &str, servers: &[u16]) -> String {
        let constants: Vec<i64> = servers.iter().flat_map(|server| self.of(*server)).collect();
        let mut text = format!("\\set i random(0, {})\n", constants.len().max(1) - 1);
        let mut case = String::from("case");
        for (i, c) in constants.iter().enumerate() {
            case.push_str(&format!(" when :i = {i} then {c}"));
        }
        text.push_str(&format!("\\set {variable} {case} else 0 end\n"));
        text
    }

    /// A line of a pgbench script that sets `variable` to a random loaded key
    /// in the partition of the constant in `constant`.
    pub fn script_key(&self, variable: &str, constant: &str) -> String {
        format!(
            "\\set h random(0, {})\n\\set {variable} (:h << 32) | (:{constant} # :h)\n",
            self.rows - 1
        )
    }

    /// Lines of a pgbench script that set `variable` to a key never used
    /// before; `n` and `first` are variables of the run.
    pub fn script_new_key(variable: &str, constant: &str) -> String {
        format!(
            "\\set n :n + 1\n\\set h :first + :client_id * {NEW_H_PER_CLIENT} + :n\n\
             \\set {variable} (:h << 32) | (:{constant} # :h)\n"
        )
    }

    fn of(&self, server: u16) -> Vec<i64> {
        let pairs = self.placement.iter().zip(&self.constants);
        pairs.filter(|(owner, _)| **owner == server).map(|(_, c)| *c).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_a_key_give_its_constant() {
        let keys = Keys { placement: vec![1, 2], constants: vec![17, 5], rows: 10 };
        for h in [0, 1, 9, i64::from(i32::MAX)] {
            let key = keys.key(2, h).unwrap();
            assert!(key >= 0);
            assert_eq!((key >> 32) ^ (key & 0xffff_ffff), 5);
        }
        assert!(keys.key(3, 0).is_err());
    }
}
