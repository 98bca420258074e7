//! Observations into tables: names become symbols, facts are learnt, failures
//! and mismatches join their runs.

use super::detector::Detector;
use super::fleet::hosts::Shown;
use super::state::directory::AccountSid;
use super::state::names::{Address, Symbol, spread};
use super::state::pairing::{Trace, TraceOrigin};
use super::state::sessions::{Line, LineOrder, Pattern, SourceKey};
use crate::hash::stable_hash;
use crate::observation::{
    Account, Fact, Failure, Observation, RecordKey, Side, Success, What, short_host,
};
use crate::status::deciding_status;
use crate::time::EventTime;

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

/// The texts of [`Named`] but channel and provider: computer, account, domain,
/// peer and service.
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

impl Detector {
    /// Takes in one stage of observations, one table after the other for all of
    /// them: the memory accesses of many observations overlap.
    pub(super) fn ingest_staged(&mut self, batch: &[Observation]) {
        let texts: Vec<&str> = batch.iter().flat_map(texts).collect();
        let symbols = self.state.names.intern_all(&texts);
        let mut records: Vec<(&Observation, Named, u64)> = Vec::with_capacity(batch.len());
        for (observation, symbols) in batch.iter().zip(symbols.as_chunks::<5>().0) {
            let key = &observation.key;
            let [computer, account, domain, peer, service] = *symbols;
            let channel = self.memo.intern(0, &key.channel, &mut self.state.names);
            let provider = self.memo.intern(1, &observation.provider, &mut self.state.names);
            let named = Named { computer, channel, provider, account, domain, peer, service };
            if let What::Fact(fact) = &observation.what {
                let is_new = self.learn(fact, &shown(observation, named), named);
                self.state.ingested.facts += u64::from(is_new);
                continue;
            }
            records.push((observation, named, self.fingerprint(key, named)));
        }
        let before = records.len();
        records.retain(|(observation, named, print)| {
            let is_new = self.state.seen.insert(observation.key.time, *print);
            if !is_new {
                // It may write the computer's name in another way.
                self.state.hosts.learn_record(&shown(observation, *named));
            }
            is_new
        });
        self.state.ingested.duplicates += (before - records.len()) as u64;
        for (observation, named, _) in records {
            self.state.hosts.learn_record(&shown(observation, named));
            match &observation.what {
                What::Mismatch(mismatch) => {
                    self.state.ingested.mismatches += 1;
                    self.mismatch(observation, named, &mismatch.account);
                }
                What::Failure(failure) => {
                    self.state.ingested.failures += 1;
                    self.failure(observation, named, failure);
                }
                What::Success(success) => {
                    self.state.ingested.successes += 1;
                    self.success(observation, named, success);
                }
                What::Fact(_) => unreachable!("facts were taken out above"),
            }
        }
    }

    /// A digest of what identifies a record, the same whether its computer's
    /// name is written with its domain or without.
    fn fingerprint(&mut self, key: &RecordKey, named: Named) -> u64 {
        let host = self.short_host(named.computer);
        let mut names = (host.index() as u64) << 32 | named.channel.index() as u64;
        if host == Symbol::BEYOND || named.channel == Symbol::BEYOND {
            let computer = short_host(&key.computer).to_lowercase();
            names = stable_hash(&(computer, key.channel.to_lowercase()));
        }
        let half = spread(spread(names) ^ key.record_id);
        spread(half ^ key.time.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Adds what a fact says; whether it was new.
    fn learn(&mut self, fact: &Fact, shown: &Shown, named: Named) -> bool {
        let hosts = &mut self.state.hosts;
        match fact {
            Fact::Account { sid, own, .. } => {
                let Some(account) = AccountSid::new(sid) else { return false };
                let is_new = self.state.directory.learn_account(
                    account,
                    named.domain,
                    named.account,
                    shown.time,
                    &self.state.names,
                );
                let Some((issuer, rid)) = sid.issuer() else { return is_new };
                if *own {
                    hosts.learn_record(shown);
                    is_new | hosts.learn_machine_sid(shown, issuer, rid, named.account)
                } else {
                    hosts.learn_issuer(
                        issuer,
                        rid,
                        self.state.names.text(named.account),
                        shown.time,
                    );
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
        if self.is_late(time) && !self.state.mismatches.continues(named.computer, time) {
            self.late(named.computer);
            return;
        }
        let line = self.line(observation, named, &Failure::default());
        let source = self.account_key(account, named);
        let order = LineOrder { names: &self.state.names, addresses: &self.state.addresses };
        self.state.mismatches.add(named.computer, line, &mut self.state.patterns, &order);
        self.state.add_mismatch_window(named.computer, time, self.settings.pair_window_ticks);
        if let Some(source) = source {
            let trace = Trace {
                origin: TraceOrigin::Mismatch,
                source,
                peer_host: Symbol::NONE,
                peer_ip: Address::NONE,
                status: None,
            };
            self.state.traces.add(named.computer, time, trace);
        }
    }

    fn failure(&mut self, observation: &Observation, named: Named, failure: &Failure) {
        let line = self.line(observation, named, failure);
        let nobody = match named.account {
            Symbol::BEYOND => SourceKey::Crowd(named.computer),
            _ => SourceKey::Host(named.computer),
        };
        let source = self.account_key(&failure.account, named).unwrap_or(nobody);
        if let SourceKey::Sid(sid) = source {
            self.state.directory.learn_label(sid, named.domain, named.account, &self.state.names);
            if let Some(issuer) = sid.domain().filter(|_| failure.side == Side::Kdc) {
                self.state.hosts.learn_served(&shown(observation, named), issuer);
            }
        }
        let time = observation.key.time;
        if self.is_late(time) && !self.state.failures.continues(source, time) {
            self.late(named.computer);
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
            self.state.traces.add(named.computer, time, trace);
            self.state.mismatches_touched |= self.state.is_near_mismatch(time);
        }
        let order = LineOrder { names: &self.state.names, addresses: &self.state.addresses };
        self.state.failures.add(source, line, &mut self.state.patterns, &order);
    }

    fn late(&mut self, computer: Symbol) {
        self.state.ingested.late += 1;
        *self.late_hosts.entry(computer).or_default() += 1;
    }

    /// Whether any session that ended then was closed.
    fn is_late(&self, time: EventTime) -> bool {
        time.plus_ticks(self.settings.session_gap_ticks) <= self.state.closed_to
    }

    fn success(&mut self, observation: &Observation, named: Named, success: &Success) {
        let time = observation.key.time;
        let name = self.state.names.text(named.account);
        if let (Some(ip), Some(host)) = (success.peer.ip, name.strip_suffix('$')) {
            let host = host.to_owned();
            let host = self.state.names.intern(&host);
            self.state.hosts.learn_address(ip, host, time);
        }
        let Some(source) = self.account_key(&success.account, named) else { return };
        if let SourceKey::Sid(sid) = source
            && let Some(issuer) = sid.domain().filter(|_| success.side == Side::Kdc)
        {
            self.state.hosts.learn_served(&shown(observation, named), issuer);
        }
        self.state.successes.add(source, time, named.computer);
        self.state.mismatches_touched |= self.state.is_near_mismatch(time);
    }

    fn line(&mut self, observation: &Observation, named: Named, failure: &Failure) -> Line {
        let pattern = self.state.patterns.intern(Pattern {
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
            peer_ip: self.state.addresses.intern(failure.peer.ip),
            service: named.service,
            count: 1,
            first: observation.key.time,
            record_id: observation.key.record_id,
            last: observation.key.time,
        }
    }

    /// The key of an account's observations, before names are resolved; `None`
    /// where the event names no account.
    fn account_key(&mut self, account: &Account, named: Named) -> Option<SourceKey> {
        if let Some(sid) = account.sid.as_ref().and_then(AccountSid::new) {
            return Some(SourceKey::Sid(sid));
        }
        if account.name.is_none() || named.account == Symbol::BEYOND {
            // Beyond the bound all names are one: nobody's.
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
        let text = self.state.names.text(computer);
        let short = short_host(text);
        let short = if short.len() == text.len() {
            computer
        } else {
            let short = short.to_owned();
            self.state.names.intern(&short)
        };
        if self.short_hosts.len() <= computer.index() {
            self.short_hosts.resize(computer.index() + 1, None);
        }
        self.short_hosts[computer.index()] = Some(short);
        short
    }
}
