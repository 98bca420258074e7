//! Observations in, incidents out: sessions by source, mismatches paired with
//! the failures beside them, a verdict with its reasons.
//!
//! State changes only through [`Detector::ingest`] and [`Detector::advance`];
//! time is an argument. The incidents do not depend on the order in which
//! observations come, on duplicates, or on how they are cut into batches.
//!
//! ```text
//!  Observation ─▶ seen ─▶ directory (facts)
//!                   │        │ resolves names when asked
//!                   ├─▶ sessions (runs by key) ─┐
//!                   └─▶ pairing  (near in time) ┴─▶ verdict, incidents
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`rules`] | what makes a record an observation |
//! | [`seen`] | which records came already |
//! | [`names`] | names as small numbers |
//! | [`directory`] | accounts, SIDs, hosts |
//! | [`sessions`] | runs and sessions |
//! | [`pairing`] | what stood near in time |
//! | [`verdict`] | clone, stale boot session or manipulated ticket |
//! | [`incidents`] | a session as an incident, in words |
//! | [`codes`] | every code in words |

pub mod codes;
pub mod directory;
pub mod incidents;
pub mod names;
pub mod pairing;
pub mod rules;
pub mod seen;
pub mod sessions;
pub mod verdict;

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::event::{
    Account, Category, EventTime, Fact, Failure, Observation, Peer, RecordKey, Side, StatusCode,
    Success, TICKS_PER_SEC, What, short_host,
};
use crate::incident::Incident;
use directory::{AccountSid, Directory};
use incidents::Context;
use names::{Address, Addresses, Names, Symbol, spread};
use pairing::{Nearby, Windows};
use seen::Seen;
use sessions::{Line, LineOrder, Pattern, Patterns, Run, Sessions, SourceKey, cut};

/// How observations are gathered and judged.
#[derive(Clone, Debug)]
pub struct Settings {
    pub session_gap_ticks: u64,
    /// A whole number of hours.
    pub session_max_ticks: u64,
    pub pair_window_ticks: u64,
    /// Failures that make a session an incident.
    pub failure_threshold: u64,
    /// Codes of which one failure is enough.
    pub grave_statuses: Vec<StatusCode>,
    /// Categories of which one failure is enough.
    pub grave_categories: Vec<Category>,
    pub bounds: Bounds,
}

/// The most that the detector keeps of each thing.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Records remembered to tell duplicates.
    pub seen_records: usize,
    /// Names of computers, accounts and the like, together.
    pub names_bytes: usize,
    pub addresses: usize,
    /// Combinations of event, status and host.
    pub patterns: usize,
    /// Names in the account directory.
    pub accounts: usize,
    pub hosts: usize,
    /// Failures kept for mismatches that may still come, and successes of
    /// domain controllers, each.
    pub nearby: usize,
    /// Runs of all sources: stretches without a gap, an hour at the most.
    pub open_runs: usize,
}

/// What may stand beside a mismatch on a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub origin: TraceOrigin,
    pub source: SourceKey,
    pub peer_host: Symbol,
    pub peer_ip: Address,
    pub status: Option<StatusCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceOrigin {
    /// A failure that the host logged.
    Failure,
    /// The account that the mismatch itself names.
    Mismatch,
}

/// How many observations came of each kind, duplicates not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    pub mismatches: u64,
    pub failures: u64,
    pub successes: u64,
    pub facts: u64,
    /// Records that had come before.
    pub duplicates: u64,
    /// Mismatches and failures that came when [`Bounds::open_runs`] was full.
    pub beyond_bounds: u64,
}

#[derive(Debug)]
pub struct Detector {
    settings: Settings,
    names: Names,
    addresses: Addresses,
    patterns: Patterns,
    seen: Seen,
    directory: Directory,
    failures: Sessions<SourceKey>,
    mismatches: Sessions<Symbol>,
    mismatch_windows: FxHashMap<Symbol, Windows>,
    traces: Nearby<Symbol, Trace>,
    successes: Nearby<SourceKey, Symbol>,
    ingested: Ingested,
    memo: Memo,
    /// Short names of computers, by the index of the symbol.
    short_hosts: Vec<Option<Symbol>>,
}

/// The last computer, channel and provider: most records repeat them.
#[derive(Debug, Default)]
struct Memo([Option<(Box<str>, Symbol)>; 3]);

impl Memo {
    fn intern(&mut self, slot: usize, text: &str, names: &mut Names) -> Symbol {
        match &self.0[slot] {
            Some((known, symbol)) if **known == *text => *symbol,
            _ => {
                let symbol = names.intern(text);
                self.0[slot] = Some((text.into(), symbol));
                symbol
            }
        }
    }
}

/// The symbols of a record's key.
#[derive(Clone, Copy)]
struct Origin {
    computer: Symbol,
    channel: Symbol,
    provider: Symbol,
}

impl Detector {
    pub fn new(settings: Settings) -> Detector {
        let bounds = &settings.bounds;
        Detector {
            names: Names::new(bounds.names_bytes),
            addresses: Addresses::new(bounds.addresses),
            patterns: Patterns::new(bounds.patterns),
            seen: Seen::new(bounds.seen_records),
            directory: Directory::new(bounds.accounts, bounds.hosts),
            failures: Sessions::new(settings.session_gap_ticks),
            mismatches: Sessions::new(settings.session_gap_ticks),
            mismatch_windows: FxHashMap::default(),
            traces: Nearby::new(bounds.nearby),
            successes: Nearby::new(bounds.nearby),
            ingested: Ingested::default(),
            memo: Memo::default(),
            short_hosts: Vec::new(),
            settings,
        }
    }

    pub fn ingest(&mut self, observations: &[Observation]) {
        for observation in observations {
            self.ingest_one(observation);
        }
    }

    /// Emits what is complete: sessions that can no longer grow when nothing
    /// comes from before `watermark`. [`EventTime::MAX`] closes everything.
    pub fn advance(&mut self, watermark: EventTime, incidents: &mut Vec<Incident>) {
        let from = incidents.len();
        self.traces.settle();
        self.successes.settle();
        self.close_mismatches(watermark, incidents);
        self.close_failures(watermark, incidents);
        incidents[from..].sort_by_key(|incident| (incident.first_seen, incident.id));
        let keep_from = watermark
            .minus_ticks(self.settings.session_max_ticks)
            .minus_ticks(self.settings.session_gap_ticks);
        self.seen.forget_before(keep_from);
        self.traces.forget_before(keep_from);
        self.successes.forget_before(keep_from);
        self.mismatch_windows.retain(|_, windows| {
            windows.forget_before(keep_from);
            !windows.is_empty()
        });
    }

    pub fn ingested(&self) -> Ingested {
        self.ingested
    }

    /// What was given up because a bound was reached, by name: nothing in a
    /// run that stays within its bounds.
    pub fn given_up(&self) -> [(&'static str, u64); 7] {
        [
            ("failures and mismatches beyond `open_runs`", self.ingested.beyond_bounds),
            ("records forgotten beyond `seen_records`", self.seen.forgotten()),
            ("facts beyond `accounts` or `hosts`", self.directory.refused()),
            (
                "failures and successes beyond `nearby`",
                self.traces.dropped() + self.successes.dropped(),
            ),
            ("names beyond `names_mib`", self.names.beyond()),
            ("addresses beyond `addresses`", self.addresses.beyond()),
            ("combinations beyond `patterns`", self.patterns.beyond()),
        ]
    }

    /// Sources with an open session.
    pub fn open_keys(&self) -> usize {
        self.failures.key_count() + self.mismatches.key_count()
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    fn ingest_one(&mut self, observation: &Observation) {
        let key = &observation.key;
        let origin = Origin {
            computer: self.memo.intern(0, &key.computer, &mut self.names),
            channel: self.memo.intern(1, &key.channel, &mut self.names),
            provider: self.memo.intern(2, &observation.provider, &mut self.names),
        };
        if let What::Fact(fact) = &observation.what {
            self.ingested.facts += u64::from(self.learn(fact, origin.computer, key.time));
            return;
        }
        let fingerprint = self.fingerprint(key, origin);
        if !self.seen.insert(key.time, fingerprint) {
            self.ingested.duplicates += 1;
            return;
        }
        self.directory.learn_host(origin.computer, key.time);
        match &observation.what {
            What::Mismatch(mismatch) => {
                self.ingested.mismatches += 1;
                self.mismatch(observation, origin, &mismatch.account);
            }
            What::Failure(failure) => {
                self.ingested.failures += 1;
                self.failure(observation, origin, failure);
            }
            What::Success(success) => {
                self.ingested.successes += 1;
                self.success(key.time, origin, success);
            }
            What::Fact(_) => unreachable!("facts were learnt above"),
        }
    }

    /// Tells records apart, whether their computer's name is written with its
    /// domain or without.
    fn fingerprint(&mut self, key: &RecordKey, origin: Origin) -> u64 {
        let host = self.short_host(origin.computer);
        let mut hasher = FxHasher::default();
        if host == Symbol::BEYOND || origin.channel == Symbol::BEYOND {
            short_host(&key.computer).to_lowercase().hash(&mut hasher);
            key.channel.to_lowercase().hash(&mut hasher);
        }
        (host, origin.channel, key.record_id).hash(&mut hasher);
        let half = spread(hasher.finish());
        spread(half ^ key.time.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Whether the fact was new.
    fn learn(&mut self, fact: &Fact, computer: Symbol, time: EventTime) -> bool {
        let is_new_host = self.directory.host(computer).is_none();
        match fact {
            Fact::Account { sid, name, domain } => {
                let Some(sid) = AccountSid::new(sid) else { return false };
                let domain = self.names.intern(domain);
                let name = self.names.intern(name);
                self.directory.learn_account(sid, domain, name, time, &self.names)
            }
            Fact::Host => {
                self.directory.learn_host(computer, time);
                is_new_host
            }
            Fact::DomainController => self.directory.learn_domain_controller(computer, time),
            Fact::Boot => self.directory.learn_boot(computer, time),
        }
    }

    fn mismatch(&mut self, observation: &Observation, origin: Origin, account: &Account) {
        let time = observation.key.time;
        let line = self.line(observation, origin, &Failure::default());
        let source = self.account_key(account, origin.computer);
        if self.is_full() {
            self.ingested.beyond_bounds += 1;
            return;
        }
        let order = LineOrder { names: &self.names, addresses: &self.addresses };
        self.mismatches.add(origin.computer, line, &mut self.patterns, &order);
        self.mismatch_windows
            .entry(origin.computer)
            .or_default()
            .add(time, self.settings.pair_window_ticks);
        if let Some(source) = source {
            let trace = Trace {
                origin: TraceOrigin::Mismatch,
                source,
                peer_host: Symbol::NONE,
                peer_ip: Address::NONE,
                status: None,
            };
            self.traces.add(origin.computer, time, trace);
        }
    }

    fn failure(&mut self, observation: &Observation, origin: Origin, failure: &Failure) {
        let line = self.line(observation, origin, failure);
        let source = self
            .account_key(&failure.account, origin.computer)
            .unwrap_or(SourceKey::Host(origin.computer));
        if let SourceKey::Sid(sid) = source {
            let label = self.label(&failure.account);
            self.directory.learn_label(sid, label.0, label.1, &self.names);
        }
        if failure.side == Side::Target {
            let trace = Trace {
                origin: TraceOrigin::Failure,
                source,
                peer_host: line.peer_host,
                peer_ip: line.peer_ip,
                status: deciding_status(failure.status, failure.sub_status),
            };
            self.traces.add(origin.computer, observation.key.time, trace);
        }
        if self.is_full() {
            self.ingested.beyond_bounds += 1;
            return;
        }
        let order = LineOrder { names: &self.names, addresses: &self.addresses };
        self.failures.add(source, line, &mut self.patterns, &order);
    }

    /// Whether no more runs may be kept. What would join a run is turned away
    /// as well: the bound is there for the memory, not for fairness.
    fn is_full(&self) -> bool {
        self.failures.run_count() + self.mismatches.run_count() >= self.settings.bounds.open_runs
    }

    fn success(&mut self, time: EventTime, origin: Origin, success: &Success) {
        if let Some(source) = self.account_key(&success.account, origin.computer) {
            self.successes.add(source, time, origin.computer);
        }
    }

    fn line(&mut self, observation: &Observation, origin: Origin, failure: &Failure) -> Line {
        let pattern = self.patterns.intern(Pattern {
            computer: origin.computer,
            channel: origin.channel,
            provider: origin.provider,
            event_id: observation.event_id,
            side: failure.side,
            protocol: failure.protocol,
            status: failure.status,
            sub_status: failure.sub_status,
            reason: failure.reason,
            logon_type: failure.logon_type,
            category: failure.category,
        });
        let Peer { host, ip } = &failure.peer;
        Line {
            pattern,
            peer_host: host.as_deref().map_or(Symbol::NONE, |host| self.names.intern(host)),
            peer_ip: self.addresses.intern(*ip),
            service: failure.service.as_deref().map_or(Symbol::NONE, |s| self.names.intern(s)),
            count: 1,
            first: observation.key.time,
            record_id: observation.key.record_id,
            last: observation.key.time,
        }
    }

    fn label(&mut self, account: &Account) -> (Symbol, Symbol) {
        let mut symbol = |text: &Option<Box<str>>| {
            text.as_deref().map_or(Symbol::NONE, |t| self.names.intern(t))
        };
        (symbol(&account.domain), symbol(&account.name))
    }

    /// The key that an account's observations are gathered under, before
    /// names are resolved.
    fn account_key(&mut self, account: &Account, computer: Symbol) -> Option<SourceKey> {
        if let Some(sid) = account.sid.as_ref().and_then(AccountSid::new) {
            return Some(SourceKey::Sid(sid));
        }
        let name = self.names.intern(account.name.as_deref()?);
        if name == Symbol::BEYOND {
            // Not even told apart from other names: nobody's.
            return None;
        }
        match account.domain.as_deref() {
            None => {
                // Where it stands for the host's own accounts it must be known.
                self.short_host(computer);
                Some(SourceKey::Bare { host: computer, name })
            }
            Some(".") => Some(SourceKey::Account { domain: self.short_host(computer), name }),
            Some(domain) => Some(SourceKey::Account { domain: self.names.intern(domain), name }),
        }
    }

    fn short_host(&mut self, computer: Symbol) -> Symbol {
        if let Some(Some(known)) = self.short_hosts.get(computer.index()) {
            return *known;
        }
        let text = self.names.text(computer);
        let short = short_host(text);
        let short = if short.len() == text.len() {
            computer
        } else {
            let short = short.to_owned();
            self.names.intern(&short)
        };
        if self.short_hosts.len() <= computer.index() {
            self.short_hosts.resize(computer.index() + 1, None);
        }
        self.short_hosts[computer.index()] = Some(short);
        short
    }

    fn context(&self) -> Context<'_> {
        Context {
            settings: &self.settings,
            names: &self.names,
            addresses: &self.addresses,
            patterns: &self.patterns,
            directory: &self.directory,
        }
    }

    fn close_failures(&mut self, watermark: EventTime, incidents: &mut Vec<Incident>) {
        let context = self.context();
        let paired = self.paired();
        let mut runs: Vec<(SourceKey, SourceKey, &Run)> = self
            .failures
            .iter()
            .flat_map(|(key, runs)| runs.iter().map(move |run| (key, run)))
            .map(|(key, run)| (context.resolve(key, run.first), key, run))
            .collect();
        runs.sort_unstable_by(|(a, _, run_a), (b, _, run_b)| {
            (a, run_a.first).cmp(&(b, run_b.first))
        });
        let mut closed: FxHashSet<(SourceKey, EventTime)> = FxHashSet::default();
        for of_source in runs.chunk_by(|(a, _, _), (b, _, _)| a == b) {
            let sessions = cut(
                of_source.to_vec(),
                |(_, _, run)| run,
                self.settings.session_gap_ticks,
                self.settings.session_max_ticks,
            );
            for session in sessions {
                let last = session.iter().map(|(_, _, run)| run.last).max().unwrap_or_default();
                if last.plus_ticks(self.settings.session_gap_ticks) > watermark {
                    continue;
                }
                let runs: Vec<(SourceKey, &Run)> =
                    session.iter().map(|(_, key, run)| (*key, *run)).collect();
                closed.extend(runs.iter().map(|(key, run)| (*key, run.first)));
                let source = session[0].0;
                let first = session[0].2.first;
                let beside = |host| {
                    let times = paired.get(&(host, source));
                    times.is_some_and(|times| times.iter().any(|at| (first..=last).contains(at)))
                };
                incidents.extend(incidents::of_failures(&context, source, &runs, beside));
            }
        }
        self.failures.remove(|key, run| closed.contains(&(key, run.first)));
    }

    /// When failures of each source stood beside a mismatch on a host.
    fn paired(&self) -> FxHashMap<(Symbol, SourceKey), Vec<EventTime>> {
        let context = self.context();
        let mut paired: FxHashMap<(Symbol, SourceKey), Vec<EventTime>> = FxHashMap::default();
        for (host, windows) in &self.mismatch_windows {
            for (start, end) in windows.spans() {
                for (time, trace) in self.traces.within(*host, start, end) {
                    let source = context.resolve(trace.source, *time);
                    paired.entry((*host, source)).or_default().push(*time);
                }
            }
        }
        paired
    }

    /// When domain controllers let each source through, by what the sources
    /// are known as by now.
    fn accepted(&self) -> FxHashMap<SourceKey, Vec<EventTime>> {
        let context = self.context();
        let mut accepted: FxHashMap<SourceKey, Vec<EventTime>> = FxHashMap::default();
        for (key, successes) in self.successes.iter() {
            for (time, host) in successes {
                if self.directory.host(*host).is_some_and(|facts| facts.domain_controller) {
                    accepted.entry(context.resolve(key, *time)).or_default().push(*time);
                }
            }
        }
        accepted
    }

    fn close_mismatches(&mut self, watermark: EventTime, incidents: &mut Vec<Incident>) {
        if self.mismatches.key_count() == 0 {
            return;
        }
        let context = self.context();
        let accepted = self.accepted();
        let window = self.settings.pair_window_ticks;
        let accepted_beside = |source: SourceKey, time: EventTime| {
            let times = accepted.get(&context.resolve(source, time));
            times.is_some_and(|times| times.iter().any(|at| at.distance(time) <= window))
        };
        let mut closed: FxHashSet<(Symbol, EventTime)> = FxHashSet::default();
        for (host, runs) in self.mismatches.iter() {
            let sessions = cut(
                runs.iter().collect(),
                |run| run,
                self.settings.session_gap_ticks,
                self.settings.session_max_ticks,
            );
            for session in sessions {
                let last = session.iter().map(|run| run.last).max().unwrap_or_default();
                if last.plus_ticks(self.settings.session_gap_ticks) > watermark {
                    continue;
                }
                closed.extend(session.iter().map(|run| (host, run.first)));
                let first = session[0].first;
                let traces = self.traces_beside(host, first, last);
                let accepted =
                    traces.iter().any(|(time, trace)| accepted_beside(trace.source, *time));
                incidents
                    .push(incidents::of_mismatches(&context, host, &session, &traces, accepted));
            }
        }
        self.mismatches.remove(|host, run| closed.contains(&(host, run.first)));
    }

    /// The failures on a host within the pairing window of a mismatch of the
    /// session, each once.
    fn traces_beside(
        &self,
        host: Symbol,
        first: EventTime,
        last: EventTime,
    ) -> Vec<&(EventTime, Trace)> {
        let window = self.settings.pair_window_ticks;
        let session = (first.minus_ticks(window), last.plus_ticks(window));
        let Some(windows) = self.mismatch_windows.get(&host) else { return Vec::new() };
        windows
            .spans()
            .into_iter()
            .map(|(start, end)| (start.max(session.0), end.min(session.1)))
            .filter(|(start, end)| start <= end)
            .flat_map(|(start, end)| self.traces.within(host, start, end))
            .collect()
    }
}

/// The code that says most: the sub status where there is one.
pub fn deciding_status(
    status: Option<StatusCode>,
    sub_status: Option<StatusCode>,
) -> Option<StatusCode> {
    sub_status.filter(|code| !code.is_success()).or(status.filter(|code| !code.is_success()))
}

/// Why an authentication failed, from all that its event says.
pub fn category_of(pattern: &Pattern) -> Category {
    if let Some(category) = pattern.category {
        return category;
    }
    if let Some(code) = deciding_status(pattern.status, pattern.sub_status) {
        return codes::category(code);
    }
    pattern.reason.and_then(codes::failure_reason).map_or(Category::Other, |(_, category)| category)
}

/// One second, for settings that are given in seconds.
pub const fn seconds(count: u64) -> u64 {
    count * TICKS_PER_SEC
}
