//! How observations get from the decoders to the detector.

#[cfg(feature = "kafka")]
pub mod topic;
