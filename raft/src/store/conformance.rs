//! openraft's own suite for stores, on ours.

use cluster::{ClusterId, Credential, Identity, NodeId, SystemIdentifier};
use openraft::StorageIOError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::{LogStore, Owner, StateMachine, StoreError, StoreFile};
use crate::type_config::{StorageError, TypeConfig};

fn owner(node: u32) -> Owner {
    Owner::of(&Identity {
        cluster_id: ClusterId("c".into()),
        node_id: NodeId(node),
        system_identifier: SystemIdentifier(1),
        credential: Credential(String::new()),
    })
}

struct TemporaryStore;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for TemporaryStore {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().map_err(|e| StorageIOError::write(&e))?;
        let opened = StoreFile::open(dir.path(), &owner(1)).and_then(|file| {
            let machine = StateMachine::open(file.clone())?;
            Ok((LogStore::without_snapshots(file), machine))
        });
        let (log, machine) = opened.map_err(|e| StorageIOError::write(&e))?;
        Ok((dir, log, machine))
    }
}

#[test]
fn the_store_passes_openrafts_suite() {
    Suite::test_all(TemporaryStore).expect("the suite");
}

#[test]
fn a_file_of_another_node_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    drop(StoreFile::open(dir.path(), &owner(1)).expect("created"));
    drop(StoreFile::open(dir.path(), &owner(1)).expect("its own"));
    let other = StoreFile::open(dir.path(), &owner(2));
    assert!(matches!(other.err(), Some(StoreError::WrongOwner(_))));
}
