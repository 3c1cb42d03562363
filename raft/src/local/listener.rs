//! Accepts the node's backends and answers them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{FrameReader, SOCKET_NAME, decode_request, encode_response};
use crate::identity_file::remove_if_present;
use crate::node::Service;

/// After a failed accept (no file descriptor left, usually).
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Creates `dir` (mode 0700) and the socket in it (mode 0600).
///
/// A socket that is there already was left by a worker that died: the server's
/// own lock file keeps two servers out of one data directory.
pub(crate) fn bind(dir: &Path) -> io::Result<StdUnixListener> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => fs::set_permissions(dir, Permissions::from_mode(0o700))?,
    }
    let path = dir.join(SOCKET_NAME);
    remove_if_present(&path)?;
    let listener = StdUnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: UnixListener, service: Arc<Service>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                // A client that goes away, in the middle of a frame or not, is
                // its own affair.
                tokio::spawn(async move { serve_client(stream, &service).await.ok() });
            }
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
        }
    }
}

/// One request after the other, in the order in which they came.
async fn serve_client(mut stream: UnixStream, service: &Service) -> io::Result<()> {
    let mut reader = FrameReader::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                let response = match decode_request(&frame) {
                    Ok(request) => service.handle(request).await,
                    Err(e) => Err(e),
                };
                let bytes = encode_response(&response).or_else(|e| encode_response(&Err(e)));
                stream.write_all(&bytes.map_err(io::Error::other)?).await?;
            }
            Ok(None) => match stream.read(&mut chunk).await? {
                0 => return Ok(()),
                n => reader.extend(&chunk[..n]),
            },
            Err(e) => {
                // Where the next frame starts is not known any more.
                let bytes = encode_response(&Err(e)).map_err(io::Error::other)?;
                return stream.write_all(&bytes).await;
            }
        }
    }
}
