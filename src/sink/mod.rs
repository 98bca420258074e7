//! Incidents out: what they look like outside, and how they get there.
//!
//! | module | promises |
//! |---|---|
//! | [`wire`] | the shapes that others rely on, as `schemas/` describes them |
//! | [`mod@format`] | an incident as a line: native, ECS or OCSF |
//! | [`jsonl`] | JSON lines; a file that appears whole or not at all |
//! | [`streams`] | the service's sink: files or standard output, with a journal |
//! | [`rotated`] | a file that grows, and is put aside by size and time |
//! | [`journal`] | frames and snapshots in a state folder |
//! | `kafka` | incidents, dead letters and state as one transaction |
//! | `disk` | each step that any of these does to the disk |
//! | [`cards`] | an incident as a person reads it on a terminal |
//! | [`summary`] | what a whole run came to, for a person |
//! | [`escape`] | text of events made harmless before it is shown |
//!
//! Nothing here decides anything: what an incident says was said by
//! [`crate::incident`] already. Nothing here writes to standard output or
//! standard error by itself; who calls passes the place to write to.

pub mod cards;
mod disk;
pub mod escape;
pub mod format;
pub mod journal;
pub mod jsonl;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod rotated;
pub mod streams;
pub mod summary;
pub mod wire;

use std::io;
use std::path::{Path, PathBuf};

use crate::incident::Incident;

/// Where the service's incidents go. Output and resume point move together:
/// after a crash at any instant both are there or neither.
pub trait Sink {
    /// What was committed last. Whatever was written but not committed is
    /// taken back. Called once, before the first commit.
    fn restore(&mut self) -> Result<Kept, SinkError>;

    /// Makes everything in it durable, or nothing. After an error that may pass
    /// ([`SinkError::is_passing`]) the same step, and no other, can be committed
    /// again, once it was settled. After any other the sink must not be used again:
    /// only a restart tells what is durable.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError>;

    /// Finds out whether a step was done after all that failed with an error that
    /// may pass; if so it must not be committed again. Can itself fail like that.
    fn settle(&mut self, commit: &Commit<'_>) -> Result<Fate, SinkError>;
}

/// What became of a step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    TakenBack,
}

/// One step of the service.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    pub incidents: &'a [Incident],
    /// What could not be decoded.
    pub dead_letters: &'a [DeadLetter],
    /// What happened since the commit before: together with the frames before
    /// it, back to the last snapshot, it gives the state.
    pub frame: &'a [u8],
    /// The whole state behind this commit, which takes the place of all frames
    /// up to and with this one.
    pub snapshot: Option<&'a [u8]>,
}

/// What a restart begins with.
#[derive(Debug, Default, PartialEq)]
pub struct Kept {
    pub snapshot: Option<Vec<u8>>,
    /// Those behind the snapshot, in order.
    pub frames: Vec<Vec<u8>>,
}

/// Something that could not be decoded, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Where it stood: file, or topic, partition and offset.
    pub origin: String,
    /// The name that it is counted by.
    pub reason: &'static str,
    /// What was expected and what was found.
    pub what: String,
    /// As it came.
    pub bytes: Vec<u8>,
}

/// What could not be written, or not be taken up again. A file that was to be
/// replaced is as it was, unless [`SinkError::Io`] says that the folder was not
/// synced; what was committed stays committed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot write `{}`: it is a folder\n  hint: name a file in it", path.display())]
    Folder { path: PathBuf },
    #[error("cannot write `{}`: it does not end in the name of a file", path.display())]
    Nameless { path: PathBuf },
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Brokers(crate::brokers::BrokerError),
    #[error("{what}\n  hint: begin anew with another changelog topic; what was told stays told")]
    DamagedTopic { what: String },
    /// `doing` completes "cannot …".
    #[error("cannot {doing} `{}`: {cause}{}", path.display(), hint(cause))]
    Io { path: PathBuf, doing: &'static str, cause: io::Error },
    #[error(
        "the state folder `{}` is in use by another process\n  hint: stop that one, or name another state folder",
        path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "`{}` is of format {found}, and this program reads format {known}\n  hint: go on with the version of the program that wrote it, or name a new state folder to begin anew; nothing was changed",
        path.display()
    )]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error(
        "`{}` is damaged: {what}\n  hint: put the state folder back from a copy, or name a new one to begin anew; nothing was changed",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
    /// Somebody else wrote, cut or removed an output.
    #[error(
        "`{}` holds {found} bytes, but {committed} were committed to it: another program cut, removed or wrote it\n  hint: put it back as it was, or name a new state folder to begin anew with it as it is",
        path.display()
    )]
    Changed { path: PathBuf, committed: u64, found: u64 },
    #[error("{what} of {bytes} bytes is too large to be committed: {bytes_max} at the most")]
    TooLarge { what: &'static str, bytes: u64, bytes_max: u64 },
    #[error(
        "nothing can be committed after an error\n  hint: start again; it goes on behind what was committed last"
    )]
    Torn,
}

impl SinkError {
    /// Whether it may end by itself: brokers are away or change.
    pub fn is_passing(&self) -> bool {
        match self {
            #[cfg(feature = "kafka")]
            SinkError::Brokers(error) => error.is_passing(),
            _ => false,
        }
    }
}

/// Completes what the disk says about a path.
fn io_error<'p>(
    doing: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> SinkError + use<'p> {
    move |cause| SinkError::Io { path: path.to_owned(), doing, cause }
}

/// What the user can do about it, on a line of its own; empty when nothing.
fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "\n  hint: make the folder first",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\n  hint: name a file in a folder that you may write to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "\n  hint: make room, or name a file on another disk"
        }
        io::ErrorKind::AlreadyExists => "\n  hint: move away what stands there",
        _ => "",
    }
}

#[cfg(test)]
mod samples {
    use crate::event::{Category, CodeFamily, EventTime, Sid, StatusCode};
    use crate::incident::Exposure;
    use crate::incident::{
        AccountCount, Class, Confidence, Counts, Evidence, Host, HostStatus, Incident, IncidentId,
        Kind, PeerCount, Role, Severity, State, StatusCount, Verdict,
    };

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
