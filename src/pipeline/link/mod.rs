//! How flushed batches get from the readers to the detector: through a channel in one process,
//! or through a topic that many copies share.

pub(crate) mod channel;
#[cfg(feature = "kafka")]
pub(crate) mod topic;
