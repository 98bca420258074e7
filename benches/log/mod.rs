//! The log that the benches read: a domain controller's Security and System
//! logs mixed, about one event in twenty wanted by the shipped rules. The same
//! on every run.

// Each bench uses a part of it.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Cursor;
use std::time::{Duration, Instant};

use twinsid::decode::evtx::CHUNK_BYTES;
use twinsid::sid::{DomainSid, Sid};
use twinsid::simulate::evtx::{EventSpec, Payload, TypedValue, Writer};
use twinsid::time::{EventTime, TICKS_PER_SEC};

/// Bytes in front of the first chunk.
pub const FILE_HEADER_BYTES: usize = 4096;

const SECURITY: &str = "Microsoft-Windows-Security-Auditing";
const SECURITY_GUID: [u8; 16] = [
    0x25, 0x96, 0x84, 0x54, 0x78, 0x54, 0x94, 0x49, 0xa5, 0xba, 0x3e, 0x3b, 0x03, 0x28, 0xc3, 0x0d,
];
const KERNEL_GENERAL: &str = "Microsoft-Windows-Kernel-General";
const KERNEL_GENERAL_GUID: [u8; 16] = [
    0xfb, 0x7c, 0xfc, 0xa6, 0x12, 0x50, 0x2f, 0x48, 0x8b, 0x5d, 0x4d, 0x7b, 0x10, 0x31, 0x8c, 0x9c,
];
const LSASRV_GUID: [u8; 16] = [
    0x1c, 0x95, 0x9b, 0x19, 0x2f, 0x5a, 0x2b, 0x4b, 0xa2, 0x41, 0x5b, 0x5a, 0x7e, 0x6c, 0x39, 0x49,
];
const COMPUTER: &str = "DC01.corp.example";
const DOMAIN: &str = "CORP";
const REALM: &str = "CORP.EXAMPLE";
const CORP: DomainSid = DomainSid([2_043_918_477, 1_102_375_604, 3_811_029_566]);
const START: u64 = 134_030_592_000_000_000;

/// 64-bit xorshift: numbers without a pattern, the same on every run.
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: usize) -> usize {
        (((self.next() >> 32) * end as u64) >> 32) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[derive(Clone, Debug)]
pub enum Field {
    Text(String),
    U32(u32),
    Hex32(u32),
    Hex64(u64),
    Pointer(u64),
    Sid(Sid),
    Guid([u8; 16]),
}

impl Field {
    fn as_value(&self) -> TypedValue<'_> {
        match self {
            Field::Text(text) => TypedValue::Text(text),
            Field::U32(number) => TypedValue::U32(*number),
            Field::Hex32(number) => TypedValue::Hex32(*number),
            Field::Hex64(number) => TypedValue::Hex64(*number),
            Field::Pointer(number) => TypedValue::Pointer(*number),
            Field::Sid(sid) => TypedValue::Sid(*sid),
            Field::Guid(guid) => TypedValue::Guid(*guid),
        }
    }

    fn text(&self) -> String {
        match self {
            Field::Text(text) => text.clone(),
            Field::U32(number) => number.to_string(),
            Field::Hex32(number) => format!("0x{number:x}"),
            Field::Hex64(number) | Field::Pointer(number) => format!("0x{number:x}"),
            Field::Sid(sid) => sid.to_string(),
            Field::Guid(guid) => twinsid::record::Value::Guid(*guid).text().into_owned(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Content {
    Named(Vec<(&'static str, Field)>),
    Unnamed(Vec<String>, Option<Vec<u8>>),
}

/// One event, to be written in any format.
#[derive(Clone, Debug)]
pub struct Event {
    pub provider: &'static str,
    guid: Option<[u8; 16]>,
    pub channel: &'static str,
    pub event_id: u16,
    version: u8,
    level: u8,
    task: u16,
    keywords: u64,
    qualifiers: Option<u16>,
    pub time: EventTime,
    pub record_id: u64,
    pub content: Content,
}

/// Makes events without end.
#[derive(Debug)]
pub struct Log {
    numbers: Numbers,
    time: u64,
    record_ids: [u64; 2],
    users: Vec<(String, u32)>,
    hosts: Vec<String>,
    programs: Vec<String>,
}

impl Log {
    pub fn new(seed: u64) -> Log {
        let first = ["anna", "bert", "carla", "david", "elena", "frank", "greta", "hamid", "ines"];
        let last = ["huber", "klein", "moreau", "novak", "okafor", "peters", "rossi", "schmidt"];
        let users = (0..600_usize).map(|n| {
            let name = format!("{}.{}{}", first[n % 9], last[n / 9 % 8], n / 72);
            (name, 1100 + n as u32)
        });
        let hosts = (0..400_usize).map(|n| match n % 10 {
            0..7 => format!("PC-{:05}", 20_000 + n * 37),
            7..9 => format!("NB-{:05}", 40_000 + n * 41),
            _ => format!("SRV-APP{n:03}"),
        });
        let folders =
            ["C:\\Windows\\System32", "C:\\Program Files\\Vendor Suite 12\\bin", "C:\\Windows"];
        let programs = (0..300_usize).map(|n| {
            format!("{}\\{}{n}.exe", folders[n % 3], ["svchost", "agent", "tool"][n / 3 % 3])
        });
        Log {
            numbers: Numbers::new(seed),
            time: START,
            record_ids: [8_400_000, 120_000],
            users: users.collect(),
            hosts: hosts.collect(),
            programs: programs.collect(),
        }
    }

    /// The next event of the mix.
    pub fn event(&mut self) -> Event {
        let share = self.numbers.below(1000);
        match share {
            0..200 => self.security(4624),
            200..300 => self.security(4634),
            300..400 => self.security(4672),
            400..520 => self.security(4688),
            520..630 => self.security(4662),
            630..650 => self.security(5140),
            650..770 => self.security(5145),
            770..850 => self.security(5156),
            850..870 => self.security(5158),
            870..885 => self.security(4648),
            885..890 => self.security(4768),
            890..905 => self.security(4769),
            905..910 => self.security(4776),
            // Three in a hundred are failures.
            910..922 => self.refused(4625),
            922..932 => self.refused(4771),
            932..936 => self.refused(4768),
            936..940 => self.refused(4776),
            940..985 => self.system(7036),
            985..990 => self.system(16),
            990..996 => self.system(5805),
            _ => self.system(6155),
        }
    }

    /// A Security event of this id that worked.
    pub fn security(&mut self, event_id: u16) -> Event {
        self.audit(event_id, true)
    }

    /// A Security event of this id that failed.
    pub fn refused(&mut self, event_id: u16) -> Event {
        self.audit(event_id, false)
    }

    fn audit(&mut self, event_id: u16, worked: bool) -> Event {
        let user = self.numbers.below(self.users.len());
        let (name, rid) = self.users[user].clone();
        let numbers = &mut self.numbers;
        // A user mostly works at one machine.
        let host_index = if numbers.below(8) > 0 { user % 400 } else { numbers.below(400) };
        let host = self.hosts[host_index].clone();
        let ip =
            format!("10.{}.{}.{}", 20 + host_index / 200, host_index / 20, 10 + host_index % 200);
        let mapped = format!("::ffff:{ip}");
        let port = (49_152 + numbers.below(16_000)).to_string();
        let logon = 0x1_0000_0000 + numbers.next() % 0xffff_ffff;
        let program = self.programs[numbers.below(self.programs.len())].clone();
        let other = self.programs[numbers.below(self.programs.len())].clone();
        let sid = Field::Sid(CORP.account(rid));
        let system = Field::Sid(Sid::new(5, &[18]).expect("one part fits"));
        let nobody = Field::Sid(Sid::new(0, &[0]).expect("one part fits"));
        let text = |text: &str| Field::Text(text.to_owned());
        let pid = Field::Pointer(u64::from(numbers.next() as u16) & !3);
        let subject = |sid: Field, name: &str, logon| {
            vec![
                ("SubjectUserSid", sid),
                ("SubjectUserName", text(name)),
                ("SubjectDomainName", text(DOMAIN)),
                ("SubjectLogonId", Field::Hex64(logon)),
            ]
        };
        let kerberos_status = numbers.pick(&[0x18_u32, 0x18, 0x18, 0x6, 0x12, 0x17, 0x25]);
        let (version, task, mut fields) = match event_id {
            4624 => (2, 12544, subject(system, "DC01$", 0x3e7)),
            4648 => (0, 12544, subject(sid.clone(), &name, logon)),
            4625 => (0, 12544, subject(nobody.clone(), "-", 0)),
            4662 => (0, 14080, subject(sid.clone(), &name, logon)),
            4672 => (0, 12548, subject(sid.clone(), &name, logon)),
            4688 => (2, 13312, subject(sid.clone(), &name, logon)),
            5140 => (1, 12808, subject(sid.clone(), &name, logon)),
            5145 => (0, 12811, subject(sid.clone(), &name, logon)),
            4634 => (0, 12545, Vec::new()),
            4768 | 4771 => (0, 14339, Vec::new()),
            4769 => (0, 14337, Vec::new()),
            4776 => (0, 14336, Vec::new()),
            5156 => (1, 12810, Vec::new()),
            _ => (0, 12810, Vec::new()),
        };
        fields.extend(match event_id {
            4624 => vec![
                ("TargetUserSid", sid),
                ("TargetUserName", text(&name)),
                ("TargetDomainName", text(DOMAIN)),
                ("TargetLogonId", Field::Hex64(logon)),
                ("LogonType", Field::U32(3)),
                ("LogonProcessName", text("Kerberos")),
                ("AuthenticationPackageName", text("Kerberos")),
                ("WorkstationName", text("-")),
                ("LogonGuid", Field::Guid(numbers.next().to_le_bytes().repeat(2).try_into().expect("16"))),
                ("TransmittedServices", text("-")),
                ("LmPackageName", text("-")),
                ("KeyLength", Field::U32(0)),
                ("ProcessId", pid),
                ("ProcessName", text("-")),
                ("IpAddress", text(&ip)),
                ("IpPort", text(&port)),
                ("ImpersonationLevel", text("%%1833")),
                ("RestrictedAdminMode", text("-")),
                ("TargetOutboundUserName", text("-")),
                ("TargetOutboundDomainName", text("-")),
                ("VirtualAccount", text("%%1843")),
                ("TargetLinkedLogonId", Field::Hex64(0)),
                ("ElevatedToken", text("%%1842")),
            ],
            4625 => vec![
                ("TargetUserSid", nobody),
                ("TargetUserName", text(&name)),
                ("TargetDomainName", text(DOMAIN)),
                ("Status", Field::Hex32(0xc000_006d)),
                ("FailureReason", text("%%2313")),
                ("SubStatus", Field::Hex32(numbers.pick(&[0xc000_006a, 0xc000_006a, 0xc000_0064]))),
                ("LogonType", Field::U32(3)),
                ("LogonProcessName", text("NtLmSsp ")),
                ("AuthenticationPackageName", text("NTLM")),
                ("WorkstationName", text(&host)),
                ("TransmittedServices", text("-")),
                ("LmPackageName", text("-")),
                ("KeyLength", Field::U32(0)),
                ("ProcessId", Field::Pointer(0)),
                ("ProcessName", text("-")),
                ("IpAddress", text(&ip)),
                ("IpPort", text(&port)),
            ],
            4634 => vec![
                ("TargetUserSid", sid),
                ("TargetUserName", text(&name)),
                ("TargetDomainName", text(DOMAIN)),
                ("TargetLogonId", Field::Hex64(logon)),
                ("LogonType", Field::U32(3)),
            ],
            4648 => vec![
                ("LogonGuid", Field::Guid([0; 16])),
                ("TargetUserName", text(&name)),
                ("TargetDomainName", text(REALM)),
                ("TargetLogonGuid", Field::Guid([0; 16])),
                ("TargetServerName", text(&host)),
                ("TargetInfo", text(&format!("cifs/{host}.corp.example"))),
                ("ProcessId", pid),
                ("ProcessName", text(&program)),
                ("IpAddress", text("-")),
                ("IpPort", text("-")),
            ],
            4662 => vec![
                ("ObjectServer", text("DS")),
                ("ObjectType", text("%{19195a5b-6da0-11d0-afd3-00c04fd930c9}")),
                ("ObjectName", text("%{1d6a1c8b-5c5e-4a3b-9b0e-6f2d2f3c0a55}")),
                ("OperationType", text("Object Access")),
                ("HandleId", Field::Pointer(0)),
                ("AccessList", text("%%7688\r\n\t\t\t\t")),
                ("AccessMask", Field::Hex32(0x100)),
                (
                    "Properties",
                    text("%%7688\r\n\t{1131f6aa-9c07-11d1-f79f-00c04fc2dcd2}\r\n\t{19195a5b-6da0-11d0-afd3-00c04fd930c9}\r\n"),
                ),
                ("AdditionalInfo", text("-")),
                ("AdditionalInfo2", text("")),
            ],
            4672 => vec![(
                "PrivilegeList",
                text("SeSecurityPrivilege\r\n\t\t\tSeBackupPrivilege\r\n\t\t\tSeRestorePrivilege\r\n\t\t\tSeTakeOwnershipPrivilege\r\n\t\t\tSeDebugPrivilege\r\n\t\t\tSeSystemEnvironmentPrivilege\r\n\t\t\tSeLoadDriverPrivilege\r\n\t\t\tSeImpersonatePrivilege\r\n\t\t\tSeDelegateSessionUserImpersonatePrivilege"),
            )],
            4688 => vec![
                ("NewProcessId", pid.clone()),
                ("NewProcessName", text(&program)),
                ("TokenElevationType", text("%%1936")),
                ("ProcessId", pid),
                (
                    "CommandLine",
                    text(&format!(
                        "\"{program}\" --service --profile \\\\{host}\\profiles$\\{name} --session {logon:x} --language de-DE --log C:\\ProgramData\\Vendor\\logs\\{port}.log"
                    )),
                ),
                ("TargetUserSid", nobody),
                ("TargetUserName", text("-")),
                ("TargetDomainName", text("-")),
                ("TargetLogonId", Field::Hex64(0)),
                ("ParentProcessName", text(&other)),
                ("MandatoryLabel", Field::Sid(Sid::new(16, &[12288]).expect("one part fits"))),
            ],
            4768 if worked => vec![
                ("TargetUserName", text(&name)),
                ("TargetDomainName", text(DOMAIN)),
                ("TargetSid", sid),
                ("ServiceName", text("krbtgt")),
                ("ServiceSid", Field::Sid(CORP.account(502))),
                ("TicketOptions", Field::Hex32(0x4081_0010)),
                ("Status", Field::Hex32(0)),
                ("TicketEncryptionType", Field::Hex32(0x12)),
                ("PreAuthType", text("2")),
                ("IpAddress", text(&mapped)),
                ("IpPort", text(&port)),
                ("CertIssuerName", text("")),
                ("CertSerialNumber", text("")),
                ("CertThumbprint", text("")),
            ],
            4768 => vec![
                ("TargetUserName", text(&name)),
                ("TargetDomainName", text(REALM)),
                ("TargetSid", nobody.clone()),
                ("ServiceName", text("krbtgt/CORP.EXAMPLE")),
                ("ServiceSid", nobody),
                ("TicketOptions", Field::Hex32(0x4081_0010)),
                ("Status", Field::Hex32(6)),
                ("TicketEncryptionType", Field::Hex32(0xffff_ffff)),
                ("PreAuthType", text("-")),
                ("IpAddress", text(&mapped)),
                ("IpPort", text(&port)),
                ("CertIssuerName", text("")),
                ("CertSerialNumber", text("")),
                ("CertThumbprint", text("")),
            ],
            4769 => vec![
                ("TargetUserName", text(&format!("{name}@{REALM}"))),
                ("TargetDomainName", text(REALM)),
                ("ServiceName", text(&format!("{host}$"))),
                ("ServiceSid", Field::Sid(CORP.account(5000 + host_index as u32))),
                ("TicketOptions", Field::Hex32(0x4081_0000)),
                ("TicketEncryptionType", Field::Hex32(0x12)),
                ("IpAddress", text(&mapped)),
                ("IpPort", text(&port)),
                ("Status", Field::Hex32(0)),
                ("LogonGuid", Field::Guid(numbers.next().to_le_bytes().repeat(2).try_into().expect("16"))),
                ("TransmittedServices", text("-")),
            ],
            4771 => vec![
                ("TargetUserName", text(&name)),
                ("TargetSid", sid),
                ("ServiceName", text("krbtgt/CORP.EXAMPLE")),
                ("TicketOptions", Field::Hex32(0x4081_0010)),
                ("Status", Field::Hex32(kerberos_status)),
                ("PreAuthType", text("2")),
                ("IpAddress", text(&mapped)),
                ("IpPort", text(&port)),
                ("CertIssuerName", text("")),
                ("CertSerialNumber", text("")),
                ("CertThumbprint", text("")),
            ],
            4776 => vec![
                ("PackageName", text("MICROSOFT_AUTHENTICATION_PACKAGE_V1_0")),
                ("TargetUserName", text(&name)),
                ("Workstation", text(&host)),
                ("Status", Field::Hex32(if worked { 0 } else { 0xc000_006a })),
            ],
            5140 => vec![
                ("ObjectType", text("File")),
                ("IpAddress", text(&ip)),
                ("IpPort", text(&port)),
                ("ShareName", text("\\\\*\\SYSVOL")),
                ("ShareLocalPath", text("\\??\\C:\\Windows\\SYSVOL\\sysvol")),
                ("AccessMask", Field::Hex32(1)),
                ("AccessList", text("%%4416\r\n\t\t\t\t")),
            ],
            5145 => vec![
                ("ObjectType", text("File")),
                ("IpAddress", text(&ip)),
                ("IpPort", text(&port)),
                ("ShareName", text("\\\\*\\SYSVOL")),
                ("ShareLocalPath", text("\\??\\C:\\Windows\\SYSVOL\\sysvol")),
                (
                    "RelativeTargetName",
                    text(&format!("corp.example\\Policies\\{{31B2F340-016D-11D2-945F-{logon:012X}}}\\gpt.ini")),
                ),
                ("AccessMask", Field::Hex32(0x12_0089)),
                ("AccessList", text("%%1538\r\n\t\t\t\t%%1541\r\n\t\t\t\t%%4416\r\n\t\t\t\t%%4419\r\n\t\t\t\t%%4423\r\n\t\t\t\t")),
                (
                    "AccessReason",
                    text("%%1538:\t%%1801\tD:(A;;0x1200a9;;;AU)\r\n\t\t\t\t%%1541:\t%%1801\tD:(A;;0x1200a9;;;AU)\r\n\t\t\t\t%%4416:\t%%1801\tD:(A;;0x1200a9;;;AU)\r\n\t\t\t\t"),
                ),
            ],
            5156 => vec![
                ("ProcessID", pid),
                ("Application", text("\\device\\harddiskvolume3\\windows\\system32\\svchost.exe")),
                ("Direction", text("%%14592")),
                ("SourceAddress", text("10.20.0.10")),
                ("SourcePort", text("445")),
                ("DestAddress", text(&ip)),
                ("DestPort", text(&port)),
                ("Protocol", Field::U32(6)),
                ("FilterRTID", Field::Hex64(70_123)),
                ("LayerName", text("%%14610")),
                ("LayerRTID", Field::U32(44)),
                ("RemoteUserID", nobody.clone()),
                ("RemoteMachineID", nobody),
            ],
            5158 => vec![
                ("ProcessId", pid),
                ("Application", text(&program.to_lowercase())),
                ("SourceAddress", text("0.0.0.0")),
                ("SourcePort", text(&port)),
                ("Protocol", Field::U32(17)),
                ("FilterRTID", Field::Hex64(0)),
                ("LayerName", text("%%14608")),
                ("LayerRTID", Field::U32(36)),
            ],
            other => panic!("no fields are known for event {other}"),
        });
        let keywords = if worked { 0x8020_0000_0000_0000 } else { 0x8010_0000_0000_0000 };
        Event {
            provider: SECURITY,
            guid: Some(SECURITY_GUID),
            channel: "Security",
            event_id,
            version,
            level: 0,
            task,
            keywords,
            qualifiers: None,
            time: self.next_time(),
            record_id: self.next_id(0),
            content: Content::Named(fields),
        }
    }

    /// A System event of this id.
    pub fn system(&mut self, event_id: u16) -> Event {
        let service = self.numbers.below(120);
        let host = self.hosts[self.numbers.below(400)].clone();
        let text = |text: String| Field::Text(text);
        let (provider, guid, level, qualifiers, content) = match event_id {
            7036 => (
                "Service Control Manager",
                None,
                4,
                Some(16384),
                Content::Named(vec![
                    ("param1", text(format!("Vendor Background Service {service}"))),
                    ("param2", text(["running", "stopped"][service % 2].to_owned())),
                ]),
            ),
            16 => (
                KERNEL_GENERAL,
                Some(KERNEL_GENERAL_GUID),
                4,
                None,
                Content::Named(vec![
                    ("HiveNameLength", Field::U32(54)),
                    (
                        "HiveName",
                        text("\\??\\C:\\Windows\\AppCompat\\Programs\\Amcache.hve.tmp".to_owned()),
                    ),
                    ("KeysUpdated", Field::U32(service as u32 * 31)),
                    ("DirtyPages", Field::U32(service as u32)),
                ]),
            ),
            5805 => (
                "NETLOGON",
                None,
                2,
                Some(0),
                Content::Unnamed(vec![host, "%%5".to_owned()], Some(vec![0x22, 0, 0, 0xc0])),
            ),
            6155 => (
                "LsaSrv",
                Some(LSASRV_GUID),
                3,
                None,
                Content::Named(vec![("PackageName", text(format!("package{service}")))]),
            ),
            other => panic!("no fields are known for event {other}"),
        };
        Event {
            provider,
            guid,
            channel: "System",
            event_id,
            version: 0,
            level,
            task: 0,
            keywords: 0x8080_0000_0000_0000,
            qualifiers,
            time: self.next_time(),
            record_id: self.next_id(1),
            content,
        }
    }

    /// Some 40 events a second.
    fn next_time(&mut self) -> EventTime {
        self.time += self.numbers.next() % (TICKS_PER_SEC / 20);
        EventTime(self.time)
    }

    fn next_id(&mut self, channel: usize) -> u64 {
        self.record_ids[channel] += 1;
        self.record_ids[channel]
    }
}

impl Event {
    fn write_evtx(&self, writer: &mut Writer<Cursor<Vec<u8>>>) {
        let (named, unnamed): (Vec<_>, Vec<_>);
        let data = match &self.content {
            Content::Named(fields) => {
                named = fields.iter().map(|(name, field)| (*name, field.as_value())).collect();
                Payload::Named(&named)
            }
            Content::Unnamed(texts, binary) => {
                unnamed = texts.iter().map(String::as_str).collect();
                Payload::Unnamed(&unnamed, binary.as_deref())
            }
        };
        let spec = EventSpec {
            provider: self.provider,
            provider_guid: self.guid,
            event_source_name: None,
            qualifiers: self.qualifiers,
            event_id: self.event_id,
            version: self.version,
            level: self.level,
            task: self.task,
            opcode: 0,
            keywords: self.keywords,
            time: self.time,
            record_id: self.record_id,
            process_id: 732,
            thread_id: 740 + (self.record_id % 16) as u32 * 4,
            channel: self.channel,
            computer: COMPUTER,
            user: None,
            data,
            rendering: None,
        };
        writer.write(&spec).expect("the events fit a chunk");
    }

    /// As Windows renders it, on one line.
    pub fn xml(&self) -> String {
        let mut xml = String::with_capacity(2048);
        xml.push_str(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>",
        );
        let _ = write!(xml, "<Provider Name='{}'", self.provider);
        if let Some(guid) = self.guid {
            let _ = write!(xml, " Guid='{}'", Field::Guid(guid).text());
        }
        let _ = write!(
            xml,
            "/><EventID>{}</EventID><Version>{}</Version><Level>{}</Level><Task>{}</Task><Opcode>0</Opcode><Keywords>0x{:x}</Keywords><TimeCreated SystemTime='{}'/><EventRecordID>{}</EventRecordID><Correlation/><Execution ProcessID='732' ThreadID='740'/><Channel>{}</Channel><Computer>{COMPUTER}</Computer><Security/></System><EventData>",
            self.event_id,
            self.version,
            self.level,
            self.task,
            self.keywords,
            self.time,
            self.record_id,
            self.channel
        );
        for (name, field) in self.named() {
            let text = field.text().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = write!(xml, "<Data Name='{name}'>{text}</Data>");
        }
        xml.push_str("</EventData></Event>\n");
        xml
    }

    /// As winlogbeat 8 sends it.
    pub fn winlogbeat(&self) -> String {
        let mut json = String::with_capacity(2048);
        let _ = write!(
            json,
            "{{\"@timestamp\":\"{}\",\"@metadata\":{{\"beat\":\"winlogbeat\",\"type\":\"_doc\",\"version\":\"8.15.0\"}},\"agent\":{{\"name\":\"DC01\",\"type\":\"winlogbeat\",\"version\":\"8.15.0\"}},\"ecs\":{{\"version\":\"8.0.0\"}},\"event\":{{\"code\":\"{}\",\"kind\":\"event\",\"provider\":\"{}\"}},\"host\":{{\"name\":\"dc01.corp.example\"}},\"log\":{{\"level\":\"information\"}},\"winlog\":{{\"channel\":\"{}\",\"computer_name\":\"{COMPUTER}\",\"event_data\":{{",
            self.time, self.event_id, self.provider, self.channel
        );
        for (index, (name, field)) in self.named().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(json, "{comma}\"{name}\":{}", quoted(&field.text()));
        }
        let _ = write!(
            json,
            "}},\"event_id\":\"{}\",\"keywords\":[\"Audit\"],\"opcode\":\"Info\",\"process\":{{\"pid\":732,\"thread\":{{\"id\":740}}}},\"provider_name\":\"{}\",\"record_id\":{},\"task\":\"Logon\"}}}}",
            self.event_id, self.provider, self.record_id
        );
        json.push('\n');
        json
    }

    /// As NXLog's `to_json` writes it.
    pub fn nxlog(&self) -> String {
        let mut json = String::with_capacity(2048);
        let time = self.time.to_string().replace('T', " ");
        let _ = write!(
            json,
            "{{\"EventTime\":\"{}\",\"Hostname\":\"{COMPUTER}\",\"Keywords\":{},\"EventType\":\"AUDIT\",\"SeverityValue\":2,\"Severity\":\"INFO\",\"EventID\":{},\"SourceName\":\"{}\",\"ProviderGuid\":\"{{54849625-5478-4994-A5BA-3E3B0328C30D}}\",\"Version\":{},\"Task\":{},\"OpcodeValue\":0,\"RecordNumber\":{},\"ProcessID\":732,\"ThreadID\":740,\"Channel\":\"{}\"",
            &time[..19],
            self.keywords as i64,
            self.event_id,
            self.provider,
            self.version,
            self.task,
            self.record_id,
            self.channel
        );
        // Names that System fields have already are theirs.
        let data = self.named().filter(|(name, _)| !matches!(*name, "ProcessId" | "ProcessID"));
        for (name, field) in data {
            let _ = write!(json, ",\"{name}\":{}", quoted(&field.text()));
        }
        let _ = write!(
            json,
            ",\"EventReceivedTime\":\"{}\",\"SourceModuleName\":\"eventlog\",\"SourceModuleType\":\"im_msvistalog\"}}",
            &time[..19]
        );
        json.push('\n');
        json
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        let fields: &[_] = match &self.content {
            Content::Named(fields) => fields,
            Content::Unnamed(..) => &[],
        };
        fields.iter().map(|(name, field)| (*name, field))
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\r', "\\r").replace('\n', "\\n").replace('\t', "\\t"))
}

/// The mix as an EVTX file of at least `bytes`, and its number of records.
pub fn evtx_file(bytes: usize) -> (Vec<u8>, u64) {
    let mut log = Log::new(7);
    let mut writer =
        Writer::new(Cursor::new(Vec::with_capacity(bytes + CHUNK_BYTES))).expect("memory takes it");
    let mut records = 0;
    while writer.file_bytes() < bytes as u64 {
        log.event().write_evtx(&mut writer);
        records += 1;
    }
    (writer.finish().expect("memory takes it").into_inner(), records)
}

/// Seconds of `one` and `other` on this thread, as medians, and the median of
/// the ratios `one` / `other`, measured in turns so that the machine's other
/// work meets both alike.
pub fn compare<A, B>(
    pairs: usize,
    mut one: impl FnMut() -> A,
    mut other: impl FnMut() -> B,
) -> Compared {
    // The first run of each warms caches and is not counted.
    seconds(&mut one);
    seconds(&mut other);
    let runs: Vec<(f64, f64)> =
        (0..pairs).map(|_| (seconds(&mut one), seconds(&mut other))).collect();
    Compared {
        one: median(runs.iter().map(|(one, _)| *one)),
        other: median(runs.iter().map(|(_, other)| *other)),
        ratio: median(runs.iter().map(|(one, other)| one / other)),
    }
}

/// Seconds that something takes.
pub fn seconds<T>(work: &mut impl FnMut() -> T) -> f64 {
    let (start, cpu) = (Instant::now(), thread_cpu());
    black_box(work());
    match (cpu, thread_cpu()) {
        (Some(before), Some(after)) => (after - before).as_secs_f64(),
        _ => start.elapsed().as_secs_f64(),
    }
}

/// Time that this thread has been running, where Linux says it: unlike time
/// on the wall, it leaves out what other programs took. A few milliseconds
/// behind at most, so what is measured must take many.
pub fn thread_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Whether criterion is asked to run one thing for a profiler.
pub fn is_profiling() -> bool {
    std::env::args().any(|argument| argument == "--profile-time")
}

/// Medians of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    pub one: f64,
    pub other: f64,
    pub ratio: f64,
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
