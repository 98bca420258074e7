//! Event XML, one `<Event>` at a time: what Windows renders, forwarders send and `wevtutil` prints.
//!
//! ```text
//! <Event xmlns='…'>
//!   <System> <Provider Name=…/> <EventID>4625</EventID> … <Computer>…</Computer> </System>
//!   <EventData> <Data Name='…'>…</Data> … <Binary>…</Binary> </EventData>
//!       or <UserData>, <ProcessingErrorData>, <DebugData>, or nothing
//!   <RenderingInfo Culture='…'> <Message>…</Message> … </RenderingInfo>
//! </Event>
//! ```
//!
//! There are two readers with one result. The `scanner` handles the common form and borrows every
//! value; anything else it declines, before any effect, and the `reader` on `quick-xml` takes over.
//! That one reads any well-formed event, and one that is cut off after its data. A test holds the
//! two equal.
//!
//! An event is read only as far as needed: up to `</System>` when it cannot be wanted, up to its
//! data when no rule reads the message. What follows is not checked.

mod element;
mod reader;
mod scanner;

use std::borrow::Cow;

use super::Emit;
pub use super::event::Fault;
use super::field_plan::FieldPlan;
use super::text::excerpt;
pub(super) use reader::read_data;

/// Deepest nesting of elements that is read.
pub const DEPTH_MAX: usize = 64;

/// Decodes one `<Event …>…</Event>`. Returns true when the record is wanted and was emitted, false
/// when it is not wanted.
///
/// A `RenderingInfo` that is cut off, as forwarders sometimes send it, is no error: the message is
/// as much of it as there is.
pub fn decode_event(xml: &str, plan: &FieldPlan, emit: &mut Emit<'_>) -> Result<bool, Fault> {
    decode_with_message(xml, None, plan, emit)
}

/// [`decode_event`] for XML whose message is delivered beside it; a message within the XML takes
/// precedence.
pub(super) fn decode_with_message<'a>(
    xml: &'a str,
    message: Option<Cow<'a, str>>,
    plan: &FieldPlan,
    emit: &mut Emit<'_>,
) -> Result<bool, Fault> {
    let mut parsed = match scanner::scan(xml, plan) {
        Some(parsed) => parsed,
        None => reader::read(xml, plan)?,
    };
    if parsed.system.message.is_none() {
        parsed.system.message = message;
    }
    let record = parsed
        .into_record(plan)
        .map_err(|(skip, what)| (skip, format!("{what}: {}", excerpt(xml))))?;
    if let Some(record) = &record {
        emit(record);
    }
    Ok(record.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::reader::read;
    use super::scanner::scan;
    use super::*;
    use crate::decode::event::Parsed;
    use crate::record::Wanted;
    use crate::reject::RejectReason;

    const NAMES: [&str; 13] = [
        "TargetUserName",
        "Status",
        "Nested",
        "Ünïcode",
        "#1",
        "#2",
        "#3",
        "#binary",
        "#count",
        "#level",
        "#user",
        "#message",
        "#culture",
    ];

    fn plan(message: Option<&str>) -> FieldPlan {
        let names = NAMES.into_iter().filter(|name| message.is_some() || !name.starts_with("#m"));
        let rules = [("Security-Auditing", 4625), ("Kerberos", 3), ("Eventlog", 1102)];
        FieldPlan::new(Arc::new(Wanted::new(rules, names, ["TargetUserSid"])))
    }

    fn show(parsed: Parsed<'_, '_>, plan: &FieldPlan) -> String {
        match parsed.into_record(plan) {
            Ok(Some(record)) => {
                let wanted = plan.wanted();
                let fields =
                    record.fields.iter().map(|(id, value)| (wanted.field_name(*id), value.text()));
                let fields: Vec<_> = fields.collect();
                format!(
                    "{} {} {} {} {} {} {fields:?}",
                    record.provider,
                    record.event_id,
                    record.channel.text(),
                    record.computer.text(),
                    record.record_id,
                    record.time,
                )
            }
            Ok(None) => "not wanted".to_owned(),
            Err((reason, what)) => format!("{} {what}", reason.name()),
        }
    }

    #[track_caller]
    fn check(xml: &str, expect: &str) {
        let plan = plan(Some("#message"));
        let read = read(xml, &plan)
            .map_or_else(|(reason, _)| reason.name().to_owned(), |p| show(p, &plan));
        assert_eq!(read, expect, "{xml}");
        if let Some(scanned) = scan(xml, &plan) {
            assert_eq!(show(scanned, &plan), read, "{xml}");
        }
    }

    fn event(id: &str, rest: &str) -> String {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
             <Provider Name='Security-Auditing' Guid='{{0}}'/><EventID>{id}</EventID><Level>0</Level>\
             <TimeCreated SystemTime='2025-10-01T08:00:00.1234567Z'/><EventRecordID>7</EventRecordID>\
             <Channel>Security</Channel><Computer>pc1</Computer><Security UserID='S-1-5-18'/>\
             </System>{rest}"
        )
    }

    const HEAD: &str = "Security-Auditing 4625 Security pc1 7 2025-10-01T08:00:00.1234567Z ";

    #[test]
    fn data_is_read_by_name_and_by_position() {
        let data = "<EventData><Data Name='TargetUserName'>bob</Data><Data>one</Data><Data/>\
                    <Data Name=\"Status\" /><Binary>0A0B</Binary><Nested>n</Nested></EventData></Event>";
        let fields = r##"[("TargetUserName", "bob"), ("#1", "one"), ("#2", ""), ("Status", ""), ("#binary", "0A0B"), ("Nested", "n"), ("#count", "5"), ("#level", "0"), ("#user", "S-1-5-18")]"##;
        check(&event("4625", data), &format!("{HEAD}{fields}"));
    }

    #[test]
    fn older_and_nested_forms_of_data_are_read() {
        let tail = r##"("#level", "0"), ("#user", "S-1-5-18")]"##;
        check(
            &event(
                "4625",
                "<EventData><Data><string>a</string><string>b</string></Data></EventData></Event>",
            ),
            &format!("{HEAD}[(\"#1\", \"a\"), (\"#2\", \"b\"), (\"#count\", \"2\"), {tail}"),
        );
        check(
            &event(
                "4625",
                "<UserData><x:Log xmlns:x='u'><x:Status>5</x:Status><Nested/></x:Log></UserData></Event>",
            ),
            &format!("{HEAD}[(\"Status\", \"5\"), (\"Nested\", \"\"), (\"#count\", \"2\"), {tail}"),
        );
        check(
            &event(
                "4625",
                "<ProcessingErrorData><Status>15005</Status></ProcessingErrorData></Event>",
            ),
            &format!("{HEAD}[(\"Status\", \"15005\"), (\"#count\", \"1\"), {tail}"),
        );
        for none in [
            "</Event>",
            "<EventData/></Event>",
            "<EventData></EventData></Event>",
            "<UserData/></Event>",
        ] {
            check(&event("4625", none), &format!("{HEAD}[(\"#count\", \"0\"), {tail}"));
        }
    }

    #[test]
    fn escapes_are_resolved() {
        let data = "<EventData><Data Name='TargetUserName'>a&amp;&lt;&#x41;&#66;&bogus;&#0;&</Data>\
                    <Data Name='Status'><![CDATA[</Event>&amp;]]>x<!-- y -->z</Data></EventData></Event>";
        let fields = r##"[("TargetUserName", "a&<AB&bogus;&#0;&"), ("Status", "</Event>&amp;xz"), ("#count", "2"), ("#level", "0"), ("#user", "S-1-5-18")]"##;
        check(&event("4625", data), &format!("{HEAD}{fields}"));
    }

    #[test]
    fn a_message_that_breaks_off_is_what_there_is_of_it() {
        let start = "<EventData><Data>x</Data></EventData><RenderingInfo Culture='en-US'>";
        let fields = |message: &str| {
            format!(
                "{HEAD}[(\"#1\", \"x\"), (\"#count\", \"1\"), (\"#level\", \"0\"), (\"#user\", \"S-1-5-18\"){message}, (\"#culture\", \"en-US\")]"
            )
        };
        for end in ["", "</Event>", "</RenderingInfo></Event>", "</Mess"] {
            let cut = format!("{start}<Message>An acc&amp;ount{end}");
            check(&event("4625", &cut), &fields(", (\"#message\", \"An acc&ount\")"));
        }
        for end in ["", "<", "<Mess", "</RenderingInfo></Event>", "<Level>Information</Lev"] {
            check(&event("4625", &format!("{start}{end}")), &fields(""));
        }
        let plan = plan(None);
        let cut = event("4625", &format!("{start}<Message>An acc"));
        assert!(scan(&cut, &plan).is_some(), "the scanner does not need the message");
    }

    #[test]
    fn what_breaks_off_before_its_data_is_whole_is_malformed() {
        let whole = event("4625", "<EventData><Data Name='Status'>5</Data></EventData></Event>");
        let plan = plan(Some("#message"));
        for end in 0..whole.find("</EventData>").map_or(0, |at| at + 12) {
            let Err((reason, _)) = read(&whole[..end], &plan) else { panic!("{}", &whole[..end]) };
            assert_eq!(reason, RejectReason::XmlMalformed);
            assert!(scan(&whole[..end], &plan).is_none(), "{}", &whole[..end]);
        }
    }

    #[test]
    fn the_name_of_the_classic_source_counts_too() {
        let xml = event("3", "</Event>").replace(
            "Name='Security-Auditing'",
            "Name='Microsoft-Windows-Security-Kerberos' EventSourceName='Kerberos'",
        );
        check(
            &xml,
            "Kerberos 3 Security pc1 7 2025-10-01T08:00:00.1234567Z [(\"#count\", \"0\"), (\"#level\", \"0\"), (\"#user\", \"S-1-5-18\")]",
        );
    }

    #[test]
    fn the_sid_of_an_account_in_a_fact_carrier_makes_any_event_wanted() {
        let data = |sid: &str| {
            format!("<EventData><Data Name='TargetUserSid'>{sid}</Data></EventData></Event>")
        };
        let shown = "Security-Auditing 1 Security pc1 7 2025-10-01T08:00:00.1234567Z [(\"TargetUserSid\", \"S-1-5-21-1-2-3-500\")]";
        check(&event("1", &data("S-1-5-21-1-2-3-500")), shown);
        check(&event("1", &data("S-1-5-18")), "not wanted");
        let status = data("S-1-5-21-1-2-3-500").replace("TargetUserSid", "Status");
        check(&event("1", &status), "not wanted");
    }

    #[test]
    fn what_is_missing_is_named() {
        let whole = event("4625", "</Event>");
        for (cut, what) in [
            ("<Computer>pc1</Computer>", "fields_missing expected a computer"),
            ("<EventID>4625</EventID>", "fields_missing expected an event id"),
            (
                " SystemTime='2025-10-01T08:00:00.1234567Z'",
                "fields_missing expected a time of creation",
            ),
            (" Name='Security-Auditing'", "fields_missing expected a provider"),
        ] {
            check(&whole.replace(cut, ""), what);
        }
        for broken in ["", "<Event", "<Event>", "<Events/>", "<a><Event/></a>", "&", "{}"] {
            check(broken, "xml_malformed");
        }
    }

    /// Every variant of an event is read alike by the scanner, or left to the
    /// reader.
    #[test]
    fn the_scanner_declines_or_equals_the_reader() {
        let rest = "<EventData><Data Name='TargetUserName'>bob</Data><Data>one</Data>\
                    <Binary>0A</Binary></EventData><RenderingInfo Culture='de'><Message>m</Message>\
                    </RenderingInfo></Event>";
        let plain = event("4625", rest);
        let plan = plan(Some("#message"));
        assert!(scan(&plain, &plan).is_some(), "the common form is scanned");
        let changes = [
            ("'", "\""),
            ("><", ">\r\n  <"),
            ("<Data", "<e:Data"),
            ("/>", " />"),
            ("bob", "b&#x20AC;b"),
            ("bob", "<![CDATA[b]]>"),
            ("bob", "<!-- -->bob"),
            ("<EventID>", "<EventID Qualifiers='>'>"),
            ("4625", " 4625 "),
            ("4625", "4624"),
            ("<Binary>", "<Binary a='/' >"),
            ("one", "a > b"),
            ("<Message>", "<Other/><Message>"),
            ("EventData", "UserData"),
            ("Name=", "Name = "),
            ("</Data>", "</Data >"),
            ("<Event ", "<?xml version='1.0'?>\n<Event "),
            ("one", "<b>x</b>"),
            ("Status", "Ünïcode"),
            ("</Event>", ""),
            ("</System>", "</System><System></System>"),
            ("bob", "é&quot;"),
            ("<EventData>", "<EventData Name='x'>"),
            ("Security-", "&#83;ecurity-"),
        ];
        let mut scanned = 0;
        for first in changes {
            for second in changes {
                let xml = plain.replace(first.0, first.1).replace(second.0, second.1);
                if let Some(parsed) = scan(&xml, &plan) {
                    scanned += 1;
                    let read = read(&xml, &plan)
                        .map_or_else(|(_, what)| what, |parsed| show(parsed, &plan));
                    assert_eq!(show(parsed, &plan), read, "{xml}");
                }
            }
        }
        assert!(scanned > 100, "{scanned} variants were scanned");
    }

    /// Bytes changed one at a time, at every place.
    #[test]
    fn damaged_events_read_alike_and_never_panic() {
        let rest = "<EventData><Data Name='Status'>a&amp;b</Data><Data/></EventData>\
                    <RenderingInfo Culture='de'><Message>m</Message></RenderingInfo></Event>";
        let plain = event("4625", rest);
        let plan = plan(Some("#message"));
        for at in 0..plain.len() {
            for change in ["", "<", ">", "'", "\"", "/", "&", " ", "=", "!", "x", ":", "é"] {
                let xml = format!("{}{change}{}", &plain[..at], &plain[at + 1..]);
                let read = read(&xml, &plan);
                if let Some(parsed) = scan(&xml, &plan) {
                    let read = read.map_or_else(|(_, what)| what, |parsed| show(parsed, &plan));
                    assert_eq!(show(parsed, &plan), read, "{xml}");
                }
            }
        }
    }
}
