//! Not yet.

pub mod submit;
