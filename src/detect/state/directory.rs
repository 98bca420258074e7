//! Accounts and their SIDs. Evidence is kept as intervals of time, so that the
//! result is the same in any order and however often a record comes.

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::FxHashMap;

use super::names::{Names, Symbol};
use crate::observation::short_host;
use crate::sid::{DomainSid, Sid};
use crate::time::{EventTime, TICKS_PER_SEC};

/// SIDs kept for one name: an account that was deleted and made again has a
/// new one. The one seen last longest ago goes first.
const SIDS_PER_NAME_MAX: usize = 8;

/// Domain names kept for one domain SID: NetBIOS, DNS, and a few to spare.
const NAMES_PER_DOMAIN_MAX: usize = 8;

/// Domain SIDs kept for one domain name: as many machines may share a name.
const DOMAINS_PER_NAME_MAX: usize = 8;

/// Names are resolved as of the hour.
const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// The SID of an account, small: `S-1-5-21-a-b-c-rid` or `S-1-12-1-a-b-c-d`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum AccountSid {
    Issued([u32; 4]),
    Entra([u32; 4]),
}

impl AccountSid {
    pub fn new(sid: &Sid) -> Option<AccountSid> {
        match *sid.subs() {
            [21, a, b, c, rid] if sid.authority() == 5 => Some(AccountSid::Issued([a, b, c, rid])),
            [1, a, b, c, d] if sid.authority() == 12 => Some(AccountSid::Entra([a, b, c, d])),
            _ => None,
        }
    }

    pub fn sid(self) -> Sid {
        let (authority, [a, b, c, d], first) = match self {
            AccountSid::Issued(subs) => (5, subs, 21),
            AccountSid::Entra(subs) => (12, subs, 1),
        };
        Sid::new(authority, &[first, a, b, c, d]).expect("five sub-authorities fit a SID")
    }

    /// Who issued it, where that is a machine or a domain.
    pub fn domain(self) -> Option<DomainSid> {
        match self {
            AccountSid::Issued([a, b, c, _]) => Some(DomainSid([a, b, c])),
            AccountSid::Entra(_) => None,
        }
    }
}

/// First and last time of a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Span {
    pub first: EventTime,
    pub last: EventTime,
}

impl Span {
    pub fn at(time: EventTime) -> Span {
        Span { first: time, last: time }
    }

    pub fn join(&mut self, other: Span) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    pub fn touches(&self, other: Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    pub fn ticks(self) -> u64 {
        self.last.0.saturating_sub(self.first.0)
    }

    pub fn extend(&mut self, time: EventTime) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }

    /// How far a time lies outside, in hours of the clock.
    fn hours_outside(&self, time: EventTime) -> u64 {
        let hour = |time: EventTime| time.0 / HOUR_TICKS;
        hour(self.first).saturating_sub(hour(time)) + hour(time).saturating_sub(hour(self.last))
    }
}

#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Directory {
    accounts: FxHashMap<(Symbol, Symbol), Vec<(AccountSid, Span)>>,
    names: FxHashMap<AccountSid, (Symbol, Symbol)>,
    domains: FxHashMap<Symbol, Vec<DomainSid>>,
    domain_names: FxHashMap<DomainSid, Vec<Symbol>>,
    #[borsh(skip)]
    accounts_max: usize,
    refused: u64,
    /// Counts what may change how names are resolved; see [`Directory::generation`].
    #[borsh(skip)]
    generation: u64,
}

impl Directory {
    /// Holds `accounts_max` names; later ones are counted, not kept.
    pub fn new(accounts_max: usize) -> Directory {
        Directory {
            accounts: FxHashMap::default(),
            names: FxHashMap::default(),
            domains: FxHashMap::default(),
            domain_names: FxHashMap::default(),
            accounts_max,
            refused: 0,
            generation: 0,
        }
    }

    /// Goes up whenever something was learnt by which a name may belong to another SID.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sets the bound of a directory that was read back.
    pub fn bound(&mut self, accounts_max: usize) {
        self.accounts_max = accounts_max;
    }

    /// Facts that were not kept because the directory was full.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether the account was not known with this SID before.
    pub fn learn_account(
        &mut self,
        sid: AccountSid,
        domain: Symbol,
        name: Symbol,
        time: EventTime,
        names: &Names,
    ) -> bool {
        if domain == Symbol::BEYOND || name == Symbol::BEYOND {
            return false;
        }
        if self.accounts.len() >= self.accounts_max && !self.accounts.contains_key(&(domain, name))
        {
            self.refused += 1;
            return false;
        }
        let sids = self.accounts.entry((domain, name)).or_default();
        if let Some((_, span)) = sids.iter_mut().find(|(known, _)| *known == sid) {
            // The rest was added when it came first.
            let before = *span;
            span.extend(time);
            let is_wider = *span != before;
            self.generation += u64::from(is_wider && sids.len() > 1);
            return false;
        }
        self.generation += 1;
        make_room(sids);
        sids.push((sid, Span::at(time)));
        if sids.len() > SIDS_PER_NAME_MAX {
            let oldest = (0..sids.len()).min_by_key(|&at| (sids[at].1.last, sids[at].0));
            oldest.map(|at| sids.swap_remove(at));
        }
        self.learn_label(sid, domain, name, names);
        if let Some(issuer) = sid.domain() {
            insert_bounded(self.domains.entry(domain).or_default(), issuer, DOMAINS_PER_NAME_MAX);
            insert_bounded(
                self.domain_names.entry(issuer).or_default(),
                domain,
                NAMES_PER_DOMAIN_MAX,
            );
        }
        true
    }

    /// Records the name of an account, with or without its domain: enough to
    /// show, not enough to find its SID by.
    pub fn learn_label(&mut self, sid: AccountSid, domain: Symbol, name: Symbol, names: &Names) {
        if name.is_none()
            || (self.names.len() >= self.accounts_max && !self.names.contains_key(&sid))
        {
            return;
        }
        let shown = self.names.entry(sid).or_insert((domain, name));
        if *shown == (domain, name) {
            return;
        }
        let order = domain
            .is_none()
            .cmp(&shown.0.is_none())
            .then_with(|| names.compare(domain, shown.0))
            .then_with(|| names.compare(name, shown.1));
        if order.is_lt() {
            *shown = (domain, name);
        }
    }

    /// Domain and name that a SID was seen with. A domain that its events left
    /// out is taken from other accounts of the same issuer, its short name
    /// first.
    pub fn name_of(&self, sid: AccountSid, names: &Names) -> Option<(Symbol, Symbol)> {
        let (domain, name) = self.names.get(&sid).copied()?;
        if !domain.is_none() {
            return Some((domain, name));
        }
        let known = sid.domain().and_then(|issuer| self.domain_names.get(&issuer));
        let domain = known.into_iter().flatten().copied().min_by(|one, other| {
            let dns = |domain| names.text(domain).contains('.');
            dns(*one).cmp(&dns(*other)).then_with(|| names.compare(*one, *other))
        });
        Some((domain.unwrap_or(Symbol::NONE), name))
    }

    /// The SID that an account had around `time`: the one whose evidence is
    /// nearest, by the hour. Also tries the other names of the domain, as the
    /// same domain is `CORP` to one event and `corp.example` to another.
    pub fn resolve(
        &self,
        domain: Symbol,
        name: Symbol,
        time: EventTime,
        names: &Names,
    ) -> Option<AccountSid> {
        if let Some(sid) = self.nearest(domain, name, time) {
            return Some(sid);
        }
        let issuers = self.domains.get(&domain)?;
        let dns = |domain: Symbol| names.text(domain).contains('.');
        let aliases = issuers.iter().filter_map(|issuer| self.domain_names.get(issuer)).flatten();
        aliases
            .filter(|alias| **alias != domain && (dns(domain) || dns(**alias)))
            .filter_map(|alias| self.nearest(*alias, name, time))
            .min()
    }

    fn nearest(&self, domain: Symbol, name: Symbol, time: EventTime) -> Option<AccountSid> {
        let sids = self.accounts.get(&(domain, name))?;
        let nearest = sids.iter().min_by_key(|(sid, span)| {
            (span.hours_outside(time), std::cmp::Reverse(span.first), *sid)
        });
        nearest.map(|(sid, _)| *sid)
    }

    /// The domain that a domain controller answers for, as far as it is known
    /// by name: `dc1.corp.example` answers for `corp.example`, whose NetBIOS
    /// name is `CORP` as a rule.
    pub fn domains_of_controller(&self, host: Symbol, names: &Names) -> Vec<Symbol> {
        let Some((_, dns)) = names.text(host).split_once('.') else { return Vec::new() };
        [dns, short_host(dns)]
            .into_iter()
            .filter_map(|domain| names.find(domain))
            .filter(|domain| self.domains.contains_key(domain))
            .collect()
    }
}

/// Makes room for one value more in one of very many lists, most of which never
/// hold a second: growing by itself, a list takes room for four.
pub fn make_room<T>(values: &mut Vec<T>) {
    const SMALL: usize = 4;
    if values.len() == values.capacity() && values.len() < SMALL {
        values.reserve_exact(1);
    }
}

/// Adds a value to a small set that keeps the smallest `max`.
fn insert_bounded<T: Ord + Copy>(set: &mut Vec<T>, value: T, max: usize) {
    if let Err(at) = set.binary_search(&value)
        && at < max
    {
        make_room(set);
        set.insert(at, value);
        set.truncate(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(text: &str) -> AccountSid {
        AccountSid::new(&Sid::parse(text).expect(text)).expect(text)
    }

    #[test]
    fn a_name_resolves_to_the_sid_it_had_at_the_time() {
        let mut names = Names::new(4096);
        let mut directory = Directory::new(100);
        let (corp, bob) = (names.intern("CORP"), names.intern("bob"));
        let (old, new) = (sid("S-1-5-21-1-2-3-1104"), sid("S-1-5-21-1-2-3-2207"));
        let at = |hour: u64| EventTime(hour * HOUR_TICKS);
        directory.learn_account(old, corp, bob, at(10), &names);
        directory.learn_account(old, corp, bob, at(20), &names);
        directory.learn_account(new, corp, bob, at(40), &names);
        for (hour, expect) in [(1, old), (15, old), (25, old), (35, new), (99, new)] {
            assert_eq!(directory.resolve(corp, bob, at(hour), &names), Some(expect), "hour {hour}");
        }
    }

    #[test]
    fn the_dns_name_of_a_domain_finds_the_accounts_of_its_netbios_name() {
        let mut names = Names::new(4096);
        let mut directory = Directory::new(100);
        let [corp, dns, bob, eve] =
            ["CORP", "corp.example", "bob", "eve"].map(|name| names.intern(name));
        let time = EventTime(0);
        directory.learn_account(sid("S-1-5-21-1-2-3-1104"), corp, bob, time, &names);
        assert_eq!(directory.resolve(dns, bob, time, &names), None);
        directory.learn_account(sid("S-1-5-21-1-2-3-1105"), dns, eve, time, &names);
        assert_eq!(directory.resolve(dns, bob, time, &names), Some(sid("S-1-5-21-1-2-3-1104")));
    }

    #[test]
    fn two_machines_of_one_image_do_not_lend_each_other_accounts() {
        let mut names = Names::new(4096);
        let mut directory = Directory::new(100);
        let [pc1, pc2, bob, eve] = ["PC1", "PC2", "bob", "eve"].map(|name| names.intern(name));
        let time = EventTime(0);
        directory.learn_account(sid("S-1-5-21-1-2-3-1001"), pc1, bob, time, &names);
        directory.learn_account(sid("S-1-5-21-1-2-3-1001"), pc2, eve, time, &names);
        assert_eq!(directory.resolve(pc2, bob, time, &names), None);
    }

    #[test]
    fn a_full_directory_counts_what_it_does_not_keep() {
        let mut names = Names::new(4096);
        let mut directory = Directory::new(1);
        let [corp, bob, eve] = ["CORP", "bob", "eve"].map(|name| names.intern(name));
        directory.learn_account(sid("S-1-5-21-1-2-3-1"), corp, bob, EventTime(0), &names);
        directory.learn_account(sid("S-1-5-21-1-2-3-2"), corp, eve, EventTime(0), &names);
        assert_eq!(directory.refused(), 1);
        assert_eq!(directory.resolve(corp, eve, EventTime(0), &names), None);
    }

    #[test]
    fn account_sids_keep_their_text() {
        let sid = Sid::parse("S-1-12-1-1-2-3-4").expect("valid");
        assert_eq!(AccountSid::new(&sid).map(AccountSid::sid), Some(sid));
    }
}
