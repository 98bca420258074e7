//! An incident as a card, for a person at a terminal who does not know the program.
//!
//! ```text
//! HIGH  title
//!   Who   the accounts, with their SIDs
//!   Hosts those of one machine SID
//!   Where the computers that logged it
//!   Peer  the other ends of the authentications
//!   When  first to last
//!   What  how often, and the status codes in words
//!   Why   the verdict and its reasons
//!   Do    what to do, in order
//!   Proof the first record of the evidence
//!   Id    the incident's id in the JSON output
//! ```
//!
//! Long lists end in a count of the rest; the JSON output has them in full. Text that came from events
//! is escaped.

use std::io;

use super::card_layout::Card;
pub use super::card_layout::{Style, WIDTH_MIN};
use super::summary::grouped;
use crate::incident::{
    AccountCount, Evidence, Exposure, Host, HostStatus, Incident, Kind, PeerCount, Role, State,
    StatusCount,
};
use crate::time::EventTime;

/// Entries shown of each list.
const ACCOUNTS_SHOWN: usize = 3;
const HOSTS_SHOWN: usize = 4;
const MEMBERS_SHOWN: usize = 8;
const PEERS_SHOWN: usize = 4;
const STATUSES_SHOWN: usize = 3;

const UNNAMED: &str = "not named in the events";

/// Writes one card, and an empty line after it. `width` is in columns; fewer than [`WIDTH_MIN`] are
/// treated as that many.
pub fn write_card(
    out: &mut dyn io::Write,
    incident: &Incident,
    style: Style,
    width: usize,
) -> io::Result<()> {
    let mut card = Card::new(out, width);
    card.heading(incident, style)?;
    match incident.kind {
        Kind::DuplicateMachineSid => {
            card.field("Hosts", &members(&incident.hosts))?;
            if !incident.accounts.is_empty() {
                card.field("Who", &who(&incident.accounts))?;
            }
            if incident.hosts.iter().any(|host| host.status == HostStatus::Target) {
                card.field("Where", &places(&incident.hosts))?;
            }
        }
        Kind::MachineIdMismatch | Kind::AuthenticationFailures => {
            card.field("Who", &who(&incident.accounts))?;
            card.field("Where", &places(&incident.hosts))?;
            card.field("Peer", &peers(&incident.peers))?;
        }
    }
    card.field("When", &[when(incident)])?;
    card.field("What", &what(incident))?;
    card.field("Why", &why(incident))?;
    card.steps("Do", &incident.actions)?;
    if let Some(first) = incident.evidence.first() {
        card.field("Proof", &[proof(first, incident.evidence.len())])?;
    }
    card.field("Id", &[incident.id.to_string()])?;
    card.end()
}

fn who(accounts: &[AccountCount]) -> Vec<String> {
    let line = |account: &AccountCount| {
        let name = match (&account.domain, &account.name) {
            (Some(domain), Some(name)) => Some(format!("{domain}\\{name}")),
            (None, Some(name)) => Some(name.clone()),
            (_, None) => None,
        };
        let sid = account.sid.map(|sid| sid.to_string());
        let called = match (name, sid) {
            (Some(name), Some(sid)) => format!("{name}, SID {sid}"),
            (Some(name), None) => format!("{name}, SID not known"),
            (None, Some(sid)) => format!("SID {sid}, name not known"),
            (None, None) => "an account without a name".to_owned(),
        };
        // A single account has all the failures, which are under What.
        if accounts.len() > 1 { format!("{called} ({})", times(account.count)) } else { called }
    };
    listed(accounts, ACCOUNTS_SHOWN, ("account", "accounts"), line)
}

fn places(hosts: &[Host]) -> Vec<String> {
    let targets: Vec<&Host> =
        hosts.iter().filter(|host| host.status == HostStatus::Target).collect();
    listed(&targets, HOSTS_SHOWN, ("computer", "computers"), |host| match host.role {
        Role::Unknown | Role::Workstation | Role::Server => host.name.clone(),
        Role::DomainController => format!("{} (domain controller)", host.name),
    })
}

/// `PC1 (build 26100.6899, refuses its twins)`.
fn members(hosts: &[Host]) -> Vec<String> {
    let is_member = |host: &&Host| matches!(host.status, HostStatus::Twin | HostStatus::Remedied);
    let members: Vec<&Host> = hosts.iter().filter(is_member).collect();
    listed(&members, MEMBERS_SHOWN, ("host", "hosts"), |host| {
        let exposure = match (host.status, host.exposure) {
            (HostStatus::Remedied, _) => "rebuilt, a twin no more",
            (_, Exposure::Enforcing) => "refuses its twins",
            (_, Exposure::EnforcingAfterUpdate) => "refuses its twins from its next update on",
            (_, Exposure::NotAffected) => "does not check",
            (_, Exposure::Unknown) => "not known whether it checks",
        };
        match host.build {
            Some(build) => format!("{} (build {build}, {exposure})", host.name),
            None => format!("{} ({exposure})", host.name),
        }
    })
}

fn peers(peers: &[PeerCount]) -> Vec<String> {
    listed(peers, PEERS_SHOWN, ("machine", "machines"), |peer| {
        let called = match (&peer.host, peer.ip) {
            (Some(host), Some(ip)) => format!("{host} at {ip}"),
            (Some(host), None) => host.clone(),
            (None, Some(ip)) => ip.to_string(),
            (None, None) => "a machine without a name".to_owned(),
        };
        format!("{called} ({})", times(peer.count))
    })
}

/// `2025-10-01 08:00:00 to 08:12:33 UTC`.
fn when(incident: &Incident) -> String {
    let (first_day, first_clock) = day_and_clock(incident.first_seen);
    let (last_day, last_clock) = day_and_clock(incident.last_seen);
    let mut text = format!("{first_day} {first_clock}");
    if first_day != last_day {
        text.push_str(&format!(" to {last_day} {last_clock}"));
    } else if first_clock != last_clock {
        text.push_str(&format!(" to {last_clock}"));
    }
    text.push_str(" UTC");
    match incident.state {
        State::Open => text.push_str(", not over yet"),
        State::Closed | State::Latent | State::Active | State::Remedied => {}
    }
    text
}

fn day_and_clock(time: EventTime) -> (String, String) {
    let text = time.to_string();
    let (day, rest) = text.split_once('T').expect("a time is printed with a T");
    let clock = rest.split('.').next().unwrap_or(rest);
    (day.to_owned(), clock.to_owned())
}

fn what(incident: &Incident) -> Vec<String> {
    let counted = |count, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{} {many}", grouped(count))),
    };
    let counts = &incident.counts;
    let parts: Vec<String> = [
        counted(counts.mismatches, "machine-id mismatch", "machine-id mismatches"),
        counted(counts.failures, "failed authentication", "failed authentications"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut lines = vec![parts.join(", ")];
    if !incident.statuses.is_empty() {
        lines.extend(listed(&incident.statuses, STATUSES_SHOWN, ("code", "codes"), status));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn status(status: &StatusCount) -> String {
    format!("{} {} ({}): {}", status.code, status.name, times(status.count), status.text)
}

fn why(incident: &Incident) -> Vec<String> {
    let verdict = &incident.verdict;
    let class = verdict.class.name().replace('_', " ");
    let mut lines = vec![format!("{class} (confidence: {})", verdict.confidence.name())];
    lines.extend(verdict.reasons.iter().cloned());
    lines
}

fn proof(first: &Evidence, records: usize) -> String {
    let (day, clock) = day_and_clock(first.time);
    let many = match records {
        1 => "1 record".to_owned(),
        _ => format!("{} records, the first", grouped(records as u64)),
    };
    format!(
        "{many}: event {}, record {} in log {} of {}, {day} {clock} UTC",
        first.event_id, first.record_id, first.channel, first.computer
    )
}

/// A line for each of the first entries, and one that counts the others.
fn listed<T>(
    entries: &[T],
    shown_max: usize,
    (one, many): (&str, &str),
    line: impl Fn(&T) -> String,
) -> Vec<String> {
    if entries.is_empty() {
        return vec![UNNAMED.to_owned()];
    }
    let mut lines: Vec<String> = entries.iter().take(shown_max).map(line).collect();
    match entries.len().saturating_sub(shown_max) {
        0 => {}
        1 => lines.push(format!("and 1 more {one}")),
        more => lines.push(format!("and {} more {many}", grouped(more as u64))),
    }
    lines
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", grouped(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Class;
    use crate::output::card_layout::WIDTH_MAX;
    use crate::output::escape;
    use crate::output::samples;

    fn card(incident: &Incident, style: Style, width: usize) -> String {
        let mut out = Vec::new();
        write_card(&mut out, incident, style, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_card_answers_who_where_when_what_why_and_what_to_do() {
        let expect = r"MEDIUM  CORP\bob was refused 23 times on FS01.corp.example: wrong password
  Who    CORP\bob, SID S-1-5-21-3583694148-1414552638-2922671848-1104
  Where  FS01.corp.example
         DC1.corp.example (domain controller)
  Peer   WS07 at 10.0.0.7 (21 times)
         fe80::1 (twice)
  When   2025-10-01 08:00:00 to 08:12:33 UTC
  What   23 failed authentications
         0xC000006A STATUS_WRONG_PASSWORD (21 times): The password is wrong.
         0xC0000234 STATUS_ACCOUNT_LOCKED_OUT (twice): The account is locked.
  Why    bad password (confidence: low)
         The codes of 21 of 23 failures say: wrong password.
         FS01.corp.example logged a machine-id mismatch (LsaSrv 6167) within the
         same seconds: the refusal may be about the machine, not about the
         password.
  Do     1. Do not reset the password yet: look at the machine_id_mismatch
            incident of the same host first.
         2. Look for a service, a task or a mapped drive on WS07 that keeps an
            old password.
  Proof  2 records, the first: event 4625, record 4711 in log Security of
         FS01.corp.example, 2025-10-01 08:00:00 UTC
  Id     1c6ea6c5dee912ff35627f4b24e52275

";
        assert_eq!(card(&samples::incident(), Style::Plain, 80), expect);
    }

    #[test]
    fn a_session_over_midnight_has_both_days() {
        let mut incident = samples::incident();
        incident.last_seen =
            EventTime::from_civil((2025, 10, 2), (0, 30, 0), 0).expect("a valid time");
        assert_eq!(when(&incident), "2025-10-01 08:00:00 to 2025-10-02 00:30:00 UTC");
    }

    #[test]
    fn a_mismatch_that_names_nobody_says_so() {
        let mut incident = samples::incident();
        incident.kind = Kind::MachineIdMismatch;
        incident.verdict.class = Class::Undetermined;
        incident.state = State::Open;
        incident.counts.mismatches = 1;
        incident.counts.failures = 0;
        incident.last_seen = incident.first_seen;
        incident.accounts.clear();
        incident.peers.clear();
        incident.statuses.clear();
        incident.evidence.clear();
        let text = card(&incident, Style::Plain, 80);
        for line in [
            "  Who    not named in the events",
            "  Peer   not named in the events",
            "  When   2025-10-01 08:00:00 UTC, not over yet",
            "  What   1 machine-id mismatch",
            "  Why    undetermined (confidence: low)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("Proof"), "{text}");
    }

    #[test]
    fn long_lists_end_in_a_count_of_the_rest() {
        let mut incident = samples::incident();
        incident.peers = vec![incident.peers[0].clone(); PEERS_SHOWN + 1];
        incident.accounts = vec![incident.accounts[0].clone(); ACCOUNTS_SHOWN + 1200];
        let text = card(&incident, Style::Plain, 80);
        assert!(text.contains("         and 1 more machine\n"), "{text}");
        assert!(text.contains("         and 1,200 more accounts\n"), "{text}");
    }

    #[test]
    fn only_the_severity_is_coloured() {
        let incident = samples::incident();
        let (plain, colored) =
            (card(&incident, Style::Plain, 80), card(&incident, Style::Color, 80));
        assert_eq!(colored.replacen("\x1b[1;33mMEDIUM\x1b[0m", "MEDIUM", 1), plain);
    }

    #[test]
    fn hostile_text_never_reaches_the_terminal() {
        let hostile = "x\x1b[2J\r\nHIGH  fake\u{202e}\u{9b}\u{200b}\u{2028}\t".repeat(300);
        let text = || hostile.clone();
        let mut incident = samples::incident();
        incident.title = text();
        incident.verdict.reasons = vec![text()];
        incident.accounts[0].name = Some(text());
        incident.accounts[0].domain = Some(text());
        incident.hosts.iter_mut().for_each(|host| host.name = text());
        incident.peers[0].host = Some(text());
        incident.evidence[0].computer = text();
        incident.evidence[0].channel = text();
        incident.actions = vec![text()];
        for width in [0, 40, 80, 500] {
            let shown = card(&incident, Style::Plain, width);
            assert!(shown.len() < 20_000, "{} bytes", shown.len());
            for line in shown.lines() {
                assert_eq!(escape::terminal(line), line);
                assert!(line.chars().count() <= width.clamp(WIDTH_MIN, WIDTH_MAX), "{line}");
            }
            assert_eq!(shown.lines().filter(|line| line.starts_with("HIGH")).count(), 0);
        }
    }
}
