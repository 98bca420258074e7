//! What the detector finds, in words.

pub(crate) mod codes;
