//! What listens on the network: tasks on one tokio runtime, behind bounded queues.
//!
//! | module | holds |
//! |---|---|
//! | [`listen`] | lines over TCP, TLS and Unix sockets, as a source |
//! | [`runtime`] | the runtime that everything on the network shares |
//! | [`open_files`] | how many sockets the process may have open |

pub mod listen;
pub mod open_files;
pub mod runtime;
