//! The detector: takes observations in by stages, and works out what is news.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use borsh::{BorshDeserialize, BorshSerialize, io};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::fleet::hosts::{Hosts, Shown};
use super::fleet::twins::Fleet;
use super::judge::duplicates::{self, Refusals};
use super::judge::incidents::{self, Context, Judged, MismatchSession, Suspects};
use super::revisions::{EmittedRevision, SessionRevisions};
use super::state::dedup::Seen;
use super::state::directory::{AccountSid, Directory};
use super::state::names::{Address, Addresses, Names, Symbol, spread};
use super::state::pairing::{Nearby, Windows};
use super::state::sessions::{Line, LineOrder, Pattern, Patterns, Run, Sessions, SourceKey, cut};
use crate::incident::{Incident, IncidentId, Role, State};
use crate::observation::{
    Account, Fact, Failure, ListedHost, Observation, RecordKey, Side, Success, What, short_host,
};
use crate::sid::DomainSid;
use crate::status::{Category, StatusCode, deciding_status, failure_reason_category};
use crate::time::{EventTime, TICKS_PER_SEC};

/// Makes room for one value more in one of very many lists, most of which
/// never hold a second: a list by itself takes room for four.
pub(crate) fn make_room<T>(values: &mut Vec<T>) {
    const SMALL: usize = 4;
    if values.len() == values.capacity() && values.len() < SMALL {
        values.reserve_exact(1);
    }
}

/// How observations are gathered and judged.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Settings {
    pub session_gap_ticks: u64,
    /// A whole number of hours.
    pub session_max_ticks: u64,
    pub pair_window_ticks: u64,
    /// How long a session stays known after it was closed, so that what comes
    /// late is added to it.
    pub known_ticks: u64,
    /// Failures that make a session an incident.
    pub failure_threshold: u64,
    /// Codes of which one failure is enough.
    pub grave_statuses: Vec<StatusCode>,
    /// Categories of which one failure is enough.
    pub grave_categories: Vec<Category>,
    pub bounds: Bounds,
}

/// The most that the detector keeps of each thing.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Bounds {
    /// Records remembered to tell duplicates.
    pub seen_records: usize,
    /// Names of computers, accounts and the like, together.
    pub names_bytes: usize,
    pub addresses: usize,
    /// Combinations of event and status.
    pub patterns: usize,
    /// Names in the account directory.
    pub accounts: usize,
    /// Names of computers, and domains.
    pub hosts: usize,
    /// Failures kept for mismatches that may still come, and successes of
    /// domain controllers, each.
    pub nearby: usize,
    /// Runs of all sources, of failures and of mismatches each: stretches
    /// without a gap, an hour at the most.
    pub open_runs: usize,
}

/// Things that may be given up because a bound was reached.
pub const OVER_BOUNDS: usize = 7;

/// Observations that are taken in side by side: enough for the processor to
/// have something to do while it waits for memory, few enough to stay in its
/// cache.
const STAGED_MAX: usize = 256;

/// What may stand beside a mismatch on a host.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Trace {
    pub origin: TraceOrigin,
    pub source: SourceKey,
    pub peer_host: Symbol,
    pub peer_ip: Address,
    pub status: Option<StatusCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TraceOrigin {
    /// A failure that the host logged.
    Failure,
    /// The account that the mismatch itself names.
    Mismatch,
}

/// How many observations came of each kind, duplicates not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ingested {
    pub mismatches: u64,
    pub failures: u64,
    pub successes: u64,
    pub facts: u64,
    /// Records that had come before.
    pub duplicates: u64,
    /// Failures and mismatches left out because their session had been closed
    /// and forgotten.
    pub late: u64,
}

#[derive(Debug)]
pub struct Detector {
    settings: Settings,
    names: Names,
    addresses: Addresses,
    patterns: Patterns,
    seen: Seen,
    directory: Directory,
    hosts: Hosts,
    inventory: Vec<(Symbol, ListedHost)>,
    refusals: BTreeMap<DomainSid, Refusals>,
    suspects: Suspects,
    group_revisions: BTreeMap<DomainSid, EmittedRevision>,
    failure_revisions: SessionRevisions<SourceKey>,
    mismatch_revisions: SessionRevisions<Symbol>,
    /// The last watermark: sessions that ended before it were closed.
    closed_to: EventTime,
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

/// The last channel and provider: most records repeat them.
#[derive(Debug, Default)]
struct Memo([Option<(Box<str>, Symbol)>; 2]);

fn shown(observation: &Observation, named: Named) -> Shown {
    Shown {
        time: observation.key.time,
        record_id: observation.key.record_id,
        computer: named.computer,
        channel: named.channel,
        provider: named.provider,
        event_id: observation.event_id,
    }
}

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

/// What an observation names, as symbols.
#[derive(Clone, Copy)]
struct Named {
    computer: Symbol,
    channel: Symbol,
    provider: Symbol,
    account: Symbol,
    domain: Symbol,
    peer: Symbol,
    service: Symbol,
}

/// The texts of [`Named`], channel and provider aside: computer, account,
/// domain, peer and service.
fn texts(observation: &Observation) -> [&str; 5] {
    fn text(text: &Option<Box<str>>) -> &str {
        text.as_deref().unwrap_or_default()
    }
    let computer = &*observation.key.computer;
    let (account, peer, service) = match &observation.what {
        What::Mismatch(mismatch) => (&mismatch.account, "", ""),
        What::Success(success) => (&success.account, "", ""),
        What::Failure(failure) => {
            (&failure.account, text(&failure.peer.host), text(&failure.service))
        }
        What::Fact(Fact::Account { name, domain, .. }) => return [computer, name, domain, "", ""],
        What::Fact(Fact::Renamed { from, to }) => return [computer, from, to, "", ""],
        What::Fact(Fact::Address { host, .. }) => return [computer, host, "", "", ""],
        What::Fact(_) => return [computer, "", "", "", ""],
    };
    [computer, text(&account.name), text(&account.domain), peer, service]
}

impl Detector {
    pub fn new(settings: Settings) -> Detector {
        let bounds = &settings.bounds;
        Detector {
            names: Names::new(bounds.names_bytes),
            addresses: Addresses::new(bounds.addresses),
            patterns: Patterns::new(bounds.patterns),
            seen: Seen::new(bounds.seen_records),
            directory: Directory::new(bounds.accounts),
            hosts: Hosts::new(bounds.hosts, bounds.addresses),
            inventory: Vec::new(),
            refusals: BTreeMap::new(),
            suspects: Suspects::new(),
            group_revisions: BTreeMap::new(),
            failure_revisions: SessionRevisions::new(),
            mismatch_revisions: SessionRevisions::new(),
            closed_to: EventTime::MIN,
            failures: Sessions::new(settings.session_gap_ticks, bounds.open_runs),
            mismatches: Sessions::new(settings.session_gap_ticks, bounds.open_runs),
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
        observations.chunks(STAGED_MAX).for_each(|batch| self.ingest_staged(batch));
    }

    /// Tells what is news: incidents that are new, that have changed so that a
    /// person would act on it, and that are closed because nothing can come any
    /// more from before `watermark`. [`EventTime::MAX`] closes everything.
    pub fn advance(&mut self, watermark: EventTime, incidents: &mut Vec<Incident>) {
        let from = incidents.len();
        self.settle();
        self.traces.settle();
        self.successes.settle();
        let fleet = self.fleet();
        let mismatches = self.emit_mismatches(&fleet, watermark, incidents);
        self.emit_failures(&fleet, watermark, incidents);
        self.emit_groups(&fleet, mismatches, watermark, incidents);
        incidents[from..].sort_by_key(|incident| (incident.first_seen, incident.id));
        if watermark == EventTime::MAX {
            // Not a time: what comes next is no later than it was.
            return;
        }
        self.closed_to = watermark.max(self.closed_to);
        let keep_from = watermark
            .minus_ticks(self.settings.session_max_ticks)
            .minus_ticks(self.settings.session_gap_ticks)
            .minus_ticks(self.settings.known_ticks);
        self.seen.forget_before(keep_from);
        self.traces.forget_before(keep_from);
        self.successes.forget_before(keep_from);
        self.mismatch_windows.retain(|_, windows| {
            windows.forget_before(keep_from);
            !windows.is_empty()
        });
    }

    /// The whole state as bytes, for [`Detector::restore`]. The same calls give
    /// the same bytes.
    pub fn save(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.save_to(&mut bytes).expect("memory can be written");
        bytes
    }

    /// [`Detector::save`], to where it is wanted.
    pub fn save_to(&mut self, writer: &mut dyn io::Write) -> io::Result<()> {
        self.settle();
        self.write_state(writer)
    }

    fn write_state(&self, mut writer: &mut dyn io::Write) -> io::Result<()> {
        let bytes = &mut writer;
        (&self.names, &self.addresses, &self.patterns, &self.seen).serialize(bytes)?;
        (&self.directory, &self.hosts, &self.refusals, &self.suspects).serialize(bytes)?;
        (&self.group_revisions, &self.failure_revisions, &self.mismatch_revisions)
            .serialize(bytes)?;
        (&self.failures, &self.mismatches, &self.mismatch_windows).serialize(bytes)?;
        (&self.traces, &self.successes, self.closed_to, self.ingested).serialize(bytes)
    }

    /// The detector that was saved, with the settings of today. Without the
    /// inventory, which is read anew.
    pub fn restore(settings: Settings, mut bytes: &[u8]) -> Result<Detector, MalformedState> {
        let mut detector = Detector::new(settings);
        detector.read_state(&mut bytes).map_err(|error| MalformedState(error.to_string()))?;
        if !bytes.is_empty() {
            return Err(MalformedState(format!("{} bytes are left over", bytes.len())));
        }
        let (bounds, gap) = (&detector.settings.bounds, detector.settings.session_gap_ticks);
        detector.names.bound(bounds.names_bytes);
        detector.addresses.bound(bounds.addresses);
        detector.patterns.bound(bounds.patterns);
        detector.seen.bound(bounds.seen_records);
        detector.directory.bound(bounds.accounts);
        detector.hosts.bound(bounds.hosts, bounds.addresses);
        detector.failures.bound(gap, bounds.open_runs);
        detector.mismatches.bound(gap, bounds.open_runs);
        detector.traces.bound(bounds.nearby);
        detector.successes.bound(bounds.nearby);
        Ok(detector)
    }

    fn read_state(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        fn read<T: BorshDeserialize>(bytes: &mut &[u8]) -> io::Result<T> {
            T::deserialize(bytes)
        }
        (self.names, self.addresses, self.patterns, self.seen) = read(bytes)?;
        (self.directory, self.hosts, self.refusals, self.suspects) = read(bytes)?;
        (self.group_revisions, self.failure_revisions, self.mismatch_revisions) = read(bytes)?;
        (self.failures, self.mismatches, self.mismatch_windows) = read(bytes)?;
        (self.traces, self.successes, self.closed_to, self.ingested) = read(bytes)?;
        Ok(())
    }

    pub fn ingested(&self) -> Ingested {
        self.ingested
    }

    /// What was given up because a bound was reached, by name: nothing in a
    /// run that stays within its bounds.
    pub fn over_bounds(&self) -> [(&'static str, u64); OVER_BOUNDS] {
        [
            (
                "failures and mismatches beyond `open_runs`",
                self.failures.beyond() + self.mismatches.beyond(),
            ),
            ("records forgotten beyond `seen_records`", self.seen.forgotten()),
            (
                "facts beyond `accounts`, `hosts` or `addresses`",
                self.directory.refused() + self.hosts.refused(),
            ),
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
    pub fn open_keys(&mut self) -> usize {
        self.settle();
        self.failures.key_count() + self.mismatches.key_count()
    }

    /// Takes in known hosts: what they say of a host wins over what events
    /// teach. An inventory that was taken in before is forgotten.
    pub fn learn_inventory(&mut self, inventory: Vec<ListedHost>) {
        self.inventory.clear();
        self.hosts.clear_listed();
        for entry in inventory {
            let host = self.names.intern(&entry.host);
            for ip in &entry.ips {
                self.hosts.list_address(*ip, host);
            }
            self.inventory.push((host, entry));
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The known hosts, as they were taken in.
    pub fn inventory(&self) -> impl Iterator<Item = &ListedHost> {
        self.inventory.iter().map(|(_, entry)| entry)
    }

    /// What follows by now of the fleet's hosts.
    pub fn fleet(&self) -> Fleet {
        Fleet::new(&self.hosts, &self.names, &self.inventory)
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// One table after the other, for all observations: what each table has to
    /// fetch from memory for one observation it fetches while it waits for
    /// that of another.
    fn ingest_staged(&mut self, batch: &[Observation]) {
        let texts: Vec<&str> = batch.iter().flat_map(texts).collect();
        let symbols = self.names.intern_all(&texts);
        let mut records: Vec<(&Observation, Named, u64)> = Vec::with_capacity(batch.len());
        for (observation, symbols) in batch.iter().zip(symbols.as_chunks::<5>().0) {
            let key = &observation.key;
            let [computer, account, domain, peer, service] = *symbols;
            let channel = self.memo.intern(0, &key.channel, &mut self.names);
            let provider = self.memo.intern(1, &observation.provider, &mut self.names);
            let named = Named { computer, channel, provider, account, domain, peer, service };
            if let What::Fact(fact) = &observation.what {
                let is_new = self.learn(fact, &shown(observation, named), named);
                self.ingested.facts += u64::from(is_new);
                continue;
            }
            records.push((observation, named, self.fingerprint(key, named)));
        }
        let came = records.len();
        records.retain(|(observation, named, print)| {
            let is_new = self.seen.insert(observation.key.time, *print);
            if !is_new {
                // It may write the computer's name in another way.
                self.hosts.learn_record(&shown(observation, *named));
            }
            is_new
        });
        self.ingested.duplicates += (came - records.len()) as u64;
        for (observation, named, _) in records {
            self.hosts.learn_record(&shown(observation, named));
            match &observation.what {
                What::Mismatch(mismatch) => {
                    self.ingested.mismatches += 1;
                    self.mismatch(observation, named, &mismatch.account);
                }
                What::Failure(failure) => {
                    self.ingested.failures += 1;
                    self.failure(observation, named, failure);
                }
                What::Success(success) => {
                    self.ingested.successes += 1;
                    self.success(observation, named, success);
                }
                What::Fact(_) => unreachable!("facts were learnt above"),
            }
        }
    }

    /// Tells records apart, whether their computer's name is written with its
    /// domain or without.
    fn fingerprint(&mut self, key: &RecordKey, named: Named) -> u64 {
        let host = self.short_host(named.computer);
        let mut hasher = FxHasher::default();
        if host == Symbol::BEYOND || named.channel == Symbol::BEYOND {
            short_host(&key.computer).to_lowercase().hash(&mut hasher);
            key.channel.to_lowercase().hash(&mut hasher);
        }
        (host, named.channel, key.record_id).hash(&mut hasher);
        let half = spread(hasher.finish());
        spread(half ^ key.time.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Whether the fact was new.
    fn learn(&mut self, fact: &Fact, shown: &Shown, named: Named) -> bool {
        let hosts = &mut self.hosts;
        match fact {
            Fact::Account { sid, own, .. } => {
                let Some(account) = AccountSid::new(sid) else { return false };
                let is_new = self.directory.learn_account(
                    account,
                    named.domain,
                    named.account,
                    shown.time,
                    &self.names,
                );
                let Some((issuer, rid)) = sid.issuer() else { return is_new };
                if *own {
                    hosts.learn_record(shown);
                    is_new | hosts.learn_machine_sid(shown, issuer, rid, named.account)
                } else {
                    hosts.learn_issuer(issuer, rid, self.names.text(named.account), shown.time);
                    is_new | hosts.learn_computer(named.computer, shown.time)
                }
            }
            Fact::Host => hosts.learn_computer(named.computer, shown.time),
            Fact::DomainController => hosts.learn_domain_controller(shown),
            Fact::Boot => {
                hosts.learn_record(shown);
                hosts.learn_boot(shown)
            }
            Fact::Build(build) => hosts.learn_build(shown, *build),
            Fact::Update(number) => hosts.learn_update(shown, *number),
            Fact::Renamed { .. } => hosts.learn_rename(shown, named.account, named.domain),
            Fact::Address { ip, .. } => hosts.learn_address(*ip, named.account, shown.time),
        }
    }

    fn mismatch(&mut self, observation: &Observation, named: Named, account: &Account) {
        let time = observation.key.time;
        if self.is_late(time) && !self.mismatches.continues(named.computer, time) {
            self.ingested.late += 1;
            return;
        }
        let line = self.line(observation, named, &Failure::default());
        let source = self.account_key(account, named);
        let order = LineOrder { names: &self.names, addresses: &self.addresses };
        self.mismatches.add(named.computer, line, &mut self.patterns, &order);
        self.mismatch_windows
            .entry(named.computer)
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
            self.traces.add(named.computer, time, trace);
        }
    }

    fn failure(&mut self, observation: &Observation, named: Named, failure: &Failure) {
        let line = self.line(observation, named, failure);
        let source =
            self.account_key(&failure.account, named).unwrap_or(SourceKey::Host(named.computer));
        if let SourceKey::Sid(sid) = source {
            self.directory.learn_label(sid, named.domain, named.account, &self.names);
            if let Some(issuer) = sid.domain().filter(|_| failure.side == Side::Kdc) {
                self.hosts.learn_served(&shown(observation, named), issuer);
            }
        }
        let time = observation.key.time;
        if self.is_late(time) && !self.failures.continues(source, time) {
            self.ingested.late += 1;
            return;
        }
        if failure.side == Side::Target {
            let trace = Trace {
                origin: TraceOrigin::Failure,
                source,
                peer_host: line.peer_host,
                peer_ip: line.peer_ip,
                status: deciding_status(failure.status, failure.sub_status),
            };
            self.traces.add(named.computer, observation.key.time, trace);
        }
        let order = LineOrder { names: &self.names, addresses: &self.addresses };
        self.failures.add(source, line, &mut self.patterns, &order);
    }

    /// Whether any session that ended then was closed.
    fn is_late(&self, time: EventTime) -> bool {
        time.plus_ticks(self.settings.session_gap_ticks) <= self.closed_to
    }

    /// What becomes of a session that ended then: it is open, it is closed but
    /// still known, or it cannot change any more.
    fn stage(&self, last: EventTime, watermark: EventTime) -> Stage {
        let end = last.plus_ticks(self.settings.session_gap_ticks);
        if end > watermark {
            Stage::Open
        } else if end.plus_ticks(self.settings.known_ticks) > watermark {
            Stage::Known
        } else {
            Stage::Gone
        }
    }

    /// Puts what waits into its runs.
    fn settle(&mut self) {
        let order = LineOrder { names: &self.names, addresses: &self.addresses };
        self.failures.settle(&mut self.patterns, &order);
        self.mismatches.settle(&mut self.patterns, &order);
    }

    fn success(&mut self, observation: &Observation, named: Named, success: &Success) {
        let time = observation.key.time;
        let name = self.names.text(named.account);
        if let (Some(ip), Some(host)) = (success.peer.ip, name.strip_suffix('$')) {
            let host = host.to_owned();
            let host = self.names.intern(&host);
            self.hosts.learn_address(ip, host, time);
        }
        let Some(source) = self.account_key(&success.account, named) else { return };
        if let SourceKey::Sid(sid) = source
            && let Some(issuer) = sid.domain().filter(|_| success.side == Side::Kdc)
        {
            self.hosts.learn_served(&shown(observation, named), issuer);
        }
        self.successes.add(source, time, named.computer);
    }

    fn line(&mut self, observation: &Observation, named: Named, failure: &Failure) -> Line {
        let pattern = self.patterns.intern(Pattern {
            channel: named.channel,
            provider: named.provider,
            event_id: observation.event_id,
            side: failure.side,
            protocol: failure.protocol,
            status: failure.status,
            sub_status: failure.sub_status,
            reason: failure.reason,
            logon_type: failure.logon_type,
            category: failure.category,
        });
        Line {
            pattern,
            computer: named.computer,
            peer_host: named.peer,
            peer_ip: self.addresses.intern(failure.peer.ip),
            service: named.service,
            count: 1,
            first: observation.key.time,
            record_id: observation.key.record_id,
            last: observation.key.time,
        }
    }

    /// The key that an account's observations are gathered under, before
    /// names are resolved.
    fn account_key(&mut self, account: &Account, named: Named) -> Option<SourceKey> {
        if let Some(sid) = account.sid.as_ref().and_then(AccountSid::new) {
            return Some(SourceKey::Sid(sid));
        }
        if account.name.is_none() || named.account == Symbol::BEYOND {
            // Not even told apart from other names: nobody's.
            return None;
        }
        let name = named.account;
        match account.domain.as_deref() {
            None => {
                // Where it stands for the host's own accounts it must be known.
                self.short_host(named.computer);
                Some(SourceKey::Bare { host: named.computer, name })
            }
            Some(".") => Some(SourceKey::Account { domain: self.short_host(named.computer), name }),
            Some(_) => Some(SourceKey::Account { domain: named.domain, name }),
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

    fn context<'a>(&'a self, fleet: &'a Fleet) -> Context<'a> {
        Context {
            settings: &self.settings,
            names: &self.names,
            addresses: &self.addresses,
            patterns: &self.patterns,
            directory: &self.directory,
            hosts: &self.hosts,
            fleet,
        }
    }

    fn emit_failures(
        &mut self,
        fleet: &Fleet,
        watermark: EventTime,
        incidents: &mut Vec<Incident>,
    ) {
        let context = self.context(fleet);
        let paired = self.paired(&context);
        let mut runs: Vec<(SourceKey, SourceKey, &Run)> = self
            .failures
            .iter()
            .flat_map(|(key, runs)| runs.iter().map(move |run| (key, run)))
            .map(|(key, run)| (context.resolve(key, run.first), key, run))
            .collect();
        runs.sort_unstable_by(|(a, _, run_a), (b, _, run_b)| {
            (a, run_a.first).cmp(&(b, run_b.first))
        });
        let mut found: Vec<(Incident, Stage, Spans<SourceKey>)> = Vec::new();
        let mut gone: FxHashSet<(SourceKey, EventTime)> = FxHashSet::default();
        for of_source in runs.chunk_by(|(a, _, _), (b, _, _)| a == b) {
            let sessions = cut(
                of_source.to_vec(),
                |(_, _, run)| run,
                self.settings.session_gap_ticks,
                self.settings.session_max_ticks,
            );
            for session in sessions {
                let last = session.iter().map(|(_, _, run)| run.last).max().unwrap_or_default();
                let stage = self.stage(last, watermark);
                let runs: Vec<(SourceKey, &Run)> =
                    session.iter().map(|(_, key, run)| (*key, *run)).collect();
                let source = session[0].0;
                let first = session[0].2.first;
                let beside = |host| {
                    let times = paired.get(&(host, source));
                    times.is_some_and(|times| times.iter().any(|at| (first..=last).contains(at)))
                };
                let spans: Spans<SourceKey> =
                    runs.iter().map(|(key, run)| (*key, run.first, run.last)).collect();
                // What was told of once is told of to its end, also when it is
                // less by what is known now.
                let is_told = !self.failure_revisions.ids(&spans).is_empty();
                let failures_min = if is_told { 1 } else { self.settings.failure_threshold };
                let incident =
                    incidents::of_failures(&context, source, &runs, failures_min, beside);
                // What was too little to be told of when it was closed is not
                // waited for.
                if stage == Stage::Gone || stage == Stage::Known && incident.is_none() {
                    gone.extend(runs.iter().map(|(key, run)| (*key, run.first)));
                }
                found.extend(incident.map(|incident| (incident, stage, spans)));
            }
        }
        tell(&mut self.failure_revisions, found, incidents);
        if !gone.is_empty() {
            self.failures.remove(|key, run| gone.contains(&(key, run.first)));
        }
    }

    /// When failures of each source stood beside a mismatch on a host, by the
    /// fullest spelling of its name.
    fn paired(&self, context: &Context<'_>) -> FxHashMap<(Symbol, SourceKey), Vec<EventTime>> {
        let mut paired: FxHashMap<(Symbol, SourceKey), Vec<EventTime>> = FxHashMap::default();
        for (host, spans) in self.windows(context.fleet) {
            for (_, time, trace) in self.traces_within(context.fleet, host, &spans) {
                let source = context.resolve(trace.source, *time);
                paired.entry((host, source)).or_default().push(*time);
            }
        }
        paired
    }

    /// The windows around mismatches, by the fullest spelling of the host.
    fn windows(&self, fleet: &Fleet) -> FxHashMap<Symbol, Vec<(EventTime, EventTime)>> {
        let mut windows: FxHashMap<Symbol, Windows> = FxHashMap::default();
        for (host, of_name) in &self.mismatch_windows {
            windows.entry(fleet.spelling(*host)).or_default().join(of_name);
        }
        windows.into_iter().map(|(host, windows)| (host, windows.spans())).collect()
    }

    /// What a host logged within spans that do not touch, each once.
    fn traces_within<'a>(
        &'a self,
        fleet: &'a Fleet,
        host: Symbol,
        spans: &'a [(EventTime, EventTime)],
    ) -> impl Iterator<Item = &'a (Symbol, EventTime, Trace)> {
        fleet.spellings(host).into_iter().flat_map(move |name| {
            spans.iter().flat_map(move |(start, end)| self.traces.within(name, *start, *end))
        })
    }

    /// When domain controllers let each source through, by what the sources
    /// are known as by now.
    fn accepted(&self, context: &Context<'_>) -> FxHashMap<SourceKey, Vec<EventTime>> {
        let mut accepted: FxHashMap<SourceKey, Vec<EventTime>> = FxHashMap::default();
        for (key, time, host) in self.successes.iter() {
            if context.role(*host) == Role::DomainController {
                accepted.entry(context.resolve(*key, *time)).or_default().push(*time);
            }
        }
        accepted
    }

    /// Tells the sessions that no clones explain.
    fn emit_mismatches(
        &mut self,
        fleet: &Fleet,
        watermark: EventTime,
        incidents: &mut Vec<Incident>,
    ) -> Mismatches {
        if self.mismatches.key_count() == 0 {
            return Mismatches::default();
        }
        let context = self.context(fleet);
        let accepted = self.accepted(&context);
        let windows = self.windows(fleet);
        let pair_window = self.settings.pair_window_ticks;
        let gap = self.settings.session_gap_ticks;
        let accepted_beside = |source: SourceKey, time: EventTime| {
            let times = accepted.get(&context.resolve(source, time));
            times.is_some_and(|times| times.iter().any(|at| at.distance(time) <= pair_window))
        };
        let mut by_host: BTreeMap<Symbol, Vec<(Symbol, &Run)>> = BTreeMap::new();
        for (host, runs) in self.mismatches.iter() {
            let runs = runs.iter().map(|run| (host, run));
            by_host.entry(fleet.spelling(host)).or_default().extend(runs);
        }
        let mut gone: FxHashSet<(Symbol, EventTime)> = FxHashSet::default();
        let mut sessions: Vec<MismatchSession> = Vec::new();
        let mut places: Vec<(Stage, Spans<Symbol>)> = Vec::new();
        for (host, mut runs) in by_host {
            runs.sort_by_key(|(_, run)| (run.first, run.last));
            let spans = windows.get(&host).map(Vec::as_slice).unwrap_or_default();
            for session in cut(runs, |(_, run)| run, gap, self.settings.session_max_ticks) {
                let last = session.iter().map(|(_, run)| run.last).max().unwrap_or_default();
                let stage = self.stage(last, watermark);
                if stage == Stage::Gone {
                    gone.extend(session.iter().map(|(name, run)| (*name, run.first)));
                }
                let whole =
                    (session[0].1.first.minus_ticks(pair_window), last.plus_ticks(pair_window));
                let of_session: Vec<(EventTime, EventTime)> = spans
                    .iter()
                    .map(|(start, end)| (*start.max(&whole.0), *end.min(&whole.1)))
                    .filter(|(start, end)| start <= end)
                    .collect();
                let mut traces: Vec<(Symbol, EventTime, Trace)> =
                    self.traces_within(fleet, host, &of_session).cloned().collect();
                traces.sort_by_key(|(_, time, _)| *time);
                let accepted =
                    traces.iter().any(|(_, time, trace)| accepted_beside(trace.source, *time));
                let runs: Vec<&Run> = session.iter().map(|(_, run)| *run).collect();
                sessions.push(MismatchSession::new(&context, host, &runs, traces, accepted));
                let spans = session.iter().map(|(name, run)| (*name, run.first, run.last));
                places.push((stage, spans.collect()));
            }
        }
        let judged = judge_all(&context, &sessions, &self.suspects);
        let mut suspects = self.suspects.clone();
        let mut refused: BTreeMap<DomainSid, Refused> = BTreeMap::new();
        let mut found: Vec<(Incident, Stage, Spans<Symbol>)> = Vec::new();
        for ((session, judged), (stage, spans)) in sessions.into_iter().zip(judged).zip(places) {
            let Some(sid) = judged.group else {
                let incident = incidents::of_mismatches(&context, &session, judged.verdict);
                found.push((incident, stage, spans));
                continue;
            };
            if stage == Stage::Gone {
                suspect(&mut suspects, sid, &judged.suspects);
            }
            let refused = refused.entry(sid).or_insert_with(|| {
                let past = self.refusals.get(&sid).cloned().unwrap_or_default();
                Refused { now: past.clone(), past, spans: Vec::new() }
            });
            if stage == Stage::Gone {
                refused.past.add(&context, session.clone(), &judged.verdict);
            }
            refused.now.add(&context, session, &judged.verdict);
            refused.spans.push((stage, spans));
        }
        let unexplained = tell(&mut self.mismatch_revisions, found, incidents);
        self.suspects = suspects;
        if !gone.is_empty() {
            self.mismatches.remove(|host, run| gone.contains(&(host, run.first)));
        }
        Mismatches { refused, unexplained }
    }

    /// Tells the groups of clones that are news, and withdraws those that were
    /// told of and are none by what is known now. At the end, all that changed in
    /// any way.
    fn emit_groups(
        &mut self,
        fleet: &Fleet,
        Mismatches { refused, unexplained }: Mismatches,
        watermark: EventTime,
        incidents: &mut Vec<Incident>,
    ) {
        let none = Refusals::default();
        let mut told = std::mem::take(&mut self.group_revisions);
        let mut mismatch_revisions = std::mem::take(&mut self.mismatch_revisions);
        let context = self.context(fleet);
        for (sid, group) in &fleet.groups {
            let now = refused.get(sid).map(|refused| &refused.now);
            let refusals = now.or_else(|| self.refusals.get(sid)).unwrap_or(&none);
            let mut incident = duplicates::of_group(&context, group, refusals);
            // Sessions that were told of before their twins were known.
            for (_, spans) in refused.get(sid).into_iter().flat_map(|refused| &refused.spans) {
                incident.supersedes.extend(mismatch_revisions.take_over(spans, &unexplained));
            }
            let told = told.entry(*sid).or_default();
            told.give_back(&unexplained);
            if told.revise(&mut incident, watermark == EventTime::MAX) {
                incidents.push(incident);
            }
        }
        for (sid, told) in told.iter_mut().filter(|(sid, _)| !fleet.groups.contains_key(sid)) {
            told.give_back(&unexplained);
            if told.is_withdrawn(&duplicates::source_key(*sid)) {
                continue;
            }
            let refusals = self.refusals.get(sid).unwrap_or(&none);
            let is_domain = self.hosts.domain(*sid).is_some();
            let mut incident = duplicates::withdrawn(&context, *sid, is_domain, refusals);
            if told.revise(&mut incident, watermark == EventTime::MAX) {
                incidents.push(incident);
            }
        }
        (self.group_revisions, self.mismatch_revisions) = (told, mismatch_revisions);
        let past = refused.into_iter().filter(|(_, refused)| refused.past.is_any());
        self.refusals.extend(past.map(|(sid, refused)| (sid, refused.past)));
    }
}

/// The runs of a session: key, first and last time of each.
type Spans<K> = Vec<(K, EventTime, EventTime)>;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Closed; what comes late may still change it.
    Known,
    Gone,
}

/// What came of the sessions of mismatches.
#[derive(Debug, Default)]
struct Mismatches {
    /// What was refused among clones.
    refused: BTreeMap<DomainSid, Refused>,
    /// The incidents of all other sessions.
    unexplained: FxHashSet<IncidentId>,
}

/// What the hosts of a group refused: in sessions that are gone, and with those
/// that are still known.
#[derive(Debug)]
struct Refused {
    past: Refusals,
    now: Refusals,
    spans: Vec<(Stage, Spans<Symbol>)>,
}

/// Tells what is news of the sessions there are; gives the ids of all of them.
fn tell<K: Copy + Ord>(
    told: &mut SessionRevisions<K>,
    found: Vec<(Incident, Stage, Spans<K>)>,
    incidents: &mut Vec<Incident>,
) -> FxHashSet<IncidentId> {
    let produced: FxHashSet<IncidentId> =
        found.iter().map(|(incident, _, _)| incident.id).collect();
    for (mut incident, stage, spans) in found {
        incident.state = match stage {
            Stage::Open => State::Open,
            Stage::Known | Stage::Gone => State::Closed,
        };
        incidents.extend(told.tell(incident, &spans, &produced));
        if stage == Stage::Gone {
            told.forget(&spans);
        }
    }
    produced
}

/// Adds hosts that had to do with the clones of a machine SID.
fn suspect(suspects: &mut Suspects, sid: DomainSid, hosts: &[Symbol]) {
    for host in hosts {
        let known = suspects.entry(*host).or_insert(sid);
        *known = sid.min(*known);
    }
}

/// Why a saved state cannot be restored.
#[derive(Debug, thiserror::Error)]
#[error("the saved state cannot be read: {0}")]
pub struct MalformedState(String);

/// Rounds in which a suspicion may spread from host to host.
const SUSPICION_ROUNDS_MAX: usize = 8;

/// Judges all sessions together: a host that had this trouble with clones is
/// suspected to be one, and so are those that have it with the host.
fn judge_all(
    context: &Context<'_>,
    sessions: &[MismatchSession],
    suspects: &Suspects,
) -> Vec<Judged> {
    let mut suspects = suspects.clone();
    let mut rounds = 0;
    loop {
        let judged: Vec<Judged> =
            sessions.iter().map(|session| session.judge(context, &suspects)).collect();
        let mut grown = suspects.clone();
        for judged in &judged {
            if let Some(sid) = judged.group {
                suspect(&mut grown, sid, &judged.suspects);
            }
        }
        rounds += 1;
        if grown == suspects || rounds > SUSPICION_ROUNDS_MAX {
            return judged;
        }
        suspects = grown;
    }
}

/// Why an authentication failed, from all that its event says.
pub fn category_of(pattern: &Pattern) -> Category {
    if let Some(category) = pattern.category {
        return category;
    }
    if let Some(code) = deciding_status(pattern.status, pattern.sub_status) {
        return code.category();
    }
    pattern.reason.and_then(failure_reason_category).unwrap_or(Category::Other)
}

/// One second, for settings that are given in seconds.
pub const fn seconds(count: u64) -> u64 {
    count * TICKS_PER_SEC
}
