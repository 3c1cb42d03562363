//! Names of prepared transactions.

use std::fmt;

use crate::NodeId;
use crate::digits::parse_digits;

/// `sc_<coordinator>_<its xid8>_<participant>`: tells every node who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid {
    /// The node whose transaction record decides.
    pub coordinator: NodeId,
    /// That node's full transaction id.
    pub xid: u64,
    /// Tells the participants of one transaction apart.
    pub participant: u32,
}

impl Gid {
    /// Reads a printed gid; `None` for one that is not ours.
    pub fn parse(text: &str) -> Option<Gid> {
        let mut fields = text.strip_prefix("sc_")?.split('_');
        let gid = Gid {
            coordinator: NodeId(parse_digits(fields.next()?)?),
            xid: parse_digits(fields.next()?)?,
            participant: parse_digits(fields.next()?)?,
        };
        fields.next().is_none().then_some(gid)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sc_{}_{}_{}", self.coordinator, self.xid, self.participant)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_others_are_not_ours() {
        for other in
            ["", "sc_", "sc_1_2", "sc_1_2_3_4", "sc_1_-2_3", "sc_+1_2_3", "x_1_2_3", "sc_a_2_3"]
        {
            assert_eq!(Gid::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(node: u32, xid: u64, participant: u32) {
            let gid = Gid { coordinator: NodeId(node), xid, participant };
            prop_assert_eq!(Gid::parse(&gid.to_string()), Some(gid));
        }
    }
}
