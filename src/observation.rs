//! What a rule makes of a record, and its nouns: accounts, peers, hosts.
//! Plain values; no input, no output, no clock.

use std::fmt;
use std::net::IpAddr;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::sid::{DomainSid, Sid};
use crate::status::{Category, StatusCode};
use crate::time::EventTime;

/// A build of Windows, `26100.6899`: what `ver` shows after `10.0.`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Build {
    pub number: u32,
    pub revision: Option<u32>,
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.revision.map_or(Ok(()), |revision| write!(f, ".{revision}"))
    }
}

/// What an inventory says of a host.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ListedHost {
    pub host: Box<str>,
    pub ips: Vec<IpAddr>,
    pub machine_sid: Option<DomainSid>,
    pub owner: Option<Box<str>>,
    pub build: Option<Build>,
    pub tags: Vec<Box<str>>,
}

/// Longest NetBIOS computer name, in characters.
pub const NETBIOS_NAME_CHARS_MAX: usize = 15;

/// The first DNS label of a computer name: the part that NetBIOS names,
/// local accounts and Kerberos principals are compared by.
pub fn short_host(name: &str) -> &str {
    match name.bytes().position(|byte| byte == b'.') {
        Some(dot) => &name[..dot],
        None => name,
    }
}

/// Identifies one event of one machine, however often and in whatever format
/// it arrives. Record ids restart when a log is cleared, hence the time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct RecordKey {
    pub time: EventTime,
    pub computer: Box<str>,
    pub channel: Box<str>,
    pub record_id: u64,
}

/// What a rule makes of a record.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Observation {
    pub key: RecordKey,
    pub provider: Box<str>,
    pub event_id: u32,
    pub what: What,
}

/// The four kinds of observation.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum What {
    Mismatch(Mismatch),
    Failure(Box<Failure>),
    Success(Success),
    Fact(Fact),
}

/// LSA refused an authentication because the machine ids only half match.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Mismatch {
    /// The account, where the build writes it; most name nobody.
    pub account: Account,
}

/// A Kerberos or NTLM authentication that was refused.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Failure {
    pub account: Account,
    pub peer: Peer,
    pub side: Side,
    pub protocol: Protocol,
    pub status: Option<StatusCode>,
    pub sub_status: Option<StatusCode>,
    /// `%%nnnn` of Security 4625, the number alone.
    pub reason: Option<u32>,
    pub logon_type: Option<u32>,
    /// The service, SPN or server that was asked for.
    pub service: Option<Box<str>>,
    /// Set by the rule where the event itself says it, whatever the code.
    pub category: Option<Category>,
}

/// A domain controller's yes, or a logon that worked.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Success {
    pub account: Account,
    pub peer: Peer,
    pub side: Side,
}

/// Something that an event teaches beside what it reports.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum Fact {
    /// An event names an account and its SID together.
    Account {
        sid: Sid,
        name: Box<str>,
        domain: Box<str>,
        /// Whether it is an account of the record's own computer, so that its
        /// SID shows the machine SID.
        own: bool,
    },
    /// The record's computer exists.
    Host,
    /// The record's computer answers as a domain controller.
    DomainController,
    /// The record's computer started at the time of the record.
    Boot,
    /// The record's computer runs this build of Windows.
    Build(Build),
    /// An update with this number (`KB…`) was installed.
    Update(u32),
    /// The record's computer has, or is about to have, another name.
    Renamed { from: Box<str>, to: Box<str> },
    /// A computer used an address.
    Address { host: Box<str>, ip: IpAddr },
}

/// Which end of the authentication wrote the event, and so whom `peer` means.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub enum Side {
    /// The machine that was asked; the peer is the one that asked.
    #[default]
    Target,
    /// The machine that asked; the peer is the one that refused.
    Client,
    /// A domain controller; the peer is the machine that asked.
    Kdc,
}

/// An account as an event names it; any part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Account {
    pub sid: Option<Sid>,
    pub name: Option<Box<str>>,
    pub domain: Option<Box<str>>,
}

/// The other end of an authentication; either part may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Peer {
    pub host: Option<Box<str>>,
    pub ip: Option<IpAddr>,
}

#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub enum Protocol {
    Kerberos,
    Ntlm,
    #[default]
    Unknown,
}
