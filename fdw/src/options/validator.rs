//! Refuses options that do not exist, stand in the wrong place, or hold what
//! they may not.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::table::{ABSENT, Carrier, Kind, OPTIONS, OptionSpec};
use crate::error::{Refusal, SqlState};

/// The body of the wrapper's validator function. `options` are `name=value` as
/// PostgreSQL passes them; `catalog` is the catalogue they go into.
pub fn validate_options(options: &[String], catalog: pg_sys::Oid) -> Result<(), Refusal> {
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let spec = spec(name, Carrier::of_catalog(catalog))?;
        check(spec, value)?;
    }
    Ok(())
}

/// The option of that name that may stand there, or a refusal that says which may.
pub fn spec(name: &str, carrier: Option<Carrier>) -> Result<&'static OptionSpec, Refusal> {
    let valid: Vec<&OptionSpec> =
        OPTIONS.iter().filter(|o| carrier.is_some_and(|c| o.carriers.contains(&c))).collect();
    if let Some(spec) = valid.iter().find(|o| o.name == name) {
        return Ok(spec);
    }
    let refusal =
        Refusal::new(SqlState::FDW_INVALID_OPTION_NAME, format!("invalid option \"{name}\""));
    if let Some((_, reason)) = ABSENT.iter().find(|(names, _)| names.contains(&name)) {
        return Err(refusal.with_detail(*reason));
    }
    let elsewhere: Vec<&str> = OPTIONS
        .iter()
        .filter(|o| o.name == name)
        .flat_map(|o| o.carriers)
        .map(|c| c.command())
        .collect();
    if !elsewhere.is_empty() {
        return Err(refusal.with_hint(format!("It belongs to {}.", elsewhere.join(" or "))));
    }
    let near: Vec<&str> =
        valid.iter().map(|o| o.name).filter(|n| distance(name, n) <= 1 + name.len() / 4).collect();
    Err(if !near.is_empty() {
        refusal.with_hint(format!("Perhaps you meant {}.", quoted(&near, " or ")))
    } else if valid.is_empty() {
        refusal.with_hint("There are no valid options in this context.")
    } else {
        let names: Vec<&str> = valid.iter().map(|o| o.name).collect();
        refusal.with_hint(format!("Valid options in this context are: {}.", names.join(", ")))
    })
}

fn quoted(names: &[&str], between: &str) -> String {
    names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(between)
}

fn check(spec: &OptionSpec, value: &str) -> Result<(), Refusal> {
    // The value is left out of messages: it may be a secret in the wrong place.
    let refuse = |what: String| {
        Err(Refusal::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for option \"{}\"", spec.name),
        )
        .with_detail(what))
    };
    match spec.kind {
        Kind::Text => {}
        Kind::Boolean => match parse_bool(value) {
            None => return refuse("It takes a Boolean value.".into()),
            Some(false) if spec.name == "password_required" && !is_superuser() => {
                return Err(Refusal::new(
                    SqlState::parse("42501").unwrap_or(SqlState::INTERNAL),
                    "password_required=false is superuser-only",
                )
                .with_hint("User mappings with the password_required option set to false may only be created or changed by a superuser."));
            }
            Some(_) => {}
        },
        Kind::Names => {
            if cluster::sharding::parse_identifiers(value).is_err() {
                return refuse("It takes names separated by commas.".into());
            }
        }
        Kind::OneOf(words) => {
            if !words.contains(&value) {
                return refuse(format!("It takes {}.", quoted(words, " or ")));
            }
        }
        Kind::Integer(min, max) => {
            if !value.trim().parse::<i64>().is_ok_and(|v| (min..=max).contains(&v)) {
                return refuse(format!("It takes a whole number from {min} to {max}."));
            }
        }
        Kind::Number(min) => {
            if !value.trim().parse::<f64>().is_ok_and(|v| v >= min && v.is_finite()) {
                return refuse(format!("It takes a number that is at least {min}."));
            }
        }
    }
    Ok(())
}

fn is_superuser() -> bool {
    // SAFETY: guarded catalogue look-up.
    unsafe { pg_sys::superuser() }
}

/// The spellings that boolin takes, abbreviations aside.
pub fn parse_bool(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
