//! The servers that tests talk to.

pub(crate) mod ministack;
pub(crate) mod rustack;
