//! For the time being: a move as a process of its own.
#![allow(unsafe_code)]

use cluster::rebalance::Relocation;
use cluster::{NodeId, PartitionNumber, TableId};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::prelude::*;

use super::driver::{Driver, is_passing};
use super::source::sleep;
use crate::catalog::registry;
use crate::report::{OrRaise, Report};
use crate::worker::process;

#[pg_extern(sql = false)]
fn move_part(part: &str, destination: i32) -> i64 {
    start(part, destination).or_raise()
}

fn start(part: &str, destination: i32) -> Result<i64, Report> {
    let leaf = cluster::sharding::LeafName::parse(part).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("partition \"{part}\" does not exist"),
        )
    })?;
    let registry = registry()?;
    let table = registry.table(leaf.table).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("partition \"{part}\" does not exist"),
        )
    })?;
    let source =
        registry.placement(table.group_id).unwrap_or_default()[usize::from(leaf.partition.0)];
    let extra = format!("{} {} {} {}", table.group_id, leaf.partition, source, destination);
    BackgroundWorkerBuilder::new("shardman move")
        .set_library("shardman")
        .set_function("shardman_move_main")
        .set_extra(&extra)
        .enable_spi_access()
        .load_dynamic()
        .map_err(|_| Report::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES, "no worker"))?;
    Ok(1)
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_move_main(_argument: pg_sys::Datum) {
    process::begin();
    let extra = BackgroundWorker::get_extra().to_owned();
    let n: Vec<u64> = extra.split(' ').filter_map(|x| x.parse().ok()).collect();
    let relocation = Relocation {
        job: 1,
        group: TableId(n[0]),
        partition: PartitionNumber(n[1] as u16),
        source: NodeId(n[2] as u32),
        destination: NodeId(n[3] as u32),
    };
    for _ in 0..1000 {
        let done = Driver::begin(relocation).and_then(|mut driver| {
            driver.run(&mut |phase| {
                log!("move: {phase}");
                Ok(())
            })
        });
        match done {
            Ok(()) => {
                log!("move: done");
                return;
            }
            Err(report) => {
                log!("move: failed: {} {:?}", report.message, report.detail);
                if !is_passing(&report) {
                    return;
                }
                sleep(1000);
            }
        }
    }
}
