//! The shapes that others rely on, as `schemas/` describes them: incidents,
//! statistics, hosts, dead letters.
//!
//! Plain values with the keys in the order in which they are written. They are types of their own, so
//! that the types of the program ([`crate::incident`]) can change without changing them. A change that
//! a reader could notice counts up [`INCIDENT_SCHEMA_VERSION`] and the number in the schema's `$id`.
//!
//! | written as | values |
//! |---|---|
//! | time | RFC 3339, UTC, seven digits: `2025-10-01T08:00:00.1234567Z` |
//! | SID | `S-1-…` |
//! | status code | as Windows prints it: `0xC000006D`, `0x18`, `1326` |
//! | not known | `null`, never absent |
//! | bytes | as text where they are UTF-8, else in Base64 under another key |

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::incident::{
    AccountCount, Counts, Evidence, Host, Incident, KnownHost, KnownSid, PeerCount, StatusCount,
    Verdict,
};
use crate::reject::DeadLetter;
use crate::time::EventTime;

/// In every incident, as `schema`.
pub const INCIDENT_SCHEMA_VERSION: u32 = 1;

/// In every dead letter, as `schema`.
pub const DEAD_LETTER_SCHEMA_VERSION: u32 = 1;

/// The JSON schema of each shape.
pub const INCIDENT_SCHEMA: &str = include_str!("../../schemas/incident.schema.json");
pub const STATS_SCHEMA: &str = include_str!("../../schemas/stats.schema.json");
pub const HOSTS_SCHEMA: &str = include_str!("../../schemas/hosts.schema.json");
pub const DEAD_LETTER_SCHEMA: &str = include_str!("../../schemas/dead-letter.schema.json");

/// 9999-12-31T23:59:59.9999999Z: RFC 3339 has four digits for the year.
const LAST_WRITTEN: EventTime = EventTime(2_650_467_743_999_999_999);

/// One incident, format `native`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireIncident {
    pub schema: u32,
    pub id: String,
    pub kind: String,
    pub state: String,
    pub revision: u32,
    pub severity: String,
    pub source_sid: Option<String>,
    pub source_key: String,
    pub title: String,
    pub verdict: WireVerdict,
    pub first_seen: String,
    pub last_seen: String,
    pub hosts: Vec<WireIncidentHost>,
    pub accounts: Vec<WireAccount>,
    pub peers: Vec<WirePeer>,
    pub counts: WireCounts,
    pub statuses: Vec<WireStatus>,
    pub evidence: Vec<WireEvidence>,
    pub actions: Vec<String>,
    pub references: Vec<String>,
    pub supersedes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireVerdict {
    pub class: String,
    pub confidence: String,
    pub reasons: Vec<String>,
}

/// A host of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireIncidentHost {
    pub name: String,
    pub machine_sid: Option<String>,
    pub role: String,
    pub build: Option<String>,
    pub exposure: String,
    pub first_seen: String,
    pub last_seen: String,
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireAccount {
    pub sid: Option<String>,
    pub name: Option<String>,
    pub domain: Option<String>,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WirePeer {
    pub host: Option<String>,
    pub ip: Option<IpAddr>,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireCounts {
    pub mismatches: u64,
    pub failures: u64,
    /// By `PROVIDER/ID`.
    pub by_event: BTreeMap<String, u64>,
    /// By status code.
    pub by_status: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireStatus {
    pub code: String,
    pub name: String,
    pub text: String,
    pub count: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireEvidence {
    pub computer: String,
    pub channel: String,
    pub provider: String,
    pub event_id: u32,
    pub record_id: u64,
    pub time: String,
    pub what: String,
}

/// The counters of a replay (`--stats`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireStats {
    pub files: u64,
    pub bytes: u64,
    pub chunks: u64,
    pub records: u64,
    /// Records for which a rule of kind mismatch or failure held, by
    /// `PROVIDER/ID`.
    pub matched: BTreeMap<String, u64>,
    pub observations: WireObservations,
    /// By reason.
    pub skipped: BTreeMap<String, u64>,
    /// By kind.
    pub incidents: BTreeMap<String, u64>,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireObservations {
    pub mismatch: u64,
    pub failure: u64,
    pub success: u64,
    pub fact: u64,
}

/// What is known of one host (`--hosts`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireHost {
    /// The canonical name.
    pub host: String,
    /// Every name it was seen under.
    pub names: Vec<String>,
    pub domain: Option<String>,
    pub role: String,
    pub machine_sids: Vec<WireMachineSid>,
    /// Canonical names of the other hosts of the current machine SID.
    pub twins: Vec<String>,
    pub build: Option<String>,
    pub exposure: String,
    /// The last boots, in order.
    pub boots: Vec<String>,
    pub first_seen: String,
    pub last_seen: String,
}

/// A machine SID that a host has or had, and the evidence for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireMachineSid {
    pub sid: String,
    pub first_seen: String,
    pub last_seen: String,
    /// Different events and accounts that show it.
    pub count: u64,
    /// Which events those were, `PROVIDER/ID`.
    pub events: Vec<String>,
    pub current: bool,
}

/// What could not be decoded, and why. It has no time of writing: after a restart the same input must
/// give the same line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireDeadLetter {
    pub schema: u32,
    /// Where it was: file, or topic, partition and offset.
    pub origin: String,
    /// The reason, under the name that counters have for it.
    pub reason: String,
    /// What was expected and what was found.
    pub what: String,
    /// The original text; `None` when it is not UTF-8.
    pub text: Option<String>,
    /// The original bytes in Base64; `None` when they are in `text`.
    pub base64: Option<String>,
    /// Number of original bytes: more than are here when there are very many.
    pub size: u64,
}

/// Bytes kept of a dead letter: in Base64 they fit a message of Kafka's default size.
const DEAD_LETTER_BYTES_KEPT: usize = 600 * 1024;

/// Longest text of a dead letter with its escapes; a longer one is written in Base64.
const DEAD_LETTER_TEXT_BYTES_MAX: usize = 800 * 1024;

/// A time as text; the end of the year 9999 for anything later.
pub fn time_text(time: EventTime) -> String {
    time.min(LAST_WRITTEN).to_string()
}

impl From<&Incident> for WireIncident {
    fn from(incident: &Incident) -> WireIncident {
        WireIncident {
            schema: INCIDENT_SCHEMA_VERSION,
            id: incident.id.to_string(),
            kind: incident.kind.name().to_owned(),
            state: incident.state.name().to_owned(),
            revision: incident.revision,
            severity: incident.severity.name().to_owned(),
            source_sid: incident.source_sid.map(|sid| sid.to_string()),
            source_key: incident.source_key.clone(),
            title: incident.title.clone(),
            verdict: WireVerdict::from(&incident.verdict),
            first_seen: time_text(incident.first_seen),
            last_seen: time_text(incident.last_seen),
            hosts: incident.hosts.iter().map(WireIncidentHost::from).collect(),
            accounts: incident.accounts.iter().map(WireAccount::from).collect(),
            peers: incident.peers.iter().map(WirePeer::from).collect(),
            counts: WireCounts::from(&incident.counts),
            statuses: incident.statuses.iter().map(WireStatus::from).collect(),
            evidence: incident.evidence.iter().map(WireEvidence::from).collect(),
            actions: incident.actions.clone(),
            references: incident.references.clone(),
            supersedes: incident.supersedes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&DeadLetter> for WireDeadLetter {
    fn from(dead_letter: &DeadLetter) -> WireDeadLetter {
        let kept = match std::str::from_utf8(&dead_letter.bytes) {
            Ok(text) => &dead_letter.bytes[..text.floor_char_boundary(DEAD_LETTER_BYTES_KEPT)],
            Err(_) => &dead_letter.bytes[..dead_letter.bytes.len().min(DEAD_LETTER_BYTES_KEPT)],
        };
        let (text, base64) = match std::str::from_utf8(kept) {
            Ok(text) if is_short(text) => (Some(text.to_owned()), None),
            Ok(_) | Err(_) => (None, Some(BASE64_STANDARD.encode(kept))),
        };
        WireDeadLetter {
            schema: DEAD_LETTER_SCHEMA_VERSION,
            origin: dead_letter.origin.clone(),
            reason: dead_letter.reason.to_owned(),
            what: dead_letter.what.clone(),
            text,
            base64,
            size: dead_letter.bytes.len() as u64,
        }
    }
}

/// Whether a text with its escapes is within [`DEAD_LETTER_TEXT_BYTES_MAX`].
fn is_short(text: &str) -> bool {
    // Escaped, no character takes more than six times its bytes.
    text.len() <= DEAD_LETTER_TEXT_BYTES_MAX / 6 || {
        let written = serde_json::to_string(text).map(super::escape::json);
        written.is_ok_and(|written| written.len() <= DEAD_LETTER_TEXT_BYTES_MAX)
    }
}

impl From<&Verdict> for WireVerdict {
    fn from(verdict: &Verdict) -> WireVerdict {
        WireVerdict {
            class: verdict.class.name().to_owned(),
            confidence: verdict.confidence.name().to_owned(),
            reasons: verdict.reasons.clone(),
        }
    }
}

impl From<&Host> for WireIncidentHost {
    fn from(host: &Host) -> WireIncidentHost {
        WireIncidentHost {
            name: host.name.clone(),
            machine_sid: host.machine_sid.map(|sid| sid.to_string()),
            role: host.role.name().to_owned(),
            build: host.build.map(|build| build.to_string()),
            exposure: host.exposure.name().to_owned(),
            first_seen: time_text(host.first_seen),
            last_seen: time_text(host.last_seen),
            status: host.status.name().to_owned(),
        }
    }
}

impl From<&KnownHost> for WireHost {
    fn from(host: &KnownHost) -> WireHost {
        WireHost {
            host: host.name.clone(),
            names: host.names.clone(),
            domain: host.domain.clone(),
            role: host.role.name().to_owned(),
            machine_sids: host.machine_sids.iter().map(WireMachineSid::from).collect(),
            twins: host.twins.clone(),
            build: host.build.map(|build| build.to_string()),
            exposure: host.exposure.name().to_owned(),
            boots: host.boots.iter().map(|boot| time_text(*boot)).collect(),
            first_seen: time_text(host.first_seen),
            last_seen: time_text(host.last_seen),
        }
    }
}

impl From<&KnownSid> for WireMachineSid {
    fn from(known: &KnownSid) -> WireMachineSid {
        WireMachineSid {
            sid: known.sid.to_string(),
            first_seen: time_text(known.first_seen),
            last_seen: time_text(known.last_seen),
            count: known.count,
            events: known.events.clone(),
            current: known.current,
        }
    }
}

impl From<&AccountCount> for WireAccount {
    fn from(account: &AccountCount) -> WireAccount {
        WireAccount {
            sid: account.sid.map(|sid| sid.to_string()),
            name: account.name.clone(),
            domain: account.domain.clone(),
            count: account.count,
        }
    }
}

impl From<&PeerCount> for WirePeer {
    fn from(peer: &PeerCount) -> WirePeer {
        WirePeer { host: peer.host.clone(), ip: peer.ip, count: peer.count }
    }
}

impl From<&Counts> for WireCounts {
    fn from(counts: &Counts) -> WireCounts {
        WireCounts {
            mismatches: counts.mismatches,
            failures: counts.failures,
            by_event: summed(&counts.by_event),
            by_status: summed(&counts.by_status),
        }
    }
}

impl From<&StatusCount> for WireStatus {
    fn from(status: &StatusCount) -> WireStatus {
        WireStatus {
            code: status.code.to_string(),
            name: status.name.to_owned(),
            text: status.text.to_owned(),
            count: status.count,
        }
    }
}

impl From<&Evidence> for WireEvidence {
    fn from(evidence: &Evidence) -> WireEvidence {
        WireEvidence {
            computer: evidence.computer.clone(),
            channel: evidence.channel.clone(),
            provider: evidence.provider.clone(),
            event_id: evidence.event_id,
            record_id: evidence.record_id,
            time: time_text(evidence.time),
            what: evidence.what.clone(),
        }
    }
}

/// Codes of different families can have the same text: their counts are added.
fn summed(counts: &[(String, u64)]) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name.clone()).or_default() += count;
    }
    sums
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::incident::{Class, Confidence, HostStatus, Kind, Role, Severity, State};
    use crate::output::samples;
    use crate::status::Category;

    const SCHEMAS: [(&str, &str); 4] = [
        ("incident", INCIDENT_SCHEMA),
        ("stats", STATS_SCHEMA),
        ("hosts", HOSTS_SCHEMA),
        ("dead-letter", DEAD_LETTER_SCHEMA),
    ];

    /// What the schema of that name rejects in a value.
    fn complaints(name: &str, value: &impl Serialize) -> Vec<String> {
        let (_, text) = SCHEMAS.iter().find(|(known, _)| *known == name).unwrap();
        let schema: Value = serde_json::from_str(text).unwrap();
        let value = serde_json::to_value(value).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        validator
            .iter_errors(&value)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect()
    }

    #[track_caller]
    fn check_valid(name: &str, value: &impl Serialize) {
        assert_eq!(complaints(name, value), [""; 0]);
    }

    fn wire_host() -> WireHost {
        let time = time_text(samples::time((8, 0, 0)));
        WireHost {
            host: "fs01.corp.example".to_owned(),
            names: vec!["FS01".to_owned(), "fs01.corp.example".to_owned()],
            domain: Some("corp.example".to_owned()),
            role: Role::Unknown.name().to_owned(),
            machine_sids: vec![WireMachineSid {
                sid: "S-1-5-21-1-2-3".to_owned(),
                first_seen: time.clone(),
                last_seen: time.clone(),
                count: 3,
                events: vec!["Microsoft-Windows-Security-Auditing/4624".to_owned()],
                current: true,
            }],
            twins: vec!["ws07.corp.example".to_owned()],
            build: None,
            exposure: "unknown".to_owned(),
            boots: vec![time.clone()],
            first_seen: time.clone(),
            last_seen: time,
        }
    }

    fn wire_stats() -> WireStats {
        WireStats {
            files: 2,
            matched: [("LsaSrv/6167".to_owned(), 3)].into(),
            skipped: [("chunk_checksum".to_owned(), 1)].into(),
            incidents: [("machine_id_mismatch".to_owned(), 1)].into(),
            seconds: 0.25,
            ..WireStats::default()
        }
    }

    fn dead_letter(bytes: &[u8]) -> WireDeadLetter {
        WireDeadLetter::from(&DeadLetter {
            origin: "events, partition 3, offset 4711".to_owned(),
            reason: "json_syntax",
            what: "expected a value".to_owned(),
            bytes: bytes.to_vec(),
        })
    }

    #[test]
    fn the_schemas_are_schemas() {
        for (name, text) in SCHEMAS {
            let schema: Value = serde_json::from_str(text).expect(name);
            jsonschema::draft202012::meta::validate(&schema).expect(name);
            assert_eq!(schema["$id"], json!(format!("urn:twinsid:schema:{name}:1")));
        }
    }

    #[test]
    fn a_full_incident_fits_its_schema_and_reads_back() {
        let wire = WireIncident::from(&samples::incident());
        check_valid("incident", &wire);
        let text = serde_json::to_string(&wire).unwrap();
        assert_eq!(serde_json::from_str::<WireIncident>(&text).unwrap(), wire);
    }

    #[test]
    fn an_incident_that_names_nobody_fits_its_schema() {
        let mut incident = samples::incident();
        incident.source_sid = None;
        incident.source_key = "host:FS01".to_owned();
        incident.hosts.clear();
        incident.accounts[0] = AccountCount { sid: None, name: None, domain: None, count: 1 };
        incident.peers.clear();
        incident.counts = Counts::default();
        incident.statuses.clear();
        incident.evidence.clear();
        incident.actions.clear();
        incident.references.clear();
        incident.supersedes.clear();
        check_valid("incident", &WireIncident::from(&incident));
    }

    #[test]
    fn every_value_of_every_closed_set_fits_the_schema() {
        let mut incident = samples::incident();
        let classes = Category::ALL.into_iter().map(Class::Failure).chain([
            Class::ClonedImage,
            Class::StaleBootSession,
            Class::StaleOrManipulatedTicket,
            Class::Undetermined,
        ]);
        for class in classes {
            incident.verdict.class = class;
            check_valid("incident", &WireIncident::from(&incident));
        }
        for severity in [
            Severity::Informational,
            Severity::Low,
            Severity::Medium,
            Severity::High,
            Severity::Critical,
        ] {
            incident.severity = severity;
            check_valid("incident", &WireIncident::from(&incident));
        }
        for confidence in [Confidence::Low, Confidence::Medium, Confidence::High] {
            incident.verdict.confidence = confidence;
            check_valid("incident", &WireIncident::from(&incident));
        }
        for (kind, state, role, status) in [
            (Kind::MachineIdMismatch, State::Open, Role::Unknown, HostStatus::Target),
            (Kind::AuthenticationFailures, State::Closed, Role::DomainController, HostStatus::Peer),
        ] {
            (incident.kind, incident.state) = (kind, state);
            (incident.hosts[0].role, incident.hosts[0].status) = (role, status);
            check_valid("incident", &WireIncident::from(&incident));
        }
    }

    #[test]
    fn statistics_and_hosts_fit_their_schemas() {
        check_valid("stats", &WireStats::default());
        check_valid("stats", &wire_stats());
        check_valid("hosts", &wire_host());
    }

    #[test]
    fn a_long_dead_letter_still_fits_a_message() {
        let long = |text: &str| text.repeat(2_000_000 / text.len()).into_bytes();
        for bytes in [long("a"), long("\u{1}"), long("\u{202e}"), long("\""), vec![0xff; 2_000_000]]
        {
            let letter = dead_letter(&bytes);
            check_valid("dead-letter", &letter);
            let written = crate::output::escape::json(serde_json::to_string(&letter).unwrap());
            assert!(written.len() < 950_000, "{}", written.len());
            assert_eq!(letter.size, bytes.len() as u64);
            assert!(letter.text.is_some() || letter.base64.is_some());
        }
        // What grows but is short stays text.
        assert!(dead_letter(&[1; 1000]).text.is_some());
        assert!(dead_letter(&[1; 200_000]).base64.is_some());
    }

    #[test]
    fn a_dead_letter_holds_its_bytes_as_text_or_in_base64() {
        let text = dead_letter(b"{\"a\": \xc3\xa4}");
        assert_eq!((text.text.as_deref(), &text.base64), (Some("{\"a\": \u{e4}}"), &None));
        check_valid("dead-letter", &text);
        // The last byte is no UTF-8; the samples of RFC 4648, section 10, go on from there.
        for (bytes, base64) in [
            (&b"\xff"[..], "/w=="),
            (b"f\xff", "Zv8="),
            (b"fo\xff", "Zm//"),
            (b"foob\xff", "Zm9vYv8="),
            (b"\xfb\xef\xbe\x00", "++++AA=="),
        ] {
            let letter = dead_letter(bytes);
            assert_eq!((&letter.text, letter.base64.as_deref()), (&None, Some(base64)));
            check_valid("dead-letter", &letter);
        }
        let both = WireDeadLetter { base64: Some(String::new()), ..text.clone() };
        let neither = WireDeadLetter { text: None, ..text };
        for wrong in [both, neither] {
            assert_ne!(complaints("dead-letter", &wrong), [""; 0], "{wrong:?}");
        }
    }

    #[test]
    fn schemas_refuse_an_unknown_key_and_miss_every_key() {
        let samples = [
            ("incident", serde_json::to_value(WireIncident::from(&samples::incident())).unwrap()),
            ("stats", serde_json::to_value(wire_stats()).unwrap()),
            ("hosts", serde_json::to_value(wire_host()).unwrap()),
            ("dead-letter", serde_json::to_value(dead_letter(b"x")).unwrap()),
        ];
        // Maps from names to counts may hold any key.
        let open = ["/counts/by_event", "/counts/by_status", "/matched", "/skipped", "/incidents"];
        for (name, sample) in samples {
            for at in objects(&sample).into_iter().filter(|at| !open.contains(&at.as_str())) {
                let changed = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                    let mut value = sample.clone();
                    change(value.pointer_mut(&at).unwrap().as_object_mut().unwrap());
                    complaints(name, &value)
                };
                let extra = changed(&|object| drop(object.insert("zzz".to_owned(), json!(1))));
                assert_eq!(extra.len(), 1, "{name}{at}: {extra:?}");
                for key in sample.pointer(&at).unwrap().as_object().unwrap().keys() {
                    let missing = changed(&|object| drop(object.remove(key)));
                    assert_eq!(missing.len(), 1, "{name}{at}/{key}: {missing:?}");
                }
            }
        }
    }

    /// JSON pointers to every object in a value.
    fn objects(value: &Value) -> Vec<String> {
        let below = |key: &str, inner: &Value| {
            objects(inner).into_iter().map(|at| format!("/{key}{at}")).collect::<Vec<_>>()
        };
        match value {
            Value::Object(map) => std::iter::once(String::new())
                .chain(map.iter().flat_map(|(key, inner)| below(key, inner)))
                .collect(),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .flat_map(|(index, inner)| below(&index.to_string(), inner))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    #[test]
    fn keys_stand_in_the_order_of_the_contract() {
        #[track_caller]
        fn check(value: &impl Serialize, keys: &str) {
            let text = serde_json::to_string(value).unwrap();
            let mut from = 0;
            for key in keys.split_whitespace() {
                let found = text[from..].find(&format!("\"{key}\":"));
                from += found.unwrap_or_else(|| panic!("`{key}` is missing or too early: {text}"));
            }
        }
        check(
            &WireIncident::from(&samples::incident()),
            "schema id kind state revision severity source_sid source_key title
             verdict class confidence reasons first_seen last_seen
             hosts name machine_sid role build exposure first_seen last_seen status
             accounts sid name domain count peers host ip count
             counts mismatches failures by_event by_status statuses code name text count
             evidence computer channel provider event_id record_id time what
             actions references supersedes",
        );
        check(
            &wire_stats(),
            "files bytes chunks records matched observations mismatch failure success fact
             skipped incidents seconds",
        );
        check(&dead_letter(b"x"), "schema origin reason what text base64");
        check(
            &wire_host(),
            "host names domain role machine_sids sid first_seen last_seen count events current
             twins build exposure boots first_seen last_seen",
        );
    }

    #[test]
    fn no_time_is_written_with_five_digits_for_the_year() {
        assert_eq!(time_text(EventTime::MAX), "9999-12-31T23:59:59.9999999Z");
        assert_eq!(time_text(EventTime::MIN), "1601-01-01T00:00:00.0000000Z");
    }
}
