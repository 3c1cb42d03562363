//! Whatever is proposed in whatever order: of two transactions that depend on
//! each other's rows and did not see each other, one is refused; nothing that
//! was accepted is lost before all have it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::metadata::{Metadata, MetadataCommand, NodeRecord, NodeState, TokenId};
use crate::txn::{Life, TransactionName};
use crate::{ClusterId, NodeId, SystemIdentifier, TableId};

const LOG: RowLogId = RowLogId(1);
const TABLE: TableId = TableId(5);

fn metadata(nodes: u32) -> Metadata {
    let mut metadata = Metadata::default();
    let record = |id| NodeRecord {
        id: NodeId(id),
        name: format!("node{id}"),
        connstr: format!("host=h{id}"),
        system_identifier: SystemIdentifier(u64::from(id)),
        state: NodeState::Active,
    };
    let cluster_id = ClusterId("c".into());
    metadata.apply(MetadataCommand::CreateCluster { cluster_id, first: record(1) });
    for id in 2..=nodes {
        let NodeRecord { name, connstr, system_identifier, .. } = record(id);
        metadata.apply(MetadataCommand::AddNode { name, connstr, system_identifier });
        metadata.apply(MetadataCommand::ActivateNode { node: NodeId(id) });
    }
    metadata
}

fn logs() -> RowLogs {
    let mut logs = RowLogs::default();
    let added = logs.apply(RowLogCommand::Add { name: "events".into() }, &Metadata::default());
    assert_eq!(added, Ok(Some(RowLogAnswer::Added { log: LOG })));
    logs
}

fn transaction(node: u32, xid: u64) -> TransactionName {
    TransactionName { coordinator: NodeId(node), life: Life(1), xid }
}

fn footprint(base: u64, keys: &[u64]) -> TableFootprint {
    let keys = vec![(RowLogPosition(base), keys.to_vec())];
    TableFootprint { keys, ..TableFootprint::new(TABLE, TokenId(0)) }
}

fn entry(xid: u64, kind: RowEntryKind, table: TableFootprint) -> RowEntry {
    let footprint = Footprint { tables: vec![table] };
    let part = RowPart { log: LOG, footprint, changes: Bytes(vec![7; 3]) };
    RowEntry { transaction: transaction(1, xid), kind, parts: vec![part] }
}

fn append(logs: &mut RowLogs, xid: u64, table: TableFootprint) -> Result<u64, RowLogRefusal> {
    append_as(logs, entry(xid, RowEntryKind::Complete, table))
}

fn append_as(logs: &mut RowLogs, entry: RowEntry) -> Result<u64, RowLogRefusal> {
    match logs.apply(RowLogCommand::Append(entry), &metadata(3))? {
        Some(RowLogAnswer::Accepted { positions }) => Ok(positions[0].1.0),
        other => panic!("{other:?}"),
    }
}

fn conflict(position: u64) -> RowLogRefusal {
    let position = RowLogPosition(position);
    RowLogRefusal::Conflict { log: "events".into(), table: TABLE, position }
}

#[test]
fn the_first_to_commit_wins() {
    let mut logs = logs();
    assert_eq!(append(&mut logs, 1, footprint(0, &[1, 2])), Ok(1));
    assert_eq!(append(&mut logs, 2, footprint(0, &[3])), Ok(2));
    assert_eq!(append(&mut logs, 3, footprint(0, &[2, 4])), Err(conflict(1)));
    // Who has seen it may go on from there.
    assert_eq!(append(&mut logs, 3, footprint(1, &[2, 4])), Ok(3));
}

#[test]
fn an_entry_that_is_told_again_is_the_same_entry() {
    let mut logs = logs();
    assert_eq!(append(&mut logs, 1, footprint(0, &[1])), Ok(1));
    let before = logs.clone();
    assert_eq!(append(&mut logs, 1, footprint(0, &[1])), Ok(1));
    assert_eq!(logs, before);
}

#[test]
fn who_empties_a_table_conflicts_with_whoever_writes_it() {
    let mut logs = logs();
    let empties = |base| TableFootprint {
        all_written: Some(RowLogPosition(base)),
        ..TableFootprint::new(TABLE, TokenId(0))
    };
    assert_eq!(append(&mut logs, 1, footprint(0, &[1])), Ok(1));
    assert_eq!(append(&mut logs, 2, empties(0)), Err(conflict(1)));
    assert_eq!(append(&mut logs, 2, empties(1)), Ok(2));
    assert_eq!(append(&mut logs, 3, footprint(1, &[9])), Err(conflict(2)));
    assert_eq!(append(&mut logs, 3, footprint(2, &[9])), Ok(3));
}

#[test]
fn who_depends_on_a_whole_table_is_refused_when_any_row_has_changed() {
    let mut logs = logs();
    let reads =
        |base| TableFootprint { all_read: Some(RowLogPosition(base)), ..footprint(base, &[100]) };
    assert_eq!(append(&mut logs, 1, footprint(0, &[1])), Ok(1));
    assert_eq!(append(&mut logs, 2, reads(0)), Err(conflict(1)));
    assert_eq!(append(&mut logs, 2, reads(1)), Ok(2));
}

#[test]
fn an_intent_stands_in_the_way_until_its_node_has_said_how_it_ended() {
    let mut logs = logs();
    let metadata = metadata(3);
    let intent = entry(1, RowEntryKind::Intent, footprint(0, &[1]));
    assert_eq!(append_as(&mut logs, intent), Ok(1));
    assert_eq!(logs.get(LOG).unwrap().entry(RowLogPosition(1)).unwrap().settled, Settled::Pending);
    assert_eq!(append(&mut logs, 2, footprint(0, &[1])), Err(conflict(1)));
    let settle = |by, is_committed| RowLogCommand::Settle {
        transaction: transaction(1, 1),
        by: NodeId(by),
        is_committed,
    };
    let foreign = logs.apply(settle(2, true), &metadata);
    assert_eq!(foreign, Err(RowLogRefusal::NotYours { node: NodeId(2) }));
    assert_eq!(logs.pending_of(NodeId(1)).count(), 1);
    assert_eq!(logs.apply(settle(1, false), &metadata), Ok(None));
    assert_eq!(logs.apply(settle(1, false), &metadata), Ok(None));
    let turned = logs.apply(settle(1, true), &metadata);
    assert_eq!(turned, Err(RowLogRefusal::SettledOtherwise));
    let aborted = logs.get(LOG).unwrap().entry(RowLogPosition(1)).unwrap();
    assert_eq!((aborted.settled, aborted.part.changes.0.len()), (Settled::Aborted, 0));
}

#[test]
fn entries_stay_until_every_member_has_them_and_no_pending_one_goes() {
    let mut logs = logs();
    let metadata = metadata(3);
    let some = |xid, kind| {
        let mut entry = entry(xid, kind, footprint(0, &[xid]));
        entry.parts[0].changes = Bytes(vec![0; 2 * 1024 * 1024]);
        entry
    };
    for xid in 1..=3 {
        append_as(&mut logs, some(xid, RowEntryKind::Complete)).unwrap();
    }
    append_as(&mut logs, some(4, RowEntryKind::Intent)).unwrap();
    let mut note = |node, position| {
        let positions = vec![(LOG, RowLogPosition(position))];
        logs.apply(RowLogCommand::NoteApplied { node: NodeId(node), positions }, &metadata)
            .unwrap();
        logs.get(LOG).unwrap().truncated().0
    };
    assert_eq!(note(1, 4), 0);
    assert_eq!(note(2, 2), 0);
    assert_eq!(note(3, 9), 2);
    assert_eq!(note(2, 4), 3);
}

#[test]
fn nothing_is_accepted_while_the_table_changes_and_then_only_of_its_new_shape() {
    use crate::metadata::{
        DdlCommand, DdlEntry, DdlPosition, Decided, EntryKind, Outcome, TokenHolder,
    };
    use std::sync::Arc;
    let mut decided = Decided { metadata: Arc::new(metadata(3)), row_logs: logs() };
    let holder = TokenHolder { node: NodeId(1), life: Life(1), request: 1 };
    decided.apply(MetadataCommand::Ddl(DdlCommand::TakeToken { holder }));
    let token = TokenId(1);
    let fence =
        |token| MetadataCommand::RowLog(RowLogCommand::Fence { log: LOG, table: TABLE, token });
    assert!(matches!(decided.apply(fence(TokenId(9))), Outcome::Refused(_)));
    let fenced = Outcome::RowLog(RowLogAnswer::Fenced { tail: RowLogPosition(0) });
    assert_eq!(decided.apply(fence(token)), fenced);
    let refused = Err(RowLogRefusal::SchemaChanged { table: TABLE });
    assert_eq!(append(&mut decided.row_logs, 1, footprint(0, &[1])), refused);
    // But for those of the transaction itself.
    let own = TableFootprint { shape: token, ..footprint(0, &[2]) };
    let complete = entry(8, RowEntryKind::Complete, own.clone());
    assert_eq!(append_as(&mut decided.row_logs, complete), refused);
    let intent = entry(8, RowEntryKind::Intent, own);
    assert_eq!(append_as(&mut decided.row_logs, intent), Ok(1));
    let change = DdlEntry::new(token, EntryKind::Complete, 0, Vec::new());
    decided.apply(MetadataCommand::Ddl(DdlCommand::Append(change)));
    // All nodes have it, and the log of the schema forgets it.
    for node in 1..=3 {
        let (node, position) = (NodeId(node), DdlPosition(1));
        decided.apply(MetadataCommand::Ddl(DdlCommand::NoteApplied { node, position }));
    }
    assert_eq!(append(&mut decided.row_logs, 1, footprint(0, &[1])), refused);
    let new = TableFootprint { shape: token, ..footprint(0, &[1]) };
    assert_eq!(append(&mut decided.row_logs, 1, new), Ok(2));
}

#[test]
fn a_change_of_the_schema_that_came_to_nothing_lets_rows_through_again() {
    use crate::metadata::{DdlCommand, Decided, TokenHolder};
    use std::sync::Arc;
    let mut decided = Decided { metadata: Arc::new(metadata(3)), row_logs: logs() };
    let holder = TokenHolder { node: NodeId(1), life: Life(1), request: 1 };
    decided.apply(MetadataCommand::Ddl(DdlCommand::TakeToken { holder }));
    let token = TokenId(1);
    let fence = RowLogCommand::Fence { log: LOG, table: TABLE, token };
    decided.apply(MetadataCommand::RowLog(fence));
    decided.apply(MetadataCommand::Ddl(DdlCommand::GiveUpToken { token }));
    assert_eq!(append(&mut decided.row_logs, 1, footprint(0, &[1])), Ok(1));
}

#[test]
fn the_log_does_not_grow_with_the_time_that_a_node_is_away() {
    let mut logs = logs();
    for xid in 1..=9 {
        let mut entry = entry(xid, RowEntryKind::Complete, footprint(0, &[xid]));
        entry.parts[0].changes = Bytes(vec![0; 3 * 1024 * 1024]);
        append_as(&mut logs, entry).unwrap();
    }
    let log = logs.get(LOG).unwrap();
    assert_eq!((log.truncated(), log.kept().0), (RowLogPosition(4), 5));
    let mut large = entry(10, RowEntryKind::Complete, footprint(0, &[10]));
    large.parts[0].changes = Bytes(vec![0; MAX_ENTRY_BYTES + 1]);
    assert_eq!(append_as(&mut logs, large), Err(RowLogRefusal::TooLarge));
}

#[test]
fn row_logs_read_back_from_a_snapshot() {
    let mut logs = logs();
    append(&mut logs, 1, footprint(0, &[u64::MAX, 2])).unwrap();
    let intent = entry(2, RowEntryKind::Intent, footprint(0, &[4]));
    append_as(&mut logs, intent).unwrap();
    let json = serde_json::to_string(&logs).unwrap();
    assert_eq!(serde_json::from_str::<RowLogs>(&json).unwrap(), logs);
}

proptest! {
    #[test]
    fn whoever_missed_a_write_of_his_rows_is_refused_and_nobody_else(
        proposals in prop::collection::vec((0u64..12, prop::collection::btree_set(0u64..6, 1..3)), 1..60)
    ) {
        let mut logs = logs();
        let mut last = BTreeMap::new();
        let mut tail = 0;
        for (xid, (behind, keys)) in proposals.into_iter().enumerate() {
            let base = tail - behind.min(tail);
            let keys: Vec<_> = keys.into_iter().collect();
            let missed = keys.iter().any(|key| last.get(key).copied().unwrap_or(0) > base);
            let before = logs.clone();
            match append(&mut logs, xid as u64, footprint(base, &keys)) {
                Ok(position) => {
                    prop_assert!(!missed);
                    prop_assert_eq!(position, tail + 1);
                    tail = position;
                    for key in keys {
                        last.insert(key, position);
                    }
                }
                Err(_) => {
                    prop_assert!(missed);
                    prop_assert_eq!(&logs, &before);
                }
            }
        }
    }
}
