//! Whose failure it is, and whether it stands beside a mismatch: events as
//! winlogbeat writes them, and what is said of them.

use serde_json::{Value, json};
use twinsid::config::Config;
use twinsid::detect::Detector;
use twinsid::incident::{Confidence, Incident, Kind, KnownHost};
use twinsid::observation::ListedHost;
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, Replayed, replay};

pub const SECURITY: &str = "Microsoft-Windows-Security-Auditing";

pub fn event(
    provider: &str,
    id: u32,
    clock: &str,
    computer: &str,
    record_id: u64,
    data: &Value,
) -> Value {
    let channel = if provider == SECURITY { "Security" } else { "System" };
    json!({
        "@timestamp": format!("2025-10-01T{clock}.000Z"),
        "winlog": {
            "provider_name": provider, "event_id": id.to_string(), "channel": channel,
            "computer_name": computer, "record_id": record_id, "event_data": data,
        },
    })
}

pub fn refused(clock: &str, computer: &str, record_id: u64, domain: &str, name: &str) -> Value {
    let data = json!({
        "TargetUserSid": "S-1-0-0", "TargetUserName": name, "TargetDomainName": domain,
        "Status": "0xc000006d", "SubStatus": "0x0", "FailureReason": "%%2304", "LogonType": "3",
        "AuthenticationPackageName": "NTLM", "WorkstationName": "WS07", "IpAddress": "10.0.0.7",
    });
    event(SECURITY, 4625, clock, computer, record_id, &data)
}

pub fn logged_on(clock: &str, computer: &str, record_id: u64, account: [&str; 3]) -> Value {
    let [domain, name, sid] = account;
    let data = json!({
        "TargetUserSid": sid, "TargetUserName": name, "TargetDomainName": domain, "LogonType": "2",
    });
    event(SECURITY, 4624, clock, computer, record_id, &data)
}

fn incidents(events: &[Value]) -> Vec<Incident> {
    replayed(events, Vec::new()).incidents
}

pub fn replayed(events: &[Value], inventory: Vec<ListedHost>) -> Replayed {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.jsonl");
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    let config = Config::embedded();
    let replayed = replay(
        Replay {
            paths: vec![path],
            outputs: Vec::new(),
            settings: config.settings,
            rules: config.rules,
            fact_rules: config.fact_rules,
            inventory,
            threads: 1,
            damage: OnDamage::Stop,
        },
        &mut NoProgress,
    );
    replayed.expect("whole events")
}

pub fn known_hosts(detector: &Detector) -> Vec<KnownHost> {
    detector.fleet().known_hosts(detector.names()).collect()
}

pub fn of_kind(incidents: &[Incident], kind: Kind) -> Vec<&Incident> {
    incidents.iter().filter(|incident| incident.kind == kind).collect()
}

#[test]
fn a_mismatch_counts_whatever_its_message_says() {
    for message in [
        "The description for Event ID 6167 from source LsaSrv cannot be found.",
        "Er is een gedeeltelijk verschil in de machine-id.",
        "There is a partial mismatch in the machine ID.",
    ] {
        let mut mismatch = event("LsaSrv", 6167, "08:00:00", "FS01", 1, &json!({}));
        mismatch["message"] = message.into();
        let found = incidents(&[mismatch]);
        assert_eq!(of_kind(&found, Kind::MachineIdMismatch).len(), 1, "{message}");
    }
}

#[test]
fn the_other_event_of_the_same_id_is_no_mismatch() {
    let data = json!({
        "MaxRefCount": "10", "LogonId": "0x3e7", "AccountName": "bob", "DomainName": "CORP",
        "AccountSid": "S-1-5-21-1-2-3-1104",
    });
    assert_eq!(incidents(&[event("LsaSrv", 6167, "08:00:00", "FS01", 1, &data)]), []);
}

#[test]
fn failures_minutes_away_from_a_mismatch_do_not_stand_beside_it() {
    let mut events: Vec<Value> =
        (0..6).map(|n| refused(&format!("08:0{n}:30"), "FS01", n + 10, "CORP", "bob")).collect();
    events.push(event("LsaSrv", 6167, "08:02:00", "FS01", 1, &json!({})));
    let apart = incidents(&events);
    let failures = of_kind(&apart, Kind::AuthenticationFailures);
    assert!(!failures[0].verdict.reasons.iter().any(|reason| reason.contains("6167")));
    assert_eq!(of_kind(&apart, Kind::MachineIdMismatch)[0].counts.failures, 0);

    events.push(event("LsaSrv", 6167, "08:03:33", "FS01", 2, &json!({})));
    let beside = incidents(&events);
    let failures = of_kind(&beside, Kind::AuthenticationFailures);
    assert!(failures[0].verdict.reasons.iter().any(|reason| reason.contains("6167")));
    assert_eq!(failures[0].verdict.confidence, Confidence::Low);
    assert_eq!(of_kind(&beside, Kind::MachineIdMismatch)[0].counts.failures, 1);
}

#[test]
fn of_two_machines_with_one_sid_the_person_refused_is_named() {
    let sid = "S-1-5-21-1-2-3-1001";
    let mut events = vec![
        logged_on("07:00:00", "PC1", 1, ["PC1", "alice", sid]),
        logged_on("07:00:00", "PC2", 1, ["PC2", "bob", sid]),
    ];
    events.extend((0..6).map(|n| refused(&format!("08:0{n}:00"), "PC2", n + 10, "PC2", "bob")));
    let found = incidents(&events);
    assert_eq!(of_kind(&found, Kind::DuplicateMachineSid).len(), 1);
    let found = of_kind(&found, Kind::AuthenticationFailures);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].source_sid.map(|sid| sid.to_string()).as_deref(), Some(sid));
    assert!(found[0].title.starts_with("PC2\\bob was refused"), "{}", found[0].title);
    assert_eq!(found[0].accounts[0].name.as_deref(), Some("bob"));
}

#[test]
fn a_name_without_a_known_sid_is_nobody_elses() {
    let mut events = vec![logged_on("07:00:00", "FS01", 1, ["B", "bob", "S-1-5-21-22-22-22-1200"])];
    // The realm of a ticket is the client's, not the service's.
    let data = json!({
        "TargetUserName": "eve@A.EXAMPLE", "TargetDomainName": "A.EXAMPLE", "ServiceName": "FS01$",
        "ServiceSid": "S-1-5-21-22-22-22-1105", "Status": "0x0", "IpAddress": "10.0.0.9",
    });
    events.push(event(SECURITY, 4769, "07:00:01", "DC.b.example", 1, &data));
    events.extend(
        (0..6).map(|n| refused(&format!("08:0{n}:00"), "FS01", n + 10, "A.EXAMPLE", "bob")),
    );
    let found = incidents(&events);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].source_sid, found[0].source_key.as_str()), (None, "name:A.EXAMPLE\\BOB"));
}
