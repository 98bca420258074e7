//! The slow path: whole chunks through the `evtx` crate, whose XML is then decoded like any other
//! event XML. The fast path is tested against it, hence the name.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::evtx::{EvtxChunkData, ParserSettings};

use super::field_plan::FieldPlan;
use super::{Emit, Tally, xml};
use crate::reject::RejectReason;

/// Length of a record's header; its BinXML follows.
const RECORD_HEADER_BYTES: u64 = 24;

/// Decodes the records of a chunk that start at `offsets`. Those that cannot be read here either
/// are subtracted from `tally.records` and counted as rejects.
pub fn decode_records(
    chunk: &[u8],
    number: u64,
    offsets: &[u64],
    plan: &FieldPlan,
    tally: &mut Tally,
    emit: &mut Emit<'_>,
) {
    let mut left: HashSet<u64> = offsets.iter().copied().collect();
    let rendered = render(chunk, |at| left.contains(&at));
    for (at, rendered) in rendered {
        if !left.remove(&at) {
            continue;
        }
        let result = match rendered {
            Ok(text) => xml::decode_event(&text, plan, emit).map(|_| ()),
            Err(error) => Err((RejectReason::RecordContent, error)),
        };
        if let Err((reason, sample)) = result {
            tally.records -= 1;
            tally.skip(reason, || format!("chunk {number}, offset {at}: {sample}"));
            tally.keep_reject(|| record_at(chunk, at).to_vec());
        }
    }
    for at in offsets.iter().filter(|at| left.contains(at)) {
        tally.records -= 1;
        tally.skip(RejectReason::RecordContent, || {
            format!("chunk {number}, offset {at}: the record's content cannot be read")
        });
        tally.keep_reject(|| record_at(chunk, *at).to_vec());
    }
}

/// The bytes of the record at this offset, as many as its header says.
fn record_at(chunk: &[u8], at: u64) -> &[u8] {
    let rest = usize::try_from(at).ok().and_then(|at| chunk.get(at..)).unwrap_or_default();
    let size = rest.get(4..8).and_then(|size| size.first_chunk().copied());
    let size = size.map_or(0, u32::from_le_bytes) as usize;
    &rest[..size.min(rest.len())]
}

/// The XML of the records for whose offsets `take` returns true, with these offsets.
pub fn render(
    chunk: &[u8],
    mut take: impl FnMut(u64) -> bool,
) -> Vec<(u64, Result<String, String>)> {
    let mut rendered = Vec::new();
    // A panic of the parser on hostile bytes must not end the run.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let settings = Arc::new(ParserSettings::default());
        let Ok(mut data) = EvtxChunkData::new(chunk.to_vec(), false) else { return };
        let Ok(mut parsed) = data.parse(settings) else { return };
        for record in parsed.iter().flatten() {
            let at = record.binxml_offset - RECORD_HEADER_BYTES;
            if take(at) {
                let text = record.into_xml().map(|record| record.data);
                rendered.push((at, text.map_err(|error| error.to_string())));
            }
        }
    }));
    rendered
}
