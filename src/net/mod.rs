//! What listens on the network.

pub mod listen;
