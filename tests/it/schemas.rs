//! What the program writes is what `schemas/` says it writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use jsonschema::Registry;
use serde_json::{Value as Json, json};
use twinsid::output::summary::SKIP_MEANINGS;
use twinsid::reject::RejectReason;
use twinsid::simulate::evtx::{EventSpec, Payload, TypedValue};
use twinsid::status::Category;

use crate::written::{FailedLogon, Log, SECURITY, event, lsa_event, sid, small_log};

fn schema(name: &str) -> Json {
    let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).expect("the schema is there")).expect("JSON")
}

/// The foreign formats refer to the schema of the native incident.
fn complaints(schema: &Json, value: &Json) -> Vec<String> {
    static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
        let incident = self::schema("incident");
        let id = incident["$id"].as_str().expect("an id").to_owned();
        let registry = Registry::new().add(id, incident).expect("an address");
        registry.prepare().expect("a schema")
    });
    let options = jsonschema::draft202012::options().with_registry(&REGISTRY);
    let validator = options.build(schema).expect("a schema");
    let errors = validator.iter_errors(value);
    errors.map(|error| format!("{error} at {}", error.instance_path())).collect()
}

/// Objects with a key for each provider, status or reason that came up.
const KEYS_ARE_DATA: [&str; 5] = ["by_event", "by_status", "matched", "skipped", "incidents"];

/// Every line holds to the schema, and no object of it takes another key.
#[track_caller]
fn check(name: &str, text: &str, lines_min: usize) {
    let schema = schema(name);
    assert!(text.ends_with('\n') && text.lines().count() >= lines_min, "{name}: {text}");
    for line in text.lines() {
        let value: Json = serde_json::from_str(line).expect("a JSON value a line");
        assert_eq!(complaints(&schema, &value), [""; 0], "{line}");
        for place in closed_objects(&value, "") {
            let mut more = value.clone();
            let object = more.pointer_mut(&place).and_then(Json::as_object_mut).expect("an object");
            object.insert("more".to_owned(), json!("x"));
            assert!(!complaints(&schema, &more).is_empty(), "{name}: `{place}` takes any key");
        }
    }
}

/// Where objects stand, without those whose keys are data.
fn closed_objects(value: &Json, place: &str) -> Vec<String> {
    let children: Vec<(String, &Json)> = match value {
        Json::Object(object) => {
            object.iter().map(|(key, value)| (format!("{place}/{key}"), value)).collect()
        }
        Json::Array(array) => {
            (0..).zip(array).map(|(index, value)| (format!("{place}/{index}"), value)).collect()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Vec::new(),
    };
    let below = children.into_iter().flat_map(|(place, value)| closed_objects(value, &place));
    let last = place.rsplit('/').next().unwrap_or_default();
    let own = (value.is_object() && !KEYS_ARE_DATA.contains(&last)).then(|| place.to_owned());
    own.into_iter().chain(below).collect()
}

/// A domain controller, servers and workstations; every kind of incident.
fn fleet(folder: &Path) {
    let mut log = Log::new();
    let mut record_id = 0;
    let mut next = || {
        record_id += 1;
        record_id
    };
    for computer in ["DC1.corp.example", "FS02.corp.example"] {
        let boot = EventSpec {
            provider: "Microsoft-Windows-Kernel-General",
            channel: "System",
            computer,
            ..event(12, next(), Payload::None)
        };
        log.write(&boot);
    }
    let account = TypedValue::Sid(sid("S-1-5-21-1111-2222-3333-1104"));
    for (status, from) in
        [(0x18, "::ffff:10.0.0.7"), (0x12, "fe80::1"), (0x25, "::1"), (0, "10.0.0.8")]
    {
        for _ in 0..6 {
            let fields = [
                ("TargetUserName", TypedValue::Text("bob")),
                ("TargetDomainName", TypedValue::Text("CORP")),
                ("TargetSid", account),
                ("ServiceName", TypedValue::Text("krbtgt")),
                ("Status", TypedValue::Hex32(status)),
                ("IpAddress", TypedValue::Text(from)),
            ];
            let refused = event(4768, next(), Payload::Named(&fields));
            log.write(&EventSpec { computer: "DC1.corp.example", ..refused });
        }
    }
    log.logon(next(), "FS02.corp.example", "alice", 1105);
    for (computer, short) in [("FS02.corp.example", "FS02"), ("ws4", "WS4")] {
        let fields = [
            ("TargetUserSid", TypedValue::Sid(sid("S-1-5-21-7-8-9-500"))),
            ("TargetUserName", TypedValue::Text("Administrator")),
            ("TargetDomainName", TypedValue::Text(short)),
        ];
        let own = event(4624, next(), Payload::Named(&fields));
        log.write(&EventSpec { computer, ..own });
    }
    for (user, domain) in [("alice", "CORP"), ("", "-"), ("Jürgen \u{1f600} \u{1b}[31m", ".")] {
        for _ in 0..7 {
            log.failed_logon(FailedLogon {
                record_id: next(),
                computer: "FS02.corp.example",
                user,
                domain,
                workstation: "WS07",
            });
        }
        let mismatch = lsa_event(6167, next(), Payload::None);
        log.write(&EventSpec { computer: "FS02.corp.example", ..mismatch });
    }
    let alone = lsa_event(6168, next(), Payload::None);
    log.write(&EventSpec { computer: "fs03", ..alone });
    fs::write(folder.join("fleet.evtx"), log.finish()).expect("written");
    fs::write(folder.join("small.evtx"), small_log()).expect("written");
    let mut damaged = small_log();
    damaged[4096 + 700..4096 + 800].fill(0x55);
    damaged.truncate(100_000);
    fs::write(folder.join("damaged.evtx"), damaged).expect("written");
    fs::write(folder.join("junk.json"), "{\"a\":1}\n{\nnot an event\n<Event></Event>\n")
        .expect("written");
}

fn outputs() -> [(&'static str, String, usize); 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fleet(folder.path());
    let status = Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .args(["replay", "-q", ".", "-o", "incidents", "--hosts", "hosts", "--stats", "stats"])
        .current_dir(folder.path())
        .status()
        .expect("the program starts");
    assert!(status.success());
    let read = |name| fs::read_to_string(folder.path().join(name)).expect("written");
    [("incident", read("incidents"), 6), ("hosts", read("hosts"), 4), ("stats", read("stats"), 1)]
}

/// The incidents of the fleet, in that format.
fn incidents(format: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fleet(folder.path());
    let output = Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .args(["replay", "-q", ".", "--format", format])
        .current_dir(folder.path())
        .output()
        .expect("the program starts");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn values(lines: &str) -> Vec<Json> {
    lines.lines().map(|line| serde_json::from_str(line).expect("a JSON value a line")).collect()
}

#[test]
fn every_format_holds_to_its_schema_and_has_the_whole_native_incident() {
    let native = values(&incidents("native"));
    for (format, place) in [("ecs", "twinsid"), ("ocsf", "unmapped")] {
        let lines = incidents(format);
        check(format, &lines, 6);
        let within: Vec<Json> = values(&lines).iter().map(|line| line[place].clone()).collect();
        assert_eq!(within, native, "{format}");
    }
}

#[test]
fn a_finding_is_created_updated_and_closed_as_its_incident_is() {
    for finding in values(&incidents("ocsf")) {
        let incident = &finding["unmapped"];
        let activity = match (incident["state"].as_str(), incident["revision"].as_u64()) {
            (Some("closed" | "remedied"), _) => 3,
            (_, Some(1)) => 1,
            _ => 2,
        };
        assert_eq!(finding["activity_id"], activity, "{incident}");
        assert_eq!(finding["type_uid"], 200_400 + activity, "{incident}");
    }
    let states = |finding: &Json| finding["activity_id"].as_u64();
    let seen: BTreeSet<_> = values(&incidents("ocsf")).iter().filter_map(states).collect();
    assert!(seen.contains(&1) && seen.contains(&3), "{seen:?}");
}

#[test]
fn who_and_where_stand_in_the_places_of_each_format() {
    let find = |format, native: &str| {
        let lines = values(&incidents(format));
        let is_it = |line: &Json| {
            line[native]["kind"] == "authentication_failures"
                && line[native]["accounts"][0]["name"] == "bob"
        };
        lines.into_iter().find(is_it).expect("bob was refused")
    };
    let ecs = find("ecs", "twinsid");
    assert_eq!(ecs["@timestamp"], ecs["twinsid"]["last_seen"]);
    assert_eq!(ecs["event"]["outcome"], "failure");
    assert_eq!(ecs["event"]["category"], json!(["authentication"]));
    assert_eq!(ecs["host"]["name"], "DC1.corp.example");
    assert_eq!(
        ecs["user"],
        json!({
            "id": "S-1-5-21-1111-2222-3333-1104", "name": "bob", "domain": "CORP"
        })
    );
    assert_eq!(ecs["related"]["user"], json!(["bob", "S-1-5-21-1111-2222-3333-1104"]));
    let addresses = ecs["related"]["ip"].as_array().expect("a list");
    assert!(addresses.contains(&json!("10.0.0.7")), "{addresses:?}");

    let ocsf = find("ocsf", "unmapped");
    assert_eq!(ocsf["count"], ocsf["unmapped"]["counts"]["failures"]);
    let observables = ocsf["observables"].as_array().expect("a list");
    let has = |type_: &str, value: &str| {
        observables.iter().any(|one| one["type"] == type_ && one["value"] == value)
    };
    assert!(has("Hostname", "DC1.corp.example"), "{observables:?}");
    assert!(has("User Name", "bob"), "{observables:?}");
    assert!(has("IP Address", "10.0.0.7"), "{observables:?}");
}

#[test]
fn real_output_holds_to_the_schemas_which_take_nothing_else() {
    for (name, text, lines_min) in outputs() {
        check(name, &text, lines_min);
    }
}

#[test]
fn a_fleet_has_every_kind_of_incident() {
    let [(_, incidents, _), (_, hosts, _), (_, stats, _)] = outputs();
    for kind in ["duplicate_machine_sid", "machine_id_mismatch", "authentication_failures"] {
        assert!(incidents.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
    for known in ["\"role\":\"domain_controller\"", "\"twins\":[\"WS4\"]", "\"current\":true"] {
        assert!(hosts.contains(known), "no {known} in {hosts}");
    }
    let stats: Json = serde_json::from_str(&stats).expect("JSON");
    assert!(stats["matched"][format!("{SECURITY}/4768")].as_u64() >= Some(18), "{stats}");
    assert!(stats["skipped"].as_object().is_some_and(|skipped| skipped.len() > 3), "{stats}");
    let kinds = stats["incidents"].as_object().expect("counts by kind").values();
    let counted: u64 = kinds.filter_map(Json::as_u64).sum();
    assert_eq!(counted, incidents.lines().count() as u64, "{stats}");
    assert_eq!(stats["files"], 4, "{stats}");
}

#[test]
fn every_reason_to_skip_is_explained() {
    let known: BTreeSet<&str> = SKIP_MEANINGS.iter().map(|(name, _)| *name).collect();
    let all: BTreeSet<&str> = RejectReason::ALL.into_iter().map(RejectReason::name).collect();
    assert_eq!(known, all);
    let stats = schema("stats")["properties"]["skipped"]["description"].to_string();
    for name in all {
        assert!(stats.contains(name), "the schema of the statistics leaves out `{name}`");
    }
}

#[test]
fn every_category_is_a_class_of_the_schema() {
    let schema = schema("incident");
    let classes = &schema["properties"]["verdict"]["properties"]["class"]["enum"];
    let classes: BTreeSet<&str> =
        classes.as_array().expect("a list of classes").iter().filter_map(Json::as_str).collect();
    for category in Category::ALL {
        assert!(classes.contains(category.name()), "{category:?} is none of {classes:?}");
    }
}
