//! How a statement reaches partitions on other nodes.
