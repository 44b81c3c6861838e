//! The pure core: simulated against strict stand-ins, and fed by hand. No tokio, no server, no clock.

mod directed;
mod exhaustive;
mod golden;
mod model;
mod queue;
mod sim;
mod simulation;
