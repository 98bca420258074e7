//! The fast path for EVTX: walks chunks, and reads only the wanted values of wanted records.
//!
//! ```text
//! file    │ header 4 KiB │ chunk 64 KiB │ chunk │ …
//! chunk   │ header 512 B │ record │ record │ … │ free space │
//! record  │ 2a2a0000 │ size u32 │ id u64 │ FILETIME │ BinXML … │ size u32 │
//! BinXML  │ 0f 01 01 00 │ 0c 01 │ template id u32 │ definition offset u32 │
//!         │ [definition] │ count u32 │ (size u16, type u8, 0)* │ values … │
//! ```
//!
//! The [`Plan`](super::binxml::Plan) of a record's template names the value that holds the event
//! id. When the event is not wanted, that one load is all; otherwise the wanted values are read in
//! place, borrowed from the chunk. Records that a plan cannot express are collected and decoded by
//! the [`oracle`](super::oracle).
//!
//! The walk finds the same records as the `evtx` crate: from the header to the free space or to the
//! chunk's last record, continuing after damage at the next record that belongs to the chunk.
//!
//! | module | holds |
//! |---|---|
//! | `decoder` | [`ChunkDecoder`]: chunks to records |
//! | `chunk` | headers, checksums, and the next record after damage |
//! | `instance` | template instances: their plans and values |

mod chunk;
mod decoder;
mod instance;

pub use decoder::ChunkDecoder;

/// Size of a chunk, whatever it holds.
pub const CHUNK_BYTES: usize = 64 * 1024;
