//! Names and addresses as small numbers, equal without regard to case.
//!
//! The form that is shown of a name does not depend on the order of arrival:
//! of the forms seen, the one with both cases wins, then the smallest.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use borsh::{BorshDeserialize, BorshSerialize};
use compact_str::CompactString;
use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};

use crate::detect::MalformedState;

/// A name; `Symbol::NONE` where an event has none.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Symbol(u32);

impl Symbol {
    pub const NONE: Symbol = Symbol(0);
    /// Stands for every name that came after the table was full.
    pub const BEYOND: Symbol = Symbol(1);

    /// A number of its own for each symbol, small and without gaps.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    pub fn is_none(self) -> bool {
        self == Symbol::NONE
    }
}

/// Symbols that stand for no name of their own.
const RESERVED: usize = 2;

/// What [`Symbol::BEYOND`] is shown as.
const BEYOND_TEXT: &str = "(more names than are kept)";

/// A name's hash, and which symbol it has.
#[derive(Clone, Copy, Debug)]
struct NameSlot {
    hash: u32,
    at: u32,
}

#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Names {
    #[borsh(skip)]
    index: HashTable<NameSlot>,
    /// By symbol. Most names fit within the value itself: comparing two reads
    /// nothing else.
    shown: Vec<CompactString>,
    #[borsh(skip)]
    bytes: usize,
    #[borsh(skip)]
    bytes_max: usize,
    beyond: u64,
}

impl Names {
    /// Keeps names of `bytes_max` bytes together; later ones are
    /// [`Symbol::BEYOND`].
    pub fn new(bytes_max: usize) -> Names {
        let shown = vec!["".into(), BEYOND_TEXT.into()];
        Names { index: HashTable::new(), shown, bytes: 0, bytes_max, beyond: 0 }
    }

    /// Sets bound and index of names that were read back; an error when the
    /// two reserved ones are not where they belong.
    pub fn rebuild(&mut self, bytes_max: usize) -> Result<(), MalformedState> {
        let reserved = self.shown.first_chunk::<2>();
        if !reserved.is_some_and(|[none, beyond]| none.is_empty() && beyond == BEYOND_TEXT) {
            return Err(MalformedState("the reserved names are missing"));
        }
        self.bytes_max = bytes_max;
        self.bytes = self.shown[RESERVED..].iter().map(|name| name.len()).sum();
        self.index = HashTable::with_capacity(self.shown.len());
        for (at, name) in (0..).zip(&self.shown).skip(RESERVED) {
            let hash = folded_hash(name);
            let slot = NameSlot { hash, at };
            self.index.insert_unique(table_hash(hash), slot, |slot| table_hash(slot.hash));
        }
        Ok(())
    }

    /// The symbol of a name; the empty name is [`Symbol::NONE`].
    pub fn intern(&mut self, name: &str) -> Symbol {
        self.intern_hashed(name, folded_hash(name))
    }

    /// The symbols of many names. The loops are short and their turns
    /// independent, so that the memory accesses of many look-ups overlap.
    pub fn intern_all(&mut self, names: &[&str]) -> Vec<Symbol> {
        let hashes: Vec<u32> = names.iter().map(|name| folded_hash(name)).collect();
        let likely: Vec<u32> = hashes
            .iter()
            .map(|hash| {
                let slot = self.index.find(table_hash(*hash), |slot| slot.hash == *hash);
                slot.map_or(Symbol::NONE.0, |slot| slot.at)
            })
            .collect();
        let mut symbols = Vec::with_capacity(names.len());
        for ((name, hash), at) in names.iter().zip(hashes).zip(likely) {
            // A name that is not known yet has `Symbol::NONE` here, whose text
            // is empty: only the empty name equals it.
            let known = same_bytes(self.shown[at as usize].as_bytes(), name.as_bytes());
            symbols.push(if known { Symbol(at) } else { self.intern_hashed(name, hash) });
        }
        symbols
    }

    fn intern_hashed(&mut self, name: &str, hash: u32) -> Symbol {
        if name.is_empty() {
            return Symbol::NONE;
        }
        if let Some(at) = self.find_slot(name, hash) {
            let shown = &mut self.shown[at as usize];
            if *shown != name && prefer(name, shown) {
                *shown = name.into();
            }
            return Symbol(at);
        }
        let bytes = self.bytes + name.len();
        if bytes > self.bytes_max {
            self.beyond += 1;
            return Symbol::BEYOND;
        }
        let at = u32::try_from(self.shown.len()).expect("fewer names than bytes");
        self.bytes = bytes;
        self.shown.push(name.into());
        self.index
            .insert_unique(table_hash(hash), NameSlot { hash, at }, |slot| table_hash(slot.hash));
        Symbol(at)
    }

    fn find_slot(&self, name: &str, hash: u32) -> Option<u32> {
        let same =
            |slot: &NameSlot| slot.hash == hash && folded_eq(&self.shown[slot.at as usize], name);
        self.index.find(table_hash(hash), same).map(|slot| slot.at)
    }

    /// How often a name came that is not kept.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The symbol of a name that was interned before.
    pub fn find(&self, name: &str) -> Option<Symbol> {
        if name.is_empty() {
            return Some(Symbol::NONE);
        }
        self.find_slot(name, folded_hash(name)).map(Symbol)
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        &self.shown[symbol.0 as usize]
    }

    /// Order of two names without regard to case, so that it does not change
    /// when a better form to show comes along.
    pub fn compare(&self, one: Symbol, other: Symbol) -> Ordering {
        if one == other {
            return Ordering::Equal;
        }
        let (one, other) = (self.text(one), self.text(other));
        if one.is_ascii() && other.is_ascii() {
            let lower = u8::to_ascii_lowercase;
            let (one, other) = (one.as_bytes().iter(), other.as_bytes().iter());
            return one.map(lower).cmp(other.map(lower));
        }
        folded(one).cmp(folded(other))
    }

    /// The text, or `None` for [`Symbol::NONE`].
    pub fn text_opt(&self, symbol: Symbol) -> Option<&str> {
        (!symbol.is_none()).then(|| self.text(symbol))
    }
}

/// Lower case, one character for one: enough for names to be compared by.
/// What is not ASCII stays so, or `K` (Kelvin) would be equal to `k` here and
/// not where ASCII is compared byte by byte.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|c| match c.to_lowercase().next() {
        Some(lower) if lower.is_ascii() == c.is_ascii() => lower,
        _ => c,
    })
}

/// What the table goes by, so that growing it reads no names.
fn table_hash(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn folded_hash(name: &str) -> u32 {
    const CASE: u64 = 0x2020_2020_2020_2020;
    const NOT_ASCII: u64 = 0x8080_8080_8080_8080;
    let mut hasher = FxHasher::default();
    let mut bits = 0;
    // Setting the bit that tells letters' cases apart makes some other
    // characters alike as well; equality decides.
    let mut word = |bytes: [u8; 8]| {
        let word = u64::from_le_bytes(bytes);
        bits |= word;
        hasher.write_u64(word | CASE);
    };
    let bytes = name.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|bytes| word(*bytes));
    // The last eight bytes, those of the word before among them.
    match (bytes.last_chunk::<8>(), rest) {
        (_, []) => {}
        (Some(last), _) => word(*last),
        (None, _) => {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            word(last);
        }
    }
    if bits & NOT_ASCII != 0 {
        hasher = FxHasher::default();
        folded(name).for_each(|c| c.hash(&mut hasher));
    }
    (spread(hasher.finish()) >> 32) as u32
}

/// Equality of short texts without a call: the one thing that is done for
/// every name of every event.
fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(one_last), Some(other_last)) => {
            one_last == other_last
                && one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0).all(|(a, b)| a == b)
        }
        _ => one.iter().zip(other).all(|(a, b)| a == b),
    }
}

fn folded_eq(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    folded(one).eq(folded(other))
}

/// Whether `new` is the better form to show than `old`, of the same name.
fn prefer(new: &str, old: &str) -> bool {
    let one_case = |text: &str| {
        !(text.chars().any(char::is_lowercase) && text.chars().any(char::is_uppercase))
    };
    (one_case(new), new) < (one_case(old), old)
}

/// Mixes all bits of a hash into all others, for tables that use the top ones
/// and for fingerprints that stand for a whole key.
pub fn spread(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// An address; `Address::NONE` where an event has none.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Address(u32);

impl Address {
    pub const NONE: Address = Address(0);
}

#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Addresses {
    /// By the four bytes of nearly all addresses, for short look-ups.
    #[borsh(skip)]
    v4: FxHashMap<u32, u32>,
    #[borsh(skip)]
    v6: FxHashMap<u128, u32>,
    /// In the order of their numbers.
    addresses: Vec<IpAddr>,
    #[borsh(skip)]
    count_max: usize,
    beyond: u64,
}

impl Addresses {
    /// Keeps `count_max` addresses; later ones are [`Address::NONE`].
    pub fn new(count_max: usize) -> Addresses {
        Addresses {
            v4: FxHashMap::default(),
            v6: FxHashMap::default(),
            addresses: Vec::new(),
            count_max,
            beyond: 0,
        }
    }

    /// Sets bound and indexes of addresses that were read back.
    pub fn rebuild(&mut self, count_max: usize) {
        self.count_max = count_max;
        let (mut v4, mut v6) = (FxHashMap::default(), FxHashMap::default());
        for (number, ip) in (1..).zip(&self.addresses) {
            match ip {
                IpAddr::V4(ip) => v4.insert(ip.to_bits(), number),
                IpAddr::V6(ip) => v6.insert(ip.to_bits(), number),
            };
        }
        (self.v4, self.v6) = (v4, v6);
    }

    pub fn intern(&mut self, ip: Option<IpAddr>) -> Address {
        let Some(ip) = ip else { return Address::NONE };
        let known = match ip {
            IpAddr::V4(ip) => self.v4.get(&ip.to_bits()),
            IpAddr::V6(ip) => self.v6.get(&ip.to_bits()),
        };
        if let Some(at) = known {
            return Address(*at);
        }
        if self.addresses.len() >= self.count_max {
            self.beyond += 1;
            return Address::NONE;
        }
        self.addresses.push(ip);
        let at = self.addresses.len() as u32;
        match ip {
            IpAddr::V4(ip) => self.v4.insert(ip.to_bits(), at),
            IpAddr::V6(ip) => self.v6.insert(ip.to_bits(), at),
        };
        Address(at)
    }

    /// How often an address came that is not kept.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    pub fn get(&self, address: Address) -> Option<IpAddr> {
        let at = (address.0 as usize).checked_sub(1)?;
        self.addresses.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_without_case_and_shown_in_the_same_form_in_any_order() {
        for forms in [["PC01", "pc01", "Pc01"], ["Pc01", "PC01", "pc01"], ["pc01", "Pc01", "PC01"]]
        {
            let mut names = Names::new(1024);
            let symbols: Vec<Symbol> = forms.iter().map(|form| names.intern(form)).collect();
            assert!(symbols.iter().all(|symbol| *symbol == symbols[0]));
            assert_eq!(names.text(symbols[0]), "Pc01");
        }
    }

    #[test]
    fn letters_beyond_ascii_fold_too() {
        let mut names = Names::new(1024);
        assert_eq!(names.intern("BÜRO-ÉTÉ"), names.intern("büro-été"));
        assert_ne!(names.intern("büro"), names.intern("buro"));
    }

    #[test]
    fn a_full_table_keeps_what_it_has() {
        let mut names = Names::new(8);
        let kept = names.intern("abcd");
        names.intern("efgh");
        assert_eq!(names.intern("i"), Symbol::BEYOND);
        assert_eq!(names.intern("ABCD"), kept);
    }
}
