//! object_access_hook: a sharded table disappears through `DROP TABLE` alone,
//! on every node; never through a cascade from something local.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use pgrx::prelude::*;

use crate::{ddl, sequence};

static mut PREVIOUS: pg_sys::object_access_hook_type = None;

pub fn install() {
    // SAFETY: as for every hook, set before any backend exists.
    unsafe {
        PREVIOUS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(object_access);
    }
}

unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    sub_object: c_int,
    argument: *mut c_void,
) {
    // SAFETY: plain-old frame; the arguments are PostgreSQL's own.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(access, class, object, sub_object, argument);
        }
        if access == pg_sys::ObjectAccessType::OAT_DROP
            && class == pg_sys::RelationRelationId
            && sub_object == 0
        {
            on_drop(object);
        } else if access == pg_sys::ObjectAccessType::OAT_DROP
            && class == pg_sys::ExtensionRelationId
        {
            on_drop_of_extension(object);
        }
    }
}

/// A plain-old frame.
unsafe fn on_drop(rel: pg_sys::Oid) {
    // SAFETY: no destructor is live here or in the caller.
    unsafe {
        fdw::callback(|| {
            if crate::in_cluster_database() {
                ddl::before_drop(rel)?;
            }
            Ok(())
        })
    }
}

/// A plain-old frame.
unsafe fn on_drop_of_extension(extension: pg_sys::Oid) {
    // SAFETY: as above; a palloc'd name or null.
    unsafe {
        fdw::callback(|| {
            if crate::lists::text(pg_sys::get_extension_name(extension)) == "shardman" {
                sequence::restore_functions()?;
            }
            Ok(())
        })
    }
}
