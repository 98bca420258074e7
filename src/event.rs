//! The vocabulary: the nouns of Windows events and of streaming that every
//! stage shares. Plain values; no input, no output, no clock.
//!
//! | word | meaning |
//! |---|---|
//! | record | one Windows event as it arrives ([`crate::record::Record`]) |
//! | observation | what a rule makes of a record: a mismatch, a failure, a success or a fact |
//! | fact | something learnt: this account has this SID, this host is a domain controller |
//! | source SID | the security principal whose authentication failed |
//! | machine SID | the `S-1-5-21-a-b-c` under which a computer keeps its local accounts |
//! | session | the observations of one source without a gap longer than `session_gap` |
//! | watermark | event time up to which everything is believed to have arrived |

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use borsh::{BorshDeserialize, BorshSerialize};

/// Ticks (100 ns) in one second.
pub const TICKS_PER_SEC: u64 = 10_000_000;

const UNIX_EPOCH_SECS: i64 = 11_644_473_600;
const SECS_PER_DAY: i64 = 86_400;

/// When an event happened: 100 ns ticks since 1601-01-01 UTC, as in a FILETIME.
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
pub struct EventTime(pub u64);

impl EventTime {
    pub const MIN: EventTime = EventTime(0);
    pub const MAX: EventTime = EventTime(u64::MAX);

    /// From a proleptic Gregorian UTC date and time; `None` outside 1601 to
    /// 9999 or when a part is out of range. A leap second counts as the last
    /// tick before the next minute.
    pub fn from_civil(
        date: (u32, u32, u32),
        clock: (u32, u32, u32),
        ticks: u32,
    ) -> Option<EventTime> {
        let (year, month, day) = date;
        let (hour, minute, second) = clock;
        let valid = (1601..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60
            && u64::from(ticks) < TICKS_PER_SEC;
        if !valid {
            return None;
        }
        let (second, ticks) =
            if second == 60 { (59, TICKS_PER_SEC as u32 - 1) } else { (second, ticks) };
        let days = days_from_civil(i64::from(year), i64::from(month), i64::from(day));
        let secs = days * SECS_PER_DAY
            + i64::from(hour) * 3600
            + i64::from(minute) * 60
            + i64::from(second)
            + UNIX_EPOCH_SECS;
        Some(EventTime(secs as u64 * TICKS_PER_SEC + u64::from(ticks)))
    }

    /// From whole nanoseconds since 1970-01-01 UTC; `None` before 1601.
    pub fn from_unix_nanos(nanos: i128) -> Option<EventTime> {
        let ticks = nanos / 100 + i128::from(UNIX_EPOCH_SECS) * i128::from(TICKS_PER_SEC);
        u64::try_from(ticks).ok().map(EventTime)
    }

    /// Whole milliseconds since 1970-01-01 UTC, rounded down; negative before.
    pub fn unix_millis(self) -> i64 {
        (self.0 / (TICKS_PER_SEC / 1000)) as i64 - UNIX_EPOCH_SECS * 1000
    }

    pub fn plus_ticks(self, ticks: u64) -> EventTime {
        EventTime(self.0.saturating_add(ticks))
    }

    pub fn minus_ticks(self, ticks: u64) -> EventTime {
        EventTime(self.0.saturating_sub(ticks))
    }

    /// Ticks between the two, whichever comes first.
    pub fn distance(self, other: EventTime) -> u64 {
        self.0.abs_diff(other.0)
    }
}

/// RFC 3339, UTC, seven digits: `2025-10-01T08:00:00.1234567Z`.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = (self.0 / TICKS_PER_SEC) as i64 - UNIX_EPOCH_SECS;
        let (year, month, day) = civil_from_days(secs.div_euclid(SECS_PER_DAY));
        let clock = secs.rem_euclid(SECS_PER_DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:07}Z",
            clock / 3600,
            clock / 60 % 60,
            clock % 60,
            self.0 % TICKS_PER_SEC
        )
    }
}

/// Days since 1970-01-01 of a Gregorian date. Years are counted from March,
/// so that the leap day is the last day of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Most sub-authorities a SID can have ([MS-DTYP] 2.4.2).
pub const SID_SUB_AUTHORITIES_MAX: usize = 15;

/// A security identifier, `S-1-authority-sub-…`.
#[derive(Clone, Copy)]
pub struct Sid {
    authority: u64,
    len: u8,
    subs: [u32; SID_SUB_AUTHORITIES_MAX],
}

impl Sid {
    /// `None` when there are more than 15 sub-authorities or the authority
    /// does not fit 48 bits.
    pub fn new(authority: u64, subs: &[u32]) -> Option<Sid> {
        if subs.len() > SID_SUB_AUTHORITIES_MAX || authority >= 1 << 48 {
            return None;
        }
        let mut sid = Sid { authority, len: subs.len() as u8, subs: [0; SID_SUB_AUTHORITIES_MAX] };
        sid.subs[..subs.len()].copy_from_slice(subs);
        Some(sid)
    }

    /// From the binary form ([MS-DTYP] 2.4.2.2): revision 1, count, authority
    /// (big-endian), sub-authorities (little-endian). Bytes past the last
    /// sub-authority are ignored; `None` when anything is missing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Sid> {
        let (&[revision, count, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<8>()?;
        let count = usize::from(count);
        if revision != 1 || count > SID_SUB_AUTHORITIES_MAX || rest.len() < count * 4 {
            return None;
        }
        let mut sid = Sid {
            authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            len: count as u8,
            subs: [0; SID_SUB_AUTHORITIES_MAX],
        };
        for (sub, bytes) in sid.subs.iter_mut().zip(rest[..count * 4].as_chunks::<4>().0) {
            *sub = u32::from_le_bytes(*bytes);
        }
        Some(sid)
    }

    /// From text, `S-1-5-21-…` in either case; the authority may be hex.
    pub fn parse(text: &str) -> Option<Sid> {
        let rest = text.strip_prefix("S-1-").or_else(|| text.strip_prefix("s-1-"))?;
        let (authority, mut rest) = match rest.strip_prefix("0x").or(rest.strip_prefix("0X")) {
            Some(hex) => {
                let (digits, rest) = hex.split_at(hex.find('-').unwrap_or(hex.len()));
                (u64::from_str_radix(digits, 16).ok()?, rest.as_bytes())
            }
            None => leading_number(rest.as_bytes())?,
        };
        let mut subs = [0; SID_SUB_AUTHORITIES_MAX];
        let mut len = 0;
        while let [b'-', more @ ..] = rest {
            let sub;
            (sub, rest) = leading_number(more)?;
            *subs.get_mut(len)? = u32::try_from(sub).ok()?;
            len += 1;
        }
        if !rest.is_empty() {
            return None;
        }
        Sid::new(authority, &subs[..len])
    }

    pub fn authority(&self) -> u64 {
        self.authority
    }

    pub fn subs(&self) -> &[u32] {
        &self.subs[..usize::from(self.len)]
    }

    /// The binary form that [`Sid::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1, self.len];
        bytes.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        for sub in self.subs() {
            bytes.extend_from_slice(&sub.to_le_bytes());
        }
        bytes
    }

    /// The machine or domain that issued an `S-1-5-21-a-b-c-rid`, and the rid.
    pub fn issuer(&self) -> Option<(DomainSid, u32)> {
        match *self.subs() {
            [21, a, b, c, rid] if self.authority == 5 => Some((DomainSid([a, b, c]), rid)),
            _ => None,
        }
    }

    /// Whether this SID names one person, service or computer, so that
    /// failures may be gathered under it: accounts of a machine or domain
    /// (`S-1-5-21-…`) and of Entra ID (`S-1-12-1-…`). The null SID, anonymous,
    /// the built-in service accounts, groups and derived accounts are the same
    /// everywhere and name nobody.
    pub fn is_account(&self) -> bool {
        self.issuer().is_some() || (self.authority == 12 && matches!(self.subs(), [1, _, _, _, _]))
    }
}

impl Sid {
    /// [`Sid::is_account`] of the binary form, without taking it apart.
    pub fn is_account_bytes(bytes: &[u8]) -> bool {
        let first = bytes.get(8..12).and_then(|sub| sub.first_chunk().copied());
        let first = first.map(u32::from_le_bytes);
        match bytes.first_chunk::<8>() {
            Some([1, 5, 0, 0, 0, 0, 0, 5]) => first == Some(21) && bytes.len() >= 28,
            Some([1, 5, 0, 0, 0, 0, 0, 12]) => first == Some(1) && bytes.len() >= 28,
            _ => false,
        }
    }
}

/// The number that digits at the start of a text make, and what follows them.
fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut len) = (0_u64, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        len += 1;
    }
    (len > 0).then(|| (number, &text[len..]))
}

impl PartialEq for Sid {
    fn eq(&self, other: &Sid) -> bool {
        self.authority == other.authority && self.subs() == other.subs()
    }
}

impl Eq for Sid {}

impl PartialOrd for Sid {
    fn partial_cmp(&self, other: &Sid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sid {
    fn cmp(&self, other: &Sid) -> std::cmp::Ordering {
        (self.authority, self.subs()).cmp(&(other.authority, other.subs()))
    }
}

impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority.hash(state);
        self.subs().hash(state);
    }
}

/// As in [`Sid::to_bytes`].
impl BorshSerialize for Sid {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        writer.write_all(&self.to_bytes())
    }
}

impl BorshDeserialize for Sid {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Sid> {
        let mut bytes = [0; 8 + 4 * SID_SUB_AUTHORITIES_MAX];
        reader.read_exact(&mut bytes[..8])?;
        let len = 8 + 4 * usize::from(bytes[1]);
        let malformed = || borsh::io::Error::other("expected a SID");
        reader.read_exact(bytes.get_mut(8..len).ok_or_else(malformed)?)?;
        Sid::from_bytes(&bytes[..len]).ok_or_else(malformed)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.authority >> 32 == 0 {
            write!(f, "S-1-{}", self.authority)?;
        } else {
            write!(f, "S-1-0x{:x}", self.authority)?;
        }
        self.subs().iter().try_for_each(|sub| write!(f, "-{sub}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The `a-b-c` of `S-1-5-21-a-b-c`: a domain's SID or a machine's.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct DomainSid(pub [u32; 3]);

impl DomainSid {
    pub fn account(self, rid: u32) -> Sid {
        let [a, b, c] = self.0;
        Sid::new(5, &[21, a, b, c, rid]).expect("five sub-authorities fit a SID")
    }
}

impl fmt::Display for DomainSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "S-1-5-21-{a}-{b}-{c}")
    }
}

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

/// Which list a status code comes from: the same number means different
/// things in different lists.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum CodeFamily {
    /// `0xC000006D` and its like ([MS-ERREF] 2.3).
    Ntstatus,
    /// `0x8009030E` and its like: security support provider interface.
    Sspi,
    /// RFC 4120 error codes, `0x18`.
    Kerberos,
    /// Windows system error codes, `1326`.
    Win32,
}

/// A status code with its list.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct StatusCode {
    pub family: CodeFamily,
    pub value: u32,
}

impl StatusCode {
    /// `family` is the list that the event's field belongs to; a value that
    /// only fits NTSTATUS or SSPI goes there whatever the field says.
    pub fn new(family: CodeFamily, value: u32) -> StatusCode {
        let family = match value {
            0xC000_0000..=0xCFFF_FFFF => CodeFamily::Ntstatus,
            0x8009_0000..=0x8009_FFFF => CodeFamily::Sspi,
            _ => family,
        };
        StatusCode { family, value }
    }

    pub fn is_success(self) -> bool {
        self.value == 0
    }
}

/// As Windows prints it: `0xC000006D`, `0x18`.
impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            CodeFamily::Ntstatus | CodeFamily::Sspi => write!(f, "0x{:08X}", self.value),
            CodeFamily::Kerberos => write!(f, "0x{:X}", self.value),
            CodeFamily::Win32 => write!(f, "{}", self.value),
        }
    }
}

/// Why an authentication failed, in the terms of the person who mends it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Category {
    BadPassword,
    UnknownAccount,
    AccountLocked,
    AccountExpired,
    PasswordExpired,
    AccountDisabled,
    AccountRestriction,
    LogonRight,
    ClockSkew,
    SpnOrKey,
    EncryptionType,
    TrustBroken,
    NtlmBlocked,
    ChannelBinding,
    NoLogonServers,
    /// The codes that a machine-id mismatch leaves beside it, and others: the
    /// code alone does not say whose fault it is.
    Refused,
    Other,
}

impl Category {
    pub const ALL: [Category; 17] = [
        Category::BadPassword,
        Category::UnknownAccount,
        Category::AccountLocked,
        Category::AccountExpired,
        Category::PasswordExpired,
        Category::AccountDisabled,
        Category::AccountRestriction,
        Category::LogonRight,
        Category::ClockSkew,
        Category::SpnOrKey,
        Category::EncryptionType,
        Category::TrustBroken,
        Category::NtlmBlocked,
        Category::ChannelBinding,
        Category::NoLogonServers,
        Category::Refused,
        Category::Other,
    ];

    /// As it stands in rule files and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Category::BadPassword => "bad_password",
            Category::UnknownAccount => "unknown_account",
            Category::AccountLocked => "account_locked",
            Category::AccountExpired => "account_expired",
            Category::PasswordExpired => "password_expired",
            Category::AccountDisabled => "account_disabled",
            Category::AccountRestriction => "account_restriction",
            Category::LogonRight => "logon_right",
            Category::ClockSkew => "clock_skew",
            Category::SpnOrKey => "spn_or_key",
            Category::EncryptionType => "encryption_type",
            Category::TrustBroken => "trust_broken",
            Category::NtlmBlocked => "ntlm_blocked",
            Category::ChannelBinding => "channel_binding",
            Category::NoLogonServers => "no_logon_servers",
            Category::Refused => "refused",
            Category::Other => "other",
        }
    }

    pub fn from_name(name: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_counted_from_1970_and_rounded_down() {
        let at = |date, ticks| EventTime::from_civil(date, (0, 0, 1), ticks).unwrap().unix_millis();
        assert_eq!(at((1970, 1, 1), 1_239_999), 1_123);
        assert_eq!(at((1969, 12, 31), 0), -86_399_000);
        assert_eq!(at((2025, 10, 1), 1_234_567), 1_759_276_801_123);
        assert_eq!(EventTime::MIN.unix_millis(), -11_644_473_600_000);
    }

    #[test]
    fn a_sid_is_the_same_in_text_and_in_bytes() {
        for text in [
            "S-1-5-21-3583694148-1414552638-2922671848-1000",
            "S-1-0-0",
            "S-1-5-32-544",
            "S-1-0x123456789abc-1",
            "S-1-15-3-1024-1-2-3-4-5-6-7-8",
        ] {
            let sid = Sid::parse(text).expect(text);
            assert_eq!(sid.to_string(), text);
            assert_eq!(Sid::from_bytes(&sid.to_bytes()), Some(sid));
        }
    }

    #[test]
    fn text_that_is_no_sid_is_refused() {
        for text in
            ["", "S-1", "S-1-", "S-2-5-18", "S-1-5-+18", "S-1-5-4294967296", "-", "S-1-5--1"]
        {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
        assert_eq!(Sid::from_bytes(&[1, 2, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0]), None);
    }

    #[test]
    fn only_accounts_of_a_machine_a_domain_or_entra_can_be_a_source() {
        for (text, is_account) in [
            ("S-1-5-21-1-2-3-1000", true),
            ("S-1-12-1-1-2-3-4", true),
            ("S-1-0-0", false),
            ("S-1-5-7", false),
            ("S-1-5-18", false),
            ("S-1-5-32-544", false),
            ("S-1-5-90-0-1", false),
            ("S-1-5-21-1-2-3", false),
        ] {
            let sid = Sid::parse(text).expect(text);
            assert_eq!(sid.is_account(), is_account, "{text}");
            assert_eq!(Sid::is_account_bytes(&sid.to_bytes()), is_account, "{text}");
        }
    }

    #[test]
    fn time_prints_seven_digits_and_reads_back() {
        let time = EventTime::from_civil((2024, 2, 29), (23, 59, 59), 1_234_567).expect("valid");
        assert_eq!(time.to_string(), "2024-02-29T23:59:59.1234567Z");
        assert_eq!(EventTime(0).to_string(), "1601-01-01T00:00:00.0000000Z");
        assert_eq!(EventTime(116_444_736_000_000_000).to_string(), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(EventTime::from_civil((2025, 13, 1), (0, 0, 0), 0), None);
    }

    #[test]
    fn category_names_are_distinct_and_read_back() {
        for category in Category::ALL {
            assert_eq!(Category::from_name(category.name()), Some(category));
        }
    }
}
