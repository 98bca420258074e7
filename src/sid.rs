//! Security identifiers: of accounts, of machines and of domains.

use std::fmt;
use std::hash::{Hash, Hasher};

use borsh::{BorshDeserialize, BorshSerialize};

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

    /// Whether this SID identifies one person, service or computer, so that failures may be
    /// attributed to it: accounts of a machine or domain (`S-1-5-21-…`) and of Entra ID
    /// (`S-1-12-1-…`). The null SID, anonymous, the built-in service accounts, groups and derived
    /// accounts are the same everywhere and identify nobody.
    pub fn is_account(&self) -> bool {
        self.issuer().is_some() || (self.authority == 12 && matches!(self.subs(), [1, _, _, _, _]))
    }
}

impl Sid {
    /// [`Sid::is_account`] of the binary form, without decoding it.
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

/// The number at the start of a text, and the rest of the text.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
