//! Blocks of text in, events out: finds the events in mixed XML and JSON text, and discards those
//! that cannot be wanted before anything parses them. JSON that matches a layout is read without a
//! search for names, and without a search for its end.
//!
//! | event | from | to |
//! |---|---|---|
//! | JSON | `{`, `[{` or `"` at the start of a line | the end of the line |
//! | XML | `<Event` | its `</Event>`, on the same line or a later one; the next `<Event` when it has none |
//!
//! XML declarations, comments, the tags of `<Events>`, byte order marks, blank lines, and the
//! brackets and commas of a JSON array with one object a line are ignored. Any other line is
//! counted as [`LineNotAnEvent`](crate::reject::RejectReason::LineNotAnEvent).
//!
//! Every byte is searched a fixed number of times, whatever the text.
//!
//! | module | holds |
//! |---|---|
//! | `decoder` | [`LineDecoder`]: events to records, by the shortest way |
//! | `last_event` | [`LastEvent`]: how far a stream is of which nothing is wanted |
//! | `framing` | where events start and end; [`last_boundary`] |
//! | `prefilter` | which events cannot be wanted, by byte search |

mod decoder;
mod framing;
mod last_event;
mod prefilter;

pub use decoder::LineDecoder;
pub use framing::last_boundary;
pub use last_event::LastEvent;

/// Longest event that is decoded.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// Events in every shape that is read, for the tests of this folder.
#[cfg(test)]
pub(crate) mod samples {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::{Map, Value as Json, json};

    use super::LineDecoder;
    use crate::decode::Tally;
    use crate::record::Wanted;
    use crate::reject::RejectReason;

    /// One made-up event, to be written in every shape.
    pub(crate) struct Sample {
        pub(crate) provider: &'static str,
        pub(crate) id: u32,
        pub(crate) channel: &'static str,
        pub(crate) record_id: u64,
        pub(crate) named: &'static [(&'static str, &'static str)],
        pub(crate) unnamed: &'static [&'static str],
        pub(crate) binary: Option<&'static str>,
        pub(crate) user_data: &'static [(&'static str, &'static str)],
    }

    pub(crate) const TIME: &str = "2025-10-01T08:00:00.0000000Z";
    pub(crate) const COMPUTER: &str = "dc1.corp.example";
    pub(crate) const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

    pub(crate) const FAILED_LOGON: &[(&str, &str)] = &[
        ("SubjectUserSid", "S-1-0-0"),
        ("SubjectUserName", "-"),
        ("SubjectDomainName", "-"),
        ("SubjectLogonId", "0x0"),
        ("TargetUserSid", "S-1-0-0"),
        ("TargetUserName", "b\u{f6}b & \"c\""),
        ("TargetDomainName", "CORP"),
        ("Status", "0xc000006d"),
        ("FailureReason", "%%2313"),
        ("SubStatus", "0xc000006a"),
        ("LogonType", "3"),
        ("LogonProcessName", "NtLmSsp "),
        ("AuthenticationPackageName", "NTLM"),
        ("WorkstationName", "PC7"),
        ("TransmittedServices", "-"),
        ("LmPackageName", "-"),
        ("KeyLength", "0"),
        ("ProcessId", "0x0"),
        ("ProcessName", "C:\\a<b>"),
        ("IpAddress", "::ffff:10.0.0.7"),
        ("IpPort", "0"),
    ];

    pub(crate) const CLEARED: &[(&str, &str)] = &[
        ("SubjectUserSid", "S-1-5-21-1-2-3-500"),
        ("SubjectUserName", "admin"),
        ("SubjectDomainName", "CORP"),
        ("SubjectLogonId", "0x3e7"),
    ];

    pub(crate) const EMPTY: Sample = Sample {
        provider: "LsaSrv",
        id: 6167,
        channel: "System",
        record_id: 77,
        named: &[],
        unnamed: &[],
        binary: None,
        user_data: &[],
    };

    pub(crate) fn samples() -> [Sample; 4] {
        [
            Sample {
                provider: SECURITY,
                id: 4625,
                channel: "Security",
                named: FAILED_LOGON,
                ..EMPTY
            },
            EMPTY,
            Sample {
                provider: "NETLOGON",
                id: 5805,
                unnamed: &["PC7", "%%5", ""],
                binary: Some("220000C0"),
                ..EMPTY
            },
            Sample {
                provider: "Microsoft-Windows-Eventlog",
                id: 1102,
                channel: "Security",
                user_data: CLEARED,
                ..EMPTY
            },
        ]
    }

    pub(crate) fn wanted(fact_fields: &[&'static str]) -> Arc<Wanted> {
        let rules = samples().map(|sample| (sample.provider, sample.id));
        let names =
            ["#1", "#2", "#3", "#4", "#binary", "#count", "Status", "LogonType", "IpAddress"];
        let names = names.into_iter().chain(["TargetUserName", "ProcessName", "SubjectUserName"]);
        Arc::new(Wanted::new(rules, names, fact_fields.iter().copied()))
    }

    pub(crate) fn escape(text: &str) -> String {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }

    pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Map<String, Json> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    pub(crate) fn xml_data(sample: &Sample) -> String {
        let named = sample
            .named
            .iter()
            .map(|(name, value)| format!("<Data Name='{name}'>{}</Data>", escape(value)));
        let unnamed = sample.unnamed.iter().map(|value| format!("<Data>{}</Data>", escape(value)));
        let binary = sample.binary.iter().map(|hex| format!("<Binary>{hex}</Binary>"));
        let data: String = named.chain(unnamed).chain(binary).collect();
        format!("<EventData>{data}</EventData>")
    }

    pub(crate) fn xml_user_data(sample: &Sample) -> String {
        let leaves = sample.user_data.iter();
        let leaves: String =
            leaves.map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
        format!("<UserData><LogFileCleared xmlns='x'>{leaves}</LogFileCleared></UserData>")
    }

    pub(crate) fn xml(sample: &Sample) -> String {
        let Sample { provider, id, channel, record_id, .. } = sample;
        let data =
            if sample.user_data.is_empty() { xml_data(sample) } else { xml_user_data(sample) };
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
             <Provider Name='{provider}'/><EventID Qualifiers='0'>{id}</EventID><Version>0</Version>\
             <Level>2</Level><Keywords>0x80</Keywords><TimeCreated SystemTime='{TIME}'/>\
             <EventRecordID>{record_id}</EventRecordID><Correlation/><Execution ProcessID='1' ThreadID='2'/>\
             <Channel>{channel}</Channel><Computer>{COMPUTER}</Computer><Security UserID='S-1-5-18'/>\
             </System>{data}</Event>"
        )
    }

    pub(crate) fn winlog(sample: &Sample) -> Json {
        let mut data = pairs(sample.named);
        for (index, value) in sample.unnamed.iter().enumerate() {
            data.insert(format!("param{}", index + 1), json!(value));
        }
        data.extend(sample.binary.map(|hex| ("Binary".to_owned(), json!(hex))));
        let mut winlog = json!({
            "channel": sample.channel, "computer_name": COMPUTER, "event_id": sample.id.to_string(),
            "keywords": ["Audit Failure"], "process": {"pid": 1, "thread": {"id": 2}},
            "provider_name": sample.provider, "record_id": sample.record_id, "task": "Logon",
            "user": {"identifier": "S-1-5-18"},
        });
        if !data.is_empty() {
            winlog["event_data"] = Json::Object(data);
        }
        if !sample.user_data.is_empty() {
            let mut user = pairs(sample.user_data);
            user.insert("xml_name".to_owned(), json!("LogFileCleared"));
            winlog["user_data"] = Json::Object(user);
        }
        winlog
    }

    pub(crate) fn winlogbeat(sample: &Sample) -> Json {
        json!({
            "@timestamp": TIME, "@metadata": {"beat": "winlogbeat"}, "agent": {"id": "1"},
            "event": {"code": sample.id.to_string(), "kind": "event", "created": "2025-10-01T08:00:09Z"},
            "host": {"name": "x"}, "log": {"level": "error"}, "message": "two\nlines {\"a\":1}",
            "winlog": winlog(sample),
        })
    }

    pub(crate) fn dotted(sample: &Sample) -> Json {
        fn flatten(path: &str, value: &Json, into: &mut Map<String, Json>) {
            match value {
                Json::Object(inner) => {
                    inner
                        .iter()
                        .for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, into));
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                    into.insert(path.to_owned(), value.clone());
                }
            }
        }
        let mut flat = Map::from_iter([("@timestamp".to_owned(), json!(TIME))]);
        flatten("winlog", &winlog(sample), &mut flat);
        Json::Object(flat)
    }

    /// Its data as an object, beside a text that may hold XML.
    pub(crate) fn dotted_with_raw(sample: &Sample) -> Json {
        let mut flat = dotted(sample);
        let keys = flat.as_object_mut().expect("an object");
        keys.retain(|key, _| {
            !key.starts_with("winlog.event_data") && !key.starts_with("winlog.user_data")
        });
        let inner = winlog(sample);
        for section in ["event_data", "user_data"] {
            if let Some(data) = inner.get(section) {
                keys.insert(format!("winlog.{section}"), data.clone());
            }
        }
        keys.insert("_raw".to_owned(), json!("x"));
        flat
    }

    pub(crate) fn vector(sample: &Sample) -> Json {
        let inserts: Vec<_> = sample
            .named
            .iter()
            .map(|(_, value)| *value)
            .chain(sample.unnamed.iter().copied())
            .collect();
        json!({
            "source_type": "windows_event_log", "timestamp": TIME, "computer": COMPUTER, "host": "x",
            "channel": sample.channel, "event_id": sample.id, "provider_name": sample.provider,
            "record_id": sample.record_id, "level": "Error", "level_value": 2,
            "event_data": pairs(sample.named), "user_data": pairs(sample.user_data),
            "string_inserts": inserts, "user_id": "S-1-5-18",
        })
    }

    pub(crate) fn evtx_data(sample: &Sample) -> Json {
        let mut data = pairs(sample.named);
        if !sample.unnamed.is_empty() {
            data.insert("Data".to_owned(), json!({"#text": sample.unnamed}));
        }
        data.extend(sample.binary.map(|hex| ("Binary".to_owned(), json!(hex))));
        if data.is_empty() { Json::Null } else { Json::Object(data) }
    }

    pub(crate) fn evtx_dump(sample: &Sample) -> Json {
        let mut event = json!({
            "#attributes": {"xmlns": "x"},
            "System": {
                "Provider": {"#attributes": {"Name": sample.provider}},
                "EventID": {"#attributes": {"Qualifiers": 0}, "#text": sample.id},
                "Level": 2, "TimeCreated": {"#attributes": {"SystemTime": TIME}},
                "EventRecordID": sample.record_id, "Channel": sample.channel, "Computer": COMPUTER,
                "Security": {"#attributes": {"UserID": "S-1-5-18"}},
            },
        });
        if sample.user_data.is_empty() {
            event["EventData"] = evtx_data(sample);
        } else {
            let mut inner = pairs(sample.user_data);
            inner.insert("#attributes".to_owned(), json!({"xmlns": "x"}));
            event["UserData"] = json!({"LogFileCleared": inner});
        }
        json!({"Event": event})
    }

    pub(crate) fn evtx_dump_separate(sample: &Sample) -> Json {
        let mut event = json!({
            "System": {
                "Provider_attributes": {"Name": sample.provider}, "Provider": null,
                "EventID": sample.id, "EventID_attributes": {"Qualifiers": 0}, "Level": 2,
                "TimeCreated_attributes": {"SystemTime": TIME}, "EventRecordID": sample.record_id,
                "Channel": sample.channel, "Computer": COMPUTER,
            },
        });
        if sample.user_data.is_empty() {
            event["EventData"] = evtx_data(sample);
        } else {
            event["UserData"] = json!({
                "LogFileCleared": pairs(sample.user_data), "LogFileCleared_attributes": {"xmlns": "x"},
            });
        }
        json!({"Event": event, "Event_attributes": {"xmlns": "x"}})
    }

    pub(crate) fn openwec_data(sample: &Sample) -> (&'static str, Json) {
        let mut data = pairs(sample.named);
        if !sample.unnamed.is_empty() {
            data.insert("Data".to_owned(), json!(sample.unnamed));
        }
        data.extend(sample.binary.map(|hex| ("Binary".to_owned(), json!(hex))));
        if sample.user_data.is_empty() {
            ("EventData", Json::Object(data))
        } else {
            ("UserData", json!(xml_user_data(sample)))
        }
    }

    pub(crate) fn openwec(sample: &Sample) -> Json {
        let (section, data) = openwec_data(sample);
        json!({
            "System": {
                "Provider": {"Name": sample.provider, "Guid": "{0}"}, "EventID": sample.id, "Level": 2,
                "TimeCreated": TIME, "EventRecordID": sample.record_id, "Channel": sample.channel,
                "Computer": COMPUTER, "UserID": "S-1-5-18", "Execution": {"ProcessID": 1},
            },
            section: data,
            "OpenWEC": {"Client": "dc1$", "Subscription": {"Name": "a"}},
        })
    }

    pub(crate) fn openwec_nxlog(sample: &Sample) -> Json {
        let mut event = json!({
            "SourceName": sample.provider, "EventID": sample.id, "EventTime": TIME, "Keywords": -1,
            "RecordNumber": sample.record_id, "Channel": sample.channel, "Hostname": COMPUTER,
            "UserID": "S-1-5-18", "OpenWEC": {"IpAddress": "::1"}, "EventReceivedTime": TIME,
            "ProcessID": 1, "ThreadID": 2, "SeverityValue": 4,
        });
        let (section, data) = openwec_data(sample);
        match data.as_object() {
            Some(data) => data.iter().for_each(|(name, value)| event[name] = value.clone()),
            None => event[section] = data,
        }
        event
    }

    pub(crate) fn nxlog(sample: &Sample) -> Json {
        let mut event = openwec_nxlog(sample);
        event["EventTime"] = json!("2025-10-01 08:00:00");
        event["AccountName"] = json!("SYSTEM");
        event["AccountType"] = json!("User");
        event["Domain"] = json!("NT AUTHORITY");
        event["SourceModuleType"] = json!("im_msvistalog");
        event["@timestamp"] = json!("2025-10-01T12:00:09Z");
        event["@version"] = json!("1");
        event
    }

    pub(crate) fn flat_winlogbeat(sample: &Sample) -> Json {
        let mut event = json!({
            "SourceName": sample.provider, "EventID": sample.id, "TimeCreated": TIME, "Level": "2",
            "Channel": sample.channel, "Hostname": COMPUTER, "Task": "0", "Message": "m",
        });
        let (section, data) = openwec_data(sample);
        match data.as_object() {
            Some(data) => data.iter().for_each(|(name, value)| event[name] = value.clone()),
            None => event[section] = data,
        }
        event
    }

    pub(crate) fn fluent_bit(sample: &Sample) -> Json {
        let named = sample.named.iter().chain(sample.user_data).map(|(_, value)| *value);
        let inserts: Vec<_> = named.chain(sample.unnamed.iter().copied()).collect();
        json!({
            "ProviderName": sample.provider, "ProviderGuid": "", "Qualifiers": "", "EventID": sample.id,
            "Level": 2, "TimeCreated": "2025-10-01 10:00:00 +0200", "EventRecordID": sample.record_id,
            "Channel": sample.channel, "Computer": COMPUTER, "UserID": "NT AUTHORITY\\SYSTEM",
            "Message": "m", "StringInserts": inserts, "@timestamp": 1_759_305_600.5,
        })
    }

    pub(crate) fn sentinel(sample: &Sample) -> Json {
        json!({
            "TenantId": "t", "TimeGenerated": TIME, "Provider": sample.provider, "EventID": sample.id,
            "Channel": sample.channel, "Computer": COMPUTER, "EventRecordId": sample.record_id.to_string(),
            "EventLevelName": "Error", "SystemUserId": "S-1-5-18", "Type": "WindowsEvent",
            "EventData": if sample.user_data.is_empty() { openwec_data(sample).1 } else { Json::Null },
            "RawEventData": if sample.user_data.is_empty() { String::new() } else { xml_user_data(sample) },
        })
    }

    pub(crate) fn security_event(sample: &Sample) -> Json {
        let data =
            if sample.user_data.is_empty() { xml_data(sample) } else { xml_user_data(sample) };
        json!({
            "TimeGenerated": TIME, "EventSourceName": sample.provider, "EventID": sample.id,
            "Channel": sample.channel, "Computer": COMPUTER, "Account": "a\\b", "AccountType": "User",
            "EventData": data, "Activity": "4625 - x", "EventRecordId": sample.record_id,
        })
    }

    /// What a shape cannot carry.
    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Lacks {
        Nothing,
        RecordId,
        Binary,
        /// Names of data that no manifest order is known for, and binary.
        Names,
    }

    pub(crate) fn shapes(sample: &Sample) -> Vec<(&'static str, Lacks, String)> {
        let plain = xml(sample);
        let pretty = plain.replace("><", ">\r\n  <").replace(">\r\n  </Data>", "></Data>");
        let rendering = "<RenderingInfo Culture='en-US'><Message>cut o";
        let shape = |name, value: Json| (name, Lacks::Nothing, value.to_string());
        let mut shapes = vec![
            ("XML", Lacks::Nothing, plain.clone()),
            ("XML, indented", Lacks::Nothing, format!("\u{feff}<?xml version=\"1.0\"?>\n{pretty}")),
            ("XML, prefixed", Lacks::Nothing, prefixed(&plain)),
            ("XML, cut off", Lacks::Nothing, plain.replace("</Event>", rendering)),
            (
                "XML, cut off, closed",
                Lacks::Nothing,
                plain.replace("</Event>", &format!("{rendering}</Event>")),
            ),
            ("XML in Events", Lacks::Nothing, format!("<Events>{plain}</Events>")),
            shape("winlogbeat", winlogbeat(sample)),
            shape("dotted", dotted(sample)),
            shape("dotted, data nested", dotted_with_raw(sample)),
            ("Vector", Lacks::Binary, vector(sample).to_string()),
            shape("evtx_dump", evtx_dump(sample)),
            shape("evtx_dump, separate attributes", evtx_dump_separate(sample)),
            shape("OpenWEC Json", openwec(sample)),
            shape("OpenWEC RawJson", json!({"meta": {"IpAddress": "::1"}, "data": plain})),
            shape("OpenWEC Nxlog", openwec_nxlog(sample)),
            shape("NXLog", nxlog(sample)),
            ("flat winlogbeat", Lacks::RecordId, flat_winlogbeat(sample).to_string()),
            ("Fluent Bit", Lacks::Names, fluent_bit(sample).to_string()),
            shape(
                "Fluent Bit, XML",
                json!({"System": plain, "Message": "m", "StringInserts": ["a"]}),
            ),
            shape("Sentinel WindowsEvent", sentinel(sample)),
            shape("Sentinel records", json!({"records": [sentinel(sample)]})),
            shape("Sentinel SecurityEvent", security_event(sample)),
            shape(
                "Splunk",
                json!({"time": 1.5, "host": "x", "sourcetype": "XmlWinEventLog", "event": plain}),
            ),
            shape(
                "Splunk result",
                json!({"preview": false, "result": {"_raw": plain, "host": "x"}}),
            ),
            shape("Splunk result, flat", json!({"result": nxlog(sample)})),
            shape("Elasticsearch hit", json!({"_index": "i", "_source": winlogbeat(sample)})),
            shape("JSON in JSON", json!({"message": winlogbeat(sample).to_string()})),
            shape("XML in a JSON string", json!(plain)),
            shape("array", json!([winlogbeat(sample)])),
        ];
        let mut data_as_text = sentinel(sample);
        if sample.user_data.is_empty() {
            data_as_text["EventData"] = json!(data_as_text["EventData"].to_string());
        }
        shapes.push(shape("Sentinel, data as JSON text", data_as_text));
        shapes
    }

    pub(crate) fn prefixed(xml: &str) -> String {
        let text = xml.replace("</", "</\u{1}").replace('<', "<e:").replace("<e:/\u{1}", "</e:");
        text.replace("xmlns=", "xmlns:e=").replace("\u{1}", "")
    }

    /// The same event whatever the format: provider, id, …, and the fields.
    pub(crate) type DecodedEvent =
        (String, u32, String, String, u64, String, BTreeMap<String, String>);

    pub(crate) fn decode(wanted: &Arc<Wanted>, text: &[u8]) -> (Vec<DecodedEvent>, Tally) {
        let mut seen = Vec::new();
        let mut tally = Tally::default();
        LineDecoder::new(Arc::clone(wanted)).decode(text, &mut tally, &mut |record| {
            let fields = record
                .fields
                .iter()
                .map(|(id, value)| (wanted.field_name(*id).to_owned(), value.text().into_owned()));
            seen.push((
                record.provider.clone().into_owned(),
                record.event_id,
                record.channel.text().into_owned(),
                record.computer.text().into_owned(),
                record.record_id,
                record.time.to_string(),
                fields.collect(),
            ));
        });
        (seen, tally)
    }

    pub(crate) fn mixed() -> String {
        let mut text = String::from("\u{feff}<?xml version='1.0'?>\n<Events>\n");
        for sample in samples() {
            text += &xml(&sample);
            text += &xml(&sample).replace("><", ">\n<");
        }
        text += "</Events>\r\n\r\n[\n";
        for sample in samples() {
            text += &format!("{},\n{}\n", winlogbeat(&sample), json!({"data": xml(&sample)}));
            text += &xml(&sample);
        }
        text += "\n]\n";
        text +=
            &xml(&EMPTY).replace("</EventData></Event>", "</EventData><RenderingInfo><Message>cu");
        text += "\n";
        text += &xml(&EMPTY)
            .replace("<EventData>", "<EventData><Data><![CDATA[</Event>\n<Event >]]></Data>");
        text += "\n";
        text
    }

    #[track_caller]
    pub(crate) fn check_skips(text: &str, records: u64, skips: &[(RejectReason, u64)]) {
        let (_, tally) = decode(&wanted(&[]), text.as_bytes());
        let skipped: Vec<_> = tally.skipped.into_iter().collect();
        assert_eq!((tally.records, &*skipped), (records, skips), "{:?}", tally.samples);
    }
}
