//! Windows events as JSON objects, in the shapes that collectors write.
//!
//! | shape | told by | data |
//! |---|---|---|
//! | winlogbeat, Elastic Agent | `winlog` object, or `winlog.…` keys | `winlog.event_data`, `winlog.user_data` |
//! | Vector, old winlogbeat | `event_id` | `event_data`, `user_data`, else `string_inserts` |
//! | `evtx_dump`, either generation | `Event` object | `EventData`, `UserData` |
//! | OpenWEC Json | `System` object | `EventData`, `UserData` as XML text |
//! | OpenWEC Nxlog, NXLog, flat exports | `EventID` | every key that is not a system field |
//! | Fluent Bit winevtlog | `EventID`, `StringInserts` | by position; by name where the order is known |
//! | Sentinel WindowsEvent, SecurityEvent | `EventID` | `EventData` as object, JSON or XML text, else the columns |
//! | OpenWEC RawJson, Splunk, Fluent Bit as XML | text that starts with `<` | the XML |
//! | envelopes | array, `records`, `result`, `event`, `_source` | what is in them |
//!
//! The shape is told for each record, so a stream may mix them. An object is
//! cut into tokens once (a [`Tape`]), with the strings left where they stand;
//! values are read, and escapes resolved, only for what is wanted. Keys are
//! compared as they are written: one that is spelt with escapes is nobody's.

mod data;
mod decoder;
mod doc;
mod keys;
mod layout;
mod manifest;
mod shapes;
mod tape;

use super::field_plan::FieldPlan;
use super::{Emit, Tally};
use decoder::Decoder;
pub use layout::{Layout, Layouts};
pub(super) use manifest::{MANIFEST_IDS, manifest_names};
pub use tape::{DEPTH_MAX, Tape};

/// Decodes one JSON text: an object with an event, a text with its XML, or an
/// envelope of several. Each event is counted in `tally`, as a record or with
/// the reason why it was skipped. Returns the layout of the text, if it has one
/// and `learning` is asked for.
pub fn decode_object(
    json: &str,
    plan: &FieldPlan,
    tape: &mut Tape,
    tally: &mut Tally,
    learning: Learning,
    emit: &mut Emit<'_>,
) -> Option<Layout> {
    let mut decoder = Decoder { plan, tally, emit, learning, layout: None };
    decoder.text(json, tape, 0);
    decoder.layout
}

/// Whether a layout is wanted, which takes time to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    Yes,
    No,
}
