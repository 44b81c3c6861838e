//! One test binary: the AWS SDK is linked once. Modules in the order of an order's life.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report, also outside of #[test] functions")]
#![allow(unreachable_pub, reason = "a binary has no outside; pub says what other tests use")]

mod mangle;
mod probe;
mod random;
mod servers;

mod order;

mod inbox;
mod locks;

mod backlog;
mod ledger;

mod core;
mod engine;

mod commands;
mod config;
mod history;
mod http;
mod verify;
mod window;

mod chaos;
mod fleet;
mod shutdown;

mod tidy;
