//! One log in several formats: the same incidents. And real logs: as many
//! failures as the `evtx` crate shows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evtx::{EvtxParser, ParserSettings};
use serde_json::Value;
use twinsid::config::Config;
use twinsid::incident::{Incident, Kind};
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, Replayed, replay};

use crate::corpus;

fn replayed(paths: Vec<PathBuf>) -> Replayed {
    let config = Config::embedded();
    replay(
        Replay {
            paths,
            outputs: Vec::new(),
            settings: config.settings,
            rules: config.rules,
            fact_rules: config.fact_rules,
            inventory: Vec::new(),
            threads: 2,
            damage: OnDamage::Skip,
        },
        &mut NoProgress,
    )
    .expect("the logs can be read")
}

fn sample() -> Vec<PathBuf> {
    corpus::evtx_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fleet"))
}

/// Every record of a file as the `evtx` crate writes it.
fn rendered(path: &Path, separate: bool, xml: bool) -> Vec<String> {
    let settings = ParserSettings::default().separate_json_attributes(separate).indent(false);
    let mut parser =
        EvtxParser::from_path(path).expect("an EVTX file").with_configuration(settings);
    let text = |record: Result<evtx::SerializedEvtxRecord<String>, _>| {
        record.map(|record| record.data).ok()
    };
    if xml {
        parser.records().filter_map(text).collect()
    } else {
        parser.records_json().filter_map(text).collect()
    }
}

/// The sample fleet, every record changed to another format.
#[track_caller]
fn check(name: &str, record: impl Fn(&Path) -> Vec<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    let lines: Vec<String> = sample().iter().flat_map(|path| record(path)).collect();
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    let incidents = |paths| -> Vec<Incident> { replayed(paths).incidents };
    let found = incidents(vec![path]);
    assert!(!found.is_empty());
    assert_eq!(found, incidents(sample()), "{name}");
}

#[test]
fn xml_gives_the_incidents_of_the_log_it_came_from() {
    check("fleet.xml", |path| rendered(path, false, true));
}

#[test]
fn evtx_dump_json_gives_the_incidents_of_the_log_it_came_from() {
    check("fleet.jsonl", |path| rendered(path, false, false));
    check("fleet-separate.jsonl", |path| rendered(path, true, false));
}

/// What other collectors make of a record, from the JSON of the `evtx` crate.
/// Named data only: the others do not keep unnamed data in one way.
fn reshaped(path: &Path, shape: impl Fn(&Value, &Value) -> Value) -> Vec<String> {
    let records = rendered(path, false, false);
    let shaped = records.iter().map(|record| {
        let event: Value = serde_json::from_str(record).expect("JSON");
        shape(&event["Event"]["System"], &event["Event"]["EventData"]).to_string()
    });
    shaped.collect()
}

fn event_id(system: &Value) -> u64 {
    // Text where the record has no template.
    let id = &system["EventID"];
    let number = |id: &Value| id.as_u64().or_else(|| id.as_str()?.parse().ok());
    number(id).or_else(|| number(&id["#text"])).expect("an id")
}

/// Unnamed data as a list of texts.
fn unnamed(data: &Value) -> Vec<String> {
    match &data["Data"]["#text"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().map(|t| t.as_str().unwrap_or("").to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn named(data: &Value) -> BTreeMap<String, Value> {
    let fields = data.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !matches!(name.as_str(), "Data" | "Binary" | "#attributes"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn winlogbeat_json_gives_the_incidents_of_the_log_it_came_from() {
    check("fleet.jsonl", |path| {
        reshaped(path, |system, data| {
            let mut event_data = named(data);
            for (index, text) in unnamed(data).into_iter().enumerate() {
                event_data.insert(format!("param{}", index + 1), text.into());
            }
            if let Some(binary) = data["Binary"].as_str() {
                event_data.insert("Binary".to_owned(), binary.into());
            }
            serde_json::json!({
                "@timestamp": system["TimeCreated"]["#attributes"]["SystemTime"],
                "@metadata": { "beat": "winlogbeat" },
                "winlog": {
                    "provider_name": system["Provider"]["#attributes"]["Name"],
                    "event_id": event_id(system).to_string(),
                    "channel": system["Channel"],
                    "computer_name": system["Computer"],
                    "record_id": system["EventRecordID"],
                    "event_data": event_data,
                },
            })
        })
    });
}

#[test]
fn openwec_json_gives_the_incidents_of_the_log_it_came_from() {
    check("fleet.jsonl", |path| {
        reshaped(path, |system, data| {
            let mut event_data: BTreeMap<String, Value> = named(data);
            if !unnamed(data).is_empty() {
                event_data.insert("Data".to_owned(), unnamed(data).into());
            }
            if let Some(binary) = data["Binary"].as_str() {
                event_data.insert("Binary".to_owned(), binary.into());
            }
            serde_json::json!({
                "System": {
                    "Provider": { "Name": system["Provider"]["#attributes"]["Name"] },
                    "EventID": event_id(system),
                    "Level": system["Level"],
                    "TimeCreated": system["TimeCreated"]["#attributes"]["SystemTime"],
                    "EventRecordID": system["EventRecordID"],
                    "Channel": system["Channel"],
                    "Computer": system["Computer"],
                },
                "EventData": event_data,
                "OpenWEC": { "Client": "FS01$@CONTOSO" },
            })
        })
    });
}

#[test]
fn real_logs_have_as_many_failures_as_the_evtx_crate_shows() {
    let Some(folder) = corpus::folder("the counting test") else { return };
    let files = corpus::evtx_files(&folder);
    let mut expected: BTreeMap<(String, u32), u64> = BTreeMap::new();
    for path in &files {
        for record in rendered(path, false, false) {
            let event: Value = serde_json::from_str(&record).expect("JSON");
            let system = &event["Event"]["System"];
            let provider = system["Provider"]["#attributes"]["Name"].as_str().unwrap_or_default();
            let status = event["Event"]["EventData"]["Status"].as_str().unwrap_or_default();
            let status = u64::from_str_radix(status.trim_start_matches("0x"), 16).ok();
            let id = event_id(system);
            let is_failure = match (provider, id) {
                ("Microsoft-Windows-Security-Auditing", 4625) | ("NETLOGON", 5805) => true,
                ("Microsoft-Windows-Security-Auditing", 4768 | 4769 | 4771 | 4776) => {
                    status.is_some_and(|status| ![0, 0x19, 0x20, 0x34].contains(&status))
                }
                _ => false,
            };
            if is_failure {
                *expected.entry((provider.to_owned(), id as u32)).or_default() += 1;
            }
        }
    }
    assert!(expected.len() >= 5, "{expected:?}");
    let matched = replayed(files).matched;
    for ((provider, id), count) in expected {
        let found = matched.get(&(provider.as_str().into(), id));
        assert_eq!(found, Some(&count), "{provider}/{id}");
    }
}

#[test]
fn of_the_real_logs_four_machines_are_clones_and_no_others() {
    let Some(folder) = corpus::folder("clones among the real logs") else { return };
    let found = replayed(vec![folder]).incidents;
    let clones: Vec<&Incident> =
        found.iter().filter(|incident| incident.kind == Kind::DuplicateMachineSid).collect();
    assert_eq!(clones.len(), 1, "{clones:?}");
    assert_eq!(clones[0].source_key, "sid:S-1-5-21-3583694148-1414552638-2922671848");
    let mut names: Vec<&str> = clones[0].hosts.iter().map(|host| host.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["IEWIN7", "PC01.example.corp", "PC02.example.corp", "PC04.example.corp"]);
}
