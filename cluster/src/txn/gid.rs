//! Names of distributed transactions and of their prepared parts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::digits::parse_digits;
use crate::metadata::TokenId;

/// What PostgreSQL takes, without the final zero.
const LONGEST_GID: usize = 199;

/// One life of a node: from one start of its shared memory to the next. Drawn
/// then, in microseconds of its clock, and larger than the one before. A server
/// that crashes may give a transaction id again that never reached its disk;
/// with the life it names one transaction for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Life(pub u64);

/// A distributed transaction, for ever: node ids are not given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransactionName {
    /// The node whose transaction record decides.
    pub coordinator: NodeId,
    /// That node's life at the time.
    pub life: Life,
    /// Its full transaction id.
    pub xid: u64,
}

/// `sc_<coordinator>_<life>_<xid8>_<n>_<participant>.<participant>…`: tells
/// every node who decides, and whom else to ask. If the metadata log decides,
/// because the transaction changes the schema, `sd_<token>_<coordinator>_…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid {
    /// Whose part this is.
    pub transaction: TransactionName,
    /// Tells the parts of one transaction apart.
    pub number: u32,
    /// The nodes that prepare a part; empty if there is no room for them.
    pub participants: Vec<NodeId>,
    /// The token that it changes the schema under.
    pub token: Option<TokenId>,
}

impl Gid {
    /// Names a part.
    pub fn new(transaction: TransactionName, number: u32, participants: &[NodeId]) -> Gid {
        let mut participants = participants.to_vec();
        participants.sort_unstable();
        participants.dedup();
        let gid = Gid { transaction, number, participants, token: None };
        if gid.to_string().len() <= LONGEST_GID {
            gid
        } else {
            Gid { participants: Vec::new(), ..gid }
        }
    }

    /// The same for a transaction that changes the schema.
    pub fn under(self, token: TokenId) -> Gid {
        let gid = Gid { token: Some(token), ..self };
        if gid.to_string().len() <= LONGEST_GID {
            gid
        } else {
            Gid { participants: Vec::new(), ..gid }
        }
    }

    /// What the gids of a transaction that changes the schema begin with.
    pub fn prefix_under(token: TokenId) -> String {
        format!("sd_{token}_")
    }

    /// Reads a printed gid; `None` for one that is not ours.
    pub fn parse(text: &str) -> Option<Gid> {
        let (token, fields) = match text.strip_prefix("sd_") {
            None => (None, text.strip_prefix("sc_")?),
            Some(tail) => {
                let (token, fields) = tail.split_once('_')?;
                (Some(TokenId(parse_digits(token)?)), fields)
            }
        };
        let mut fields = fields.split('_');
        let transaction = TransactionName {
            coordinator: NodeId(parse_digits(fields.next()?)?),
            life: Life(parse_digits(fields.next()?)?),
            xid: parse_digits(fields.next()?)?,
        };
        let number = parse_digits(fields.next()?)?;
        let nodes = fields.next()?;
        let ids = nodes.split('.').filter(|_| !nodes.is_empty());
        let participants =
            ids.map(|id| parse_digits(id).map(NodeId)).collect::<Option<Vec<_>>>()?;
        fields.next().is_none().then_some(Gid { transaction, number, participants, token })
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransactionName { coordinator, life, xid } = self.transaction;
        match self.token {
            None => f.write_str("sc_")?,
            Some(token) => f.write_str(&Gid::prefix_under(token))?,
        }
        write!(f, "{coordinator}_{}_{xid}_{}_", life.0, self.number)?;
        for (position, node) in self.participants.iter().enumerate() {
            write!(f, "{}{node}", if position == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_others_are_not_ours() {
        for other in [
            "",
            "sc_",
            "sc_1_2",
            "sc_1_2_3_4",
            "sc_1_2_3_4_5_6",
            "sc_1_-2_3_4_5",
            "sc_+1_2_3_4_5",
            "x_1_2_3_4_5",
            "sc_a_2_3_4_5",
            "sc_1_2_3_4_5.",
            "sc_1_2_3_4_x",
            "sd_1_2_3_4_",
            "sd_x_1_2_3_4_",
        ] {
            assert_eq!(Gid::parse(other), None, "{other}");
        }
    }

    #[test]
    fn participants_without_room_are_left_out() {
        let transaction =
            TransactionName { coordinator: NodeId(1), life: Life(u64::MAX), xid: u64::MAX };
        let many: Vec<_> = (1000..1100).map(NodeId).collect();
        let gid = Gid::new(transaction, 7, &many);
        assert_eq!(gid.participants, []);
        assert_eq!(Gid::parse(&gid.to_string()), Some(gid));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            node: u32, life: u64, xid: u64, number: u32, others in prop::collection::vec(0u32.., 0..40),
        ) {
            let transaction = TransactionName { coordinator: NodeId(node), life: Life(life), xid };
            let others: Vec<_> = others.into_iter().map(NodeId).collect();
            let gid = Gid::new(transaction, number, &others);
            let text = gid.to_string();
            prop_assert!(text.len() < 200);
            prop_assert_eq!(Gid::parse(&text), Some(gid.clone()));
            let gid = gid.under(TokenId(xid));
            prop_assert!(gid.to_string().len() < 200);
            prop_assert!(gid.to_string().starts_with(&Gid::prefix_under(TokenId(xid))));
            prop_assert_eq!(Gid::parse(&gid.to_string()), Some(gid));
        }
    }
}
