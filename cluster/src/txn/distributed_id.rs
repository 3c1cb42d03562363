//! Names of running transactions that may use several nodes.

use std::fmt;

use crate::NodeId;
use crate::digits::parse_digits;

/// A running transaction, named by the backend of the user who runs it:
/// `<node>.<process id>.<local transaction id>`. Every session that works for
/// it on other nodes is told this name, so that locks held and waited for in
/// several places are known to be one transaction's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DistributedId {
    /// The coordinator's node.
    pub node: NodeId,
    /// Process id of the coordinator's backend.
    pub pid: i32,
    /// That backend's local transaction id (PGPROC.lxid): new for each of its
    /// transactions, 0 outside of one.
    pub transaction: u32,
}

impl DistributedId {
    /// Reads a printed name; `None` for anything else.
    pub fn parse(text: &str) -> Option<DistributedId> {
        let mut fields = text.split('.');
        let id = DistributedId {
            node: NodeId(parse_digits(fields.next()?)?),
            pid: parse_digits(fields.next()?)?,
            transaction: parse_digits(fields.next()?)?,
        };
        fields.next().is_none().then_some(id)
    }
}

impl fmt::Display for DistributedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.pid, self.transaction)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_texts_are_no_names() {
        for other in ["", "1", "1.2", "1.2.3.4", "1.-2.3", "1.2.x", "a.2.3", "1.2.3 "] {
            assert_eq!(DistributedId::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(node: u32, pid in 0i32.., transaction: u32) {
            let id = DistributedId { node: NodeId(node), pid, transaction };
            prop_assert_eq!(DistributedId::parse(&id.to_string()), Some(id));
        }
    }
}
