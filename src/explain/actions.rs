//! What to do.

use super::codes::lookup;
use super::phrases::listed;
use super::titles::peer_at;
use crate::detect::findings::{
    CountedStatus, ExposedTwins, Finding, NameList, Reason, RefusedPeer, Subject, TwinOrigin,
};
use crate::incident::Class;
use crate::status::Category;

/// Most actions on failures; the codes that occurred most often come first.
const ACTIONS_MAX: usize = 6;

pub(super) fn actions(finding: &Finding) -> Vec<String> {
    match &finding.subject {
        Subject::Failures { category, .. } => on_failures(finding, *category),
        Subject::Mismatches { target, refused, is_sid_missing, .. } => {
            let mut actions = on_mismatches(finding.class, refused);
            if *is_sid_missing {
                actions.push(format!(
                    "The machine SID of {target} is not known: forward its events of local \
                     accounts (Security 4624, 4720, 4798), or name it in an inventory."
                ));
            }
            actions
        }
        Subject::Twins { origin, twins, exposed } => on_twins(*origin, twins, exposed),
        Subject::RemediedTwins { .. } => vec![
            "Nothing is left to do; check that the image has been generalised with Sysprep before \
             it is used again."
                .to_owned(),
        ],
        Subject::Withdrawn { .. } => {
            vec!["Close what was opened for the earlier revisions of this incident.".to_owned()]
        }
    }
}

fn on_failures(finding: &Finding, category: Category) -> Vec<String> {
    let mut actions = Vec::new();
    if finding.reasons.iter().any(|reason| matches!(reason, Reason::BesideMismatch { .. })) {
        actions.push(
            "Do not reset the password yet: look at the machine_id_mismatch incident of the same \
             host first."
                .to_owned(),
        );
    }
    if finding.reasons.iter().any(|reason| matches!(reason, Reason::Spray { .. })) {
        actions.push(
            "Find out what the peer is: a gateway, mail or terminal server that people sign in \
             through, a tool that was given a list of accounts, or an attacker's foothold. If \
             nobody can say, isolate it, and look for logons that succeeded from it since then."
                .to_owned(),
        );
    }
    actions.extend(on_statuses(category, &finding.statuses));
    actions.truncate(ACTIONS_MAX);
    actions
}

fn on_statuses(category: Category, statuses: &[CountedStatus]) -> Vec<String> {
    let mut actions: Vec<String> = Vec::new();
    if !statuses.iter().any(|status| status.code.category() == category) {
        // The event itself says more than its code.
        actions.push(default_action(category).to_owned());
    }
    for info in statuses.iter().filter_map(|status| lookup(status.code)) {
        if !actions.iter().any(|action| action == info.action) {
            actions.push(info.action.to_owned());
        }
    }
    actions
}

/// What to do where no code says it.
fn default_action(category: Category) -> &'static str {
    match category {
        Category::TrustBroken => {
            "Check the secure channel of the computer with Test-ComputerSecureChannel, and repair \
             it with -Repair; two clones that share one computer account break each other's."
        }
        Category::NtlmBlocked => {
            "Find out why Kerberos was not used (address instead of name, missing SPN), or add an \
             exception to the policy that blocks NTLM."
        }
        Category::NoLogonServers => {
            "Check name resolution and the network path from this computer to a domain controller."
        }
        Category::SpnOrKey => {
            "Look for duplicate service principal names with setspn -X, and for a service account \
             whose password was changed elsewhere."
        }
        Category::EncryptionType => {
            "Compare the encryption types that account, service and domain controller allow."
        }
        Category::BadPassword
        | Category::UnknownAccount
        | Category::AccountLocked
        | Category::AccountExpired
        | Category::PasswordExpired
        | Category::AccountDisabled
        | Category::AccountRestriction
        | Category::LogonRight
        | Category::ClockSkew
        | Category::ChannelBinding
        | Category::Refused
        | Category::Other => {
            "Open the records listed as evidence on the named computers and look at what happened \
             around them."
        }
    }
}

fn on_mismatches(class: Class, refused: &RefusedPeer) -> Vec<String> {
    match class {
        Class::StaleBootSession => {
            vec![
                "Let the client log on again; nothing else is needed unless it goes on.".to_owned(),
            ]
        }
        Class::StaleOrManipulatedTicket => vec![
            "Look for a program on this host that authenticates to the host itself with forged or \
             replayed tickets; a restart while a ticket was in use is the harmless cause."
                .to_owned(),
            "If it comes back without restarts, treat it as an attempt to raise privileges."
                .to_owned(),
        ],
        Class::ClonedImage | Class::Undetermined | Class::Failure(_) => {
            let rebuild = "If the machine SIDs are equal, rebuild one of the two from an image \
                           generalised with Sysprep. Leaving the domain and running Sysprep on a \
                           machine in use is not enough; the workaround that Microsoft hands out \
                           ends at the end of 2027.";
            vec![compare(refused), rebuild.to_owned()]
        }
    }
}

fn compare(refused: &RefusedPeer) -> String {
    match refused {
        RefusedPeer::Other(peer) => format!(
            "Compare the machine SIDs of this host and of {} (PsGetSid, or the prefix of any local \
             account's SID).",
            peer_at(peer)
        ),
        RefusedPeer::Itself | RefusedPeer::Unknown => {
            "Find out which machine was refused: give twinsid the Security logs of this host and \
             of the domain controllers as well."
                .to_owned()
        }
    }
}

fn on_twins(origin: TwinOrigin, twins: &NameList, exposed: &ExposedTwins) -> Vec<String> {
    let ExposedTwins { enforcing, after_update, is_none_affected } = exposed;
    let mut actions = vec![
        rebuild(origin, twins),
        "Leaving the domain and running Sysprep on a machine in use is not enough. Do not reset \
         passwords: they are right."
            .to_owned(),
    ];
    if *is_none_affected {
        actions.push(
            "There is time: their build of Windows does not compare machine ids. With Windows 11 \
             24H2 or Server 2025 they will refuse each other."
                .to_owned(),
        );
    }
    if !after_update.is_empty() {
        actions.push(format!(
            "Before the next update of Windows, rebuild: {}. From then on it compares machine ids \
             there too, and logons fail that work today.",
            listed(after_update)
        ));
    }
    if !enforcing.is_empty() {
        actions.push(format!(
            "Comparing machine ids already: {}. What must work until it is rebuilt needs the \
             workaround that Microsoft support hands out; it ends at the end of 2027.",
            listed(enforcing)
        ));
    }
    actions
}

fn rebuild(origin: TwinOrigin, twins: &NameList) -> String {
    match origin {
        TwinOrigin::Domain => format!(
            "Rebuild {} from an image that was generalised with Sysprep; leave the domain \
             controllers alone.",
            listed(twins)
        ),
        TwinOrigin::Pool => "Have the pool's image generalised (Sysprep, or the desktop broker's \
                             own customisation), so that each desktop gets a machine SID of its \
                             own."
            .to_owned(),
        TwinOrigin::Image => format!(
            "Rebuild all but one of {} from an image that was generalised with Sysprep (sysprep \
             /generalize).",
            listed(twins)
        ),
    }
}
