//! Everything that needs servers.
