//! Windows events as JSON objects, in the shapes that collectors write.
//!
//! | shape | recognised by | data |
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
//! The shape is recognised for each record, so a stream may mix them. An object is cut into tokens
//! once (a [`Tape`]) without copying its strings; values are read, and escapes resolved, only where
//! they are wanted. Keys are compared as written: a key with escapes in it matches nothing.
//!
//! | module | holds |
//! |---|---|
//! | `decoder` | recognises the shape of a text, and decodes it |
//! | `shapes` | system fields of each shape, and where its data is |
//! | `data` | the data items, from wherever they are |
//! | `manifest` | names of data that arrive by position alone |
//! | `keys` | the known keys of an object |
//! | `doc` | values at the nodes of a tape |
//! | `tape` | the tokenizer |
//! | `layout` | lines that differ only in their values |

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

/// Decodes one JSON text: an object with an event, a string with its XML, or an envelope of
/// several. Each event is counted in `tally`, as a record or as a reject.
///
/// Returns the layout of the text if it has one and `learning` asks for it.
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

/// Whether to derive a layout from the text, which takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learning {
    Yes,
    No,
}
