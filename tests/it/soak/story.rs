//! What happens while the service is soaked: a day of a fleet, in a twenty-fourth of the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::events::{self, Origin};
use crate::stream::Chance;

/// How much faster than the clock the events go on.
pub const SPEED: i64 = 24;

/// Partitions of the input, and how many of them get any messages.
pub const PARTITIONS: i32 = 6;
pub const PARTITIONS_USED: usize = 5;

/// One host in so many has a wrong clock; hosts of that kind and their accounts have names that
/// begin with this.
const WRONG_ONE_IN: usize = 100;
pub const WRONG: &str = "skew-";

/// Hosts that come in pairs with one machine SID.
const CLONES: usize = 6;

/// Milliseconds of event time between two unwanted events, starts of sessions, and mismatches.
const UNWANTED_EVERY: i64 = 80;
const SESSION_EVERY: i64 = 6_000;
const MISMATCH_EVERY: i64 = 120_000;

/// One session in so many is of a host with a wrong clock.
const WRONG_SESSION_ONE_IN: u64 = 20;

const ACCOUNTS: u64 = 500;

/// A session has up to so many failures, with pauses of up to so many milliseconds.
const FAILURES_MAX: u64 = 14;
const PAUSE_MAX: u64 = 8_000;
const SESSION_MAX: i64 = (FAILURES_MAX * PAUSE_MAX) as i64;

/// A host's events arrive up to so many milliseconds after their time.
const DELAY_MAX: u64 = 60_000;

/// A failure that belongs to a mismatch follows it within so many milliseconds.
const BESIDE_MAX: u64 = 3_000;

/// An event as it is sent.
#[derive(Debug)]
pub struct Sent {
    pub key: String,
    pub partition: i32,
    pub event: Vec<u8>,
}

#[derive(Debug)]
struct FleetHost {
    name: String,
    /// By how many milliseconds the clock is ahead.
    ahead: i64,
    delay: i64,
    records: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    OwnAccount,
    Unwanted,
    Mismatch,
    Failure { account: String },
}

/// An event that is to come; the first is the one that arrives first, of several the one that was
/// scheduled first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    arrival_ms: i64,
    number: u64,
    at_ms: i64,
    host: usize,
    what: What,
}

/// Events in the order of their arrival, made as they are asked for.
#[derive(Debug)]
pub struct Story {
    chance: Chance,
    hosts: Vec<FleetHost>,
    /// Hosts that have shown their own account long ago.
    known: usize,
    /// Between two hosts that show it.
    host_every: i64,
    starts_ms: i64,
    /// From when on nothing happens but unwanted events.
    quiet_ms: i64,
    /// Up to when events were scheduled: the next of each kind.
    next_unwanted: i64,
    next_session: i64,
    next_mismatch: i64,
    next_host: usize,
    sessions: u64,
    scheduled: BinaryHeap<Reverse<Scheduled>>,
    scheduled_count: u64,
    /// When each account with a right clock failed.
    pub truth: BTreeMap<String, Vec<i64>>,
}

impl Story {
    /// A story that begins at `starts_ms`, in milliseconds since 1970, and in which nothing happens
    /// any more from `quiet_ms` on. All hosts have shown who they are after a fifth of it.
    pub fn new(hosts: usize, starts_ms: i64, quiet_ms: i64) -> Story {
        let mut chance = Chance(24);
        let host = |number: usize| {
            let is_wrong = number % WRONG_ONE_IN == WRONG_ONE_IN - 1;
            let hours = 1 + chance.below(24) as i64;
            let sign = if (number / WRONG_ONE_IN).is_multiple_of(2) { 1 } else { -1 };
            FleetHost {
                name: format!("{}{number:05}.corp.example", if is_wrong { WRONG } else { "pc-" }),
                ahead: if is_wrong { sign * hours * 3_600_000 } else { 0 },
                delay: chance.below(DELAY_MAX) as i64,
                records: 1_000,
            }
        };
        let hosts: Vec<FleetHost> = (0..hosts).map(host).collect();
        Story {
            chance,
            known: 0,
            host_every: (quiet_ms - starts_ms) / 5 / hosts.len() as i64,
            hosts,
            starts_ms,
            quiet_ms,
            next_unwanted: starts_ms,
            next_session: starts_ms,
            next_mismatch: starts_ms,
            next_host: 0,
            sessions: 0,
            scheduled: BinaryHeap::new(),
            scheduled_count: 0,
            truth: BTreeMap::new(),
        }
    }

    /// The next event that arrives before `until_ms`.
    pub fn next_before(&mut self, until_ms: i64) -> Option<Sent> {
        self.schedule_to(until_ms);
        let Reverse(first) = self.scheduled.peek()?;
        if first.arrival_ms >= until_ms {
            return None;
        }
        let Reverse(Scheduled { at_ms, host, what, .. }) = self.scheduled.pop()?;
        let partition = (host % PARTITIONS_USED) as i32;
        let computer = &mut self.hosts[host];
        computer.records += 1;
        let origin = Origin {
            computer: &computer.name,
            record_id: computer.records,
            at_ms: at_ms + computer.ahead,
        };
        let event = match what {
            What::OwnAccount => {
                let machine = if host < CLONES { host / 2 } else { host };
                let sid = format!("S-1-5-21-{}-{}-3000000", 1_000_000 + machine, machine * 7 + 2);
                events::own_account(origin, &sid)
            }
            What::Unwanted => events::unwanted(origin),
            What::Mismatch => events::mismatch(origin),
            What::Failure { account } => events::failure(origin, &account, &peer(&account)),
        };
        Some(Sent { key: computer.name.clone(), partition, event })
    }

    fn schedule_to(&mut self, until_ms: i64) {
        while self.next_unwanted < until_ms {
            let host = self.chance.below(self.hosts.len() as u64) as usize;
            self.schedule(self.next_unwanted, host, What::Unwanted);
            self.next_unwanted += UNWANTED_EVERY;
        }
        while self.next_host < self.hosts.len() && self.host_at(self.next_host) < until_ms {
            self.schedule(self.host_at(self.next_host), self.next_host, What::OwnAccount);
            self.next_host += 1;
        }
        while self.next_session < until_ms.min(self.quiet_ms - SESSION_MAX) {
            let starts = self.next_session;
            self.next_session += SESSION_EVERY;
            self.know_hosts(starts);
            self.schedule_session(starts);
        }
        while self.next_mismatch < until_ms.min(self.quiet_ms - SESSION_MAX) {
            let at = self.next_mismatch;
            self.next_mismatch += MISMATCH_EVERY;
            self.know_hosts(at);
            self.schedule_mismatch(at);
        }
    }

    fn host_at(&self, host: usize) -> i64 {
        self.starts_ms + host as i64 * self.host_every
    }

    /// Hosts whose own account arrived before whatever may still be on its way.
    fn know_hosts(&mut self, at_ms: i64) {
        let long_ago = at_ms - 2 * DELAY_MAX as i64;
        while self.known < self.hosts.len() && self.host_at(self.known) < long_ago {
            self.known += 1;
        }
    }

    fn schedule_session(&mut self, starts_ms: i64) {
        self.sessions += 1;
        let is_wrong = self.sessions.is_multiple_of(WRONG_SESSION_ONE_IN);
        let Some((account, hosts)) = self.cast(is_wrong) else { return };
        let mut at = starts_ms;
        for failure in 0..=self.chance.below(FAILURES_MAX) {
            let host = hosts[failure as usize % hosts.len()];
            if !is_wrong {
                self.truth.entry(account.clone()).or_default().push(at);
            }
            self.schedule(at, host, What::Failure { account: account.clone() });
            at += self.chance.below(PAUSE_MAX) as i64;
        }
    }

    /// An account, and the one or two known hosts on which it fails.
    fn cast(&mut self, is_wrong: bool) -> Option<(String, Vec<usize>)> {
        let known = (self.known / WRONG_ONE_IN * WRONG_ONE_IN) as u64;
        if known == 0 {
            return None;
        }
        let mut hosts: Vec<usize> = (0..2).map(|_| self.chance.below(known) as usize).collect();
        let wrong = |host: &mut usize| *host = *host / WRONG_ONE_IN * WRONG_ONE_IN + 99;
        let right = |host: &mut usize| *host -= usize::from(*host % WRONG_ONE_IN == 99);
        let account = self.chance.below(ACCOUNTS);
        if is_wrong {
            hosts.iter_mut().for_each(wrong);
            hosts.truncate(1);
            return Some((format!("{WRONG}{account}"), hosts));
        }
        hosts.iter_mut().for_each(right);
        Some((format!("user{account}"), hosts))
    }

    /// A clone or another host refuses a machine id, and somebody fails because of it.
    fn schedule_mismatch(&mut self, at_ms: i64) {
        if self.known < WRONG_ONE_IN {
            return;
        }
        let host = self.chance.below(2 * CLONES as u64) as usize;
        let account = format!("visitor{}", self.chance.below(ACCOUNTS));
        let failed_ms = at_ms + self.chance.below(BESIDE_MAX) as i64;
        self.schedule(at_ms, host, What::Mismatch);
        self.truth.entry(account.clone()).or_default().push(failed_ms);
        self.schedule(failed_ms, host, What::Failure { account });
    }

    fn schedule(&mut self, at_ms: i64, host: usize, what: What) {
        self.scheduled_count += 1;
        let (arrival_ms, number) = (at_ms + self.hosts[host].delay, self.scheduled_count);
        self.scheduled.push(Reverse(Scheduled { arrival_ms, number, at_ms, host, what }));
    }
}

/// Each account fails from an address of its own: one that tried them all would be a spray.
fn peer(account: &str) -> String {
    let digits = account.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().expect("accounts are numbered");
    format!("10.{}.{}.{}", account.len(), number / 250, number % 250 + 1)
}
