//! CREATE and DROP TABLESPACE on every node.

use cluster::NodeId;
use cluster::sharding::quote_identifier;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;
use serde::{Deserialize, Serialize};

use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next, Tasking};
use crate::jobs::{top_level, work};
use crate::report::Report;

/// In a location, where the node's id is to stand.
pub const NODE: &str = "{rgid}";

const CHECK: &str = "check";
const CREATE: &str = "create";
const DROP: &str = "drop";

/// A tablespace on every node, or on none.
pub struct CreateTablespace {
    pub name: String,
    pub owner: String,
    pub location: String,
    pub options: Vec<String>,
}

/// Where the job is.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// No node may have one of that name: from then on what is there is ours.
    #[default]
    Checking,
    /// The nodes make it.
    Creating,
}

impl Kind for CreateTablespace {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        if driving.state::<State>()? == State::Checking {
            driving.run_everywhere(CHECK)?;
            driving.save(&State::Creating)?;
            return Ok(Next::Again);
        }
        driving.run_everywhere(CREATE)?;
        Ok(Next::Finished(String::new()))
    }

    fn clean_up(&self, driving: &mut Driving) -> Result<Next, Report> {
        if driving.state::<State>()? == State::Creating {
            driving.run_everywhere(DROP)?;
        }
        Ok(Next::Finished(String::new()))
    }

    fn task(&self, tasking: &Tasking) -> Result<String, Report> {
        let location = self.location_on(tasking.me);
        let found = location_of(&self.name)?;
        match tasking.what.as_str() {
            CHECK if found.is_some() => Err(Report::new(
                PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
                format!("tablespace \"{}\" already exists", self.name),
            )),
            CHECK => Ok("name is free".to_owned()),
            // By an attempt whose report was lost.
            CREATE if found.as_ref() == Some(&location) => Ok(location),
            CREATE => {
                let options = match self.options.as_slice() {
                    [] => String::new(),
                    options => format!(" WITH ({})", options.join(", ")),
                };
                top_level::run(&format!(
                    "CREATE TABLESPACE {} OWNER {} LOCATION {}{options}",
                    quote_identifier(&self.name),
                    quote_identifier(&self.owner),
                    quote_literal(&location),
                ))?;
                Ok(location)
            }
            // A namesake elsewhere is not ours.
            DROP if found.as_ref() == Some(&location) => drop_tablespace(&self.name),
            DROP => Ok(String::new()),
            _ => Err(tasking.unknown()),
        }
    }
}

impl CreateTablespace {
    fn location_on(&self, node: NodeId) -> String {
        self.location.replace(NODE, &node.to_string())
    }
}

/// A tablespace that a job has made, on every node.
pub struct DropTablespace {
    pub name: String,
}

impl Kind for DropTablespace {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        driving.run_everywhere(DROP)?;
        Ok(Next::Finished(String::new()))
    }

    fn task(&self, tasking: &Tasking) -> Result<String, Report> {
        if tasking.what != DROP {
            return Err(tasking.unknown());
        }
        // Gone already: dropped by an attempt that could not say so, or by hand;
        // a node that joined later never had it.
        if location_of(&self.name)?.is_none() {
            return Ok("does not exist".to_owned());
        }
        drop_tablespace(&self.name)
    }
}

fn drop_tablespace(name: &str) -> Result<String, Report> {
    top_level::run(&format!("DROP TABLESPACE {}", quote_identifier(name)))?;
    Ok("dropped".to_owned())
}

/// Where this node's tablespace of that name is.
fn location_of(name: &str) -> Result<Option<String>, Report> {
    work::in_transaction(|| {
        Ok(Spi::get_one_with_args::<String>(
            "SELECT (SELECT pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace
                     WHERE spcname OPERATOR(pg_catalog.=) $1::pg_catalog.name)",
            &[name.into()],
        )?)
    })
}
