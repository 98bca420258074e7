//! Which computers are one host, which machine SID each has, and which hosts
//! share one: what follows from [`Hosts`], worked out anew when asked.
//!
//! ```text
//!  names as written ─▶ computers ─▶ hosts ─▶ groups
//!   PC1, pc1.corp.example │ one     │ renames   │ hosts of one machine SID
//!                         ▼ computer▼ followed  ▼ less what only looks like it
//! ```
//!
//! | what only looks like clones | shown by |
//! |---|---|
//! | a renamed host | event 6011, or record ids that go on under the new name |
//! | Windows Setup | its placeholder names, a random name that 6011 ends |
//! | domain controllers | they answer as such; a member with the domain's SID is a clone of the first |
//! | a rebuilt host | one name, another machine SID later: no longer a twin |
//! | equal short names | the DNS domain; a short name belongs to the only one that has it |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compact_str::CompactString;
use rustc_hash::{FxHashMap, FxHashSet};

use super::exposure::{exposure_of, role_of};
use super::hosts::{HostFacts, Hosts, MachineSid, is_placeholder, is_random, netbios};
use crate::detect::state::directory::Span;
use crate::detect::state::names::{Names, Symbol};
use crate::incident::{Confidence, Exposure, KnownHost, KnownSid, Role};
use crate::observation::{Build, ListedHost, NETBIOS_NAME_CHARS_MAX, short_host};
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

/// A host is seen under its old name until so long after event 6011: that is
/// written at the start before the name takes effect, and clocks differ.
const RENAME_SLACK_TICKS: u64 = 900 * TICKS_PER_SEC;

/// Record ids and time that may be missing between the last record under one
/// name and the first under the next.
const RENAME_RECORDS_MAX: u64 = 20_000;
const RENAME_GAP_TICKS: u64 = 7 * 86_400 * TICKS_PER_SEC;

/// Hosts of one machine SID among which the next name of a host is looked for,
/// those that came next.
const SUCCESSORS_MAX: usize = 64;

/// Twins that are named of one host, and counted up in one sentence.
const TWINS_NAMED_MAX: usize = 64;

/// Instead of an event, where the inventory gives a machine SID.
const INVENTORY: &str = "inventory";

/// Members from which on numbered names look like a pool.
const POOL_HOSTS_MIN: usize = 3;

/// One host, under all its names.
#[derive(Clone, Debug)]
pub struct FleetHost {
    /// The name it is called by: its last one, with the DNS domain if known.
    pub name: Symbol,
    /// All names, the former ones too.
    pub names: Vec<Symbol>,
    pub facts: Arc<HostFacts>,
    /// By time.
    pub machine_sids: Vec<HeldSid>,
    /// When Windows Setup gave it its name.
    installed: Vec<EventTime>,
    /// From the inventory.
    pub owner: Option<Box<str>>,
    pub tags: Vec<Box<str>>,
    listed_build: Option<Build>,
}

/// A machine SID that a host has or had.
#[derive(Clone, Debug)]
pub struct HeldSid {
    pub sid: DomainSid,
    pub hold: Hold,
    pub span: Span,
    /// Whether the inventory says so.
    pub listed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The one it has.
    Current,
    /// Another one at the same time: one of the two is wrong.
    Contradicted,
    /// The one it had before it was installed anew.
    Former,
}

/// Hosts of one machine SID.
#[derive(Clone, Debug)]
pub struct TwinGroup {
    pub sid: DomainSid,
    /// Those that have it, and those that had it; indices of hosts.
    pub twins: Vec<usize>,
    pub former: Vec<usize>,
    /// Whether the machine SID is that of a domain, and so of its first domain
    /// controller.
    pub of_domain: bool,
    /// The domain's controllers, as far as they are known.
    pub controllers: Vec<usize>,
    /// Whether it looks like desktops that are thrown away after use.
    pub pool: bool,
    pub confidence: Confidence,
}

impl TwinGroup {
    /// Whether at most one host is left with the machine SID.
    pub fn is_remedied(&self) -> bool {
        self.twins.len() + usize::from(self.of_domain) < 2
    }
}

#[derive(Debug, Default)]
pub struct Fleet {
    pub hosts: Vec<FleetHost>,
    pub groups: BTreeMap<DomainSid, TwinGroup>,
    /// Domain controllers by their domains.
    controllers: BTreeMap<DomainSid, Vec<usize>>,
    /// All the time that events tell of.
    seen: Option<Span>,
    index: Index,
    /// What a computer's name is shown as, if that is another spelling.
    spelled: FxHashMap<Symbol, Symbol>,
}

/// Hosts by their names.
#[derive(Debug, Default)]
struct Index {
    by_symbol: FxHashMap<Symbol, usize>,
    by_netbios: FxHashMap<CompactString, Places>,
}

impl Index {
    fn add(&mut self, name: Symbol, at: usize, names: &Names) {
        self.by_symbol.insert(name, at);
        let place = self.by_netbios.entry(netbios(names.text(name)));
        place.and_modify(|same| same.add(at)).or_insert(Places::One([at]));
    }
}

/// Indices of hosts with one NetBIOS name; nearly always it is one.
#[derive(Debug)]
enum Places {
    One([usize; 1]),
    Several(Vec<usize>),
}

impl Places {
    fn as_slice(&self) -> &[usize] {
        match self {
            Places::One(one) => one,
            Places::Several(several) => several,
        }
    }

    fn add(&mut self, at: usize) {
        match self {
            Places::One([one]) if *one != at => *self = Places::Several(vec![*one, at]),
            Places::Several(several) if !several.contains(&at) => several.push(at),
            _ => {}
        }
    }
}

/// One computer name in all its spellings.
#[derive(Debug)]
struct Computer {
    netbios: CompactString,
    /// The fullest first.
    spellings: Vec<Symbol>,
    facts: Arc<HostFacts>,
}

impl FleetHost {
    fn listed(name: Symbol) -> FleetHost {
        FleetHost {
            name,
            names: vec![name],
            facts: Arc::new(HostFacts::new(EventTime::MIN)),
            machine_sids: Vec::new(),
            installed: Vec::new(),
            owner: None,
            tags: Vec::new(),
            listed_build: None,
        }
    }

    pub fn build(&self) -> Option<Build> {
        self.listed_build.or_else(|| self.facts.build())
    }

    pub fn exposure(&self) -> Exposure {
        exposure_of(self.build(), self.facts.updates.keys().copied())
    }

    pub fn role(&self) -> Role {
        if self.facts.domain_controller {
            return Role::DomainController;
        }
        self.build().map_or(Role::Unknown, role_of)
    }

    /// Whether any event tells of it; else only the inventory does.
    pub fn is_seen(&self) -> bool {
        self.facts.seen.last > EventTime::MIN
    }

    pub fn current_sid(&self) -> Option<&HeldSid> {
        self.machine_sids.iter().find(|held| held.hold == Hold::Current)
    }

    /// The machine SID that it had at a time, as far as is known: not one from
    /// before or after an installation that lies between.
    pub fn sid_at(&self, time: EventTime) -> Option<DomainSid> {
        let one_life = |held: &&HeldSid| {
            !self.installed.iter().any(|at| {
                // Setup shows the new machine SID before it gives the name.
                (time < *at && at.minus_ticks(RENAME_SLACK_TICKS) <= held.span.first)
                    || (held.span.last < *at && *at <= time)
            })
        };
        let nearest = self.machine_sids.iter().filter(one_life).min_by_key(|held| {
            let early = held.span.first.0.saturating_sub(time.0);
            (early + time.0.saturating_sub(held.span.last.0), held.hold)
        });
        nearest.map(|held| held.sid)
    }

    /// What records show of a machine SID; `None` where only the inventory does.
    pub fn shown(&self, sid: DomainSid) -> Option<&MachineSid> {
        self.facts.machine_sids.iter().find(|machine| machine.sid == sid)
    }

    fn hold(&self, sid: DomainSid) -> Option<&HeldSid> {
        self.machine_sids.iter().find(|held| held.sid == sid)
    }
}

impl Fleet {
    pub fn new(hosts: &Hosts, names: &Names, inventory: &[(Symbol, ListedHost)]) -> Fleet {
        let mut computers = computers(hosts, names);
        let spelled: FxHashMap<Symbol, Symbol> = computers
            .iter()
            .flat_map(|computer| {
                let shorter = computer.spellings[1..].iter();
                shorter.map(|name| (*name, computer.spellings[0]))
            })
            .collect();
        let successors = Renames::new(&mut computers, names).successors;
        let mut fleet = Fleet { spelled, ..Fleet::default() };
        fleet.add_hosts(computers, &successors, names);
        fleet.index(names);
        fleet.take_inventory(inventory, names);
        for host in &mut fleet.hosts {
            judge_sids(&mut host.machine_sids);
        }
        fleet.add_groups(hosts, names);
        fleet
    }

    fn add_hosts(&mut self, computers: Vec<Computer>, successors: &[Option<usize>], names: &Names) {
        let last = |mut at: usize| {
            // Each successor is later, so this ends.
            while let Some(next) = successors[at] {
                at = next;
            }
            at
        };
        let mut places: Vec<usize> = Vec::with_capacity(computers.len());
        let mut former: Vec<(usize, Computer)> = Vec::new();
        // As many as there are: growing would take twice the memory for a moment.
        self.hosts.reserve_exact(computers.len());
        for (at, computer) in computers.into_iter().enumerate() {
            places.push(self.hosts.len());
            if successors[at].is_some() {
                former.push((at, computer));
                continue;
            }
            self.hosts.push(FleetHost {
                name: computer.spellings[0],
                names: computer.spellings,
                facts: computer.facts,
                machine_sids: Vec::new(),
                installed: Vec::new(),
                owner: None,
                tags: Vec::new(),
                listed_build: None,
            });
        }
        for (at, computer) in former {
            let host = &mut self.hosts[places[last(at)]];
            Arc::make_mut(&mut host.facts).absorb(&computer.facts);
            host.names.extend(computer.spellings);
        }
        for (at, host) in self.hosts.iter_mut().enumerate() {
            self.seen.get_or_insert(host.facts.seen).join(host.facts.seen);
            for domain in &host.facts.domains {
                self.controllers.entry(*domain).or_default().push(at);
            }
            host.machine_sids = host.facts.machine_sids.iter().map(HeldSid::shown).collect();
            let by_setup = |(_, from, to): &&(EventTime, Symbol, Symbol)| {
                let from = netbios(names.text(*from));
                is_placeholder(&from) || is_random(&from) || from == netbios(names.text(*to))
            };
            let installed = host.facts.renames.iter().filter(by_setup);
            host.installed = installed.map(|(time, _, _)| *time).collect();
        }
    }

    fn index(&mut self, names: &Names) {
        let all = self.hosts.iter().map(|host| host.names.len()).sum();
        self.index.by_symbol.reserve(all);
        self.index.by_netbios.reserve(self.hosts.len());
        for (at, host) in self.hosts.iter().enumerate() {
            for name in &host.names {
                self.index.add(*name, at, names);
            }
        }
    }

    fn take_inventory(&mut self, inventory: &[(Symbol, ListedHost)], names: &Names) {
        for (name, entry) in inventory {
            let known = self.find(*name, None, names);
            let at = known.unwrap_or_else(|| {
                self.hosts.push(FleetHost::listed(*name));
                self.hosts.len() - 1
            });
            if known.is_none() {
                self.index.add(*name, at, names);
            }
            let host = &mut self.hosts[at];
            host.owner.clone_from(&entry.owner);
            host.tags.clone_from(&entry.tags);
            host.listed_build = entry.build.or(host.listed_build);
            if let Some(sid) = entry.machine_sid {
                match host.machine_sids.iter_mut().find(|held| held.sid == sid) {
                    Some(held) => held.listed = true,
                    None => host.machine_sids.push(HeldSid {
                        sid,
                        hold: Hold::Current,
                        span: host.facts.seen,
                        listed: true,
                    }),
                }
            }
        }
    }

    fn add_groups(&mut self, hosts: &Hosts, names: &Names) {
        let of_fleet = self.hosts.iter().enumerate();
        let mut members: Vec<(DomainSid, usize)> = of_fleet
            .flat_map(|(at, host)| host.machine_sids.iter().map(move |held| (held.sid, at)))
            .collect();
        members.sort_unstable();
        for members in members.chunk_by(|(one, _), (other, _)| one == other) {
            let sid = members[0].0;
            let domain = hosts.domain(sid);
            if members.len() == 1 && domain.is_none() {
                continue;
            }
            let is_member = |at: &usize| {
                let host = &self.hosts[*at];
                // What a domain controller showed before it was one is its
                // domain's SID.
                domain.is_none_or(|domain| {
                    !host.facts.domain_controller
                        && host.hold(sid).is_some_and(|held| held.span.last >= domain)
                })
            };
            let (former, twins): (Vec<usize>, Vec<usize>) =
                members.iter().map(|(_, at)| *at).filter(is_member).partition(|at| {
                    self.hosts[*at].hold(sid).map(|held| held.hold) == Some(Hold::Former)
                });
            let controllers = domain.and_then(|_| self.controllers.get(&sid));
            let controllers = controllers.cloned().unwrap_or_default();
            let over_bounds = self.over_bounds(&twins, names);
            let former: Vec<usize> = former
                .into_iter()
                .filter(|at| !self.was_handed_on(*at, sid, &over_bounds, names))
                .collect();
            let of_domain = domain.is_some();
            let hosts = twins.len() + former.len();
            if hosts == 0 || hosts + usize::from(of_domain) < 2 {
                continue;
            }
            let pool = self.is_pool(&twins, names);
            let confidence = self.confidence(sid, &twins, &former, of_domain);
            let group = TwinGroup { sid, twins, former, of_domain, controllers, pool, confidence };
            self.groups.insert(sid, group);
        }
    }

    /// Whether a host's former machine SID went with its name to a twin: it was
    /// renamed, and the old name given to another machine. `over_bounds` has the
    /// names that twins had, and when they last gave each up.
    fn was_handed_on(
        &self,
        at: usize,
        sid: DomainSid,
        over_bounds: &BTreeMap<CompactString, EventTime>,
        names: &Names,
    ) -> bool {
        let host = &self.hosts[at];
        let Some(held) = host.hold(sid) else { return false };
        let mut times =
            host.names.iter().filter_map(|name| over_bounds.get(&netbios(names.text(*name))));
        times.any(|time| held.span.last <= time.plus_ticks(RENAME_SLACK_TICKS))
    }

    /// The names that hosts gave up, by event 6011, and when they last did.
    fn over_bounds(&self, hosts: &[usize], names: &Names) -> BTreeMap<CompactString, EventTime> {
        let mut over_bounds: BTreeMap<CompactString, EventTime> = BTreeMap::new();
        for (time, from, _) in hosts.iter().flat_map(|at| &self.hosts[*at].facts.renames) {
            let last = over_bounds.entry(netbios(names.text(*from))).or_insert(*time);
            *last = (*last).max(*time);
        }
        over_bounds
    }

    /// Whether names differ in their number alone, and most hosts lived for
    /// less than half the time that the events tell of.
    fn is_pool(&self, twins: &[usize], names: &Names) -> bool {
        let stems: BTreeSet<String> = twins
            .iter()
            .map(|at| {
                let name = netbios(names.text(self.hosts[*at].name));
                let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
                // A name without a number is a stem of its own.
                if stem.len() == name.len() { format!("{name}#") } else { stem.to_owned() }
            })
            .collect();
        let short = |at: &&usize| {
            let all = self.seen.map_or(0, Span::ticks);
            self.hosts[**at].facts.seen.ticks() < all / 2
        };
        twins.len() >= POOL_HOSTS_MIN
            && stems.len() == 1
            && twins.iter().filter(short).count() * 2 > twins.len()
    }

    /// High when two hosts show the machine SID at the same time and nothing
    /// speaks against it.
    fn confidence(
        &self,
        sid: DomainSid,
        twins: &[usize],
        former: &[usize],
        is_domain: bool,
    ) -> Confidence {
        let held: Vec<&HeldSid> =
            twins.iter().chain(former).filter_map(|at| self.hosts[*at].hold(sid)).collect();
        let contradicted = held.iter().any(|held| held.hold == Hold::Contradicted);
        let mut spans: Vec<Span> = held.iter().map(|held| held.span).collect();
        spans.sort_by_key(|span| (span.first, span.last));
        // Of spans by their start, if any touch, two neighbours do.
        let together = spans.windows(2).any(|pair| pair[0].touches(pair[1]));
        if !contradicted && (together || is_domain || held.iter().any(|held| held.listed)) {
            Confidence::High
        } else {
            Confidence::Medium
        }
    }

    /// The host that a name means. Of several with one short name, the one in
    /// the domain of `beside`.
    pub fn find(&self, name: Symbol, beside: Option<usize>, names: &Names) -> Option<usize> {
        if let Some(at) = self.index.by_symbol.get(&name) {
            return Some(*at);
        }
        let text = names.text(name);
        let same = self.index.by_netbios.get(&netbios(text))?.as_slice();
        if let [only] = *same {
            let full = names.text(self.hosts[only].name);
            // Another domain's host of that name is another host.
            let other_domain = |one: &str, other: &str| matches!((suffix(one), suffix(other)), (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other));
            return (!other_domain(text, full)).then_some(only);
        }
        let domain = suffix(names.text(self.hosts[beside?].name))?;
        let in_domain = |at: &&usize| {
            suffix(names.text(self.hosts[**at].name))
                .is_some_and(|other| other.eq_ignore_ascii_case(domain))
        };
        same.iter().find(in_domain).copied()
    }

    pub fn host(&self, name: Symbol) -> Option<usize> {
        self.index.by_symbol.get(&name).copied()
    }

    /// Names of hosts that go on under another name.
    pub fn former_names(&self) -> FxHashSet<Symbol> {
        let hosts = self.hosts.iter().filter(|host| host.names.len() > 1);
        let former = hosts.flat_map(|host| {
            let spelled = |name: &&Symbol| self.spelling(**name) != host.name;
            host.names.iter().filter(spelled)
        });
        former.copied().collect()
    }

    /// A computer's name in its fullest spelling.
    pub fn spelling(&self, name: Symbol) -> Symbol {
        self.spelled.get(&name).copied().unwrap_or(name)
    }

    /// Every spelling of a computer's name, given the fullest.
    pub fn spellings(&self, name: Symbol) -> Vec<Symbol> {
        let Some(at) = self.host(name) else { return vec![name] };
        let names = self.hosts[at].names.iter().copied();
        names.filter(|other| self.spelling(*other) == name).collect()
    }

    /// Every host that events tell of, by name.
    pub fn known_hosts(&self, names: &Names) -> impl Iterator<Item = KnownHost> {
        let mut hosts: Vec<(usize, &FleetHost)> =
            self.hosts.iter().enumerate().filter(|(_, host)| host.is_seen()).collect();
        hosts.sort_by(|(_, one), (_, other)| names.compare(one.name, other.name));
        hosts.into_iter().map(|(at, host)| self.known_host(at, host, names))
    }

    fn known_host(&self, at: usize, host: &FleetHost, names: &Names) -> KnownHost {
        let text = |symbol| names.text(symbol).to_owned();
        let all: BTreeSet<String> = host.names.iter().map(|name| text(*name)).collect();
        let group = host.current_sid().and_then(|held| self.groups.get(&held.sid));
        let twins: BTreeSet<String> = group
            .filter(|group| group.twins.contains(&at))
            .into_iter()
            .flat_map(|group| group.twins.iter().chain(&group.controllers))
            .filter(|twin| **twin != at)
            .take(TWINS_NAMED_MAX)
            .map(|twin| text(self.hosts[*twin].name))
            .collect();
        KnownHost {
            name: text(host.name),
            names: all.into_iter().collect(),
            domain: suffix(names.text(host.name)).map(str::to_owned),
            role: host.role(),
            machine_sids: host.machine_sids.iter().map(|held| held.known(host, names)).collect(),
            twins: twins.into_iter().collect(),
            build: host.build(),
            exposure: host.exposure(),
            boots: host.facts.boots.iter().copied().collect(),
            first_seen: host.facts.seen.first,
            last_seen: host.facts.seen.last,
        }
    }

    /// The hosts that had this machine SID at a time, other than `at`; of very
    /// many, some.
    pub fn twins_at(&self, at: usize, sid: DomainSid, time: EventTime) -> Vec<usize> {
        let Some(group) = self.groups.get(&sid) else { return Vec::new() };
        let others = group.twins.iter().chain(&group.former).copied();
        let holders = others.filter(|other| self.hosts[*other].sid_at(time) == Some(sid));
        let others = holders.chain(group.controllers.iter().copied()).filter(|other| *other != at);
        others.take(TWINS_NAMED_MAX).collect()
    }

    /// The machine SID of a host at a time; of a domain controller that of its
    /// domain, when a member has it too.
    pub fn sid_at(&self, at: usize, time: EventTime) -> Option<DomainSid> {
        let host = &self.hosts[at];
        let domains = host.facts.domains.iter().copied();
        let shared = domains.filter(|sid| self.groups.contains_key(sid)).min();
        shared.or_else(|| host.sid_at(time))
    }
}

impl HeldSid {
    fn shown(machine: &MachineSid) -> HeldSid {
        HeldSid { sid: machine.sid, hold: Hold::Former, span: machine.span, listed: false }
    }

    fn known(&self, host: &FleetHost, names: &Names) -> KnownSid {
        let shown = host.shown(self.sid).into_iter().flat_map(|shown| &shown.pieces);
        let mut events: BTreeSet<String> = shown
            .clone()
            .map(|(provider, event_id, _)| format!("{}/{event_id}", names.text(*provider)))
            .collect();
        if self.listed {
            events.insert(INVENTORY.to_owned());
        }
        let span = if self.span.first == EventTime::MIN { host.facts.seen } else { self.span };
        KnownSid {
            sid: self.sid,
            first_seen: span.first,
            last_seen: span.last,
            count: shown.count() as u64 + u64::from(self.listed),
            events: events.into_iter().collect(),
            current: self.hold == Hold::Current,
        }
    }
}

/// Which of a host's machine SIDs it has: what the inventory says, else the
/// one seen last.
fn judge_sids(held: &mut Vec<HeldSid>) {
    held.sort_by_key(|held| (held.span.first, held.span.last, held.sid));
    let order = |held: &HeldSid| (held.listed, held.span.last, held.span.first, held.sid);
    let Some(current) = held.iter().max_by_key(|held| order(held)) else { return };
    let (sid, listed, since) = (current.sid, current.listed, current.span.first);
    for held in held {
        held.hold = if held.sid == sid {
            Hold::Current
        } else if listed || held.span.last < since {
            Hold::Former
        } else {
            Hold::Contradicted
        };
    }
}

/// Everything after the first dot.
fn suffix(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, suffix)| suffix)
}

/// Names as they are written, those of one computer together.
fn computers(hosts: &Hosts, names: &Names) -> Vec<Computer> {
    let mut named: Vec<(CompactString, Symbol, &Arc<HostFacts>)> = hosts
        .iter()
        .map(|(name, facts)| (netbios(names.text(name)), name, facts))
        .filter(|(netbios, _, _)| !is_placeholder(netbios))
        .collect();
    named.sort_unstable_by(|(one, name, _), (other, other_name, _)| {
        one.cmp(other).then_with(|| names.compare(*name, *other_name))
    });
    let is_full = |name: Symbol| {
        let text = names.text(name);
        let short = short_host(text);
        let is_long = short.len() > NETBIOS_NAME_CHARS_MAX;
        short.len() < text.len() || is_long && short.chars().count() > NETBIOS_NAME_CHARS_MAX
    };
    let mut computers = Vec::with_capacity(named.len());
    for same in named.chunk_by(|(one, _, _), (other, _, _)| one == other) {
        let netbios = &same[0].0;
        let computer = |(_, name, facts): &(_, Symbol, &Arc<HostFacts>)| Computer {
            netbios: netbios.clone(),
            spellings: vec![*name],
            facts: Arc::clone(facts),
        };
        let from = computers.len();
        computers.extend(same.iter().filter(|(_, name, _)| is_full(*name)).map(computer));
        for short in same.iter().filter(|(_, name, _)| !is_full(*name)) {
            let (_, name, facts) = short;
            let of_name = &mut computers[from..];
            let owner = match of_name {
                [only] => Some(only),
                several => {
                    let shares = |computer: &&mut Computer| {
                        let sids = &computer.facts.machine_sids;
                        let has = |sid| sids.iter().any(|known| known.sid == sid);
                        facts.machine_sids.iter().any(|machine| has(machine.sid))
                    };
                    let mut sharing = several.iter_mut().filter(shares);
                    let first = sharing.next();
                    first.filter(|_| sharing.next().is_none())
                }
            };
            match owner {
                Some(computer) => {
                    Arc::make_mut(&mut computer.facts).absorb(facts);
                    computer.spellings.push(*name);
                }
                None => computers.push(computer(short)),
            }
        }
    }
    computers
}

/// When, by which computer, from which name to which.
type LoggedRename = (EventTime, usize, CompactString, CompactString);

/// A machine SID, since when its computer was seen, and which that is.
type Held = (DomainSid, EventTime, usize);

/// Which computer went on under which other name.
struct Renames<'a> {
    computers: &'a mut [Computer],
    names: &'a Names,
    successors: Vec<Option<usize>>,
}

impl<'a> Renames<'a> {
    fn new(computers: &'a mut [Computer], names: &'a Names) -> Renames<'a> {
        let successors = vec![None; computers.len()];
        let mut renames = Renames { computers, names, successors };
        let (logged, held) = renames.shown();
        renames.logged(logged);
        renames.continued(&held);
        renames
    }

    /// The renames that hosts logged, and the machine SIDs that they showed, each in
    /// order. At once, as the facts of many hosts are far apart in memory.
    fn shown(&self) -> (Vec<LoggedRename>, Vec<Held>) {
        let (mut logged, mut held) = (Vec::new(), Vec::with_capacity(self.computers.len()));
        for (at, Computer { facts, .. }) in self.computers.iter().enumerate() {
            for (time, from, to) in &facts.renames {
                let [from, to] = [from, to].map(|name| netbios(self.names.text(*name)));
                logged.push((*time, at, from, to));
            }
            held.extend(facts.machine_sids.iter().map(|known| (known.sid, facts.seen.first, at)));
        }
        logged.sort();
        held.sort_unstable();
        (logged, held)
    }

    /// By event 6011.
    fn logged(&mut self, logged: Vec<LoggedRename>) {
        if logged.is_empty() {
            return;
        }
        let mut by_netbios: FxHashMap<CompactString, Vec<usize>> = FxHashMap::default();
        for (_, _, from, to) in &logged {
            for name in [from, to] {
                by_netbios.entry(name.clone()).or_default();
            }
        }
        for (at, computer) in self.computers.iter().enumerate() {
            if let Some(same) = by_netbios.get_mut(&computer.netbios) {
                same.push(at);
            }
        }
        for (time, at, from, to) in logged {
            let find = |name: &CompactString| {
                let same = by_netbios.get(name)?;
                if same.contains(&at) {
                    return Some(at);
                }
                let domain = suffix(self.names.text(self.computers[at].spellings[0]));
                let mut near = same.iter().filter(|other| {
                    let other = suffix(self.names.text(self.computers[**other].spellings[0]));
                    domain.is_none() || other.is_none() || domain == other
                });
                let first = near.next().copied();
                first.filter(|_| near.next().is_none())
            };
            if let (Some(old), Some(new)) = (find(&from), find(&to)) {
                self.rename(old, new, time);
            }
        }
    }

    fn rename(&mut self, old: usize, new: usize, time: EventTime) {
        let gone = self.computers[old].facts.seen.last <= time.plus_ticks(RENAME_SLACK_TICKS);
        if old == new || !gone || self.successors[old].is_some() || self.leads_to(new, old) {
            return;
        }
        let sids = |at: usize| self.computers[at].facts.machine_sids.iter().map(|known| known.sid);
        let (old_sids, new_sids): (Vec<_>, Vec<_>) = (sids(old).collect(), sids(new).collect());
        let shared = old_sids.iter().any(|sid| new_sids.contains(sid));
        if shared || old_sids.is_empty() || new_sids.is_empty() {
            self.successors[old] = Some(new);
        } else if is_random(&self.computers[old].netbios) {
            // Setup's first start, still with the machine SID of the image.
            Arc::make_mut(&mut self.computers[old].facts).machine_sids.clear();
        }
    }

    fn leads_to(&self, mut from: usize, to: usize) -> bool {
        while let Some(next) = self.successors[from] {
            if next == to {
                return true;
            }
            from = next;
        }
        from == to
    }

    /// By record ids that go on: one name after the other, never both.
    fn continued(&mut self, held: &[Held]) {
        for sharing in held.chunk_by(|(one, _, _), (other, _, _)| one == other) {
            if sharing.len() == 1 {
                continue;
            }
            // Some were found to be that of the image.
            let shows = |(sid, _, at): &&Held| {
                self.computers[*at].facts.machine_sids.iter().any(|known| known.sid == *sid)
            };
            let sharing: Vec<&Held> = sharing.iter().filter(shows).collect();
            for (place, (_, _, old)) in sharing.iter().enumerate() {
                let later = sharing[place + 1..].iter().take(SUCCESSORS_MAX);
                let next = later.map(|(_, _, new)| *new).find(|new| self.goes_on(*old, *new));
                if let Some(new) = next
                    && self.successors[*old].is_none()
                    && !self.leads_to(new, *old)
                {
                    self.successors[*old] = Some(new);
                }
            }
        }
    }

    fn goes_on(&self, old: usize, new: usize) -> bool {
        let [old, new] = [old, new].map(|at| &self.computers[at].facts);
        let mut goes_on = false;
        if old.seen.last > new.seen.first {
            return false;
        }
        for before in &old.ends {
            let Some(after) = new.ends.iter().find(|ends| ends.channel == before.channel) else {
                continue;
            };
            let records = after.first.1.checked_sub(before.last.1).filter(|gap| *gap > 0);
            let ticks = after.first.0.0.saturating_sub(before.last.0.0);
            match records {
                Some(records) if records <= RENAME_RECORDS_MAX && ticks <= RENAME_GAP_TICKS => {
                    goes_on = true;
                }
                Some(_) => {}
                // Its record ids are its own: another machine.
                None => return false,
            }
        }
        goes_on
    }
}
