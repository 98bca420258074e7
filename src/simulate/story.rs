//! Who is in the fleet: the domain, its hosts and their lives, the groups of
//! clones, the people. Made from the seed before the first event.
//!
//! A host's *life* is the time under one name, with one machine SID and one
//! line of record ids. Most hosts have one; a rename, a rebuild or Windows
//! Setup starts another:
//!
//! ```text
//! plain     |PC-FIN-001 ················································|
//! renamed   |PC-FIN-002 ·········|PC-FIN-NEW ·····························|  same SID, ids go on
//! rebuilt   |SRV-WEB-003 ·····|  |37L4247F27-25|SRV-WEB-003 ···············|  new SID, ids from 1
//! ```

use std::sync::Arc;

use super::dice::Dice;
use super::shapes::{Principal, WindowsBuild};
use super::truth::{FleetSpec, GroupState, Traps};
use crate::observation::NETBIOS_NAME_CHARS_MAX;
use crate::sid::DomainSid;
use crate::time::{EventTime, TICKS_PER_SEC};

const MINUTE: u64 = 60 * TICKS_PER_SEC;

/// Largest group of clones.
const GROUP_HOSTS_MAX: usize = 6;

/// Smallest fleet, and number of hosts still without a part, for a pool.
const POOL_FLEET_MIN: u32 = 30;
const POOL_HOSTS: usize = 6;

const BUILD_ENFORCING: [WindowsBuild; 4] = [
    WindowsBuild { number: 26_100, revision: 6_584, server: false },
    WindowsBuild { number: 26_100, revision: 6_899, server: false },
    WindowsBuild { number: 26_100, revision: 7_171, server: false },
    WindowsBuild { number: 26_100, revision: 32_690, server: true },
];
const BUILD_NOT_YET: WindowsBuild = WindowsBuild { number: 26_100, revision: 4_061, server: false };
const BUILD_23H2: WindowsBuild = WindowsBuild { number: 22_631, revision: 5_909, server: false };
const BUILD_2022: WindowsBuild = WindowsBuild { number: 20_348, revision: 4_171, server: true };

/// A domain, or a workgroup in place of one.
#[derive(Debug)]
pub struct Domain {
    pub netbios: Arc<str>,
    pub dns: Arc<str>,
    pub realm: Arc<str>,
    pub sid: DomainSid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    Workstation,
    Server,
    Controller,
}

/// What sets a host apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    None,
    /// Refuses itself right after a start.
    StaleBoot,
    /// Refuses itself although it has not started lately.
    Manipulated,
    /// Passwords are guessed there under the names of other hosts.
    Guessed,
    /// Its clock is wrong.
    Skewed,
    /// Went back to a snapshot.
    Restored {
        taken: EventTime,
        restored: EventTime,
    },
    /// Its log comes through two collectors.
    TwoCollectors,
}

/// How the computer name in `System` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Dns,
    /// NetBIOS while the network is not up yet, DNS after.
    NetbiosAtStart,
    LowerCase,
}

/// How a life begins.
#[derive(Clone, Debug)]
pub enum LifeStart {
    /// It was there before.
    Running,
    /// A desktop is started from the pool's image.
    FromImage,
    Renamed {
        old: Arc<str>,
    },
    /// Windows Setup, under a name of its own.
    Setup,
    Installed {
        placeholder: Arc<str>,
    },
}

/// How a life's record ids begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRecordId {
    Continues,
    Fresh(u64),
}

#[derive(Debug)]
pub struct Life {
    pub from: EventTime,
    pub until: EventTime,
    /// The computer name, which may be longer than NetBIOS allows.
    pub name: Arc<str>,
    /// In upper case and cut to NetBIOS length: the name of accounts and workstations.
    pub short: Arc<str>,
    /// `name` with the DNS domain, if the host is in one.
    pub computer: Arc<str>,
    pub machine: DomainSid,
    pub log: FirstRecordId,
    pub entry: LifeStart,
}

#[derive(Debug)]
pub struct StoryHost {
    pub lives: Vec<Life>,
    pub role: HostKind,
    pub build: WindowsBuild,
    pub ip: Arc<str>,
    /// Relative id of its account in the domain.
    pub rid: u32,
    /// Index into [`Story::users`].
    pub owner: usize,
    /// Whether local accounts are used there.
    pub uses_local_accounts: bool,
    pub quirk: Quirk,
    pub naming: Naming,
    /// In the second domain.
    pub foreign: bool,
    /// Minute of the first start; one a day follows, except for a [`Quirk::Manipulated`]. `None`:
    /// never starts.
    pub first_start: Option<u64>,
}

impl StoryHost {
    pub fn life_at(&self, time: EventTime) -> Option<(usize, &Life)> {
        self.lives.iter().enumerate().find(|(_, life)| life.from <= time && time < life.until)
    }

    pub fn last_life(&self) -> &Life {
        self.lives.last().expect("every host has a life")
    }

    /// The last name of the host.
    pub fn name(&self) -> &Arc<str> {
        &self.last_life().name
    }

    /// The last name with its domain.
    pub fn computer(&self) -> &Arc<str> {
        &self.last_life().computer
    }

    /// Whether it starts in this minute of the story.
    pub fn starts_in(&self, minute: u64) -> bool {
        const DAY: u64 = 1440;
        let daily = self.quirk != Quirk::Manipulated;
        self.first_start.is_some_and(|first| {
            minute == first || daily && minute > first && (minute - first).is_multiple_of(DAY)
        })
    }
}

/// Hosts with one machine SID.
#[derive(Debug)]
pub struct CloneGroup {
    pub machine: DomainSid,
    pub members: Vec<usize>,
    pub state: GroupState,
    pub pool: bool,
    /// Members refuse one another until then; `None`: never.
    pub mismatches_until: Option<EventTime>,
}

/// A person of the domain.
#[derive(Debug)]
pub struct Person {
    pub name: Arc<str>,
    pub rid: u32,
}

#[derive(Debug)]
pub struct Story {
    pub seed: u64,
    pub from: EventTime,
    pub minutes: u64,
    pub domain: Domain,
    /// The second domain, which has one host in the fleet.
    pub other: Domain,
    /// The controllers come first.
    pub hosts: Vec<StoryHost>,
    pub controllers: usize,
    pub groups: Vec<CloneGroup>,
    pub users: Vec<Person>,
    /// Hosts made from the first controller's image.
    pub controller_clones: Vec<usize>,
    pub traps: Traps,
}

/// Local accounts, the same on every host.
pub const LOCAL_ACCOUNTS: [(&str, u32); 3] =
    [("Administrator", 500), ("localadmin", 1001), ("svc_backup", 1002)];

const DEPARTMENTS: &[&str] = &["FIN", "HR", "ENG", "LAB", "OPS", "SALES", "DOC", "QA"];
const SERVICES: &[&str] = &["FILE", "PRINT", "WEB", "SQL", "APP"];
const FIRST_NAMES: [&str; 20] = [
    "anna", "ben", "carla", "david", "elif", "frank", "grace", "hugo", "ines", "jonas", "karin",
    "luis", "maya", "nils", "olga", "paul", "rosa", "sven", "tara", "victor",
];

/// A Monday morning, after the servers' update of April 2026.
const START: ((u32, u32, u32), (u32, u32, u32)) = ((2026, 5, 4), (7, 0, 0));

impl Story {
    pub fn new(spec: &FleetSpec) -> Story {
        let mut dice = Dice::new(spec.seed, &[0]);
        let from = EventTime::from_civil(START.0, START.1, 0).expect("the start is a date");
        let machine = |dice: &mut Dice| DomainSid([dice.word(), dice.word(), dice.word()]);
        let domain = |netbios: &str, dns: &str, sid| Domain {
            netbios: netbios.into(),
            dns: dns.into(),
            realm: dns.to_uppercase().into(),
            sid,
        };
        let users = (0..(spec.hosts as usize * 6 / 5).clamp(12, 20_000))
            .map(|index| Person {
                name: match index / FIRST_NAMES.len() {
                    0 => FIRST_NAMES[index].into(),
                    round => format!("{}{round}", FIRST_NAMES[index % FIRST_NAMES.len()]).into(),
                },
                rid: 1104 + 2 * index as u32,
            })
            .collect();
        let mut story = Story {
            seed: spec.seed,
            from,
            minutes: u64::from(spec.hours) * 60,
            domain: domain("CORP", "corp.example.com", machine(&mut dice)),
            other: domain("LAB", "lab.example.net", machine(&mut dice)),
            hosts: Vec::new(),
            controllers: match spec.hosts {
                0..20 => 1,
                20..200 => 2,
                _ => 3,
            },
            groups: Vec::new(),
            users,
            controller_clones: Vec::new(),
            traps: spec.traps,
        };
        for _ in 0..story.controllers {
            story.add_controller(&mut dice);
        }
        for _ in 0..spec.hosts {
            story.add_member(&mut dice);
        }
        let mut free = story.controllers..story.hosts.len();
        story.cast_groups(spec.groups as usize, &mut free, &mut dice);
        story.cast_culprits(&mut free);
        match spec.traps {
            Traps::On => story.cast_traps(spec, &mut free, &mut dice),
            Traps::Off => {}
        }
        story
    }

    pub fn until(&self) -> EventTime {
        self.minute(self.minutes)
    }

    pub fn minute(&self, minute: u64) -> EventTime {
        self.from.plus_ticks(minute * MINUTE)
    }

    /// The time after so many thousandths of the story.
    fn at_permille(&self, permille: u64) -> EventTime {
        self.from.plus_ticks(self.minutes * MINUTE / 1000 * permille)
    }

    pub fn domain_of(&self, host: &StoryHost) -> &Domain {
        if host.foreign { &self.other } else { &self.domain }
    }

    /// The account of a host in its domain.
    pub fn computer_account(&self, host: &StoryHost) -> Principal {
        Principal::Issued(self.domain_of(host).sid, host.rid)
    }

    fn life(&self, name: &str, machine: DomainSid, log: FirstRecordId, entry: LifeStart) -> Life {
        let dns = &self.domain.dns;
        Life {
            from: EventTime::MIN,
            until: EventTime::MAX,
            name: name.into(),
            short: cut(name),
            computer: match entry {
                LifeStart::Setup => name.into(),
                _ => format!("{name}.{dns}").into(),
            },
            machine,
            log,
            entry,
        }
    }

    fn add_host(&mut self, name: &str, machine: DomainSid, role: HostKind, build: WindowsBuild) {
        let index = self.hosts.len();
        let log = FirstRecordId::Fresh(1000 + 37 * index as u64);
        let life = self.life(name, machine, log, LifeStart::Running);
        self.hosts.push(StoryHost {
            lives: vec![life],
            role,
            build,
            ip: format!("10.{}.{}.{}", 20 + index / 60_000, index / 240 % 250, 10 + index % 240)
                .into(),
            // People have even ones from 1104.
            rid: match role {
                HostKind::Controller => 1000 + index as u32,
                HostKind::Workstation | HostKind::Server => 1103 + 2 * index as u32,
            },
            owner: index % self.users.len(),
            uses_local_accounts: false,
            quirk: Quirk::None,
            naming: Naming::Dns,
            foreign: false,
            first_start: None,
        });
    }

    fn add_controller(&mut self, dice: &mut Dice) {
        let name = format!("DC{:02}", self.hosts.len() + 1);
        let build = if dice.permille(500) { BUILD_ENFORCING[3] } else { BUILD_2022 };
        self.add_host(&name, self.domain.sid, HostKind::Controller, build);
    }

    fn add_member(&mut self, dice: &mut Dice) {
        let number = self.hosts.len() - self.controllers + 1;
        let server = dice.permille(200);
        let name = if server {
            format!("SRV-{}-{number:03}", dice.pick(SERVICES))
        } else {
            format!("PC-{}-{number:03}", dice.pick(DEPARTMENTS))
        };
        let build = match (server, dice.below(10)) {
            (true, 0..6) => BUILD_2022,
            (true, _) => BUILD_ENFORCING[3],
            (false, 0..5) => BUILD_ENFORCING[dice.index(3)],
            (false, 5..7) => BUILD_NOT_YET,
            (false, _) => BUILD_23H2,
        };
        let machine = DomainSid([dice.word(), dice.word(), dice.word()]);
        let role = if server { HostKind::Server } else { HostKind::Workstation };
        self.add_host(&name, machine, role, build);
        let day = self.minutes.clamp(2, 1440);
        let host = self.hosts.last_mut().expect("it was just added");
        host.uses_local_accounts = dice.permille(900);
        host.first_start = dice.permille(900).then(|| 1 + dice.below(day * 3 / 4));
    }

    fn cast_groups(&mut self, groups: usize, free: &mut std::ops::Range<usize>, dice: &mut Dice) {
        let groups = groups.min(free.len() / 2);
        for number in 0..groups {
            let fair = (free.len() / (groups - number)).clamp(2, GROUP_HOSTS_MAX);
            let size = 2 + dice.index(fair - 1);
            let members: Vec<usize> = free.by_ref().take(size).collect();
            let machine = DomainSid([dice.word(), dice.word(), dice.word()]);
            let state = [GroupState::Active, GroupState::Latent, GroupState::Remedied][number % 3];
            // Of one image, so all servers or all workstations.
            let (role, kind, enforcing, other) = match number % 4 {
                3 => (HostKind::Server, "SRV", &BUILD_ENFORCING[3..], BUILD_2022),
                _ => (HostKind::Workstation, "PC", &BUILD_ENFORCING[..3], BUILD_NOT_YET),
            };
            for (place, &member) in members.iter().enumerate() {
                let unit = dice.pick(if role == HostKind::Server { SERVICES } else { DEPARTMENTS });
                let name = format!("{kind}-{unit}-{:03}", member - self.controllers + 1);
                let log = self.hosts[member].lives[0].log;
                let life = self.life(&name, machine, log, LifeStart::Running);
                let host = &mut self.hosts[member];
                host.lives[0] = life;
                host.role = role;
                host.build = match (state, place) {
                    (GroupState::Latent, 1..) => other,
                    // A clone that has missed its updates goes unnoticed.
                    (GroupState::Active, 3..) if dice.permille(300) => other,
                    (GroupState::Active | GroupState::Remedied | GroupState::Latent, _) => {
                        *dice.pick(enforcing)
                    }
                };
                host.uses_local_accounts = place < 2 || dice.permille(700);
                host.first_start = host.first_start.or(Some(2));
            }
            let last_rebuild = match state {
                GroupState::Remedied => Some(self.rebuild_all_but_first(&members, dice)),
                GroupState::Active | GroupState::Latent => None,
            };
            let mismatches_until = match state {
                GroupState::Active => Some(self.until()),
                GroupState::Latent => None,
                // Every second one had failed before.
                GroupState::Remedied => last_rebuild.filter(|_| number % 2 == 0),
            };
            self.groups.push(CloneGroup { machine, members, state, pool: false, mismatches_until });
        }
    }

    /// Rebuilds all members but the first; returns the time of the first rebuild.
    fn rebuild_all_but_first(&mut self, members: &[usize], dice: &mut Dice) -> EventTime {
        let first = 400;
        for (place, &member) in members.iter().enumerate().skip(1) {
            self.rebuild(member, self.at_permille(first + 300 / 5 * (place as u64 - 1)), dice);
        }
        self.at_permille(first)
    }

    /// Ends the host's life; after twenty minutes of Setup (less in a short story) another starts
    /// under the same name.
    fn rebuild(&mut self, host: usize, time: EventTime, dice: &mut Dice) {
        let gap = (self.minutes / 20).clamp(1, 20) * MINUTE;
        let machine = DomainSid([dice.word(), dice.word(), dice.word()]);
        let name = Arc::clone(&self.hosts[host].lives[0].name);
        self.hosts[host].lives[0].until = time;
        self.install(host, &name, machine, time.plus_ticks(gap), dice);
    }

    /// Adds the lives of an installation that starts at `time`.
    fn install(
        &mut self,
        host: usize,
        name: &str,
        machine: DomainSid,
        time: EventTime,
        dice: &mut Dice,
    ) {
        let mut log = FirstRecordId::Fresh(1);
        let mut from = time;
        let mut placeholder = Arc::from(name);
        if self.traps == Traps::On {
            // Setup's first boot has the SID of its image, or already the new one.
            let image = |number| {
                let mut dice = Dice::new(self.seed, &[1, number]);
                DomainSid([dice.word(), dice.word(), dice.word()])
            };
            let (temporary, first) = match dice.below(3) {
                0 => ("37L4247F27-25".to_owned(), image(0)),
                1 => ("MINWINPC".to_owned(), image(1)),
                _ => (format!("WIN-{}", random_name(dice)), machine),
            };
            let mut life = self.life(&temporary, first, log, LifeStart::Setup);
            from = time.plus_ticks(40 * TICKS_PER_SEC);
            (life.from, life.until) = (time, from);
            placeholder = Arc::clone(&life.name);
            self.hosts[host].lives.push(life);
            log = FirstRecordId::Continues;
        }
        let mut life = self.life(name, machine, log, LifeStart::Installed { placeholder });
        life.from = from;
        self.hosts[host].lives.push(life);
    }

    /// Hosts that refuse themselves: one of each kind, more in larger fleets.
    fn cast_culprits(&mut self, free: &mut std::ops::Range<usize>) {
        let each = free.len().min(4) / 2;
        let each = each.min(1 + free.len() / 50);
        for quirk in [Quirk::StaleBoot, Quirk::Manipulated] {
            for index in free.by_ref().take(each) {
                let day = self.minutes.clamp(2, 1440);
                let host = &mut self.hosts[index];
                host.quirk = quirk;
                host.build = BUILD_ENFORCING[1];
                host.uses_local_accounts = true;
                // Early, so that both the start and what follows are within the story.
                host.first_start = Some(1 + day / 10);
            }
        }
    }

    fn cast_traps(&mut self, spec: &FleetSpec, free: &mut std::ops::Range<usize>, dice: &mut Dice) {
        if let Some(index) = free.next() {
            self.trap_rename(index);
        }
        if let Some(index) = free.next() {
            self.hosts[index].uses_local_accounts = true;
            self.rebuild(index, self.at_permille(450), dice);
        }
        if let Some(index) = free.next() {
            let sid = self.domain.sid;
            let host = &mut self.hosts[index];
            host.lives[0].machine = sid;
            host.uses_local_accounts = true;
            self.controller_clones.push(index);
        }
        if let Some(index) = free.next() {
            // New in the fleet: no life before its installation.
            let Life { name, machine, .. } = self.hosts[index].lives.remove(0);
            self.hosts[index].uses_local_accounts = true;
            self.install(index, &name, machine, self.at_permille(200), dice);
        }
        if free.len() >= 2 {
            self.trap_equal_names(free);
        }
        if let Some(index) = free.next() {
            let (taken, restored) = (self.at_permille(400), self.at_permille(600));
            self.hosts[index].quirk = Quirk::Restored { taken, restored };
            self.hosts[index].uses_local_accounts = true;
        }
        for quirk in [Quirk::TwoCollectors, Quirk::Guessed, Quirk::Skewed] {
            if let Some(index) = free.next() {
                self.hosts[index].quirk = quirk;
            }
        }
        for naming in [Naming::LowerCase, Naming::NetbiosAtStart] {
            if let Some(index) = free.next() {
                self.hosts[index].naming = naming;
                self.hosts[index].uses_local_accounts = true;
            }
        }
        if spec.hosts >= POOL_FLEET_MIN && free.len() >= POOL_HOSTS {
            self.trap_pool(free, dice);
        }
        // A member of a clone group with a name that NetBIOS cuts, or any host.
        let latent = self.groups.iter().find(|group| group.state == GroupState::Latent);
        let member = latent.and_then(|group| group.members.get(1).copied());
        if let Some(index) = member.or_else(|| free.next()) {
            let name = "ENGINEERING-WORKSTATION-07";
            let machine = self.hosts[index].lives[0].machine;
            let log = self.hosts[index].lives[0].log;
            self.hosts[index].lives[0] = self.life(name, machine, log, LifeStart::Running);
        }
        for host in &mut self.hosts[self.controllers..] {
            if host.naming == Naming::Dns && dice.permille(150) {
                host.naming = Naming::NetbiosAtStart;
            }
        }
    }

    fn trap_rename(&mut self, index: usize) {
        let time = self.at_permille(500);
        let Life { name, machine, .. } = &self.hosts[index].lives[0];
        let (old, machine) = (Arc::clone(name), *machine);
        let name = format!(
            "{}-NEW",
            old.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-')
        );
        let mut life =
            self.life(&name, machine, FirstRecordId::Continues, LifeStart::Renamed { old });
        life.from = time;
        let host = &mut self.hosts[index];
        host.lives[0].until = time;
        host.lives.push(life);
        host.uses_local_accounts = true;
        host.first_start = None;
    }

    /// Two hosts of one short name, each in a domain of its own.
    fn trap_equal_names(&mut self, free: &mut std::ops::Range<usize>) {
        for index in free.by_ref().take(2) {
            let foreign = index % 2 == 0;
            let dns =
                if foreign { Arc::clone(&self.other.dns) } else { Arc::clone(&self.domain.dns) };
            let host = &mut self.hosts[index];
            host.foreign = foreign;
            host.uses_local_accounts = true;
            let life = &mut host.lives[0];
            life.name = "PRINT01".into();
            life.short = "PRINT01".into();
            life.computer = format!("PRINT01.{dns}").into();
        }
    }

    /// Desktops that are discarded after use, all from one image.
    fn trap_pool(&mut self, free: &mut std::ops::Range<usize>, dice: &mut Dice) {
        let machine = DomainSid([dice.word(), dice.word(), dice.word()]);
        let members: Vec<usize> = free.by_ref().take(POOL_HOSTS).collect();
        for (place, &index) in members.iter().enumerate() {
            let name = format!("VDI-{:03}", place + 1);
            let mut life =
                self.life(&name, machine, FirstRecordId::Fresh(4001), LifeStart::FromImage);
            life.from = self.at_permille(place as u64 * 130);
            life.until = self.at_permille(place as u64 * 130 + 300);
            let host = &mut self.hosts[index];
            host.role = HostKind::Workstation;
            host.build = BUILD_23H2;
            host.lives = vec![life];
            host.uses_local_accounts = true;
            host.first_start = None;
        }
        let state = GroupState::Latent;
        self.groups.push(CloneGroup {
            machine,
            members,
            state,
            pool: true,
            mismatches_until: None,
        });
    }
}

/// The NetBIOS form of a name.
fn cut(name: &str) -> Arc<str> {
    name.chars().take(NETBIOS_NAME_CHARS_MAX).collect::<String>().to_uppercase().into()
}

/// Eleven characters, as Setup generates them.
fn random_name(dice: &mut Dice) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    (0..11).map(|_| char::from(*dice.pick(LETTERS))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::simulate::fleet::Form;

    fn story(hosts: u32, groups: u32, seed: u64, traps: Traps) -> Story {
        Story::new(&FleetSpec { hosts, groups, hours: 24, seed, form: Form::Evtx, traps })
    }

    #[test]
    fn only_twins_share_a_machine_sid() {
        for seed in 0..20 {
            for traps in [Traps::On, Traps::Off] {
                let story = story(60, 5, seed, traps);
                let mut owners: BTreeMap<[u32; 3], Vec<usize>> = BTreeMap::new();
                for (index, host) in story.hosts.iter().enumerate() {
                    for life in
                        host.lives.iter().filter(|life| !matches!(life.entry, LifeStart::Setup))
                    {
                        let owners = owners.entry(life.machine.0).or_default();
                        if owners.last() != Some(&index) {
                            owners.push(index);
                        }
                    }
                }
                owners.remove(&story.domain.sid.0);
                for group in &story.groups {
                    assert_eq!(owners.remove(&group.machine.0).unwrap(), group.members);
                }
                assert!(owners.values().all(|hosts| hosts.len() == 1), "{seed} {owners:?}");
            }
        }
    }

    #[test]
    fn only_active_and_remedied_groups_have_members_that_refuse_each_other() {
        for seed in 0..20 {
            for group in story(60, 6, seed, Traps::On).groups {
                let story = story(60, 6, seed, Traps::On);
                let enforcing =
                    group.members.iter().filter(|host| story.hosts[**host].build.enforces());
                match group.state {
                    GroupState::Latent => assert!(enforcing.count() <= 1),
                    GroupState::Active | GroupState::Remedied => assert!(enforcing.count() >= 2),
                }
            }
        }
    }

    #[test]
    fn names_differ_but_for_the_pair_in_two_domains() {
        let story = story(60, 5, 1, Traps::On);
        let mut names: Vec<_> = story.hosts.iter().map(StoryHost::name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count - 1);
        let mut computers: Vec<_> = story.hosts.iter().map(StoryHost::computer).collect();
        computers.sort_unstable();
        computers.dedup();
        assert_eq!(computers.len(), count);
    }

    #[test]
    fn a_fleet_of_any_size_has_a_cast() {
        for hosts in 1..70 {
            for groups in [0, 1, 3, 40] {
                let story = story(hosts, groups, 3, Traps::On);
                assert_eq!(story.hosts.len(), hosts as usize + story.controllers);
                assert!(story.hosts.iter().all(|host| !host.lives.is_empty()));
                let groups = story.groups.iter().filter(|group| !group.pool).count();
                assert!(groups <= hosts as usize / 2);
            }
        }
    }
}
