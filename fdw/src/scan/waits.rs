//! How a scan under an Append waits for its chunk without holding up the others.

use pgrx::pg_sys;

use super::ScanState;
use super::asynchronous::Waiting;
use super::run::not_running;
use crate::error::Error;

#[allow(unsafe_code)]
impl ScanState {
    /// True if the pending chunk has arrived, or never will.
    pub fn has_news(&self) -> Result<bool, Error> {
        let run = self.run.as_ref().ok_or_else(not_running)?;
        run.pending.map_or(Ok(true), |ticket| run.has_arrived(ticket))
    }

    /// Forgets who waits for the pending chunk.
    pub fn wait_no_more(&mut self) {
        if let Some(run) = &mut self.run {
            run.waiting = None;
        }
    }

    /// Notes who waits for the pending chunk. False at the end of the scan.
    ///
    /// # Safety
    /// `request` lives as long as this state.
    pub unsafe fn wait_as(&mut self, request: *mut pg_sys::AsyncRequest) -> Result<bool, Error> {
        let run = self.run.as_mut().ok_or_else(not_running)?;
        if run.is_exhausted {
            return Ok(false);
        }
        let ticket = run.pending.ok_or_else(not_running)?;
        // SAFETY: per the contract.
        let waiting = unsafe { Waiting::new(ticket, request) };
        run.slot.lease()?.add_waiting(&waiting);
        run.effort.begin_to_wait();
        run.waiting = Some(waiting);
        Ok(true)
    }

    /// The socket to watch for the pending chunk and the events to watch for;
    /// none if a sibling with an earlier chunk watches it.
    pub fn socket_to_watch(&self) -> (i32, u32) {
        let watch = || {
            let run = self.run.as_ref()?;
            let mine = run.waiting.as_ref()?;
            let mut session = run.slot.try_lease().ok()??;
            let comes_first = session
                .waiting()
                .iter()
                .filter(|w| w.is_sibling_of(mine) && session.connection.is_owed(w.ticket))
                .all(|w| mine.ticket <= w.ticket);
            comes_first.then(|| session.connection.socket_to_watch())
        };
        watch().unwrap_or((-1, 0))
    }

    /// Takes what the socket has.
    pub fn receive(&mut self) -> Result<(), Error> {
        let run = self.run.as_ref().ok_or_else(not_running)?;
        let mut session = run.slot.lease()?;
        session.connection.flush();
        session.connection.receive();
        Ok(())
    }

    /// Another waiting request of the same Append whose chunk has arrived, or
    /// null.
    pub fn sibling_with_news(&self, mine: *mut pg_sys::AsyncRequest) -> *mut pg_sys::AsyncRequest {
        let find = || {
            let run = self.run.as_ref()?;
            let mut session = run.slot.try_lease().ok()??;
            // SAFETY: `mine` is the request that is being answered.
            let me = unsafe { Waiting::new(0, mine) };
            let waiting = session.waiting();
            let found = waiting.iter().find(|w| {
                w.is_sibling_of(&me) && w.request() != mine && session.connection.is_done(w.ticket)
            });
            found.map(|w| w.request())
        };
        find().unwrap_or(std::ptr::null_mut())
    }
}
