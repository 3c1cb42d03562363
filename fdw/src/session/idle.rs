//! Sessions that nobody has used for long are closed.
//!
//! One that is idle while others are used is closed when a transaction ends. If
//! the whole backend is idle only a timer can tell: PostgreSQL's, whose handler
//! runs in a signal. It says good-bye and shuts the sockets down, which is all
//! that is allowed there; the next use throws the session away and opens another.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use pgrx::{GucSetting, pg_sys};

use super::registry::slots;
use crate::compat;
use crate::error::Error;

/// `shardman.idle_connection_timeout`, in milliseconds; 0 for never.
pub static IDLE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(600_000);

/// More sessions than that and the rest stays open.
const MOST: usize = 256;
const NONE: i32 = -1;

/// Sockets of sessions outside of transactions; only while no transaction uses
/// any session, so that the handler never closes one in use.
static SOCKETS: [AtomicI32; MOST] = [const { AtomicI32::new(NONE) }; MOST];

/// The handler has closed what was in the list.
static HAVE_CLOSED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static TIMEOUT: Cell<Option<u32>> = const { Cell::new(None) };
    static WAS_USED: Cell<bool> = const { Cell::new(false) };
}

/// A session is about to be used, opened or closed.
pub fn begin_use() {
    if !WAS_USED.replace(true) {
        for socket in &SOCKETS {
            if socket.swap(NONE, Ordering::Relaxed) == NONE {
                break;
            }
        }
        if HAVE_CLOSED.swap(false, Ordering::Relaxed) {
            // What they still had to say may hide the end of the connection.
            for slot in slots() {
                if let Ok(Some(session)) = slot.try_lease()
                    && session.depth == 0
                {
                    session.discard();
                }
            }
        }
    }
}

/// The local transaction is over, and so are the remote ones.
pub fn transaction_ended() -> Result<(), Error> {
    if slots().is_empty() {
        return Ok(());
    }
    let timeout = Duration::from_millis(IDLE_TIMEOUT.get().max(0) as u64);
    let was_used = WAS_USED.get() || HAVE_CLOSED.load(Ordering::Relaxed);
    if was_used {
        begin_use();
    }
    let now = Instant::now();
    let mut sockets = Vec::new();
    for slot in slots() {
        let Some(mut session) = slot.try_lease()? else { continue };
        if session.depth > 0 {
            continue;
        }
        let is_stale = !timeout.is_zero() && now.duration_since(session.last_used) >= timeout;
        if is_stale || !session.is_kept {
            begin_use();
            session.discard();
            continue;
        }
        let (socket, events) = session.connection.socket_to_watch();
        // With something still to be sent, a good-bye would come in between.
        if events & pg_sys::WL_SOCKET_WRITEABLE == 0 {
            sockets.push(socket);
        }
    }
    if WAS_USED.replace(false) || was_used {
        watch(&sockets, timeout);
    }
    Ok(())
}

fn watch(sockets: &[i32], timeout: Duration) {
    if timeout.is_zero() || sockets.is_empty() {
        return;
    }
    for (place, socket) in SOCKETS.iter().zip(sockets) {
        place.store(*socket, Ordering::Relaxed);
    }
    let id = TIMEOUT.get().unwrap_or_else(|| {
        let id = compat::register_timeout(close_idle);
        TIMEOUT.set(Some(id));
        id
    });
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    compat::enable_timeout_after(id, milliseconds);
}

/// In a signal handler: atomics and two system calls.
unsafe extern "C-unwind" fn close_idle() {
    const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];
    for socket in &SOCKETS {
        let fd = socket.swap(NONE, Ordering::Relaxed);
        if fd == NONE {
            return;
        }
        HAVE_CLOSED.store(true, Ordering::Relaxed);
        // SAFETY: both calls may be made in a signal handler; the socket is open,
        // since it is taken out of the list before it is closed.
        unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::send(fd, TERMINATE.as_ptr().cast(), TERMINATE.len(), flags);
            libc::shutdown(fd, libc::SHUT_RDWR);
        }
    }
}
