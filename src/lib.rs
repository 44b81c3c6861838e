//! Millrace: orders from SQS to Aurora, in sequence for each customer, once, nothing lost.
//!
//! The modules in reading order follow one order through the engine; ARCHITECTURE.md tells the whole story.

pub mod order;

pub mod outcome;
pub mod window;

pub mod inbox;
pub mod locks;

pub mod backlog;
pub mod ledger;
mod sql;

pub mod core;
pub mod drain;
pub mod engine;

pub mod http;
pub mod metrics;
pub mod reconnect;
pub mod status;
pub mod telemetry;

pub mod verify;

pub mod cli;
pub mod config;
