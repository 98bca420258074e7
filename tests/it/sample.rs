//! The sample logs in `tests/data/fleet` are what the writer makes of the
//! little story below, and a replay of them gives the incidents beside them.
//!
//! With `TWINSID_WRITE_SAMPLES=1` the files are written anew instead of
//! compared; the difference is then for a person to read.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use twinsid::config::Config;
use twinsid::output::wire::WireIncident;
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, replay};
use twinsid::sid::Sid;
use twinsid::simulate::evtx::{EventSpec, Payload, TypedValue, Writer};
use twinsid::time::{EventTime, TICKS_PER_SEC};

const SECURITY: &str = "Microsoft-Windows-Security-Auditing";
const SECURITY_GUID: [u8; 16] = [
    0x25, 0x96, 0x84, 0x54, 0x78, 0x54, 0x94, 0x49, 0xa5, 0xba, 0x3e, 0x3b, 0x03, 0x28, 0xc3, 0x0d,
];
const LSA_GUID: [u8; 16] = [
    0x37, 0xe0, 0x9f, 0x19, 0x82, 0x2b, 0xa9, 0x40, 0x82, 0xac, 0xe1, 0xd4, 0x6c, 0x79, 0x2b, 0x99,
];
const KEYWORDS_SUCCESS: u64 = 0x8020_0000_0000_0000;
const KEYWORDS_FAILURE: u64 = 0x8010_0000_0000_0000;
const DOMAIN_SID: &str = "S-1-5-21-1004336348-1177238915-682003330";

/// One log of one machine, as it is written.
struct Log {
    computer: &'static str,
    channel: &'static str,
    writer: Writer<Cursor<Vec<u8>>>,
    next_id: u64,
}

impl Log {
    fn new(computer: &'static str, channel: &'static str, first_id: u64) -> Log {
        let writer = Writer::new(Cursor::new(Vec::new())).expect("memory can be written");
        Log { computer, channel, writer, next_id: first_id }
    }

    fn write(&mut self, event: EventSpec<'_>) {
        let event = EventSpec {
            computer: self.computer,
            channel: self.channel,
            record_id: self.next_id,
            ..event
        };
        self.writer.write(&event).expect("the sample fits");
        self.next_id += 1;
    }

    fn security(&mut self, id: u16, second: u64, keywords: u64, data: &[(&str, TypedValue<'_>)]) {
        self.write(EventSpec {
            provider_guid: Some(SECURITY_GUID),
            keywords,
            ..event(SECURITY, id, second, Payload::Named(data))
        });
    }

    fn finish(self) -> Vec<u8> {
        self.writer.finish().expect("memory can be written").into_inner()
    }
}

fn event<'a>(provider: &'a str, event_id: u16, second: u64, data: Payload<'a>) -> EventSpec<'a> {
    EventSpec {
        provider,
        provider_guid: None,
        event_source_name: None,
        qualifiers: None,
        event_id,
        version: 0,
        level: 0,
        task: 0,
        opcode: 0,
        keywords: 0,
        time: at(second),
        record_id: 0,
        process_id: 652,
        thread_id: 4180,
        channel: "",
        computer: "",
        user: None,
        data,
        rendering: None,
    }
}

/// Seconds after 2025-10-01 08:00 UTC.
fn at(second: u64) -> EventTime {
    let start = EventTime::from_civil((2025, 10, 1), (8, 0, 0), 1_234_567).expect("valid");
    start.plus_ticks(second * TICKS_PER_SEC)
}

fn user_sid(rid: u32) -> Sid {
    Sid::parse(&format!("{DOMAIN_SID}-{rid}")).expect("valid")
}

fn null_sid() -> Sid {
    Sid::parse("S-1-0-0").expect("valid")
}

fn logon_4624(log: &mut Log, second: u64, user: &str, rid: u32, workstation: &str, ip: &str) {
    log.security(
        4624,
        second,
        KEYWORDS_SUCCESS,
        &[
            ("SubjectUserSid", TypedValue::Sid(null_sid())),
            ("SubjectUserName", TypedValue::Text("-")),
            ("SubjectDomainName", TypedValue::Text("-")),
            ("SubjectLogonId", TypedValue::Hex64(0)),
            ("TargetUserSid", TypedValue::Sid(user_sid(rid))),
            ("TargetUserName", TypedValue::Text(user)),
            ("TargetDomainName", TypedValue::Text("CONTOSO")),
            ("TargetLogonId", TypedValue::Hex64(0x3_1f00 + second)),
            ("LogonType", TypedValue::U32(3)),
            ("LogonProcessName", TypedValue::Text("Kerberos")),
            ("AuthenticationPackageName", TypedValue::Text("Kerberos")),
            ("WorkstationName", TypedValue::Text(workstation)),
            ("IpAddress", TypedValue::Text(ip)),
            ("IpPort", TypedValue::Text("50112")),
        ],
    );
}

fn logon_failed_4625(log: &mut Log, second: u64, user: &str, from: (&str, &str), sub_status: u32) {
    log.security(
        4625,
        second,
        KEYWORDS_FAILURE,
        &[
            ("SubjectUserSid", TypedValue::Sid(null_sid())),
            ("SubjectUserName", TypedValue::Text("-")),
            ("SubjectDomainName", TypedValue::Text("-")),
            ("SubjectLogonId", TypedValue::Hex64(0)),
            ("TargetUserSid", TypedValue::Sid(null_sid())),
            ("TargetUserName", TypedValue::Text(user)),
            ("TargetDomainName", TypedValue::Text("CONTOSO")),
            ("Status", TypedValue::Hex32(0xC000_006D)),
            ("FailureReason", TypedValue::Text(if sub_status == 0 { "%%2304" } else { "%%2313" })),
            ("SubStatus", TypedValue::Hex32(sub_status)),
            ("LogonType", TypedValue::U32(3)),
            ("LogonProcessName", TypedValue::Text("NtLmSsp ")),
            ("AuthenticationPackageName", TypedValue::Text("NTLM")),
            ("WorkstationName", TypedValue::Text(from.0)),
            ("TransmittedServices", TypedValue::Text("-")),
            ("LmPackageName", TypedValue::Text("-")),
            ("KeyLength", TypedValue::U32(0)),
            ("ProcessId", TypedValue::Pointer(0)),
            ("ProcessName", TypedValue::Text("-")),
            ("IpAddress", TypedValue::Text(from.1)),
            ("IpPort", TypedValue::Text("0")),
        ],
    );
}

fn preauthentication_4771(log: &mut Log, second: u64, user: &str, rid: u32, ip: &str, status: u32) {
    log.security(
        4771,
        second,
        KEYWORDS_FAILURE,
        &[
            ("TargetUserName", TypedValue::Text(user)),
            ("TargetSid", TypedValue::Sid(user_sid(rid))),
            ("ServiceName", TypedValue::Text("krbtgt/CONTOSO")),
            ("TicketOptions", TypedValue::Hex32(0x4081_0010)),
            ("Status", TypedValue::Hex32(status)),
            ("PreAuthType", TypedValue::Text("2")),
            ("IpAddress", TypedValue::Text(ip)),
            ("IpPort", TypedValue::Text("49822")),
            ("CertIssuerName", TypedValue::Text("")),
            ("CertSerialNumber", TypedValue::Text("")),
            ("CertThumbprint", TypedValue::Text("")),
        ],
    );
}

fn credentials_4776(log: &mut Log, second: u64, user: &str, workstation: &str, status: u32) {
    log.security(
        4776,
        second,
        if status == 0 { KEYWORDS_SUCCESS } else { KEYWORDS_FAILURE },
        &[
            ("PackageName", TypedValue::Text("MICROSOFT_AUTHENTICATION_PACKAGE_V1_0")),
            ("TargetUserName", TypedValue::Text(user)),
            ("Workstation", TypedValue::Text(workstation)),
            ("Status", TypedValue::Hex32(status)),
        ],
    );
}

fn process_4688(log: &mut Log, second: u64, host_account: &str, program: &str) {
    log.security(
        4688,
        second,
        KEYWORDS_SUCCESS,
        &[
            ("SubjectUserSid", TypedValue::Sid(Sid::parse("S-1-5-18").expect("valid"))),
            ("SubjectUserName", TypedValue::Text(host_account)),
            ("SubjectDomainName", TypedValue::Text("CONTOSO")),
            ("SubjectLogonId", TypedValue::Hex64(0x3e7)),
            ("NewProcessId", TypedValue::Pointer(0x1a2c)),
            ("NewProcessName", TypedValue::Text(program)),
            ("TokenElevationType", TypedValue::Text("%%1936")),
            ("ProcessId", TypedValue::Pointer(0x2f8)),
        ],
    );
}

/// A file server that refuses a clone, a forgotten password, a workstation
/// whose trust is broken, a clock that is off; and the noise around them.
fn fleet() -> Vec<(&'static str, Vec<u8>)> {
    let mut dc = Log::new("DC1.contoso.example", "Security", 88_120);
    let mut dc_system = Log::new("DC1.contoso.example", "System", 4_410);
    let mut fs = Log::new("FS01.contoso.example", "Security", 51_002);
    let mut fs_system = Log::new("FS01.contoso.example", "System", 9_731);
    for minute in 0..40 {
        process_4688(&mut fs, minute * 60, "FS01$", r"C:\Windows\System32\svchost.exe");
        credentials_4776(&mut dc, minute * 60 + 7, "carol", "WS02", 0);
        logon_4624(&mut fs, minute * 60 + 8, "carol", 1106, "WS02", "10.0.4.22");
    }
    // bob types an old password; the server's events name him without a SID.
    logon_4624(&mut fs, 2_401, "bob", 1104, "WS03", "10.0.4.23");
    for attempt in 0..6 {
        let second = 2_410 + attempt * 9;
        preauthentication_4771(&mut dc, second, "bob", 1104, "::ffff:10.0.4.23", 0x18);
        credentials_4776(&mut dc, second + 1, "bob", "WS03", 0xC000_006A);
        logon_failed_4625(&mut fs, second + 1, "bob", ("WS03", "10.0.4.23"), 0xC000_006A);
    }
    // WS07 was cloned from the image of FS01: its users are let in by the
    // domain controller and refused by the server.
    for (number, user) in ["alice", "dave", "alice", "svc-backup"].into_iter().enumerate() {
        let second = 3_000 + number as u64 * 95;
        credentials_4776(&mut dc, second, user, "WS07", 0);
        fs_system.write(EventSpec {
            provider_guid: Some(LSA_GUID),
            event_source_name: Some("LsaSrv"),
            qualifiers: Some(0),
            level: 2,
            ..event("LsaSrv", 6167, second, Payload::Unnamed(&[], None))
        });
        logon_failed_4625(&mut fs, second, user, ("WS07", "10.0.4.27"), 0);
    }
    // WS09 and the domain disagree about WS09's password.
    for hour in 0..2 {
        dc_system.write(EventSpec {
            qualifiers: Some(0),
            level: 2,
            ..event(
                "NETLOGON",
                5805,
                3_500 + hour * 60,
                Payload::Unnamed(&["WS09", "%%5"], Some(&[0x22, 0, 0, 0xC0])),
            )
        });
    }
    preauthentication_4771(&mut dc, 3_700, "erin", 1109, "::ffff:10.0.4.31", 0x25);
    vec![
        ("DC1-Security.evtx", dc.finish()),
        ("DC1-System.evtx", dc_system.finish()),
        ("FS01-Security.evtx", fs.finish()),
        ("FS01-System.evtx", fs_system.finish()),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fleet")
}

fn incidents(path: &Path) -> String {
    let config = Config::embedded();
    let replayed = replay(
        Replay {
            paths: vec![path.to_owned()],
            outputs: Vec::new(),
            settings: config.settings,
            rules: config.rules,
            fact_rules: config.fact_rules,
            inventory: Vec::new(),
            threads: 2,
            damage: OnDamage::Stop,
        },
        &mut NoProgress,
    );
    let incidents = replayed.expect("the sample is whole").incidents;
    let lines = incidents.iter().map(|incident| {
        serde_json::to_string_pretty(&WireIncident::from(incident)).expect("plain data") + "\n"
    });
    lines.collect()
}

/// Compares a file with what it should hold, or writes it.
fn check(path: &Path, expect: &[u8]) {
    if std::env::var_os("TWINSID_WRITE_SAMPLES").is_some() {
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("created");
        std::fs::write(path, expect).expect("written");
    }
    let found = std::fs::read(path).expect("the samples are part of the project");
    assert!(found == expect, "{} differs; see the head of this file", path.display());
}

#[test]
fn the_sample_logs_are_what_the_writer_writes_and_give_the_golden_incidents() {
    for (name, bytes) in fleet() {
        check(&folder().join(name), &bytes);
    }
    let golden = folder().with_file_name("fleet-incidents.json");
    check(&golden, incidents(&folder()).as_bytes());
}
