//! The planner support function of PostgreSQL's `nextval` and `setval`.
//!
//! PostgreSQL asks it whenever it simplifies an expression: in plans, in the
//! defaults of COPY and ALTER TABLE, in SQL functions that are inlined. Where
//! the sequence is managed, or cannot be known yet, the call is made one of
//! ours, with the same arguments. Nothing that is stored changes: a column's
//! default stays `nextval('…')`.
//!
//! `catalog_sql` enters it into pg_proc without a dependency, which would make
//! built-in functions part of the extension; so it is taken out again by hand
//! when the extension is dropped.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;

use pgrx::prelude::*;

use crate::catalog::{ActingAs, registry};
use crate::lists::elements;
use crate::report::{OrRaise, Report};

/// OIDs of our functions, looked up once a backend: the extension may be
/// created anew under the backend's feet, so they are looked up again when
/// they are gone.
#[derive(Clone, Copy)]
struct Ours {
    nextval: pg_sys::Oid,
    setval: pg_sys::Oid,
    setval_is_called: pg_sys::Oid,
}

thread_local! {
    static OURS: Cell<Option<Ours>> = const { Cell::new(None) };
}

/// `shardman.nextval(regclass)`; `None` before CREATE EXTENSION.
pub fn our_nextval() -> Option<pg_sys::Oid> {
    ours().map(|ours| ours.nextval)
}

fn ours() -> Option<Ours> {
    if let Some(ours) = OURS.get()
        // SAFETY: a syscache look-up that finds nothing for a function that is gone.
        && unsafe { pg_sys::get_func_namespace(ours.nextval) } != pg_sys::InvalidOid
    {
        return Some(ours);
    }
    let found = Ours {
        nextval: function(c"nextval", &[pg_sys::REGCLASSOID])?,
        setval: function(c"setval", &[pg_sys::REGCLASSOID, pg_sys::INT8OID])?,
        setval_is_called: function(
            c"setval",
            &[pg_sys::REGCLASSOID, pg_sys::INT8OID, pg_sys::BOOLOID],
        )?,
    };
    OURS.set(Some(found));
    Some(found)
}

fn function(name: &std::ffi::CStr, arguments: &[pg_sys::Oid]) -> Option<pg_sys::Oid> {
    // SAFETY: a list of two strings in the current context; missing_ok.
    let oid = unsafe {
        let names =
            [c"shardman", name].map(|part| pg_sys::makeString(pg_sys::pstrdup(part.as_ptr())));
        let names = crate::lists::list_of(names);
        pg_sys::LookupFuncName(names, arguments.len() as i32, arguments.as_ptr(), true)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_sequence_support_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `shardman.sequence_support(internal)`.
#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sequence_support_wrapper(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls it with a support request; no destructor is live
    // here.
    unsafe {
        fdw::callback(|| {
            let request: *mut c_void = (*call).args.as_slice(1)[0].value.cast_mut_ptr();
            Ok(pg_sys::Datum::from(answer(request.cast())?))
        })
    }
}

/// Null where the call stays as it is, and for all other requests.
unsafe fn answer(request: *mut pg_sys::Node) -> Result<*mut pg_sys::Node, Report> {
    let nothing = std::ptr::null_mut();
    // SAFETY: casts follow the tags.
    unsafe {
        if (*request).type_ != pg_sys::NodeTag::T_SupportRequestSimplify
            || !crate::in_cluster_database()
        {
            return Ok(nothing);
        }
        let call = (*request.cast::<pg_sys::SupportRequestSimplify>()).fcall;
        if !may_be_managed(call)? {
            return Ok(nothing);
        }
        let Some(ours) = ours() else { return Ok(nothing) };
        let replaced = match (*call).funcid.to_u32() {
            pg_sys::F_NEXTVAL => ours.nextval,
            pg_sys::F_SETVAL_REGCLASS_INT8 => ours.setval,
            pg_sys::F_SETVAL_REGCLASS_INT8_BOOL => ours.setval_is_called,
            _ => return Ok(nothing),
        };
        let copy: *mut pg_sys::FuncExpr = pg_sys::copyObjectImpl(call.cast()).cast();
        (*copy).funcid = replaced;
        Ok(copy.cast())
    }
}

/// Whether the sequence is managed, or is known only when the call runs.
unsafe fn may_be_managed(call: *mut pg_sys::FuncExpr) -> Result<bool, Report> {
    // SAFETY: a valid call of a function whose first argument is a regclass.
    unsafe {
        let Some(argument) = elements::<pg_sys::Node>((*call).args).next() else {
            return Ok(false);
        };
        if (*argument).type_ != pg_sys::NodeTag::T_Const {
            return Ok(true);
        }
        let constant: *mut pg_sys::Const = argument.cast();
        if (*constant).constisnull {
            return Ok(false);
        }
        let rel = pg_sys::Oid::from((*constant).constvalue.value() as u32);
        // A catalogue snapshot, a look at tables of ours: not for the sequences
        // of a database that has none that are managed.
        Ok(registry()?.sequence(rel).is_some())
    }
}

/// Takes the support function out of pg_proc: the extension is being dropped.
pub fn restore_functions() -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run(
        "UPDATE pg_catalog.pg_proc SET prosupport = 0
         WHERE oid OPERATOR(pg_catalog.=) ANY (ARRAY[1574, 1576, 1765]::pg_catalog.oid[])",
    )?)
}

/// `shardman.restore_sequence_functions()`.
#[pg_extern(sql = false)]
fn restore_sequence_functions() {
    restore_functions().or_raise()
}
