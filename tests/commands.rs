//! The commands of `millrace`.

mod submit;
