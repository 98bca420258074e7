//! Names and addresses as small numbers, equal without regard to case.
//!
//! The form that is shown of a name does not depend on the order of arrival:
//! of the forms seen, the one with both cases wins, then the smallest.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHasher};

/// A name; `Symbol::NONE` where an event has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What [`Symbol::BEYOND`] is shown as.
const BEYOND_TEXT: &str = "(more names than are kept)";

#[derive(Debug)]
pub struct Names {
    index: HashTable<u32>,
    shown: Vec<Box<str>>,
    bytes: usize,
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

    /// The symbol of a name; the empty name is [`Symbol::NONE`].
    pub fn intern(&mut self, name: &str) -> Symbol {
        if name.is_empty() {
            return Symbol::NONE;
        }
        let hash = folded_hash(name);
        let found = self.index.find(hash, |&at| folded_eq(&self.shown[at as usize], name)).copied();
        if let Some(at) = found {
            let shown = &mut self.shown[at as usize];
            if prefer(name, shown) {
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
        self.index.insert_unique(hash, at, |&at| folded_hash(&self.shown[at as usize]));
        Symbol(at)
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
        self.index
            .find(folded_hash(name), |&at| folded_eq(&self.shown[at as usize], name))
            .map(|at| Symbol(*at))
    }

    pub fn text(&self, symbol: Symbol) -> &str {
        &self.shown[symbol.0 as usize]
    }

    /// Order of two names without regard to case, so that it does not change
    /// when a better form to show comes along.
    pub fn compare(&self, one: Symbol, other: Symbol) -> Ordering {
        folded(self.text(one)).cmp(folded(self.text(other)))
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

fn folded_hash(name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    if name.is_ascii() {
        // Setting the bit that tells letters' cases apart makes some other
        // characters alike as well; equality decides.
        let (words, rest) = name.as_bytes().as_chunks::<8>();
        for word in words {
            hasher.write_u64(u64::from_le_bytes(*word) | 0x2020_2020_2020_2020);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hasher.write_u64(u64::from_le_bytes(last) | 0x2020_2020_2020_2020);
    } else {
        folded(name).for_each(|c| c.hash(&mut hasher));
    }
    spread(hasher.finish())
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
    if new == old {
        return false;
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u32);

impl Address {
    pub const NONE: Address = Address(0);
}

#[derive(Debug)]
pub struct Addresses {
    index: FxHashMap<IpAddr, u32>,
    addresses: Vec<IpAddr>,
    count_max: usize,
    beyond: u64,
}

impl Addresses {
    /// Keeps `count_max` addresses; later ones are [`Address::NONE`].
    pub fn new(count_max: usize) -> Addresses {
        Addresses { index: FxHashMap::default(), addresses: Vec::new(), count_max, beyond: 0 }
    }

    pub fn intern(&mut self, ip: Option<IpAddr>) -> Address {
        let Some(ip) = ip else { return Address::NONE };
        if let Some(at) = self.index.get(&ip) {
            return Address(*at);
        }
        if self.addresses.len() >= self.count_max {
            self.beyond += 1;
            return Address::NONE;
        }
        self.addresses.push(ip);
        let at = self.addresses.len() as u32;
        self.index.insert(ip, at);
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
