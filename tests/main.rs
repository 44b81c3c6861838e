//! One test binary: the AWS SDK is linked once. Modules in the order of an order's life.

mod servers;

mod order;

mod inbox;
mod locks;

mod ledger;

mod core;
mod engine;

mod commands;
mod config;
mod http;
mod verify;

mod fleet;
mod shutdown;

mod tidy;
