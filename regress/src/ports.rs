//! Port numbers for clusters under test: blocks that no other test process on
//! this machine uses at the same time.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, bail};
use nix::unistd::Uid;

/// Below the range from which the kernel takes ports for clients.
const FIRST_PORT: u16 = 21000;
const BLOCKS: u16 = 400;
/// Enough for five nodes and some that are added.
const PORTS_PER_BLOCK: u16 = 10;

/// Consecutive ports, ours until this value is dropped.
pub struct PortBlock {
    base: u16,
    /// Locked; the lock goes with the file.
    _lock: File,
}

impl PortBlock {
    /// The first block that nobody holds and where nobody listens.
    pub fn reserve() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("shardman-test-ports-{}", Uid::effective()));
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("could not make {}", dir.display()))?;
        for block in 0..BLOCKS {
            let base = FIRST_PORT + block * PORTS_PER_BLOCK;
            let path = dir.join(base.to_string());
            let lock = File::create(&path)
                .with_context(|| format!("could not make {}", path.display()))?;
            if lock.try_lock().is_ok() && (base..base + PORTS_PER_BLOCK).all(is_free) {
                return Ok(Self { base, _lock: lock });
            }
        }
        bail!("no free ports between {FIRST_PORT} and {}", FIRST_PORT + BLOCKS * PORTS_PER_BLOCK)
    }

    /// The first port.
    pub fn base(&self) -> u16 {
        self.base
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap() {
        let one = PortBlock::reserve().unwrap();
        let two = PortBlock::reserve().unwrap();
        assert!(one.base().abs_diff(two.base()) >= PORTS_PER_BLOCK);
    }
}
