//! Names of data that arrive by position alone, from the manifests of Security events.

pub(super) const SECURITY_AUDITING: &str = "Microsoft-Windows-Security-Auditing";

const SUBJECT: &[&str] =
    &["SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId"];
const TARGET: &[&str] = &["TargetUserSid", "TargetUserName", "TargetDomainName"];
const LOGON_4624: &[&str] = &[
    "TargetLogonId",
    "LogonType",
    "LogonProcessName",
    "AuthenticationPackageName",
    "WorkstationName",
    "LogonGuid",
    "TransmittedServices",
    "LmPackageName",
    "KeyLength",
    "ProcessId",
    "ProcessName",
    "IpAddress",
    "IpPort",
];
const LOGON_4625: &[&str] = &[
    "Status",
    "FailureReason",
    "SubStatus",
    "LogonType",
    "LogonProcessName",
    "AuthenticationPackageName",
    "WorkstationName",
    "TransmittedServices",
    "LmPackageName",
    "KeyLength",
    "ProcessId",
    "ProcessName",
    "IpAddress",
    "IpPort",
];
const OUTBOUND: &[&str] = &[
    "TargetOutboundUserName",
    "TargetOutboundDomainName",
    "VirtualAccount",
    "TargetLinkedLogonId",
    "ElevatedToken",
];
const TICKET_4768: &[&str] = &[
    "TargetUserName",
    "TargetDomainName",
    "TargetSid",
    "ServiceName",
    "ServiceSid",
    "TicketOptions",
    "Status",
    "TicketEncryptionType",
    "PreAuthType",
    "IpAddress",
    "IpPort",
    "CertIssuerName",
    "CertSerialNumber",
    "CertThumbprint",
];
const TICKET_4769: &[&str] = &[
    "TargetUserName",
    "TargetDomainName",
    "ServiceName",
    "ServiceSid",
    "TicketOptions",
    "TicketEncryptionType",
    "IpAddress",
    "IpPort",
    "Status",
    "LogonGuid",
    "TransmittedServices",
];
const ENCRYPTION: &[&str] = &[
    "AccountSupportedEncryptionTypes",
    "AccountAvailableKeys",
    "ServiceSupportedEncryptionTypes",
    "ServiceAvailableKeys",
    "DCSupportedEncryptionTypes",
    "DCAvailableKeys",
    "ClientAdvertizedEncryptionTypes",
    "SessionKeyEncryptionType",
];
const HASHES: &[&str] = &["RequestTicketHash", "ResponseTicketHash"];
const PRE_AUTH_4771: &[&str] = &[
    "TargetUserName",
    "TargetSid",
    "ServiceName",
    "TicketOptions",
    "Status",
    "PreAuthType",
    "IpAddress",
    "IpPort",
    "CertIssuerName",
    "CertSerialNumber",
    "CertThumbprint",
];

/// Ids of the Security events for which [`manifest_names`] knows an order.
pub(in crate::decode) const MANIFEST_IDS: [u32; 6] = [4624, 4625, 4768, 4769, 4771, 4776];

/// The names of a Security event's data in the order of its manifest; the number of items
/// identifies the version. `None` when id or number is unknown.
pub(in crate::decode) fn manifest_names(
    id: u32,
    items: usize,
) -> Option<impl Iterator<Item = &'static str>> {
    let parts: &[&[&str]] = match (id, items) {
        (4624, 20) => &[SUBJECT, TARGET, LOGON_4624],
        (4624, 21) => &[SUBJECT, TARGET, LOGON_4624, &["ImpersonationLevel"]],
        (4624, 27) => {
            &[SUBJECT, TARGET, LOGON_4624, &["ImpersonationLevel", "RestrictedAdminMode"], OUTBOUND]
        }
        (4624, 28) => &[
            SUBJECT,
            TARGET,
            LOGON_4624,
            &["ImpersonationLevel", "RestrictedAdminMode", "RemoteCredentialGuard"],
            OUTBOUND,
        ],
        (4625, 21) => &[SUBJECT, TARGET, LOGON_4625],
        (4768, 14) => &[TICKET_4768],
        (4768, 15) => &[TICKET_4768, &["ResponseTicket"]],
        (4768, 24) => &[TICKET_4768, &["ResponseTicket"], ENCRYPTION, &["PreAuthEncryptionType"]],
        (4769, 11) => &[TICKET_4769],
        (4769, 13) => &[TICKET_4769, HASHES],
        (4769, 21) => &[TICKET_4769, HASHES, ENCRYPTION],
        (4771, 11) => &[PRE_AUTH_4771],
        (4776, 4) => &[&["PackageName", "TargetUserName", "Workstation", "Status"]],
        _ => return None,
    };
    Some(parts.iter().flat_map(|part| part.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_items_identifies_the_version() {
        for (id, items) in [
            (4624, 20),
            (4624, 21),
            (4624, 27),
            (4624, 28),
            (4625, 21),
            (4768, 14),
            (4768, 15),
            (4768, 24),
            (4769, 11),
            (4769, 13),
            (4769, 21),
            (4771, 11),
            (4776, 4),
        ] {
            let names: Vec<_> = manifest_names(id, items).into_iter().flatten().collect();
            assert_eq!(names.len(), items, "{id}: {names:?}");
            assert!(MANIFEST_IDS.contains(&id));
        }
        assert!(manifest_names(4625, 20).is_none());
    }
}
