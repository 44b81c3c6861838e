//! Fed by hand.
