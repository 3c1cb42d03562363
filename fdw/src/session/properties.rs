//! What a remote session of a node must be told: user and search path.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::backend::{quote_literal, text_of};
use crate::error::Refusal;

/// The last answer, and what it was made of.
struct Told {
    user: Box<CStr>,
    path: Box<CStr>,
    command: Rc<str>,
}

thread_local! {
    static LAST: RefCell<Option<Told>> = const { RefCell::new(None) };
}

/// `SET shardman.effective_user` to the current user, and after a comma the
/// sender's search path, so that functions find there what they find here. The
/// path is the setting's text, to be set as it is. Both stay in force there for
/// transactions to come, until one fails.
pub fn default_opening_statement() -> Result<Rc<str>, Refusal> {
    // SAFETY: guarded calls; a palloc'd and a static C string, which live on
    // while they are compared and copied here.
    let (user, path) = unsafe {
        let user = pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false);
        let path = pg_sys::GetConfigOption(c"search_path".as_ptr(), true, false);
        let path = if path.is_null() { c"" } else { CStr::from_ptr(path) };
        (CStr::from_ptr(user), path)
    };
    LAST.with_borrow_mut(|last| {
        if let Some(last) = last
            && (&*last.user, &*last.path) == (user, path)
        {
            return Ok(last.command.clone());
        }
        // SAFETY: C strings that live on.
        let (name, setting) = unsafe { (text_of(user.as_ptr()), text_of(path.as_ptr())) };
        let command: Rc<str> = format!(
            "SET shardman.effective_user = {}, {}, 'stays'",
            quote_literal(&name),
            quote_literal(&setting)
        )
        .into();
        *last = Some(Told { user: user.into(), path: path.into(), command: command.clone() });
        Ok(command)
    })
}
