//! What a server says of itself before it joins, and what a member says to it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ClusterId, SystemIdentifier};

/// A server that may join. Everything that decides how values hash, sort and
/// travel is in it: nodes must agree on it for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDescription {
    /// `server_version_num`, 150020 for 15.20.
    pub server_version_num: i32,
    /// Of the extension.
    pub extension_version: String,
    /// Of the data directory.
    pub system_identifier: SystemIdentifier,
    /// The database that the cluster lives in.
    pub database: String,
    /// Its encoding.
    pub encoding: String,
    /// Its locale provider, `c` or `i`.
    pub locale_provider: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The version of the collation library's rules, where it has one.
    pub collation_version: Option<String>,
    /// Commits over several nodes need prepared transactions.
    pub max_prepared_transactions: i32,
    /// The cluster it already belongs to.
    pub member_of: Option<ClusterId>,
}

/// Why a server cannot be admitted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// Something that must be equal is not.
    #[error("{what} is \"{theirs}\" there and \"{ours}\" here")]
    Differs {
        /// Named for a user.
        what: &'static str,
        /// The member's.
        ours: String,
        /// The newcomer's.
        theirs: String,
    },
    /// It would not be able to prepare.
    #[error("max_prepared_transactions is 0 there")]
    CannotPrepare,
    /// It is a member of another cluster.
    #[error("it is a member of cluster {0}")]
    OtherCluster(ClusterId),
}

impl ServerDescription {
    /// Whether `newcomer` may join the cluster of this member; the first
    /// reason why not.
    pub fn admits(&self, newcomer: &ServerDescription) -> Result<(), Mismatch> {
        let version = |description: &ServerDescription| description.collation_version.clone();
        let major = |description: &ServerDescription| description.server_version_num / 10000;
        self.same("PostgreSQL major version", newcomer, |d| major(d).to_string())?;
        self.same("version of extension shardman", newcomer, |d| d.extension_version.clone())?;
        self.same("setting shardman.database", newcomer, |d| d.database.clone())?;
        self.same("database encoding", newcomer, |d| d.encoding.clone())?;
        self.same("locale provider", newcomer, |d| d.locale_provider.clone())?;
        self.same("LC_COLLATE", newcomer, |d| d.collate.clone())?;
        self.same("LC_CTYPE", newcomer, |d| d.ctype.clone())?;
        self.same("collation version", newcomer, |d| version(d).unwrap_or_default())?;
        if newcomer.max_prepared_transactions == 0 {
            return Err(Mismatch::CannotPrepare);
        }
        match &newcomer.member_of {
            Some(other) if newcomer.member_of != self.member_of => {
                Err(Mismatch::OtherCluster(other.clone()))
            }
            _ => Ok(()),
        }
    }

    fn same(
        &self,
        what: &'static str,
        newcomer: &ServerDescription,
        value: impl Fn(&ServerDescription) -> String,
    ) -> Result<(), Mismatch> {
        let (ours, theirs) = (value(self), value(newcomer));
        if ours == theirs { Ok(()) } else { Err(Mismatch::Differs { what, ours, theirs }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerDescription {
        ServerDescription {
            server_version_num: 150_020,
            extension_version: "0.1.0".into(),
            system_identifier: SystemIdentifier(1),
            database: "postgres".into(),
            encoding: "UTF8".into(),
            locale_provider: "c".into(),
            collate: "C.UTF-8".into(),
            ctype: "C.UTF-8".into(),
            collation_version: None,
            max_prepared_transactions: 10,
            member_of: None,
        }
    }

    fn refusal(newcomer: ServerDescription) -> String {
        server().admits(&newcomer).expect_err("must differ").to_string()
    }

    #[test]
    fn an_equal_server_of_another_minor_version_is_admitted() {
        let newcomer = ServerDescription {
            server_version_num: 150_018,
            system_identifier: SystemIdentifier(2),
            ..server()
        };
        assert_eq!(server().admits(&newcomer), Ok(()));
    }

    #[test]
    fn what_must_be_equal_is_named_with_both_values() {
        let newcomer = ServerDescription { server_version_num: 160_004, ..server() };
        assert_eq!(refusal(newcomer), "PostgreSQL major version is \"16\" there and \"15\" here");
        let newcomer = ServerDescription { extension_version: "0.2.0".into(), ..server() };
        assert!(refusal(newcomer).contains("extension"));
        let newcomer = ServerDescription { encoding: "LATIN1".into(), ..server() };
        assert!(refusal(newcomer).contains("encoding"));
        let newcomer = ServerDescription { ctype: "C".into(), ..server() };
        assert!(refusal(newcomer).contains("LC_CTYPE"));
        let newcomer = ServerDescription { collation_version: Some("153".into()), ..server() };
        assert!(refusal(newcomer).contains("collation version"));
    }

    #[test]
    fn a_server_that_cannot_prepare_or_belongs_elsewhere_is_refused() {
        let newcomer = ServerDescription { max_prepared_transactions: 0, ..server() };
        assert_eq!(server().admits(&newcomer), Err(Mismatch::CannotPrepare));
        let other = ClusterId("other".into());
        let newcomer = ServerDescription { member_of: Some(other.clone()), ..server() };
        assert_eq!(server().admits(&newcomer), Err(Mismatch::OtherCluster(other)));
    }
}
