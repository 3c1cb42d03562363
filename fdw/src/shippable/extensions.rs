//! What another server knows besides what is built in: the extensions that its
//! option `extensions` names.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::backend::text_of;
use crate::options;
use crate::placement::Placement;
use crate::types::is_builtin;

/// Whether an object of the catalogue `class` means the same there: it is built
/// in, or belongs to an extension that the server is said to have as well.
pub fn is_known_there(class: pg_sys::Oid, object: pg_sys::Oid, there: Placement) -> bool {
    if is_builtin(object) {
        return true;
    }
    let Placement::Server(server) = there else { return false };
    let options = options::server_options(server);
    let Some(named) = options.get("extensions") else { return false };
    // SAFETY: guarded look-ups; a palloc'd name or null.
    let extension = unsafe {
        let extension = pg_sys::getExtensionOfObject(class, object);
        if extension == pg_sys::InvalidOid {
            return false;
        }
        text_of(pg_sys::get_extension_name(extension))
    };
    extension_names(named).any(|name| name == extension)
}

/// The names in the option's value, separated by commas, quoted like identifiers
/// if need be.
pub fn extension_names(value: &str) -> impl Iterator<Item = String> {
    cluster::sharding::parse_identifiers(value).unwrap_or_default().into_iter()
}
