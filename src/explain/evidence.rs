//! What records and their codes show.

use super::codes::{logon_type, lookup};
use super::phrases::{account, category};
use crate::detect::findings::{CountedStatus, Exhibit, RefusalCause, Shows, Towards};
use crate::incident::{Evidence, StatusCount};
use crate::observation::Peer;

/// A status with its name and meaning.
pub(super) fn status(CountedStatus { code, count }: CountedStatus) -> StatusCount {
    let (name, text) = match lookup(code) {
        Some(info) => (info.name, info.text),
        None => ("unknown", "No meaning is known for this code."),
    };
    StatusCount { code, name, text, count }
}

/// A record with what it shows in words.
pub(super) fn record(exhibit: Exhibit) -> Evidence {
    Evidence {
        what: shown(&exhibit.what),
        computer: exhibit.computer,
        channel: exhibit.channel,
        provider: exhibit.provider,
        event_id: exhibit.event_id,
        record_id: exhibit.record_id,
        time: exhibit.time,
    }
}

/// `wrong password for CORP\bob from WS07, network logon (12 times)`.
fn shown(what: &Shows) -> String {
    let (cause, name, peer, service, logon, count) = match what {
        Shows::OwnAccount { account, sid, rid } => {
            return format!("its own account {account} has the SID {sid}-{rid}");
        }
        Shows::Refusal { cause, account, peer, service, logon_type, count } => {
            (*cause, account, peer, service, *logon_type, *count)
        }
    };
    let mut text = refusal(cause);
    if let Some(name) = name {
        text.push_str(&format!(" for {}", account(name)));
    }
    if let Some((towards, peer)) = peer {
        let towards = match towards {
            Towards::From => "from",
            Towards::To => "to",
        };
        text.push_str(&format!(" {towards} {}", peer_with(peer)));
    }
    if let Some(service) = service {
        text.push_str(&format!(", service {service}"));
    }
    if let Some(logon) = logon.and_then(logon_type) {
        text.push_str(&format!(", {logon}"));
    }
    if count > 1 {
        text.push_str(&format!(" ({count} times)"));
    }
    text
}

fn refusal(cause: RefusalCause) -> String {
    match cause {
        RefusalCause::Code(code) => match lookup(code) {
            Some(info) => format!("{} {code}", info.name),
            None => format!("status {code}"),
        },
        RefusalCause::Category(what) => category(what).to_owned(),
        RefusalCause::Mismatch => "machine-id mismatch".to_owned(),
    }
}

/// A peer as evidence names it.
fn peer_with(peer: &Peer) -> String {
    match (&peer.host, peer.ip) {
        (Some(host), Some(ip)) => format!("{host} ({ip})"),
        (Some(host), None) => host.to_string(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => String::new(),
    }
}
