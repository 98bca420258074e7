//! The events of the simulated fleet: which fields, in which order, of which
//! type. The order is that of the providers' manifests.

use std::sync::Arc;

use super::evtx::{EventSpec, Payload, Rendering, TypedValue};
use crate::sid::{DomainSid, Sid};
use crate::time::EventTime;

/// The logs that the fleet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Security,
    System,
}

impl Channel {
    pub const ALL: [Channel; 2] = [Channel::Security, Channel::System];

    pub fn name(self) -> &'static str {
        match self {
            Channel::Security => "Security",
            Channel::System => "System",
        }
    }
}

#[derive(Debug)]
pub struct Provider {
    pub name: &'static str,
    /// As in memory ([`TypedValue::Guid`]).
    pub guid: Option<[u8; 16]>,
    pub source: Option<&'static str>,
    pub qualifiers: Option<u16>,
    /// Its display name in a collector's rendering.
    pub display: &'static str,
}

/// A GUID as it is written, in the order of its bytes in memory.
const fn guid(digits: u128) -> Option<[u8; 16]> {
    let [a, b, c, d, e, f, g, h, tail @ ..] = digits.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = tail;
    Some([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

pub static AUDITING: Provider = Provider {
    name: "Microsoft-Windows-Security-Auditing",
    guid: guid(0x5484_9625_5478_4994_a5ba_3e3b_0328_c30d),
    source: None,
    qualifiers: None,
    display: "Microsoft Windows security auditing.",
};
pub static LSA: Provider = Provider {
    name: "LsaSrv",
    guid: guid(0x199f_e037_2b82_40a9_82ac_e1d4_6c79_2b99),
    source: Some("LsaSrv"),
    qualifiers: Some(0),
    display: "Microsoft-Windows-LSA",
};
pub static KERNEL: Provider = Provider {
    name: "Microsoft-Windows-Kernel-General",
    guid: guid(0xa68c_a8b7_004f_d7b6_a698_07e2_de0f_1f5d),
    source: None,
    qualifiers: None,
    display: "Microsoft-Windows-Kernel-General",
};
pub static UPDATE: Provider = Provider {
    name: "Microsoft-Windows-WindowsUpdateClient",
    guid: guid(0x945a_8954_c147_4acd_923f_40c4_5405_a658),
    source: None,
    qualifiers: None,
    display: "Microsoft-Windows-WindowsUpdateClient",
};
pub static EVENT_LOG: Provider = Provider {
    name: "EventLog",
    guid: None,
    source: None,
    qualifiers: Some(0x8000),
    display: "Microsoft-Windows-Eventlog",
};
pub static NETLOGON: Provider = Provider {
    name: "NETLOGON",
    guid: None,
    source: None,
    qualifiers: Some(0),
    display: "NETLOGON",
};
pub static SERVICES: Provider = Provider {
    name: "Service Control Manager",
    guid: guid(0x5559_08d1_a6d7_4695_8e1e_2693_1d20_12f4),
    source: Some("Service Control Manager"),
    qualifiers: Some(0x4000),
    display: "Microsoft-Windows-Service Control Manager",
};

/// A SID without the room for fifteen sub-authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    Null,
    System,
    /// `S-1-16-…`, the label of an integrity level.
    Label(u32),
    Issued(DomainSid, u32),
}

impl Principal {
    pub fn sid(self) -> Sid {
        let (authority, sub) = match self {
            Principal::Null => (0, 0),
            Principal::System => (5, 18),
            Principal::Label(level) => (16, level),
            Principal::Issued(issuer, rid) => return issuer.account(rid),
        };
        Sid::new(authority, &[sub]).expect("one sub-authority fits a SID")
    }
}

/// A field's value, owned.
#[derive(Clone, Debug)]
pub enum Field {
    Fixed(&'static str),
    Text(Arc<str>),
    U32(u32),
    U64(u64),
    Hex32(u32),
    Hex64(u64),
    Pointer(u64),
    Sid(Principal),
    Time(EventTime),
    Guid([u8; 16]),
}

impl Field {
    pub fn value(&self) -> TypedValue<'_> {
        match self {
            Field::Fixed(text) => TypedValue::Text(text),
            Field::Text(text) => TypedValue::Text(text),
            Field::U32(number) => TypedValue::U32(*number),
            Field::U64(number) => TypedValue::U64(*number),
            Field::Hex32(number) => TypedValue::Hex32(*number),
            Field::Hex64(number) => TypedValue::Hex64(*number),
            Field::Pointer(number) => TypedValue::Pointer(*number),
            Field::Sid(principal) => TypedValue::Sid(principal.sid()),
            Field::Time(time) => TypedValue::Time(*time),
            Field::Guid(guid) => TypedValue::Guid(*guid),
        }
    }
}

impl From<&'static str> for Field {
    fn from(text: &'static str) -> Field {
        Field::Fixed(text)
    }
}

impl From<&Arc<str>> for Field {
    fn from(text: &Arc<str>) -> Field {
        Field::Text(Arc::clone(text))
    }
}

impl From<String> for Field {
    fn from(text: String) -> Field {
        Field::Text(text.into())
    }
}

impl From<Principal> for Field {
    fn from(principal: Principal) -> Field {
        Field::Sid(principal)
    }
}

impl From<u32> for Field {
    fn from(number: u32) -> Field {
        Field::U32(number)
    }
}

/// The data of an event.
#[derive(Clone, Debug)]
pub enum Body {
    Empty,
    Named(Vec<(&'static str, Field)>),
    Unnamed(Vec<Arc<str>>, Option<Vec<u8>>),
}

/// An event except for its time, computer and record id.
#[derive(Clone, Debug)]
pub struct EventShape {
    pub provider: &'static Provider,
    pub channel: Channel,
    pub id: u16,
    pub version: u8,
    pub level: u8,
    pub task: u16,
    pub keywords: u64,
    pub process_id: u32,
    pub user: Option<Principal>,
    pub body: Body,
}

/// An account in an event: SID, name, domain and logon session.
#[derive(Clone, Debug)]
pub struct Who {
    pub sid: Principal,
    pub name: Arc<str>,
    pub domain: Arc<str>,
    pub logon: u64,
}

/// The origin of a logon as the event shows it.
#[derive(Clone, Debug)]
pub struct Origin {
    pub workstation: Arc<str>,
    pub ip: Arc<str>,
    pub port: u16,
}

/// The authentication package of a logon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    Kerberos,
    Ntlm,
    Negotiate,
}

impl Package {
    fn process(self) -> &'static str {
        match self {
            Package::Kerberos => "Kerberos",
            Package::Ntlm => "NtLmSsp ",
            Package::Negotiate => "User32 ",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Package::Kerberos => "Kerberos",
            Package::Ntlm => "NTLM",
            Package::Negotiate => "Negotiate",
        }
    }

    fn lan_manager(self) -> &'static str {
        match self {
            Package::Ntlm => "NTLM V2",
            Package::Kerberos | Package::Negotiate => "-",
        }
    }

    fn key_length(self) -> u32 {
        match self {
            Package::Ntlm => 128,
            Package::Kerberos | Package::Negotiate => 0,
        }
    }
}

/// Bits of `Keywords` for the outcome of an audit.
const AUDIT_SUCCESS: u64 = 0x8020_0000_0000_0000;
const AUDIT_FAILURE: u64 = 0x8010_0000_0000_0000;

type NamedFields = Vec<(&'static str, Field)>;

fn audit(id: u16, version: u8, task: u16, keywords: u64, fields: NamedFields) -> EventShape {
    EventShape {
        provider: &AUDITING,
        channel: Channel::Security,
        id,
        version,
        level: 0,
        task,
        keywords,
        process_id: 640,
        user: None,
        body: Body::Named(fields),
    }
}

fn system(provider: &'static Provider, id: u16, level: u8, body: Body) -> EventShape {
    let (version, keywords) = match provider.qualifiers {
        Some(_) => (0, 0x0080_0000_0000_0000),
        None => (0, 0x8000_0000_0000_0000),
    };
    EventShape {
        provider,
        channel: Channel::System,
        id,
        version,
        level,
        task: 0,
        keywords,
        process_id: 4,
        user: None,
        body,
    }
}

fn subject(who: &Who) -> NamedFields {
    vec![
        ("SubjectUserSid", who.sid.into()),
        ("SubjectUserName", (&who.name).into()),
        ("SubjectDomainName", (&who.domain).into()),
        ("SubjectLogonId", Field::Hex64(who.logon)),
    ]
}

fn named_target(who: &Who) -> NamedFields {
    vec![
        ("TargetUserName", (&who.name).into()),
        ("TargetDomainName", (&who.domain).into()),
        ("TargetSid", who.sid.into()),
    ]
}

fn nobody() -> NamedFields {
    vec![
        ("SubjectUserSid", Principal::Null.into()),
        ("SubjectUserName", "-".into()),
        ("SubjectDomainName", "-".into()),
        ("SubjectLogonId", Field::Hex64(0)),
    ]
}

/// 4624; `caller` is whoever asked for the logon on the host itself.
pub fn logon(
    caller: Option<&Who>,
    who: &Who,
    kind: u32,
    package: Package,
    origin: Option<&Origin>,
    newer: bool,
) -> EventShape {
    let mut fields = caller.map_or_else(nobody, subject);
    fields.extend([
        ("TargetUserSid", who.sid.into()),
        ("TargetUserName", (&who.name).into()),
        ("TargetDomainName", (&who.domain).into()),
        ("TargetLogonId", Field::Hex64(who.logon)),
        ("LogonType", kind.into()),
        ("LogonProcessName", package.process().into()),
        ("AuthenticationPackageName", package.name().into()),
        ("WorkstationName", origin.map_or("-".into(), |origin| (&origin.workstation).into())),
        ("LogonGuid", Field::Guid([0; 16])),
        ("TransmittedServices", "-".into()),
        ("LmPackageName", package.lan_manager().into()),
        ("KeyLength", package.key_length().into()),
        ("ProcessId", Field::Pointer(if caller.is_some() { 0x2e4 } else { 0 })),
        (
            "ProcessName",
            if caller.is_some() { "C:\\Windows\\System32\\svchost.exe".into() } else { "-".into() },
        ),
        ("IpAddress", origin.map_or("-".into(), |origin| (&origin.ip).into())),
        ("IpPort", origin.map_or("-".into(), |origin| origin.port.to_string().into())),
        ("ImpersonationLevel", "%%1833".into()),
        ("RestrictedAdminMode", "-".into()),
    ]);
    if newer {
        fields.push(("RemoteCredentialGuard", "-".into()));
    }
    fields.extend([
        ("TargetOutboundUserName", "-".into()),
        ("TargetOutboundDomainName", "-".into()),
        ("VirtualAccount", "%%1843".into()),
        ("TargetLinkedLogonId", Field::Hex64(0)),
        ("ElevatedToken", "%%1842".into()),
    ]);
    audit(4624, if newer { 3 } else { 2 }, 12544, AUDIT_SUCCESS, fields)
}

/// Why a logon failed.
#[derive(Clone, Copy, Debug)]
pub struct LogonFailure {
    pub status: u32,
    pub sub_status: u32,
    pub reason: &'static str,
}

impl LogonFailure {
    pub const WRONG_PASSWORD: LogonFailure =
        LogonFailure { status: 0xc000_006d, sub_status: 0xc000_006a, reason: "%%2313" };
    pub const NO_SUCH_USER: LogonFailure =
        LogonFailure { status: 0xc000_006d, sub_status: 0xc000_0064, reason: "%%2313" };
    pub const REFUSED: LogonFailure =
        LogonFailure { status: 0xc000_006d, sub_status: 0, reason: "%%2304" };
}

/// 4625; it never has the SID of the account.
pub fn logon_failed(
    name: &Arc<str>,
    domain: &Arc<str>,
    failure: LogonFailure,
    package: Package,
    origin: &Origin,
) -> EventShape {
    let mut fields = nobody();
    fields.extend([
        ("TargetUserSid", Principal::Null.into()),
        ("TargetUserName", name.into()),
        ("TargetDomainName", domain.into()),
        ("Status", Field::Hex32(failure.status)),
        ("FailureReason", failure.reason.into()),
        ("SubStatus", Field::Hex32(failure.sub_status)),
        ("LogonType", 3.into()),
        ("LogonProcessName", package.process().into()),
        ("AuthenticationPackageName", package.name().into()),
        ("WorkstationName", (&origin.workstation).into()),
        ("TransmittedServices", "-".into()),
        ("LmPackageName", "-".into()),
        ("KeyLength", 0.into()),
        ("ProcessId", Field::Pointer(0)),
        ("ProcessName", "-".into()),
        ("IpAddress", (&origin.ip).into()),
        ("IpPort", origin.port.to_string().into()),
    ]);
    audit(4625, 0, 12544, AUDIT_FAILURE, fields)
}

/// 4634
pub fn logoff(who: &Who, kind: u32) -> EventShape {
    let fields = vec![
        ("TargetUserSid", who.sid.into()),
        ("TargetUserName", (&who.name).into()),
        ("TargetDomainName", (&who.domain).into()),
        ("TargetLogonId", Field::Hex64(who.logon)),
        ("LogonType", kind.into()),
    ];
    audit(4634, 0, 12545, AUDIT_SUCCESS, fields)
}

/// 4648: `caller` uses the credentials of another, at `server`.
pub fn explicit_credentials(
    caller: &Who,
    name: &Arc<str>,
    domain: &Arc<str>,
    server: &Arc<str>,
) -> EventShape {
    let mut fields = subject(caller);
    fields.extend([
        ("LogonGuid", Field::Guid([0; 16])),
        ("TargetUserName", name.into()),
        ("TargetDomainName", domain.into()),
        ("TargetLogonGuid", Field::Guid([0; 16])),
        ("TargetServerName", server.into()),
        ("TargetInfo", server.into()),
        ("ProcessId", Field::Pointer(0x1a4c)),
        ("ProcessName", "C:\\Windows\\System32\\runas.exe".into()),
        ("IpAddress", "-".into()),
        ("IpPort", "-".into()),
    ]);
    audit(4648, 0, 12544, AUDIT_SUCCESS, fields)
}

/// 4672
pub fn privileges(who: &Who) -> EventShape {
    let mut fields = subject(who);
    fields.push((
        "PrivilegeList",
        "SeSecurityPrivilege\n\t\t\tSeBackupPrivilege\n\t\t\tSeRestorePrivilege\n\t\t\t\
         SeTakeOwnershipPrivilege\n\t\t\tSeDebugPrivilege"
            .into(),
    ));
    audit(4672, 0, 12548, AUDIT_SUCCESS, fields)
}

/// 4688
pub fn process(who: &Who, program: &'static str, command: String, id: u64) -> EventShape {
    let mut fields = subject(who);
    fields.extend([
        ("NewProcessId", Field::Pointer(id)),
        ("NewProcessName", program.into()),
        ("TokenElevationType", "%%1936".into()),
        ("ProcessId", Field::Pointer(0x2e4)),
        ("CommandLine", command.into()),
        ("TargetUserSid", Principal::Null.into()),
        ("TargetUserName", "-".into()),
        ("TargetDomainName", "-".into()),
        ("TargetLogonId", Field::Hex64(0)),
        ("ParentProcessName", "C:\\Windows\\System32\\services.exe".into()),
        ("MandatoryLabel", Principal::Label(16384).into()),
    ]);
    audit(4688, 2, 13312, AUDIT_SUCCESS, fields)
}

/// 5156
pub fn connection(source: &Arc<str>, destination: &Arc<str>, ports: (u16, u16)) -> EventShape {
    let fields = vec![
        ("ProcessID", Field::U64(4)),
        ("Application", "\\device\\harddiskvolume3\\windows\\system32\\svchost.exe".into()),
        ("Direction", "%%14593".into()),
        ("SourceAddress", source.into()),
        ("SourcePort", ports.0.to_string().into()),
        ("DestAddress", destination.into()),
        ("DestPort", ports.1.to_string().into()),
        ("Protocol", 6.into()),
        ("FilterRTID", Field::U64(71_204)),
        ("LayerName", "%%14611".into()),
        ("LayerRTID", Field::U64(48)),
        ("RemoteUserID", Principal::Null.into()),
        ("RemoteMachineID", Principal::Null.into()),
    ];
    audit(5156, 1, 12810, AUDIT_SUCCESS, fields)
}

/// 4663
pub fn object_access(who: &Who, object: String, handle: u64) -> EventShape {
    let mut fields = subject(who);
    fields.extend([
        ("ObjectServer", "Security".into()),
        ("ObjectType", "File".into()),
        ("ObjectName", object.into()),
        ("HandleId", Field::Pointer(handle)),
        ("AccessList", "%%4416\n\t\t\t\t".into()),
        ("AccessMask", Field::Hex32(1)),
        ("ProcessId", Field::Pointer(0x1124)),
        ("ProcessName", "C:\\Windows\\explorer.exe".into()),
        ("ResourceAttributes", "S:AI".into()),
    ]);
    audit(4663, 1, 12800, AUDIT_SUCCESS, fields)
}

/// 4798
pub fn groups_listed(caller: &Who, who: &Who) -> EventShape {
    let mut fields = named_target(who);
    fields.extend(subject(caller));
    fields.push(("CallerProcessId", Field::Pointer(0x8d0)));
    fields.push(("CallerProcessName", "C:\\Windows\\System32\\svchost.exe".into()));
    audit(4798, 0, 13824, AUDIT_SUCCESS, fields)
}

/// 4720, 4738 (changed) or 4741 (a computer's): an account with its attributes.
pub fn account_written(id: u16, who: &Who, by: &Who, dns: Option<&Arc<str>>) -> EventShape {
    let mut fields = Vec::new();
    match id {
        4738 => fields.push(("Dummy", "-".into())),
        4742 => fields.push(("ComputerAccountChange", "-".into())),
        _ => {}
    }
    fields.extend(named_target(who));
    fields.extend(subject(by));
    fields.extend([
        ("PrivilegeList", "-".into()),
        ("SamAccountName", (&who.name).into()),
        ("DisplayName", "%%1793".into()),
        ("UserPrincipalName", "-".into()),
        ("HomeDirectory", "%%1793".into()),
        ("HomePath", "%%1793".into()),
        ("ScriptPath", "%%1793".into()),
        ("ProfilePath", "%%1793".into()),
        ("UserWorkstations", "%%1793".into()),
        ("PasswordLastSet", "%%1794".into()),
        ("AccountExpires", "%%1794".into()),
        ("PrimaryGroupId", if dns.is_some() { "515".into() } else { "513".into() }),
        ("AllowedToDelegateTo", "-".into()),
        ("OldUacValue", "0x0".into()),
        ("NewUacValue", "0x15".into()),
        ("UserAccountControl", "\n\t\t%%2080\n\t\t%%2082\n\t\t%%2084".into()),
        ("UserParameters", "%%1793".into()),
        ("SidHistory", "-".into()),
        ("LogonHours", "%%1797".into()),
    ]);
    if let Some(dns) = dns {
        fields.push(("DnsHostName", dns.into()));
        fields.push(("ServicePrincipalNames", "-".into()));
    }
    let task = if dns.is_some() { 13825 } else { 13824 };
    audit(id, 0, task, AUDIT_SUCCESS, fields)
}

/// 4722 (enabled), 4724 (password reset)
pub fn account_touched(id: u16, who: &Who, by: &Who) -> EventShape {
    let mut fields = named_target(who);
    fields.extend(subject(by));
    audit(id, 0, 13824, AUDIT_SUCCESS, fields)
}

/// 4781
pub fn account_renamed(old: String, new: String, who: &Who, by: &Who) -> EventShape {
    let mut fields = vec![
        ("OldTargetUserName", old.into()),
        ("NewTargetUserName", new.into()),
        ("TargetDomainName", (&who.domain).into()),
        ("TargetSid", who.sid.into()),
    ];
    fields.extend(subject(by));
    fields.push(("PrivilegeList", "-".into()));
    audit(4781, 0, 13824, AUDIT_SUCCESS, fields)
}

/// 4768; a status other than 0 leaves the SIDs out.
pub fn ticket_granting(who: &Who, domain: DomainSid, ip: String, status: u32) -> EventShape {
    let granted = status == 0;
    let sid = |principal| if granted { principal } else { Principal::Null };
    let fields = vec![
        ("TargetUserName", (&who.name).into()),
        ("TargetDomainName", (&who.domain).into()),
        ("TargetSid", sid(who.sid).into()),
        ("ServiceName", "krbtgt".into()),
        ("ServiceSid", sid(Principal::Issued(domain, 502)).into()),
        ("TicketOptions", Field::Hex32(0x4081_0010)),
        ("Status", Field::Hex32(status)),
        ("TicketEncryptionType", Field::Hex32(if granted { 0x12 } else { u32::MAX })),
        ("PreAuthType", if granted { "2".into() } else { "-".into() }),
        ("IpAddress", ip.into()),
        ("IpPort", "49673".into()),
        ("CertIssuerName", "".into()),
        ("CertSerialNumber", "".into()),
        ("CertThumbprint", "".into()),
    ];
    let keywords = if granted { AUDIT_SUCCESS } else { AUDIT_FAILURE };
    audit(4768, 0, 14339, keywords, fields)
}

/// 4769: a ticket for `service`, an account of the domain.
pub fn service_ticket(
    account: String,
    realm: &Arc<str>,
    service: String,
    service_sid: Principal,
    ip: String,
    status: u32,
) -> EventShape {
    let granted = status == 0;
    let fields = vec![
        ("TargetUserName", account.into()),
        ("TargetDomainName", realm.into()),
        ("ServiceName", service.into()),
        ("ServiceSid", if granted { service_sid } else { Principal::Null }.into()),
        ("TicketOptions", Field::Hex32(0x4081_0000)),
        ("TicketEncryptionType", Field::Hex32(if granted { 0x12 } else { u32::MAX })),
        ("IpAddress", ip.into()),
        ("IpPort", "49672".into()),
        ("Status", Field::Hex32(status)),
        ("LogonGuid", Field::Guid([0; 16])),
        ("TransmittedServices", "-".into()),
    ];
    let keywords = if granted { AUDIT_SUCCESS } else { AUDIT_FAILURE };
    audit(4769, 0, 14337, keywords, fields)
}

/// 4771
pub fn preauthentication_failed(who: &Who, realm: &str, ip: String, status: u32) -> EventShape {
    let fields = vec![
        ("TargetUserName", (&who.name).into()),
        ("TargetSid", who.sid.into()),
        ("ServiceName", format!("krbtgt/{realm}").into()),
        ("TicketOptions", Field::Hex32(0x4081_0010)),
        ("Status", Field::Hex32(status)),
        ("PreAuthType", "2".into()),
        ("IpAddress", ip.into()),
        ("IpPort", "49674".into()),
        ("CertIssuerName", "".into()),
        ("CertSerialNumber", "".into()),
        ("CertThumbprint", "".into()),
    ];
    audit(4771, 0, 14339, AUDIT_FAILURE, fields)
}

/// 4776
pub fn credentials(name: &Arc<str>, workstation: &Arc<str>, status: u32) -> EventShape {
    let fields = vec![
        ("PackageName", "MICROSOFT_AUTHENTICATION_PACKAGE_V1_0".into()),
        ("TargetUserName", name.into()),
        ("Workstation", workstation.into()),
        ("Status", Field::Hex32(status)),
    ];
    let keywords = if status == 0 { AUDIT_SUCCESS } else { AUDIT_FAILURE };
    audit(4776, 0, 14336, keywords, fields)
}

/// LsaSrv 6167: it has no data, and so no peer or account.
pub fn mismatch() -> EventShape {
    let shape = system(&LSA, 6167, 2, Body::Empty);
    EventShape { keywords: 0x8000_0000_0000_0000, process_id: 640, ..shape }
}

/// A build of Windows: number, revision, and whether a server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowsBuild {
    pub number: u32,
    pub revision: u32,
    pub server: bool,
}

impl WindowsBuild {
    /// Whether it refuses machines with its own machine SID: 26100 since
    /// revision 6584 (the fleet has no preview between 5074 and that).
    pub fn enforces(self) -> bool {
        self.number >= 26_100 && self.revision >= 6_584
    }
}

/// Kernel-General 12
pub fn started(build: WindowsBuild, at: EventTime) -> EventShape {
    let fields = vec![
        ("MajorVersion", 10.into()),
        ("MinorVersion", 0.into()),
        ("BuildVersion", build.number.into()),
        ("QfeVersion", build.revision.into()),
        ("ServiceVersion", 0.into()),
        ("BootMode", 0.into()),
        ("StartTime", Field::Time(at)),
    ];
    let shape = system(&KERNEL, 12, 4, Body::Named(fields));
    EventShape { task: 1, user: Some(Principal::System), ..shape }
}

/// Kernel-General 13
pub fn stopped(at: EventTime) -> EventShape {
    let shape = system(&KERNEL, 13, 4, Body::Named(vec![("StopTime", Field::Time(at))]));
    EventShape { task: 2, user: Some(Principal::System), ..shape }
}

/// Kernel-General 1: the clock was set.
pub fn clock_set(old: EventTime, new: EventTime) -> EventShape {
    let fields =
        vec![("NewTime", Field::Time(new)), ("OldTime", Field::Time(old)), ("Reason", 2.into())];
    let shape = system(&KERNEL, 1, 4, Body::Named(fields));
    EventShape { version: 1, task: 5, user: Some(Principal::System), ..shape }
}

/// EventLog 6005, 6006, 6009, 6011 and 6013.
pub fn event_log(id: u16, data: &[&str], binary: Option<&[u8]>) -> EventShape {
    let data = data.iter().map(|text| Arc::from(*text)).collect();
    system(&EVENT_LOG, id, 4, Body::Unnamed(data, binary.map(<[u8]>::to_vec)))
}

/// NETLOGON 5719 and 5805.
pub fn secure_channel(id: u16, data: &[&str], status: u32) -> EventShape {
    let data = data.iter().map(|text| Arc::from(*text)).collect();
    system(&NETLOGON, id, 2, Body::Unnamed(data, Some(status.to_le_bytes().to_vec())))
}

/// WindowsUpdateClient 19
pub fn update_installed(title: &'static str) -> EventShape {
    let fields = vec![
        ("updateTitle", title.into()),
        ("updateGuid", Field::Guid([0x5c; 16])),
        ("updateRevisionNumber", 1.into()),
        ("serviceGuid", Field::Guid([0x9a; 16])),
    ];
    let shape = system(&UPDATE, 19, 4, Body::Named(fields));
    EventShape { version: 1, task: 1, user: Some(Principal::System), ..shape }
}

/// Service Control Manager 7036
pub fn service_state(service: &'static str, state: &'static str) -> EventShape {
    let fields = vec![("param1", service.into()), ("param2", state.into())];
    EventShape { process_id: 612, ..system(&SERVICES, 7036, 4, Body::Named(fields)) }
}

/// An event of a host: a shape with computer, time and record id.
#[derive(Clone, Debug)]
pub struct FleetEvent {
    pub shape: EventShape,
    pub computer: Arc<str>,
    pub time: EventTime,
    pub record_id: u64,
}

impl FleetEvent {
    /// Calls `take` with the event in the EVTX writer's form.
    pub fn with_spec<T>(
        &self,
        rendering: Option<Rendering<'_>>,
        take: impl FnOnce(&EventSpec<'_>) -> T,
    ) -> T {
        let shape = &self.shape;
        let named: Vec<(&str, TypedValue<'_>)>;
        let texts: Vec<&str>;
        let data = match &shape.body {
            Body::Empty => Payload::None,
            Body::Named(fields) => {
                named = fields.iter().map(|(name, field)| (*name, field.value())).collect();
                Payload::Named(&named)
            }
            Body::Unnamed(strings, binary) => {
                texts = strings.iter().map(|text| &**text).collect();
                Payload::Unnamed(&texts, binary.as_deref())
            }
        };
        take(&EventSpec {
            provider: shape.provider.name,
            provider_guid: shape.provider.guid,
            event_source_name: shape.provider.source,
            qualifiers: shape.provider.qualifiers,
            event_id: shape.id,
            version: shape.version,
            level: shape.level,
            task: shape.task,
            opcode: 0,
            keywords: shape.keywords,
            time: self.time,
            record_id: self.record_id,
            process_id: shape.process_id,
            thread_id: 100 + (self.record_id % 40) as u32 * 4,
            channel: shape.channel.name(),
            computer: &self.computer,
            user: shape.user.map(Principal::sid),
            data,
            rendering,
        })
    }
}
