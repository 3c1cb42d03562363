//! `CREATE TABLE … WITH (distributed_by, num_parts, colocate_with)` and
//! `WITH (replicated)`: which of a statement's options are ours and what they
//! ask for.

use thiserror::Error;

use super::identifier::{IdentifierError, parse_identifiers, parse_qualified_name};

/// The largest `num_parts`.
pub const MAX_PARTITIONS: u16 = 1024;

/// An option that PostgreSQL understands itself, for the leaves: `fillfactor=70`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageParameter {
    /// `toast` in `toast.autovacuum_enabled`.
    pub namespace: Option<String>,
    /// As written.
    pub name: String,
    /// As written; absent in `WITH (autovacuum_enabled)`.
    pub value: Option<String>,
}

/// What the options of a sharded table ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedDistribution {
    /// Distribution columns, in order, at least one, no name twice.
    pub columns: Vec<String>,
    /// 1 to [`MAX_PARTITIONS`]; the setting or the group decides if absent.
    pub num_parts: Option<u16>,
    /// Schema, if given, and name of the table to stay with.
    pub colocate_with: Option<(Option<String>, String)>,
}

/// A statement's options, told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Absent unless the table is to be sharded.
    pub distribution: Option<RequestedDistribution>,
    /// Whether the table is to be the same on every node: `replicated`, or
    /// `global`.
    pub is_replicated: bool,
    /// The log that is to carry the changes of a replicated table.
    pub log: Option<String>,
    /// The rest, in order.
    pub storage: Vec<StorageParameter>,
}

/// Why the options cannot be followed; all are the user's mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionError {
    /// `num_parts` or `colocate_with` alone, or `distributed_by` without value.
    #[error("option \"distributed_by\" must name at least one column")]
    ColumnsMissing,
    /// The value is no list of column names.
    #[error("invalid value for option \"{option}\": \"{value}\"")]
    Malformed {
        /// Which option.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong with it.
        reason: IdentifierError,
    },
    /// A column listed twice.
    #[error("column \"{0}\" appears twice in option \"distributed_by\"")]
    DuplicateColumn(String),
    /// Not a number from 1 to [`MAX_PARTITIONS`].
    #[error("invalid value for option \"num_parts\": \"{0}\"")]
    NumParts(String),
    /// The same option twice.
    #[error("option \"{0}\" is given more than once")]
    Duplicate(&'static str),
    /// `replicated` or `global` is neither true nor false.
    #[error("invalid value for option \"{option}\": \"{value}\"")]
    NotBoolean {
        /// Which option.
        option: &'static str,
        /// What it was set to.
        value: String,
    },
    /// `log` without `replicated`, or without a name.
    #[error("option \"log\" names the log of a replicated table")]
    LogOfNothing,
    /// A table is either sharded or replicated.
    #[error("a table cannot be both sharded and replicated")]
    Both,
}

/// Takes our options out of a statement's list. Names are matched as the
/// parser folds them: lower case.
pub fn separate_options(
    options: impl IntoIterator<Item = StorageParameter>,
) -> Result<Requested, OptionError> {
    let (mut distributed_by, mut num_parts, mut colocate_with) = (None, None, None);
    let (mut replicated, mut global, mut log) = (None, None, None);
    let mut storage = Vec::new();
    for option in options {
        let ours = match (option.namespace.as_deref(), option.name.as_str()) {
            (None, "distributed_by") => ("distributed_by", &mut distributed_by),
            (None, "num_parts") => ("num_parts", &mut num_parts),
            (None, "colocate_with") => ("colocate_with", &mut colocate_with),
            (None, "replicated") => ("replicated", &mut replicated),
            (None, "global") => ("global", &mut global),
            (None, "log") => ("log", &mut log),
            _ => {
                storage.push(option);
                continue;
            }
        };
        let (name, seen) = ours;
        if seen.replace(option.value.unwrap_or_default()).is_some() {
            return Err(OptionError::Duplicate(name));
        }
    }
    let is_replicated = parse_boolean("replicated", replicated)? | parse_boolean("global", global)?;
    if log.as_ref().is_some_and(|name| name.is_empty() || !is_replicated) {
        return Err(OptionError::LogOfNothing);
    }
    if distributed_by.is_none() && num_parts.is_none() && colocate_with.is_none() {
        return Ok(Requested { distribution: None, is_replicated, log, storage });
    }
    if is_replicated {
        return Err(OptionError::Both);
    }
    let distribution = Some(RequestedDistribution {
        columns: parse_columns(distributed_by.as_deref().unwrap_or_default())?,
        num_parts: num_parts.map(parse_num_parts).transpose()?,
        colocate_with: colocate_with.map(parse_table).transpose()?,
    });
    Ok(Requested { distribution, is_replicated, log, storage })
}

/// As PostgreSQL reads a boolean option: without a value it is true.
fn parse_boolean(option: &'static str, value: Option<String>) -> Result<bool, OptionError> {
    let Some(value) = value else { return Ok(false) };
    match value.trim().to_ascii_lowercase().as_str() {
        "" | "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(OptionError::NotBoolean { option, value }),
    }
}

fn parse_columns(value: &str) -> Result<Vec<String>, OptionError> {
    if value.trim().is_empty() {
        return Err(OptionError::ColumnsMissing);
    }
    let columns = parse_identifiers(value).map_err(|reason| OptionError::Malformed {
        option: "distributed_by",
        value: value.to_owned(),
        reason,
    })?;
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].contains(column) {
            return Err(OptionError::DuplicateColumn(column.clone()));
        }
    }
    Ok(columns)
}

fn parse_num_parts(value: String) -> Result<u16, OptionError> {
    match value.trim().parse() {
        Ok(number) if (1..=MAX_PARTITIONS).contains(&number) => Ok(number),
        _ => Err(OptionError::NumParts(value)),
    }
}

fn parse_table(value: String) -> Result<(Option<String>, String), OptionError> {
    let option = "colocate_with";
    parse_qualified_name(&value).map_err(|reason| OptionError::Malformed { option, value, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, value: &str) -> StorageParameter {
        StorageParameter {
            namespace: None,
            name: name.into(),
            value: (!value.is_empty()).then(|| value.into()),
        }
    }

    fn separate(options: &[(&str, &str)]) -> Result<Requested, OptionError> {
        separate_options(options.iter().map(|(name, value)| option(name, value)))
    }

    #[test]
    fn a_statement_without_our_options_is_left_alone() {
        let requested = separate(&[("fillfactor", "70")]);
        let storage = vec![option("fillfactor", "70")];
        assert_eq!(
            requested,
            Ok(Requested { distribution: None, is_replicated: false, log: None, storage })
        );
    }

    #[test]
    fn ours_are_taken_and_the_rest_kept() {
        let requested = separate(&[
            ("distributed_by", "a, \"B\""),
            ("fillfactor", "70"),
            ("num_parts", "12"),
            ("colocate_with", "s.root"),
        ]);
        let distribution = Some(RequestedDistribution {
            columns: vec!["a".into(), "B".into()],
            num_parts: Some(12),
            colocate_with: Some((Some("s".into()), "root".into())),
        });
        assert_eq!(
            requested,
            Ok(Requested {
                distribution,
                is_replicated: false,
                log: None,
                storage: vec![option("fillfactor", "70")]
            })
        );
    }

    #[test]
    fn replicated_and_global_mean_the_same_and_exclude_distribution() {
        for options in [&[("replicated", "")], &[("global", "true")], &[("replicated", "ON")]] {
            assert!(separate(options).unwrap().is_replicated);
        }
        assert!(!separate(&[("global", "off")]).unwrap().is_replicated);
        let both = separate(&[("replicated", ""), ("distributed_by", "a")]);
        assert_eq!(both, Err(OptionError::Both));
        let value = "perhaps".to_owned();
        let unclear = Err(OptionError::NotBoolean { option: "global", value });
        assert_eq!(separate(&[("global", "perhaps")]), unclear);
    }

    #[test]
    fn a_log_is_that_of_a_replicated_table() {
        let requested = separate(&[("replicated", ""), ("log", "events")]).unwrap();
        assert_eq!(requested.log.as_deref(), Some("events"));
        assert_eq!(separate(&[("log", "events")]), Err(OptionError::LogOfNothing));
        assert_eq!(separate(&[("global", ""), ("log", "")]), Err(OptionError::LogOfNothing));
    }

    #[test]
    fn an_option_of_another_namespace_is_not_ours() {
        let namespace = Some("toast".into());
        let toast = StorageParameter { namespace, ..option("num_parts", "3") };
        let requested = separate_options([toast.clone()]);
        assert_eq!(
            requested,
            Ok(Requested {
                distribution: None,
                is_replicated: false,
                log: None,
                storage: vec![toast]
            })
        );
    }

    #[test]
    fn the_columns_cannot_be_missing() {
        let missing = Err(OptionError::ColumnsMissing);
        assert_eq!(separate(&[("num_parts", "3")]), missing);
        assert_eq!(separate(&[("colocate_with", "t")]), missing);
        assert_eq!(separate(&[("distributed_by", "")]), missing);
        assert_eq!(separate(&[("distributed_by", "  ")]), missing);
    }

    #[test]
    fn num_parts_is_a_number_from_1_to_1024() {
        for value in ["0", "1025", "-1", "many", "1.5", ""] {
            let wrong = separate(&[("distributed_by", "a"), ("num_parts", value)]);
            assert_eq!(wrong, Err(OptionError::NumParts(value.into())));
        }
        for value in ["1", "1024"] {
            assert!(separate(&[("distributed_by", "a"), ("num_parts", value)]).is_ok());
        }
    }

    #[test]
    fn repeated_options_and_columns_are_named() {
        let twice = separate(&[("distributed_by", "a"), ("distributed_by", "b")]);
        assert_eq!(twice, Err(OptionError::Duplicate("distributed_by")));
        let twice = separate(&[("distributed_by", "a, A")]);
        assert_eq!(twice, Err(OptionError::DuplicateColumn("a".into())));
    }
}
