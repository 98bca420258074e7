//! The shapes of what the program writes. In go incidents, hosts and counters; out come lines, cards
//! and tables. Nothing here decides anything, and nothing here opens a file or a stream: the caller
//! passes a writer.
//!
//! | module | holds |
//! |---|---|
//! | [`wire`] | the shapes that others rely on, as `schemas/` describes them |
//! | [`mod@format`] | an incident as a line: native, ECS or OCSF |
//! | `siem` | what ECS and OCSF have in common |
//! | [`cards`] | an incident as a person reads it on a terminal |
//! | `card_layout` | a card in columns: labels, wrapped text, colour |
//! | [`summary`] | the totals of a run, for a person |
//! | [`escape`] | text of events made harmless before it is shown |

mod card_layout;
pub mod cards;
mod ecs;
pub mod escape;
pub mod format;
mod ocsf;
mod siem;
pub mod summary;
pub mod wire;

use std::io::{self, Write};

use serde::Serialize;

/// Writes a value as one line of JSON. Hidden characters are escaped, see [`escape::json`].
pub fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let text = escape::json(serde_json::to_string(value)?);
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

#[cfg(test)]
pub(crate) mod samples {
    use crate::incident::Exposure;
    use crate::incident::{
        AccountCount, Class, Confidence, Counts, Evidence, Host, HostStatus, Incident, IncidentId,
        Kind, PeerCount, Role, Severity, State, StatusCount, Verdict,
    };
    use crate::sid::Sid;
    use crate::status::{Category, CodeFamily, StatusCode};
    use crate::time::EventTime;

    pub fn time(clock: (u32, u32, u32)) -> EventTime {
        EventTime::from_civil((2025, 10, 1), clock, 1_234_567).expect("a valid time")
    }

    /// An incident with something in every list.
    pub fn incident() -> Incident {
        let (first, last) = (time((8, 0, 0)), time((8, 12, 33)));
        let sid = Sid::parse("S-1-5-21-3583694148-1414552638-2922671848-1104");
        let host = |name: &str, role, status| Host {
            name: name.to_owned(),
            machine_sid: None,
            role,
            build: None,
            exposure: Exposure::Unknown,
            first_seen: first,
            last_seen: last,
            status,
        };
        let status = |value, name, text, count| StatusCount {
            code: StatusCode::new(CodeFamily::Ntstatus, value),
            name,
            text,
            count,
        };
        let record = |record_id, clock, what: &str| Evidence {
            computer: "FS01.corp.example".to_owned(),
            channel: "Security".to_owned(),
            provider: "Microsoft-Windows-Security-Auditing".to_owned(),
            event_id: 4625,
            record_id,
            time: time(clock),
            what: what.to_owned(),
        };
        Incident {
            traceparent: None,
            id: IncidentId::of(Kind::AuthenticationFailures, &["sample"]),
            kind: Kind::AuthenticationFailures,
            state: State::Closed,
            revision: 1,
            severity: Severity::Medium,
            source_sid: sid,
            source_key: "sid:S-1-5-21-3583694148-1414552638-2922671848-1104".to_owned(),
            title: r"CORP\bob was refused 23 times on FS01.corp.example: wrong password".to_owned(),
            verdict: Verdict {
                class: Class::Failure(Category::BadPassword),
                confidence: Confidence::Low,
                reasons: vec![
                    "The codes of 21 of 23 failures say: wrong password.".to_owned(),
                    "FS01.corp.example logged a machine-id mismatch (LsaSrv 6167) within the same \
                     seconds: the refusal may be about the machine, not about the password."
                        .to_owned(),
                ],
            },
            first_seen: first,
            last_seen: last,
            hosts: vec![
                host("FS01.corp.example", Role::Unknown, HostStatus::Target),
                host("DC1.corp.example", Role::DomainController, HostStatus::Target),
                host("WS07", Role::Unknown, HostStatus::Peer),
            ],
            accounts: vec![AccountCount {
                sid,
                name: Some("bob".to_owned()),
                domain: Some("CORP".to_owned()),
                count: 23,
            }],
            peers: vec![
                PeerCount {
                    host: Some("WS07".to_owned()),
                    ip: Some([10, 0, 0, 7].into()),
                    count: 21,
                },
                PeerCount { host: None, ip: Some([0xfe80, 0, 0, 0, 0, 0, 0, 1].into()), count: 2 },
            ],
            counts: Counts {
                mismatches: 0,
                failures: 23,
                by_event: vec![("Microsoft-Windows-Security-Auditing/4625".to_owned(), 23)],
                by_status: vec![("0xC000006A".to_owned(), 21), ("0xC0000234".to_owned(), 2)],
            },
            statuses: vec![
                status(0xC000_006A, "STATUS_WRONG_PASSWORD", "The password is wrong.", 21),
                status(0xC000_0234, "STATUS_ACCOUNT_LOCKED_OUT", "The account is locked.", 2),
            ],
            evidence: vec![
                record(
                    4711,
                    (8, 0, 0),
                    r"STATUS_WRONG_PASSWORD 0xC000006A for CORP\bob from WS07 (21 times)",
                ),
                record(4790, (8, 12, 33), r"STATUS_ACCOUNT_LOCKED_OUT for CORP\bob (2 times)"),
            ],
            actions: vec![
                "Do not reset the password yet: look at the machine_id_mismatch incident of the \
                 same host first."
                    .to_owned(),
                "Look for a service, a task or a mapped drive on WS07 that keeps an old password."
                    .to_owned(),
            ],
            references: vec!["https://learn.microsoft.com/event-4625".to_owned()],
            supersedes: vec![IncidentId::of(Kind::AuthenticationFailures, &["older"])],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wire::WireIncident;
    use super::*;

    #[test]
    fn each_incident_is_one_line_that_reads_back() {
        let mut incident = WireIncident::from(&samples::incident());
        incident.title = "two\nlines\u{2028}".to_owned();
        let mut bytes = Vec::new();
        for _ in 0..2 {
            write_line(&mut bytes, &incident).unwrap();
        }
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<WireIncident> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [incident.clone(), incident]);
    }
}
