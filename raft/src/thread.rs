//! The thread itself.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::identity_file::remove_if_present;
use crate::local::{SOCKET_NAME, bind, serve};
use crate::node::Service;

/// For Raft to end, and then for what its disk is still writing.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
const BLOCKING_WORK_TIMEOUT: Duration = Duration::from_secs(1);

/// The running thread. Dropping it tells the thread to end without waiting.
#[derive(Debug)]
pub struct RaftThread {
    /// Dropped, like sent, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    /// Disconnected once the thread has let go of everything.
    ended: Receiver<()>,
    handle: JoinHandle<()>,
}

/// Creates the directory and the socket, and starts the thread, which runs Raft
/// if the directory holds an identity and otherwise waits for `Found` or
/// `Adopt`.
///
/// The caller blocks all signals around this call: the thread, and those that
/// it starts for its disk, inherit the mask, and PostgreSQL's handlers must not
/// run on them. (Setting the mask in the thread would need unsafe code here,
/// and would leave a moment in which a signal could arrive.)
///
/// Fails if the directory or the socket cannot be created, or if there are no
/// resources for a thread. What goes wrong later is an [`crate::Event`].
pub fn spawn(config: Config) -> io::Result<RaftThread> {
    let listener = bind(&config.dir)?;
    // Its threads for blocking work are not limited: a name server that does
    // not answer may hold several, and the log's writes need one.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let (ending, ended) = crossbeam_channel::bounded(0);
    let handle = std::thread::Builder::new().name("shardman raft".to_owned()).spawn(move || {
        run(&runtime, listener, config, stopped);
        runtime.shutdown_timeout(BLOCKING_WORK_TIMEOUT);
        drop(ending);
    })?;
    Ok(RaftThread { stop: Some(stop), ended, handle })
}

fn run(
    runtime: &Runtime,
    listener: StdUnixListener,
    config: Config,
    stopped: oneshot::Receiver<()>,
) {
    let socket = config.dir.join(SOCKET_NAME);
    runtime.block_on(async {
        let service = Arc::new(Service::new(config));
        let served = async {
            match UnixListener::from_std(listener) {
                Ok(listener) => {
                    // Clients that are early wait in the socket's queue: the
                    // answer that the node is no member would be wrong.
                    service.start();
                    serve(listener, service.clone()).await;
                }
                Err(e) => service.failed(format!("could not listen on the socket: {e}")),
            }
        };
        tokio::select! {
            () = served => {}
            _ = stopped => {}
        }
        service.stop().await;
    });
    // Nobody listens any more; a failure leaves what a crash would leave.
    remove_if_present(&socket).ok();
}

impl RaftThread {
    /// Ends Raft and the thread. Answers an error of kind `TimedOut` if that
    /// takes longer than a few seconds, and of kind `Other` if the thread had
    /// panicked; the process may end in any case.
    pub fn shutdown(mut self) -> io::Result<()> {
        if let Some(stop) = self.stop.take() {
            // The thread may be gone already.
            stop.send(()).ok();
        }
        match self.ended.recv_timeout(SHUTDOWN_TIMEOUT) {
            Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                self.handle.join().map_err(|_| io::Error::other("the Raft thread panicked"))
            }
        }
    }

    /// Whether the thread has ended by itself, which only a panic can bring
    /// about: the worker must exit then.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}
