//! One line for a list of incidents.

use super::phrases::{account, category, listed, times, whose};
use crate::detect::findings::{FailureSource, Finding, NameList, RefusedPeer, Subject, TwinOrigin};
use crate::incident::Class;
use crate::observation::Peer;

pub(super) fn title(finding: &Finding) -> String {
    match &finding.subject {
        Subject::Failures { category: what, whose, .. } => {
            let (times, what) = (times(finding.counts.failures), category(*what));
            match whose {
                FailureSource::Account { account: name, hosts } => {
                    let (who, place) = (account(name), listed(hosts));
                    format!("{who} was refused {times} on {place}: {what}")
                }
                FailureSource::Host(host) => {
                    format!("Authentication failed {times} on {host}: {what}")
                }
                FailureSource::Peer { peer, accounts, more, hosts } => {
                    let (who, place) = (peer_at(peer), listed(hosts));
                    let many = if *more { "more than " } else { "" };
                    format!(
                        "{who} tried {many}{accounts} accounts on {place} and was refused {times}: \
                         password spray or scan"
                    )
                }
                FailureSource::Crowd(host) => {
                    format!(
                        "Authentication failed {times} on {host}, of more accounts than are kept \
                         apart: {what}"
                    )
                }
            }
        }
        Subject::Mismatches { target, refused, event_id, .. } => {
            let (whom, why) = (refusal(target, refused), cause(finding.class));
            format!("{whom} because of a machine-id mismatch (LsaSrv {event_id}): {why}")
        }
        Subject::Twins { origin, twins, .. } => of_twins(*origin, twins, finding.counts.mismatches),
        Subject::RemediedTwins { former, left } => of_remedied(former, left.as_deref()),
        Subject::Withdrawn { holder } => {
            let whose = whose(holder);
            format!("Withdrawn: no two machines share this machine SID; {whose}")
        }
    }
}

fn refusal(target: &str, refused: &RefusedPeer) -> String {
    match refused {
        RefusedPeer::Other(peer) => format!("{target} refuses {}", peer_at(peer)),
        RefusedPeer::Itself => format!("{target} refuses itself"),
        RefusedPeer::Unknown => format!("{target} refuses logons"),
    }
}

/// A peer as titles and actions name it.
pub(super) fn peer_at(peer: &Peer) -> String {
    match (&peer.host, peer.ip) {
        (Some(host), Some(ip)) => format!("{host} at {ip}"),
        (Some(host), None) => host.to_string(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "another machine".to_owned(),
    }
}

fn cause(class: Class) -> &'static str {
    match class {
        Class::ClonedImage => "they look like clones of one image",
        Class::StaleBootSession => "the ticket is from before the last start",
        Class::StaleOrManipulatedTicket => "a stale or manipulated ticket",
        Class::Undetermined | Class::Failure(_) => "cause not yet known",
    }
}

fn of_twins(origin: TwinOrigin, names: &NameList, mismatches: u64) -> String {
    let twins = listed(names);
    let refusals = match mismatches {
        0 => "nothing was refused for it yet".to_owned(),
        1 => "one refusal so far".to_owned(),
        many => format!("{many} refusals so far"),
    };
    match origin {
        TwinOrigin::Domain => {
            let (were, have) = if names.count() == 1 { ("was", "has") } else { ("were", "have") };
            format!(
                "{twins} {were} made from the image of the domain's first domain controller and \
                 {have} its machine SID: {refusals}"
            )
        }
        TwinOrigin::Pool => {
            let count = names.count();
            format!("A pool of {count} desktops ({twins}) shares one machine SID: {refusals}")
        }
        TwinOrigin::Image => {
            format!("{twins} share one machine SID, clones of one image: {refusals}")
        }
    }
}

fn of_remedied(former: &NameList, left: Option<&str>) -> String {
    let left = match left {
        None => "no host has it any more".to_owned(),
        Some(only) => format!("only {only} has it now"),
    };
    let (were, share) = if former.count() == 1 { ("was", "shares") } else { ("were", "share") };
    format!("{} {were} rebuilt and no longer {share} a machine SID: {left}", listed(former))
}
