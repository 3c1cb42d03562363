//! The identity on disk: `identity.json`, mode 0600. Its presence is what makes
//! a data directory a member: it is written last when joining and removed first
//! when leaving, so that a log without it is nobody's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cluster::Identity;

const NAME: &str = "identity.json";
const TEMPORARY_NAME: &str = "identity.json.tmp";

/// The identity in `dir`, or none. An unreadable file is an error of kind
/// `InvalidData`, whose message does not show the content.
pub(crate) fn read(dir: &Path) -> io::Result<Option<Identity>> {
    let text = match fs::read(dir.join(NAME)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| {
        let place = format!("{NAME} is damaged at line {}, column {}", e.line(), e.column());
        io::Error::new(io::ErrorKind::InvalidData, place)
    })
}

/// Puts `identity` in place; on return it survives a crash of the machine.
pub(crate) fn write(dir: &Path, identity: &Identity) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY_NAME);
    // One that a crash left may have another mode.
    remove_if_present(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(identity)?)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(NAME))?;
    File::open(dir)?.sync_all()
}

/// Takes the identity away; on return it stays away after a crash.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    remove_if_present(&dir.join(NAME))?;
    File::open(dir)?.sync_all()
}

pub(crate) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use cluster::{ClusterId, Credential, NodeId, SystemIdentifier};

    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster_id: ClusterId("c".into()),
            node_id: NodeId(3),
            system_identifier: SystemIdentifier(7),
            credential: Credential("secret".into()),
        }
    }

    #[test]
    fn what_was_written_is_read_and_private() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert_eq!(read(dir.path()).expect("readable"), None);
        write(dir.path(), &identity()).expect("writable");
        assert_eq!(read(dir.path()).expect("readable"), Some(identity()));
        let mode = fs::metadata(dir.path().join(NAME)).expect("present").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        remove(dir.path()).expect("removable");
        assert_eq!(read(dir.path()).expect("readable"), None);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_does_not_show_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join(NAME), b"{\"credential\": \"secret\"").expect("writable");
        let error = read(dir.path()).expect_err("damaged");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(!error.to_string().contains("secret"));
    }
}
