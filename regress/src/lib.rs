//! Clusters under test: what the tests in `regress/tests` are written with.
//!
//! - [`TestCluster`]: real servers, started and thrown away by shardmanctl;
//! - [`Session`]: a client of one node, every call bounded in time;
//! - [`Suite`]: PostgreSQL's own `pg_regress` on the files in `regress/suites`;
//! - [`Balancer`]: one address for all nodes, for programs of others;
//! - [`Proxy`]: what nodes say to each other, counted, held, delayed or cut;
//! - [`history`]: what concurrent transactions saw, and what is wrong with it;
//! - [`linearizability`]: whether concurrent operations look as if each had happened at once;
//! - [`random`]: generated statements, compared with one PostgreSQL;
//! - [`jobs`]: waiting for jobs of a cluster;
//! - [`eventually`]: waiting for a state that nothing announces.

mod account;
mod balancer;
mod cluster;
mod dispatcher;

mod harm;
pub mod history;
pub mod jobs;
mod keys;
pub mod linearizability;
mod paused;
mod pg_regress;
mod places;
mod ports;
mod proxy;
pub mod random;
mod schemas;
mod session;
mod wait;

pub use balancer::Balancer;
pub use cluster::{CutOff, Shape, TestCluster};
pub use harm::{end_sessions, kill_backend};
pub use keys::{key_on_node, keys_on_node};
pub use paused::PausedProcess;
pub use pg_regress::Suite;
pub use proxy::{Moment, Proxy, Stop};
pub use schemas::schemas_are_equal;
pub use session::{Answer, Session, db_error, is_refusal};
pub use wait::eventually;
