//! A non-blocking socket. TLS will be another variant here.
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use pgrx::pg_sys;

use super::Address;

/// Connected or connecting. Counted against the server's file descriptors
/// while it lives.
pub struct Stream {
    socket: Socket,
    _counted: ExternalFd,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One file descriptor reported to PostgreSQL's own accounting.
struct ExternalFd;

impl ExternalFd {
    fn acquire() -> io::Result<ExternalFd> {
        // SAFETY: guarded call; returns false instead of raising.
        if unsafe { pg_sys::AcquireExternalFD() } {
            Ok(ExternalFd)
        } else {
            Err(io::Error::other("too many open files in this server process"))
        }
    }
}

impl Drop for ExternalFd {
    fn drop(&mut self) {
        // SAFETY: decrements a counter that `acquire` incremented; cannot raise.
        unsafe { pg_sys::ReleaseExternalFD() }
    }
}

impl Stream {
    /// Starts to connect; the socket is writable once that has ended, and
    /// [`Stream::connected`] tells how.
    pub fn connect(address: &Address) -> io::Result<Stream> {
        let counted = ExternalFd::acquire()?;
        let socket = match address {
            Address::Tcp(address) => connect_tcp(address)?,
            Address::Unix(path) => connect_unix(path)?,
        };
        Ok(Stream { socket, _counted: counted })
    }

    /// Ok once connected; the error that ended the attempt otherwise.
    pub fn connected(&self) -> io::Result<()> {
        let error = match &self.socket {
            Socket::Tcp(s) => s.take_error()?,
            Socket::Unix(s) => s.take_error()?,
        };
        error.map_or(Ok(()), Err)
    }

    /// Looks whether there is room for output or the attempt to connect ended.
    pub fn is_writable(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, and no wait.
        unsafe { libc::poll(&raw mut entry, 1, 0) > 0 }
    }

    /// For the wait set.
    pub fn raw_fd(&self) -> RawFd {
        match &self.socket {
            Socket::Tcp(s) => s.as_raw_fd(),
            Socket::Unix(s) => s.as_raw_fd(),
        }
    }

    /// As `Read::read`; `WouldBlock` if nothing is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.socket {
            Socket::Tcp(s) => s.read(buffer),
            Socket::Unix(s) => s.read(buffer),
        }
    }

    /// As `Write::write`; `WouldBlock` if the kernel's buffer is full.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.socket {
            Socket::Tcp(s) => s.write(bytes),
            Socket::Unix(s) => s.write(bytes),
        }
    }
}

fn connect_tcp(address: &SocketAddr) -> io::Result<Socket> {
    let (family, storage, len) = match address {
        SocketAddr::V4(a) => {
            // SAFETY: all-zero is a valid sockaddr_in and sockaddr_storage.
            let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
            let raw = (&raw mut storage).cast::<libc::sockaddr_in>();
            // SAFETY: sockaddr_storage is at least as large and as aligned.
            unsafe {
                (*raw).sin_family = libc::AF_INET as libc::sa_family_t;
                (*raw).sin_port = a.port().to_be();
                (*raw).sin_addr.s_addr = u32::from_ne_bytes(a.ip().octets());
            }
            (libc::AF_INET, storage, mem::size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(a) => {
            // SAFETY: as above, for sockaddr_in6.
            let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
            let raw = (&raw mut storage).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            unsafe {
                (*raw).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                (*raw).sin6_port = a.port().to_be();
                (*raw).sin6_addr.s6_addr = a.ip().octets();
                (*raw).sin6_scope_id = a.scope_id();
            }
            (libc::AF_INET6, storage, mem::size_of::<libc::sockaddr_in6>())
        }
    };
    let fd = new_socket(family)?;
    start_connect(&fd, (&raw const storage).cast(), len)?;
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    keep_alive(stream.as_raw_fd());
    Ok(Socket::Tcp(stream))
}

fn connect_unix(path: &Path) -> io::Result<Socket> {
    // SAFETY: all-zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path is too long"));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let fd = new_socket(libc::AF_UNIX)?;
    start_connect(&fd, (&raw const address).cast(), mem::size_of::<libc::sockaddr_un>())?;
    Ok(Socket::Unix(UnixStream::from(fd)))
}

fn new_socket(family: i32) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain system call; the result is checked before it is owned.
    let fd = unsafe { libc::socket(family, flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn start_connect(fd: &OwnedFd, address: *const libc::sockaddr, len: usize) -> io::Result<()> {
    // SAFETY: `address` points to `len` initialised bytes in the caller's frame.
    let result = unsafe { libc::connect(fd.as_raw_fd(), address, len as libc::socklen_t) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINPROGRESS) | Some(libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

/// A peer that vanished without a word is noticed within about two minutes.
fn keep_alive(fd: RawFd) {
    let set = |level, name, value: libc::c_int| {
        // SAFETY: `value` is an int and its size is given; failure is harmless.
        unsafe {
            libc::setsockopt(
                fd,
                level,
                name,
                (&raw const value).cast(),
                mem::size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    };
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 60);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 10);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 6);
}
