//! What events say of each computer, as they name it: its machine SIDs with
//! the evidence for them, boots, builds, updates, renames, addresses.
//!
//! Nothing is concluded here; [`super::twins`] does that. Everything is kept
//! as sets and spans of time, so that learning is the same in any order and
//! however often a record comes.
//!
//! Evidence for a machine SID is an account that the computer itself logged
//! with a SID under its own name: `S-1-5-21-a-b-c-500` with the domain `PC01`
//! in a record of PC01. Names alone, which whoever fails to log on may choose,
//! never are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use compact_str::CompactString;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::detect::state::directory::{Span, make_room};
use crate::detect::state::names::{Names, Symbol};
use crate::observation::{Build, NETBIOS_NAME_CHARS_MAX, short_host};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

/// RestoredState of one host: the last ones.
const BOOTS_MAX: usize = 32;
const RENAMES_MAX: usize = 8;
const BUILDS_MAX: usize = 8;
const UPDATES_MAX: usize = 64;
const DOMAINS_MAX: usize = 4;

/// Domain controllers that are recognised without a look-up.
const SERVED_MAX: usize = 32;

/// Machine SIDs kept of one host; those seen longest ago go first.
const MACHINE_SIDS_MAX: usize = 8;

/// Different events and accounts kept that show one machine SID: the first in
/// their order.
const PIECES_MAX: usize = 64;

/// Channels of which the first and last record id are kept.
const CHANNELS_MAX: usize = 8;

/// Hosts kept for one address; those seen longest ago go first.
const HOSTS_PER_ADDRESS_MAX: usize = 8;

/// An address belongs to whoever was seen with it within so many hours.
const ADDRESS_HOURS_MAX: u64 = 24;
const HOUR_TICKS: u64 = 3600 * TICKS_PER_SEC;

/// RIDs that only the accounts and groups of a domain have: krbtgt, its
/// groups, and those of the forest.
const DOMAIN_RIDS: [u32; 13] = [502, 512, 514, 515, 516, 517, 518, 519, 520, 525, 526, 527, 553];

/// Names that Windows Setup gives a machine until it has its own.
const PLACEHOLDERS: [&str; 3] = ["37L4247F27-25", "37L4247D28-05", "MINWINPC"];
const PLACEHOLDER_PREFIX: &str = "MININT-";

/// Letters and digits after `WIN-` and `DESKTOP-` in the names that Setup
/// makes up.
const RANDOM_NAMES: [(&str, usize); 2] = [("WIN-", 11), ("DESKTOP-", 7)];

/// The name by which NetBIOS and local accounts know a computer: its first
/// label, cut to fifteen characters, in upper case.
pub fn netbios(computer: &str) -> CompactString {
    let label = short_host(computer);
    if label.is_ascii() {
        let mut name = CompactString::from(&label[..label.len().min(NETBIOS_NAME_CHARS_MAX)]);
        name.make_ascii_uppercase();
        return name;
    }
    label.chars().take(NETBIOS_NAME_CHARS_MAX).flat_map(char::to_uppercase).collect()
}

/// Whether Setup may have made up a name, as it does when it is given none.
pub fn is_random(name: &str) -> bool {
    RANDOM_NAMES.iter().any(|(prefix, len)| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == *len && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    })
}

/// Whether a NetBIOS name is one of Windows Setup's own.
pub fn is_placeholder(name: &str) -> bool {
    PLACEHOLDERS.contains(&name) || name.starts_with(PLACEHOLDER_PREFIX)
}

/// A record of a host that shows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Shown {
    pub time: EventTime,
    pub record_id: u64,
    pub computer: Symbol,
    pub channel: Symbol,
    pub provider: Symbol,
    pub event_id: u32,
}

/// A machine SID as a computer's records show it.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct MachineSid {
    pub sid: DomainSid,
    pub span: Span,
    /// Provider, event id and RID of the accounts that show it, in order.
    pub pieces: Vec<(Symbol, u32, u32)>,
    /// The first record that shows it, and its account.
    pub first: Shown,
    pub account: Symbol,
    pub rid: u32,
}

impl MachineSid {
    fn order(&self) -> (EventTime, u64, u32, u32) {
        (self.first.time, self.first.record_id, self.first.event_id, self.rid)
    }

    /// Joins what two names of one computer show.
    pub fn absorb(&mut self, other: &MachineSid) {
        self.span.join(other.span);
        for piece in &other.pieces {
            insert_piece(&mut self.pieces, *piece);
        }
        if other.order() < self.order() {
            (self.first, self.account, self.rid) = (other.first, other.account, other.rid);
        }
    }
}

/// The first and the last record of a channel.
#[derive(Clone, Copy, Debug, BorshSerialize, BorshDeserialize)]
pub struct Ends {
    pub channel: Symbol,
    pub first: (EventTime, u64),
    pub last: (EventTime, u64),
}

/// What is known of one computer name.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct HostFacts {
    pub seen: Span,
    pub domain_controller: bool,
    /// Starts of the operating system, the last ones.
    pub boots: BTreeSet<EventTime>,
    pub builds: Vec<(Build, Span)>,
    /// Numbers of installed updates, with the first time.
    pub updates: BTreeMap<u32, EventTime>,
    /// When, from which name, to which.
    pub renames: BTreeSet<(EventTime, Symbol, Symbol)>,
    pub machine_sids: Vec<MachineSid>,
    /// Whose accounts it judged as a domain controller.
    pub domains: BTreeSet<DomainSid>,
    pub ends: Vec<Ends>,
}

impl HostFacts {
    pub fn new(time: EventTime) -> HostFacts {
        HostFacts {
            seen: Span::at(time),
            domain_controller: false,
            boots: BTreeSet::new(),
            builds: Vec::new(),
            updates: BTreeMap::new(),
            renames: BTreeSet::new(),
            machine_sids: Vec::new(),
            domains: BTreeSet::new(),
            ends: Vec::new(),
        }
    }

    /// Joins what is known of one computer under two names.
    pub fn absorb(&mut self, other: &HostFacts) {
        self.seen.join(other.seen);
        self.domain_controller |= other.domain_controller;
        self.boots.extend(&other.boots);
        keep_last(&mut self.boots, BOOTS_MAX);
        for (build, span) in &other.builds {
            add_span(&mut self.builds, *build, *span, BUILDS_MAX);
        }
        for (update, time) in &other.updates {
            add_update(&mut self.updates, *update, *time);
        }
        self.renames.extend(&other.renames);
        keep_last(&mut self.renames, RENAMES_MAX);
        for machine in &other.machine_sids {
            self.add_machine_sid(machine.clone());
        }
        for domain in &other.domains {
            insert_smallest(&mut self.domains, *domain, DOMAINS_MAX);
        }
        for ends in &other.ends {
            self.add_ends(*ends);
        }
    }

    fn add_machine_sid(&mut self, machine: MachineSid) {
        match self.machine_sids.iter_mut().find(|known| known.sid == machine.sid) {
            Some(known) => known.absorb(&machine),
            None => {
                make_room(&mut self.machine_sids);
                self.machine_sids.push(machine);
                if self.machine_sids.len() > MACHINE_SIDS_MAX {
                    let age =
                        |at: &usize| (self.machine_sids[*at].span.last, self.machine_sids[*at].sid);
                    let oldest = (0..self.machine_sids.len()).min_by_key(age);
                    oldest.map(|at| self.machine_sids.swap_remove(at));
                }
            }
        }
    }

    fn add_ends(&mut self, ends: Ends) {
        if let Some(known) = self.ends.iter_mut().find(|known| known.channel == ends.channel) {
            known.first = known.first.min(ends.first);
            known.last = known.last.max(ends.last);
        } else if self.ends.len() < CHANNELS_MAX {
            make_room(&mut self.ends);
            self.ends.push(ends);
        }
    }

    /// The build that it had last; its revision from whichever event tells it.
    pub fn build(&self) -> Option<Build> {
        let last = |builds: &mut dyn Iterator<Item = &(Build, Span)>| {
            builds.max_by_key(|(build, span)| (span.last, *build)).map(|(build, _)| *build)
        };
        let newest = last(&mut self.builds.iter())?;
        let whole =
            |(build, _): &&(Build, Span)| build.number == newest.number && build.revision.is_some();
        last(&mut self.builds.iter().filter(whole)).or(Some(newest))
    }
}

#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub struct Hosts {
    /// Shared with what is concluded from them.
    facts: FxHashMap<Symbol, Arc<HostFacts>>,
    /// Prefixes of account SIDs that belong to a domain, and when they were
    /// first seen as such.
    domains: FxHashMap<DomainSid, EventTime>,
    /// Domain controllers and their domains as they were learnt last, with the
    /// first time: what comes after it teaches nothing.
    #[borsh(skip)]
    served: Vec<(Symbol, DomainSid, EventTime)>,
    addresses: FxHashMap<IpAddr, Vec<(Symbol, Span)>>,
    /// From the inventory: these win.
    #[borsh(skip)]
    listed: FxHashMap<IpAddr, Symbol>,
    #[borsh(skip)]
    hosts_max: usize,
    #[borsh(skip)]
    addresses_max: usize,
    refused: u64,
    /// Counts what may change the fleet; see [`Hosts::generation`].
    #[borsh(skip)]
    generation: u64,
    #[borsh(skip)]
    address_generation: u64,
    /// Names that count as former ones of other hosts, as long as they stay silent.
    #[borsh(skip)]
    former: FxHashSet<Symbol>,
}

impl Hosts {
    /// Holds `hosts_max` names and as many domains, and `addresses_max`
    /// addresses; what comes later is not learnt, and counted.
    pub fn new(hosts_max: usize, addresses_max: usize) -> Hosts {
        Hosts {
            facts: FxHashMap::default(),
            domains: FxHashMap::default(),
            served: Vec::new(),
            addresses: FxHashMap::default(),
            listed: FxHashMap::default(),
            hosts_max,
            addresses_max,
            refused: 0,
            generation: 0,
            address_generation: 0,
            former: FxHashSet::default(),
        }
    }

    /// Goes up whenever something was learnt from which another fleet may follow. Later records
    /// of what is known widen spans of time, which does not count.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Goes up whenever a host was seen with another address.
    pub fn address_generation(&self) -> u64 {
        self.address_generation
    }

    /// These names count as former ones of other hosts: a later record of theirs says that they
    /// are none.
    pub fn watch_former(&mut self, names: FxHashSet<Symbol>) {
        self.former = names;
    }

    /// Something was learnt, or not; passes that on.
    fn note(&mut self, is_new: bool) -> bool {
        self.generation += u64::from(is_new);
        is_new
    }

    /// Sets the bounds of facts that were read back, and clears what is not part
    /// of them.
    pub fn rebuild(&mut self, hosts_max: usize, addresses_max: usize) {
        (self.hosts_max, self.addresses_max) = (hosts_max, addresses_max);
        self.served.clear();
        self.listed.clear();
    }

    /// Facts that were not learnt because there was no more room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    pub fn get(&self, computer: Symbol) -> Option<&Arc<HostFacts>> {
        self.facts.get(&computer)
    }

    /// Every computer by its name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &Arc<HostFacts>)> {
        self.facts.iter().map(|(name, facts)| (*name, facts))
    }

    /// When accounts of this issuer were first seen that only a domain has.
    pub fn domain(&self, sid: DomainSid) -> Option<EventTime> {
        self.domains.get(&sid).copied()
    }

    fn facts_mut(&mut self, computer: Symbol, time: EventTime) -> Option<&mut HostFacts> {
        if self.facts.len() >= self.hosts_max && !self.facts.contains_key(&computer)
            || computer == Symbol::BEYOND
        {
            self.refused += 1;
            return None;
        }
        let generation = &mut self.generation;
        let facts = self.facts.entry(computer).or_insert_with(|| {
            *generation += 1;
            Arc::new(HostFacts::new(time))
        });
        if time > facts.seen.last && !self.former.is_empty() && self.former.contains(&computer) {
            *generation += 1;
        }
        let facts = Arc::make_mut(facts);
        facts.seen.extend(time);
        Some(facts)
    }

    /// Notes that a computer was there; whether it was not known before.
    pub fn learn_computer(&mut self, computer: Symbol, time: EventTime) -> bool {
        let before = self.facts.len();
        self.facts_mut(computer, time);
        self.facts.len() > before
    }

    /// Notes a record of the computer; whether it was not known before.
    pub fn learn_record(&mut self, shown: &Shown) -> bool {
        let before = self.facts.len();
        let at = (shown.time, shown.record_id);
        if let Some(facts) = self.facts_mut(shown.computer, shown.time) {
            facts.add_ends(Ends { channel: shown.channel, first: at, last: at });
        }
        self.facts.len() > before
    }

    /// Whether the host was not known as a domain controller before.
    pub fn learn_domain_controller(&mut self, shown: &Shown) -> bool {
        let Some(facts) = self.facts_mut(shown.computer, shown.time) else { return false };
        let is_new = !std::mem::replace(&mut facts.domain_controller, true);
        self.note(is_new)
    }

    /// Whether the start was not known before.
    pub fn learn_boot(&mut self, shown: &Shown) -> bool {
        let Some(facts) = self.facts_mut(shown.computer, shown.time) else { return false };
        let is_new = facts.boots.insert(shown.time);
        keep_last(&mut facts.boots, BOOTS_MAX);
        self.note(is_new)
    }

    /// Whether the computer was not known to have this build.
    pub fn learn_build(&mut self, shown: &Shown, build: Build) -> bool {
        let Some(facts) = self.facts_mut(shown.computer, shown.time) else { return false };
        let is_new = add_span(&mut facts.builds, build, Span::at(shown.time), BUILDS_MAX);
        self.note(is_new)
    }

    /// Whether the update was not known to be installed.
    pub fn learn_update(&mut self, shown: &Shown, update: u32) -> bool {
        let Some(facts) = self.facts_mut(shown.computer, shown.time) else { return false };
        let is_new = add_update(&mut facts.updates, update, shown.time);
        self.note(is_new)
    }

    /// Whether the rename was not known.
    pub fn learn_rename(&mut self, shown: &Shown, from: Symbol, to: Symbol) -> bool {
        let Some(facts) = self.facts_mut(shown.computer, shown.time) else { return false };
        let is_new = facts.renames.insert((shown.time, from, to));
        keep_last(&mut facts.renames, RENAMES_MAX);
        self.note(is_new)
    }

    /// Notes that a computer logged an account of its own with this SID;
    /// whether that is new.
    pub fn learn_machine_sid(
        &mut self,
        shown: &Shown,
        sid: DomainSid,
        rid: u32,
        account: Symbol,
    ) -> bool {
        let Some(facts) = self.facts_mut(shown.computer, shown.time) else { return false };
        let piece = (shown.provider, shown.event_id, rid);
        let is_new = !facts
            .machine_sids
            .iter()
            .any(|known| known.sid == sid && known.pieces.contains(&piece));
        let newest = |facts: &HostFacts| {
            facts.machine_sids.iter().map(|known| (known.span.last, known.sid)).max()
        };
        let before = newest(facts).map(|(_, sid)| sid);
        facts.add_machine_sid(MachineSid {
            sid,
            span: Span::at(shown.time),
            pieces: vec![piece],
            first: *shown,
            account,
            rid,
        });
        // Of several, the one seen last is the one that it has.
        let after = newest(facts).map(|(_, sid)| sid);
        self.note(is_new || before != after);
        is_new
    }

    /// Notes an account of another issuer than the computer that logged it:
    /// some can only be a domain's.
    pub fn learn_issuer(&mut self, sid: DomainSid, rid: u32, name: &str, time: EventTime) {
        if DOMAIN_RIDS.contains(&rid) || name.ends_with('$') {
            self.learn_domain(sid, time);
        }
    }

    /// Notes that accounts of this issuer belong to a domain.
    pub fn learn_domain(&mut self, sid: DomainSid, time: EventTime) {
        if self.domains.len() >= self.hosts_max && !self.domains.contains_key(&sid) {
            self.refused += 1;
            return;
        }
        let is_new = self.domains.get(&sid).is_none_or(|first| time < *first);
        if is_new {
            self.domains.insert(sid, time);
        }
        self.note(is_new);
    }

    /// Notes that a domain controller judged an account of this issuer.
    pub fn learn_served(&mut self, shown: &Shown, sid: DomainSid) {
        let known = |(computer, domain, first): &(Symbol, DomainSid, EventTime)| {
            *computer == shown.computer && *domain == sid && *first <= shown.time
        };
        if self.served.iter().any(known) {
            return;
        }
        if self.served.len() == SERVED_MAX {
            self.served.clear();
        }
        self.served.push((shown.computer, sid, shown.time));
        self.learn_domain(sid, shown.time);
        if let Some(facts) = self.facts_mut(shown.computer, shown.time) {
            let before = facts.domains.clone();
            insert_smallest(&mut facts.domains, sid, DOMAINS_MAX);
            let is_new = before != facts.domains;
            self.note(is_new);
        }
    }

    /// Notes that a computer used an address; whether that is new.
    pub fn learn_address(&mut self, ip: IpAddr, host: Symbol, time: EventTime) -> bool {
        if ip.is_loopback() || host.is_none() || host == Symbol::BEYOND {
            return false;
        }
        if self.addresses.len() >= self.addresses_max && !self.addresses.contains_key(&ip) {
            self.refused += 1;
            return false;
        }
        let hosts = self.addresses.entry(ip).or_default();
        let is_new = add_span(hosts, host, Span::at(time), HOSTS_PER_ADDRESS_MAX);
        self.address_generation += u64::from(is_new);
        is_new
    }

    /// Forgets the inventory.
    pub fn clear_listed(&mut self) {
        self.listed.clear();
    }

    /// Notes whose address the inventory says it is.
    pub fn list_address(&mut self, ip: IpAddr, host: Symbol) {
        self.listed.insert(ip, host);
    }

    /// Whose address it was, as the inventory has it, else as events named the
    /// host, if they agree.
    pub fn host_at(&self, ip: IpAddr, time: EventTime, names: &Names) -> Option<Symbol> {
        if let Some(host) = self.listed.get(&ip) {
            return Some(*host);
        }
        let distance = |span: &Span| {
            let before = span.first.0.saturating_sub(time.0);
            (before + time.0.saturating_sub(span.last.0)) / HOUR_TICKS
        };
        let hosts = self.addresses.get(&ip)?;
        let nearest = hosts.iter().map(|(_, span)| distance(span)).min()?;
        if nearest > ADDRESS_HOURS_MAX {
            return None;
        }
        let mut near = hosts.iter().filter(|(_, span)| distance(span) == nearest);
        let (mut host, _) = *near.next()?;
        for (other, _) in near {
            if netbios(names.text(*other)) != netbios(names.text(host)) {
                return None;
            }
            if names.compare(*other, host).is_lt() {
                host = *other;
            }
        }
        Some(host)
    }
}

/// Keeps the last values of a set.
fn keep_last<T: Ord>(set: &mut BTreeSet<T>, count_max: usize) {
    while set.len() > count_max {
        set.pop_first();
    }
}

/// Adds to a set that keeps the smallest values.
fn insert_smallest<T: Ord>(set: &mut BTreeSet<T>, value: T, count_max: usize) {
    set.insert(value);
    if set.len() > count_max {
        set.pop_last();
    }
}

/// Keeps the first pieces, each once.
fn insert_piece(pieces: &mut Vec<(Symbol, u32, u32)>, piece: (Symbol, u32, u32)) {
    if let Err(at) = pieces.binary_search(&piece) {
        make_room(pieces);
        pieces.insert(at, piece);
        pieces.truncate(PIECES_MAX);
    }
}

/// Widens the span of a value; whether it was not there. Of too many values
/// the one seen longest ago goes.
fn add_span<T: Copy + Ord>(
    values: &mut Vec<(T, Span)>,
    value: T,
    span: Span,
    count_max: usize,
) -> bool {
    if let Some((_, known)) = values.iter_mut().find(|(known, _)| *known == value) {
        known.join(span);
        return false;
    }
    make_room(values);
    values.push((value, span));
    if values.len() > count_max {
        let oldest = (0..values.len()).min_by_key(|&at| (values[at].1.last, values[at].0));
        oldest.map(|at| values.swap_remove(at));
    }
    true
}

/// Keeps the updates with the highest numbers: the newest, as a rule.
fn add_update(updates: &mut BTreeMap<u32, EventTime>, update: u32, time: EventTime) -> bool {
    let known = updates.get(&update).copied();
    updates.insert(update, known.map_or(time, |known| known.min(time)));
    if updates.len() > UPDATES_MAX {
        updates.pop_first();
    }
    known.is_none()
}
