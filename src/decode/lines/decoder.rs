//! Decodes the events of a block, each in the cheapest way that applies: by its layout, by the
//! prefilter's decision, or in full.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memchr;

use super::EVENT_BYTES_MAX;
use super::framing::{EventFrames, FrameKind, Needles};
use super::prefilter::Prefilter;
use crate::decode::field_plan::FieldPlan;
use crate::decode::json::{self, Layouts, Learning, Tape};
use crate::decode::text::excerpt;
use crate::decode::{Emit, Tally, xml};
use crate::record::Wanted;
use crate::reject::RejectReason;

/// Decodes blocks of UTF-8 text. Bytes that are not UTF-8 become U+FFFD.
#[derive(Debug)]
pub struct LineDecoder {
    events: EventDecoder,
    needles: Needles,
}

impl LineDecoder {
    pub fn new(wanted: Arc<Wanted>) -> LineDecoder {
        let prefilter = Prefilter::new(Arc::clone(&wanted));
        let plan = FieldPlan::new(wanted);
        let (layouts, tape) = (Layouts::default(), Tape::default());
        let events = EventDecoder { plan, prefilter, layouts, tape };
        LineDecoder { events, needles: Needles::new() }
    }

    /// Decodes a block of complete events, as [`last_boundary`](super::last_boundary) cuts it. Each
    /// is counted in `tally`, as a record or as a reject; bytes are counted by the caller.
    pub fn decode(&mut self, text: &[u8], tally: &mut Tally, emit: &mut Emit<'_>) {
        // A message is mostly one event: one that matches a layout needs no framing at all, and any
        // other only a search for a line end.
        let by_layout = match text.starts_with(b"{") && text.len() <= EVENT_BYTES_MAX {
            true => self.events.decode_by_layout(text, tally, emit),
            false => LayoutMatch::Unknown,
        };
        match by_layout {
            LayoutMatch::Decoded => {}
            by_layout if is_one_object(text) => {
                self.events.decode_fully(text, FrameKind::Json, by_layout, tally, emit);
            }
            _ => {
                for frame in EventFrames::new(text, &self.needles) {
                    self.events.decode(&text[frame.start..frame.end], frame.kind, tally, emit);
                }
            }
        }
    }
}

/// Whether a text is one JSON event and nothing else.
fn is_one_object(text: &[u8]) -> bool {
    // From front to back, as memory is prefetched: reading the end first takes as long as a whole
    // search.
    text.len() <= EVENT_BYTES_MAX
        && text.starts_with(b"{")
        && memchr(b'\n', text).is_none()
        && text.ends_with(b"}")
}

/// The result of comparing a text with the layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayoutMatch {
    Decoded,
    /// No layout matches; the event id found in the text.
    NoMatch(u32),
    Unknown,
}

#[derive(Debug)]
struct EventDecoder {
    plan: FieldPlan,
    prefilter: Prefilter,
    layouts: Layouts,
    tape: Tape,
}

impl EventDecoder {
    fn decode(&mut self, bytes: &[u8], kind: FrameKind, tally: &mut Tally, emit: &mut Emit<'_>) {
        let by_layout = match kind {
            FrameKind::Json => self.decode_by_layout(bytes, tally, emit),
            FrameKind::Xml | FrameKind::Junk | FrameKind::TooLong => LayoutMatch::Unknown,
        };
        if by_layout != LayoutMatch::Decoded {
            self.decode_fully(bytes, kind, by_layout, tally, emit);
        }
    }

    /// Decodes a text by a layout, if one matches: it is then one event, and may carry a fact.
    fn decode_by_layout(
        &mut self,
        bytes: &[u8],
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) -> LayoutMatch {
        let Some(id) = self.prefilter.first_json_id(bytes) else { return LayoutMatch::Unknown };
        let Some(parsed) = self.layouts.read(id, bytes, &self.plan) else {
            return LayoutMatch::NoMatch(id);
        };
        match parsed.into_record(&self.plan) {
            Ok(record) => {
                tally.records += 1;
                record.iter().for_each(emit);
                LayoutMatch::Decoded
            }
            // The full decoder describes what is wrong with it.
            Err(_) => LayoutMatch::Unknown,
        }
    }

    fn decode_fully(
        &mut self,
        bytes: &[u8],
        kind: FrameKind,
        by_layout: LayoutMatch,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        match kind {
            FrameKind::Xml if !self.prefilter.may_want_xml(bytes) => tally.records += 1,
            FrameKind::Json if !self.prefilter.may_want_json(bytes) => tally.records += 1,
            FrameKind::Xml => match xml::decode_event(&utf8(bytes), &self.plan, emit) {
                Ok(_) => tally.records += 1,
                Err((reason, sample)) => tally.skip(reason, || sample),
            },
            FrameKind::Json => self.json(bytes, by_layout, tally, emit),
            FrameKind::Junk => tally.skip(RejectReason::LineNotAnEvent, || {
                format!("expected `<Event` or a JSON object: {}", excerpt(&utf8(head(bytes))))
            }),
            FrameKind::TooLong => tally.skip(RejectReason::LineTooLong, || {
                let excerpt = excerpt(&utf8(head(bytes)));
                format!("expected an event of at most {EVENT_BYTES_MAX} bytes: {excerpt}")
            }),
        }
        tally.keep_reject(|| bytes.to_vec());
    }

    /// Decodes a JSON text in full, and may make a layout of it.
    fn json(
        &mut self,
        bytes: &[u8],
        by_layout: LayoutMatch,
        tally: &mut Tally,
        emit: &mut Emit<'_>,
    ) {
        let id = match by_layout {
            LayoutMatch::NoMatch(id) => Some(id).filter(|id| self.layouts.should_learn(*id)),
            LayoutMatch::Decoded | LayoutMatch::Unknown => None,
        };
        let learning = if id.is_some() { Learning::Yes } else { Learning::No };
        let (plan, tape) = (&self.plan, &mut self.tape);
        let layout = json::decode_object(&utf8(bytes), plan, tape, tally, learning, emit);
        if let (Some(id), Some(layout)) = (id, layout) {
            self.layouts.learn(id, layout);
        }
    }
}

fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    // `from_utf8_lossy` alone would go byte by byte.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// As much as an excerpt needs.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(1024)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use memchr::memmem;
    use serde_json::json;

    use super::*;
    use crate::decode::lines::last_boundary;
    use crate::decode::lines::samples::{
        EMPTY, Lacks, check_skips, decode, mixed, nxlog, samples, shapes, wanted, xml,
    };

    #[test]
    fn one_event_is_the_same_in_every_shape() {
        let wanted = wanted(&[]);
        for sample in samples() {
            let (expect, tally) = decode(&wanted, xml(&sample).as_bytes());
            assert_eq!((expect.len(), tally.records), (1, 1), "{:?}", tally.samples);
            let items = sample.named.len() + sample.unnamed.len() + sample.user_data.len();
            assert_eq!(expect[0].6["#count"], items.to_string());
            for (shape, lacks, text) in shapes(&sample) {
                let (mut seen, tally) = decode(&wanted, text.as_bytes());
                let mut expect = expect.clone();
                assert_eq!(tally.records, 1, "{shape} {}: {:?}\n{text}", sample.id, tally.samples);
                assert!(tally.skipped.is_empty(), "{shape}: {:?}", tally.samples);
                match lacks {
                    Lacks::Nothing => {}
                    Lacks::RecordId => expect[0].4 = 0,
                    Lacks::Binary | Lacks::Names => {
                        expect[0].6.remove("#binary");
                    }
                }
                if lacks == Lacks::Names && sample.id == 1102 {
                    expect[0].6.retain(|name, _| name == "#count");
                    seen.iter_mut().for_each(|seen| seen.6.retain(|name, _| name == "#count"));
                }
                assert_eq!(seen, expect, "{shape} {}\n{text}", sample.id);
            }
        }
    }

    /// Records and counts of one text, in full.
    fn decode_in_full(decoder: &mut LineDecoder, text: &str) -> (Vec<String>, Tally) {
        let (mut records, mut tally) = (Vec::new(), Tally::default());
        decoder.decode(text.as_bytes(), &mut tally, &mut |record| {
            let fields: Vec<_> =
                record.fields.iter().map(|(id, value)| (*id, value.text().into_owned())).collect();
            let system = (&record.provider, record.event_id, record.record_id, record.time);
            let names = (record.channel.text(), record.computer.text());
            records.push(format!("{system:?} {names:?} {fields:?}"));
        });
        (records, tally)
    }

    #[test]
    fn a_line_that_matches_a_layout_reads_as_it_does_without() {
        let names = ["#count", "#binary", "#1", "IpAddress", "ProcessName"];
        let sid_fields = ["SubjectUserSid", "TargetUserSid"];
        let fact_fields = ["SubjectUserName", "SubjectDomainName", "TargetDomainName"];
        let wanted = Wanted::new([("Other", 4625), ("Other", 1)], names, sid_fields)
            .with_fact_fields(fact_fields);
        let wanted = Arc::new(wanted);
        let sid = "S-1-5-21-1-2-3-1104";
        let mut fitted: BTreeMap<&str, usize> = BTreeMap::new();
        for sample in [&samples()[0], &samples()[3]] {
            for (shape, _, text) in shapes(sample) {
                let text = text.replace("S-1-0-0", sid).replace("S-1-5-21-1-2-3-500", sid);
                if !text.starts_with('{') {
                    continue;
                }
                let mut kept = LineDecoder::new(Arc::clone(&wanted));
                let mut anew = LineDecoder::new(Arc::clone(&wanted));
                for (at, character) in text.char_indices() {
                    let (before, rest) = text.split_at(at);
                    let after = &rest[character.len_utf8()..];
                    let changed = match at % 14 {
                        0 => format!("{before}7{after}"),
                        1 => format!("{before}\"{after}"),
                        2 => format!("{before}\\\\{rest}"),
                        3 => format!("{before}\\\"{rest}"),
                        4 => format!("{before}<{rest}"),
                        5 => format!("{before}{{{rest}"),
                        6 => format!("{before}{after}"),
                        7 => format!("{before} {rest}"),
                        8 => format!("{before}\u{f6}{rest}"),
                        9 => format!("{before},\"EventID\":1,{rest}"),
                        10 => format!("{before}0{rest}"),
                        11 => format!("{before}\n{rest}"),
                        12 => format!("{text} \r\n"),
                        _ => format!("{before}\\u0041{rest}"),
                    };
                    for text in [&text, &changed] {
                        anew.events.layouts = Layouts::default();
                        let EventDecoder { plan, prefilter, layouts, .. } = &mut kept.events;
                        let id = prefilter.first_json_id(text.as_bytes());
                        let fits = id.and_then(|id| layouts.read(id, text.as_bytes(), plan));
                        *fitted.entry(shape).or_default() += usize::from(fits.is_some());
                        assert_eq!(
                            decode_in_full(&mut kept, text),
                            decode_in_full(&mut anew, text),
                            "{shape}\n{text}"
                        );
                    }
                }
            }
        }
        for shape in ["winlogbeat", "Vector", "evtx_dump", "OpenWEC Json", "NXLog"] {
            assert!(fitted.get(shape) > Some(&1000), "{shape}: {fitted:?}");
        }
    }

    #[test]
    fn every_event_of_a_mixed_text_is_found() {
        let (seen, tally) = decode(&wanted(&[]), mixed().as_bytes());
        assert_eq!((seen.len(), tally.records), (22, 22), "{:?}", tally.samples);
        assert!(tally.skipped.is_empty(), "{:?}", tally.samples);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_passed_over() {
        let good = xml(&EMPTY);
        check_skips("hello\n\n  \nworld", 0, &[(RejectReason::LineNotAnEvent, 2)]);
        check_skips(&format!("<13>Oct 1 host: {good}\r\n"), 1, &[]);
        check_skips(
            &format!("{{\"a\":1\n{good}\n{{\"a\":1}}\n7\n"),
            1,
            &[
                (RejectReason::LineNotAnEvent, 1),
                (RejectReason::JsonMalformed, 1),
                (RejectReason::JsonShapeUnknown, 1),
            ],
        );
        check_skips(&format!("<Event><System>{good}{good}"), 2, &[(RejectReason::XmlMalformed, 1)]);
        check_skips(
            &format!("<Event><System>\n{}\n{good}", nxlog(&EMPTY)),
            2,
            &[(RejectReason::XmlMalformed, 1)],
        );
        check_skips(
            &format!("<Event/>{good}</Event>\n</Event>"),
            1,
            &[(RejectReason::LineNotAnEvent, 1), (RejectReason::FieldsMissing, 1)],
        );
        check_skips(
            &nxlog(&EMPTY).to_string().replace("Hostname", "H"),
            0,
            &[(RejectReason::FieldsMissing, 1)],
        );
        check_skips(
            &json!({"records": [{}, nxlog(&EMPTY), 5]}).to_string(),
            1,
            &[(RejectReason::JsonShapeUnknown, 2)],
        );
        check_skips("{\"OpenWEC\":{\"Error\":{}}}", 0, &[(RejectReason::JsonShapeUnknown, 1)]);
        check_skips("{\"Event\":{}}", 0, &[(RejectReason::FieldsMissing, 1)]);
    }

    #[test]
    fn bytes_that_are_not_text_stay_within_their_event() {
        let mut text = nxlog(&EMPTY).to_string().into_bytes();
        let at = memmem::find(&text, b"im_msvistalog").expect("the sample has it");
        text[at] = 0xff;
        let (seen, _) = decode(&wanted(&[]), &text);
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn damaged_text_never_panics() {
        let text = mixed().into_bytes();
        let wanted = wanted(&["SubjectUserSid"]);
        // A linear congruential generator: the same damage in every run.
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        for _ in 0..300 {
            let mut damaged = text.clone();
            for _ in 0..random() % 40 {
                let at = random() % damaged.len();
                damaged[at] = b"<>&\"'{}[],:\\/!\n\0\xff0aE"[random() % 20];
            }
            let end = random() % damaged.len();
            let (_, tally) = decode(&wanted, &damaged[..end]);
            assert!(tally.records <= 22 + 40);
            let _ = last_boundary(&damaged[..end]);
        }
    }
}
