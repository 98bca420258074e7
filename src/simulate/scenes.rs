//! What happens in the fleet, minute by minute.
//!
//! Hosts and clone groups act, each with a random generator of its own for every minute, so that
//! the events of some hosts can be generated without those of the others; only domain controllers
//! depend on everybody. A scene passes its events to a [`Timeline`], which holds those of later
//! minutes and drops those of hosts that are not present.

use std::ops::Range;
use std::sync::Arc;

use super::dice::Dice;
use super::shapes;
use super::shapes::{
    EventShape, FleetEvent, LogonFailure, Origin, Package, Principal, Who, account_renamed,
    account_touched, account_written, clock_set, connection, credentials, event_log,
    explicit_credentials, groups_listed, logoff, logon, logon_failed, mismatch, object_access,
    preauthentication_failed, privileges, process, secure_channel, service_state, service_ticket,
    started, stopped, ticket_granting, update_installed,
};
use super::story::{HostKind, LOCAL_ACCOUNTS, Life, LifeStart, Naming, Quirk, Story, StoryHost};
use super::truth::Culprit;
use crate::time::{EventTime, TICKS_PER_SEC};

/// What the truth records about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruthNote {
    Nothing,
    /// A local account with its SID, under the host's own name.
    LocalAccount,
    /// The peer is a host's index.
    Mismatch {
        peer: Option<usize>,
        cause: Culprit,
    },
}

/// An event that has no record id yet.
#[derive(Debug)]
pub struct PendingEvent {
    /// When it is written; `event.time` differs while the clock is wrong.
    pub at: EventTime,
    pub host: usize,
    pub event: FleetEvent,
    pub note: TruthNote,
    order: u64,
}

/// Events of one minute at a time, in order.
#[derive(Debug)]
pub struct Timeline<'s> {
    story: &'s Story,
    /// The hosts whose events are kept.
    present: Range<usize>,
    pending: Vec<PendingEvent>,
    actor: u64,
    emitted: u64,
}

const SECOND: u64 = TICKS_PER_SEC;
const MINUTE: u64 = 60 * SECOND;

const PROGRAMS: &[&str] = &[
    "C:\\Windows\\System32\\svchost.exe",
    "C:\\Windows\\System32\\backgroundTaskHost.exe",
    "C:\\Windows\\System32\\conhost.exe",
    "C:\\Windows\\System32\\taskhostw.exe",
    "C:\\Program Files\\Microsoft\\EdgeUpdate\\MicrosoftEdgeUpdate.exe",
    "C:\\Windows\\System32\\wbem\\WmiPrvSE.exe",
];
const SERVICES: &[&str] = &[
    "Windows Update",
    "Background Intelligent Transfer Service",
    "Software Protection",
    "WinHTTP Web Proxy Auto-Discovery Service",
    "Windows Modules Installer",
];
const UPDATES: &[&str] = &[
    "Security Intelligence Update for Microsoft Defender Antivirus - KB2267602 \
     (Version 1.429.112.0) - Current Channel (Broad)",
    "2026-04 Security Update (KB5083769) (26100.8246)",
    "Windows Malicious Software Removal Tool x64 - v5.140 (KB890830)",
];
const GUESSED_NAMES: &[&str] = &["Administrator", "admin", "test", "backup", "sa", "oracle"];

/// Offset of the generators of groups among those of hosts.
const GROUP_ACTORS: u64 = 1 << 31;

impl<'s> Timeline<'s> {
    pub fn new(story: &'s Story, present: Range<usize>) -> Timeline<'s> {
        Timeline { story, present, pending: Vec::new(), actor: 0, emitted: 0 }
    }

    /// Plays one minute and returns its events, together with those of earlier scenes that fall
    /// into it. To be called with ascending minutes.
    pub fn play(&mut self, minute: u64) -> Vec<PendingEvent> {
        let controllers = 0..self.story.controllers;
        let all = self.present.start < controllers.end;
        for host in 0..self.story.hosts.len() {
            if all || self.present.contains(&host) {
                (self.actor, self.emitted) = (host as u64, 0);
                self.host_minute(host, minute);
            }
        }
        for (number, group) in self.story.groups.iter().enumerate() {
            if all || group.members.iter().any(|member| self.present.contains(member)) {
                (self.actor, self.emitted) = (GROUP_ACTORS + number as u64, 0);
                self.group_minute(number, minute);
            }
        }
        self.pending.sort_by_key(|event| (event.at, event.host, event.order));
        let end = self.story.minute(minute + 1);
        let ready = self.pending.partition_point(|event| event.at < end);
        self.pending.drain(..ready).collect()
    }

    fn emit(&mut self, host: usize, at: EventTime, shape: EventShape) {
        self.emit_noted(host, at, at, shape, TruthNote::Nothing);
    }

    fn emit_noted(
        &mut self,
        host: usize,
        at: EventTime,
        time: EventTime,
        shape: EventShape,
        note: TruthNote,
    ) {
        self.emitted += 1;
        if !self.present.contains(&host) {
            return;
        }
        let actor = &self.story.hosts[host];
        // A host that is off, or gone, writes nothing.
        let Some((_, life)) = actor.life_at(at) else { return };
        let computer = match actor.naming {
            Naming::LowerCase => life.computer.to_lowercase().into(),
            Naming::NetbiosAtStart if shape.provider.name == shapes::EVENT_LOG.name => {
                Arc::clone(&life.short)
            }
            Naming::NetbiosAtStart | Naming::Dns => Arc::clone(&life.computer),
        };
        let event = FleetEvent { shape, computer, time, record_id: 0 };
        let order = self.actor << 32 | self.emitted;
        self.pending.push(PendingEvent { at, host, event, note, order });
    }

    fn host_minute(&mut self, index: usize, minute: u64) {
        let story = self.story;
        let host = &story.hosts[index];
        let begin = story.minute(minute);
        let end = story.minute(minute + 1);
        for (number, life) in host.lives.iter().enumerate() {
            if begin <= life.from && life.from < end {
                let mut dice = Dice::new(story.seed, &[3, index as u64, number as u64]);
                self.life_begins(index, life, &mut dice);
            }
            if begin <= life.until && life.until < end {
                let at = begin.max(life.until.minus_ticks(5 * SECOND));
                self.emit(index, at, stopped(at));
            }
        }
        let Some((_, life)) = host.life_at(begin) else { return };
        let mut dice = Dice::new(story.seed, &[2, index as u64, minute]);
        let mut down_until = begin;
        if host.starts_in(minute) {
            down_until = self.restart(index, begin.plus_ticks(dice.below(5 * SECOND)), &mut dice);
        }
        let mut scene = Scene { timeline: self, story, index, host, life, begin, down_until };
        scene.background(&mut dice);
        match host.role {
            HostKind::Controller => scene.controller(&mut dice),
            HostKind::Workstation | HostKind::Server => scene.member(&mut dice),
        }
        scene.quirk(minute, &mut dice);
    }

    /// The first events of a life, by the way it starts.
    fn life_begins(&mut self, index: usize, life: &Life, dice: &mut Dice) {
        match &life.entry {
            LifeStart::Running => {}
            LifeStart::FromImage => {
                self.start_up(index, life.from, dice);
                let who = local(life, 1, dice);
                self.local_logon(index, life.from.plus_ticks(20 * SECOND), &who, 2, dice);
            }
            LifeStart::Setup => self.setup_begins(index, life, dice),
            LifeStart::Installed { placeholder } => {
                self.installed_begins(index, life, placeholder, dice);
            }
            LifeStart::Renamed { old } => self.renamed_begins(index, life, old, dice),
        }
    }

    /// Windows Setup at work, under a name of its own.
    fn setup_begins(&mut self, index: usize, life: &Life, dice: &mut Dice) {
        let story = self.story;
        let host = &story.hosts[index];
        let at = |ticks| life.from.plus_ticks(ticks);
        self.start_up(index, at(0), dice);
        let machine = system_of(host, life, story);
        for number in 0..20 {
            let program = *dice.pick(PROGRAMS);
            let shape = process(&machine, program, String::new(), 0x400 + number * 4);
            self.emit(index, at(SECOND + number * SECOND), shape);
        }
        let built_in = local(life, 0, dice);
        let shape = account_written(4738, &built_in, &machine, None);
        self.emit(index, at(25 * SECOND), shape);
        self.emit(index, at(26 * SECOND), account_touched(4724, &built_in, &machine));
    }

    /// An installation gets its name and its accounts, and joins the domain.
    fn installed_begins(
        &mut self,
        index: usize,
        life: &Life,
        placeholder: &Arc<str>,
        dice: &mut Dice,
    ) {
        let story = self.story;
        let host = &story.hosts[index];
        let at = |ticks| life.from.plus_ticks(ticks);
        self.emit(index, at(0), event_log(6011, &[placeholder, &life.short], None));
        self.start_up(index, at(SECOND), dice);
        let machine = system_of(host, life, story);
        let mut note = |ticks, shape| {
            self.emit_noted(index, at(ticks), at(ticks), shape, TruthNote::LocalAccount);
        };
        let built_in = local(life, 0, dice);
        let made = local(life, 1, dice);
        note(5 * SECOND, account_written(4738, &built_in, &machine, None));
        note(6 * SECOND, account_written(4720, &made, &machine, None));
        note(7 * SECOND, account_touched(4722, &made, &machine));
        note(8 * SECOND, account_touched(4724, &made, &machine));
        let who = Who {
            sid: story.computer_account(host),
            name: format!("{}$", life.short).into(),
            domain: Arc::clone(&story.domain_of(host).netbios),
            logon: 0x3e7,
        };
        let by = person(story, host, 0, dice);
        if !host.foreign {
            let controller = dice.index(story.controllers);
            let dns = Some(&life.computer);
            self.emit(controller, at(9 * SECOND), account_written(4741, &who, &by, dns));
            self.emit(controller, at(10 * SECOND), account_written(4742, &who, &by, dns));
        }
    }

    /// A host restarts under its new name.
    fn renamed_begins(&mut self, index: usize, life: &Life, old: &Arc<str>, dice: &mut Dice) {
        let story = self.story;
        let host = &story.hosts[index];
        let at = |ticks| life.from.plus_ticks(ticks);
        let former = story.hosts[index].life_at(life.from.minus_ticks(1));
        let former = former.map_or(life, |(_, former)| former);
        let controller = dice.index(story.controllers);
        let by = person(story, host, 0, dice);
        let who = Who {
            sid: story.computer_account(host),
            name: format!("{}$", life.short).into(),
            domain: Arc::clone(&story.domain.netbios),
            logon: 0x3e7,
        };
        let names = [format!("{old}$"), format!("{}$", life.short)];
        let [old_account, new_account] = names;
        let shape = account_renamed(old_account, new_account, &who, &by);
        self.emit(controller, at(0), shape);
        let dns = Some(&life.computer);
        self.emit(controller, at(SECOND), account_written(4742, &who, &by, dns));
        self.emit(index, at(0), event_log(6011, &[old, &life.short], None));
        self.start_up(index, at(SECOND), dice);
        // The security authority adopts the new name a little later.
        let machine = system_of(host, former, story);
        let lagging = local(former, 0, dice);
        for number in 0..10 {
            let program = *dice.pick(PROGRAMS);
            let shape = process(&machine, program, String::new(), 0x600 + number * 4);
            self.emit(index, at((3 + 4 * number) * SECOND), shape);
        }
        self.emit(index, at(30 * SECOND), groups_listed(&machine, &lagging));
        let machine = system_of(host, life, story);
        let who = local(life, 0, dice);
        let time = at(MINUTE);
        let shape = groups_listed(&machine, &who);
        self.emit_noted(index, time, time, shape, TruthNote::LocalAccount);
    }

    /// Shuts the host down and starts it again; returns when it is up.
    fn restart(&mut self, index: usize, at: EventTime, dice: &mut Dice) -> EventTime {
        self.emit(index, at, event_log(6006, &[], None));
        self.emit(index, at.plus_ticks(SECOND), stopped(at));
        let up = at.plus_ticks(20 * SECOND + dice.below(20 * SECOND));
        self.start_up(index, up, dice);
        let host = &self.story.hosts[index];
        if host.quirk == Quirk::StaleBoot {
            self.refuse_itself(index, up.plus_ticks(30 * SECOND), Culprit::StaleBoot, dice);
        }
        if host.role != HostKind::Controller && dice.permille(60) {
            let data = [&*self.story.domain.netbios, "%%1311"];
            let shape = secure_channel(5719, &data, 0xc000_005e);
            self.emit(index, up.plus_ticks(8 * SECOND), shape);
        }
        up
    }

    fn start_up(&mut self, index: usize, up: EventTime, dice: &mut Dice) {
        let build = self.story.hosts[index].build;
        let [number, revision] = [build.number, build.revision].map(|part| part.to_string());
        self.emit(index, up, started(build, up));
        let data = ["10.00.", &number, "", "Multiprocessor Free", &revision];
        let soon = |millis| up.plus_ticks(millis * SECOND / 1000);
        self.emit(index, soon(600), event_log(6009, &data, None));
        self.emit(index, soon(610), event_log(6005, &[], None));
        let uptime = (8 + dice.below(30)).to_string();
        let data = ["", "", "", "", &uptime, "60", "0 UTC"];
        self.emit(index, soon(620), event_log(6013, &data, None));
    }

    /// A mismatch of the host with its own earlier boot session, or with a forged one.
    fn refuse_itself(&mut self, index: usize, at: EventTime, cause: Culprit, dice: &mut Dice) {
        let story = self.story;
        let host = &story.hosts[index];
        for round in 0..1 + dice.below(2) {
            let at = at.plus_ticks((round * 45 + dice.below(40)) * SECOND);
            let Some((_, life)) = host.life_at(at) else { continue };
            let who = person(story, host, host.owner, dice);
            let note = TruthNote::Mismatch { peer: None, cause };
            self.emit_noted(index, at, at, mismatch(), note);
            let origin = origin_of(host, life, dice);
            let package = if dice.permille(500) { Package::Ntlm } else { Package::Kerberos };
            let shape =
                logon_failed(&who.name, &who.domain, LogonFailure::REFUSED, package, &origin);
            self.emit(index, at.plus_ticks(dice.below(SECOND)), shape);
        }
    }

    fn local_logon(&mut self, index: usize, at: EventTime, who: &Who, kind: u32, dice: &mut Dice) {
        let story = self.story;
        let host = &story.hosts[index];
        let Some((_, life)) = host.life_at(at) else { return };
        let machine = system_of(host, life, story);
        let origin = origin_of(host, life, dice);
        let newer = host.build.number >= 22_621;
        let after = |millis| at.plus_ticks(millis * SECOND / 1000);
        let mut note = |millis, shape| {
            self.emit_noted(index, after(millis), after(millis), shape, TruthNote::LocalAccount);
        };
        note(0, logon(Some(&machine), who, kind, Package::Negotiate, Some(&origin), newer));
        note(1, privileges(who));
        note(900, groups_listed(&machine, who));
        let program = *dice.pick(PROGRAMS);
        note(2500, process(who, program, String::new(), 0x1000));
        note(9000 + dice.below(30_000), logoff(who, kind));
        self.emit(index, after(0), credentials(&who.name, &life.short, 0));
    }

    /// Members of a group authenticate to one another.
    fn group_minute(&mut self, number: usize, minute: u64) {
        let story = self.story;
        let group = &story.groups[number];
        let Some(until) = group.mismatches_until else { return };
        let begin = story.minute(minute);
        // Every half hour, and a few times in a short story.
        let period = (story.minutes / 12).clamp(1, 30);
        if begin >= until || minute % period != number as u64 % period {
            return;
        }
        let mut dice = Dice::new(story.seed, &[4, number as u64, minute]);
        let at = begin.plus_ticks(SECOND + dice.below(30 * SECOND));
        let awake = |member: &usize| {
            let host = &story.hosts[*member];
            let same = host.life_at(at).is_some_and(|(_, life)| life.machine == group.machine);
            let starts = host.starts_in(minute) || minute > 0 && host.starts_in(minute - 1);
            host.build.enforces() && same && !starts
        };
        let mut awake: Vec<usize> = group.members.iter().copied().filter(awake).collect();
        if awake.len() < 2 {
            return;
        }
        let target = awake.swap_remove(dice.index(awake.len()));
        let peer = *dice.pick(&awake);
        let user = (number * 7 + dice.index(5)) % story.users.len();
        let mut at = at;
        for _ in 0..1 + dice.below(3) {
            self.refuse_twin(target, peer, user, at, &mut dice);
            at = at.plus_ticks(2 * SECOND + dice.below(12 * SECOND));
        }
    }

    /// The controller authenticates the account, the target refuses it.
    fn refuse_twin(
        &mut self,
        target: usize,
        peer: usize,
        user: usize,
        at: EventTime,
        dice: &mut Dice,
    ) {
        let story = self.story;
        let [host, other] = [target, peer].map(|index| &story.hosts[index]);
        let (Some((_, life)), Some((_, other_life))) = (host.life_at(at), other.life_at(at)) else {
            return;
        };
        let controller = dice.index(story.controllers);
        let who = person(story, host, user, dice);
        let origin = origin_of(other, other_life, dice);
        let before = at.minus_ticks((50 + dice.below(700)) * SECOND / 1000);
        let package = if dice.permille(600) {
            let shape = service_ticket(
                format!("{}@{}", who.name, story.domain.realm),
                &story.domain.realm,
                format!("{}$", life.short),
                story.computer_account(host),
                mapped(&other.ip),
                0,
            );
            self.emit(controller, before, shape);
            Package::Kerberos
        } else {
            self.emit(controller, before, credentials(&who.name, &other_life.short, 0));
            Package::Ntlm
        };
        let note = TruthNote::Mismatch { peer: Some(peer), cause: Culprit::Clone };
        self.emit_noted(target, at, at, mismatch(), note);
        let shape = logon_failed(&who.name, &who.domain, LogonFailure::REFUSED, package, &origin);
        self.emit(target, at.plus_ticks(dice.below(3 * SECOND / 2)), shape);
    }
}

/// One host in one minute.
struct Scene<'a, 's> {
    timeline: &'a mut Timeline<'s>,
    story: &'s Story,
    index: usize,
    host: &'s StoryHost,
    life: &'s Life,
    begin: EventTime,
    down_until: EventTime,
}

impl Scene<'_, '_> {
    /// A random time in the minute; `None` while the host is down.
    fn moment(&self, dice: &mut Dice) -> Option<EventTime> {
        let at = self.begin.plus_ticks(dice.below(MINUTE));
        let down = self.down_until > self.begin && at <= self.down_until.plus_ticks(SECOND);
        (!down).then_some(at)
    }

    fn times(&self, hourly: u64, dice: &mut Dice) -> u64 {
        const HOUR: u64 = 3600 * SECOND;
        let office = (7..18).contains(&(self.begin.0 / HOUR % 24));
        dice.in_minute(if office { hourly } else { hourly.div_ceil(3) })
    }

    fn emit(&mut self, at: EventTime, shape: EventShape) {
        self.timeline.emit(self.index, at, shape);
    }

    /// Events that no rule matches; most of every log.
    fn background(&mut self, dice: &mut Dice) {
        let busy = match self.host.role {
            HostKind::Controller => 3,
            HostKind::Server => 2,
            HostKind::Workstation => 1,
        };
        let machine = system_of(self.host, self.life, self.story);
        for (kind, hourly) in [40, 35, 15, 8, 8, 6].into_iter().enumerate() {
            for _ in 0..self.times(hourly * busy, dice) {
                let id = dice.below(1 << 13) * 4;
                let Some(at) = self.moment(dice) else { continue };
                let shape = match kind {
                    0 => {
                        let program = *dice.pick(PROGRAMS);
                        process(&machine, program, format!("\"{program}\" -k netsvcs -p"), id)
                    }
                    1 => {
                        let other = &self.story.hosts[dice.index(self.story.hosts.len())];
                        let ports = (49_152 + dice.below(16_000) as u16, 443);
                        connection(&self.host.ip, &other.ip, ports)
                    }
                    2 => {
                        let who = person(self.story, self.host, self.host.owner, dice);
                        let path = format!("C:\\Users\\{}\\Documents\\{id:x}.docx", who.name);
                        object_access(&who, path, id)
                    }
                    3 => {
                        let newer = self.host.build.number >= 22_621;
                        let who = Who { name: "SYSTEM".into(), ..machine.clone() };
                        let who = Who { domain: "NT AUTHORITY".into(), ..who };
                        logon(Some(&machine), &who, 5, Package::Negotiate, None, newer)
                    }
                    4 => {
                        let who = Who { name: "SYSTEM".into(), ..machine.clone() };
                        privileges(&Who { domain: "NT AUTHORITY".into(), ..who })
                    }
                    _ => {
                        let state = if dice.permille(500) { "running" } else { "stopped" };
                        let service = *dice.pick(SERVICES);
                        service_state(service, state)
                    }
                };
                self.emit(at, shape);
            }
        }
        if dice.below(900) == 0
            && let Some(at) = self.moment(dice)
        {
            let title = *dice.pick(UPDATES);
            self.emit(at, update_installed(title));
        }
    }

    fn member(&mut self, dice: &mut Dice) {
        for _ in 0..self.times(5, dice) {
            if let Some(at) = self.moment(dice) {
                self.domain_logon(at, dice);
            }
        }
        if !self.host.foreign && self.times(1, dice) > 0 && dice.permille(300) {
            self.wrong_password(dice);
        }
        if self.host.uses_local_accounts {
            for _ in 0..self.times(2, dice) {
                if let Some(at) = self.moment(dice) {
                    self.local_activity(at, dice);
                }
            }
        }
    }

    fn domain_logon(&mut self, at: EventTime, dice: &mut Dice) {
        let story = self.story;
        let who = person(story, self.host, dice.index(story.users.len()), dice);
        let newer = self.host.build.number >= 22_621;
        if dice.permille(300) {
            let who = person(story, self.host, self.host.owner, dice);
            let machine = system_of(self.host, self.life, story);
            let kind = *dice.pick(&[2, 7, 11]);
            let origin = origin_of(self.host, self.life, dice);
            let shape = logon(Some(&machine), &who, kind, Package::Negotiate, Some(&origin), newer);
            self.emit(at, shape);
            self.emit(at.plus_ticks(SECOND * 40), logoff(&who, kind));
            return;
        }
        let origin = self.elsewhere(at, dice);
        let controller = dice.index(story.controllers);
        let before = at.minus_ticks(dice.below(SECOND / 2)).max(self.begin);
        let package = if dice.permille(800) { Package::Kerberos } else { Package::Ntlm };
        if !self.host.foreign {
            let shape = match package {
                Package::Ntlm => credentials(&who.name, &origin.workstation, 0),
                Package::Kerberos | Package::Negotiate => service_ticket(
                    format!("{}@{}", who.name, story.domain.realm),
                    &story.domain.realm,
                    format!("{}$", self.life.short),
                    story.computer_account(self.host),
                    mapped(&origin.ip),
                    0,
                ),
            };
            self.timeline.emit(controller, before, shape);
        }
        self.emit(at, logon(None, &who, 3, package, Some(&origin), newer));
        self.emit(at.plus_ticks(SECOND * 5 + dice.below(60 * SECOND)), logoff(&who, 3));
    }

    /// A wrong password, logged by both the host and the controller.
    fn wrong_password(&mut self, dice: &mut Dice) {
        let story = self.story;
        let Some(at) = self.moment(dice) else { return };
        let who = person(story, self.host, dice.index(story.users.len()), dice);
        let origin = self.elsewhere(at, dice);
        let controller = dice.index(story.controllers);
        let shape = if dice.permille(500) {
            preauthentication_failed(&who, &story.domain.realm, mapped(&origin.ip), 0x18)
        } else {
            credentials(&who.name, &origin.workstation, LogonFailure::WRONG_PASSWORD.sub_status)
        };
        self.timeline.emit(controller, at, shape);
        let domain = match dice.below(4) {
            0 => ".".into(),
            1 => "".into(),
            _ => Arc::clone(&who.domain),
        };
        let failure = LogonFailure::WRONG_PASSWORD;
        self.emit(at, logon_failed(&who.name, &domain, failure, Package::Ntlm, &origin));
    }

    /// Local accounts at work: these events show the machine SID.
    fn local_activity(&mut self, at: EventTime, dice: &mut Dice) {
        if at >= self.life.until || matches!(self.life.entry, LifeStart::Setup) {
            return;
        }
        let account = dice.index(LOCAL_ACCOUNTS.len());
        let who = local(self.life, account, dice);
        match dice.below(4) {
            0 => self.timeline.local_logon(self.index, at, &who, 2, dice),
            1 => {
                let server = self.elsewhere(at, dice).workstation;
                let story = self.story;
                let other = person(story, self.host, self.host.owner, dice);
                let shape = explicit_credentials(&who, &other.name, &other.domain, &server);
                self.timeline.emit_noted(self.index, at, at, shape, TruthNote::LocalAccount);
            }
            2 => {
                let machine = system_of(self.host, self.life, self.story);
                let shape = groups_listed(&machine, &who);
                self.timeline.emit_noted(self.index, at, at, shape, TruthNote::LocalAccount);
            }
            _ => {
                let program = "C:\\Windows\\System32\\cmd.exe";
                let shape = process(&who, program, "cmd /c whoami".to_owned(), 0x2000);
                self.timeline.emit_noted(self.index, at, at, shape, TruthNote::LocalAccount);
            }
        }
    }

    fn controller(&mut self, dice: &mut Dice) {
        let story = self.story;
        for (kind, hourly) in [20, 60, 2, 1, 6].into_iter().enumerate() {
            for _ in 0..self.times(hourly, dice) {
                let Some(at) = self.moment(dice) else { continue };
                let who = person(story, self.host, dice.index(story.users.len()), dice);
                let origin = self.elsewhere(at, dice);
                let ip = mapped(&origin.ip);
                let realm = &story.domain.realm;
                let shape = match kind {
                    0 => ticket_granting(&who, story.domain.sid, ip, 0),
                    1 => {
                        let account = format!("{}@{realm}", who.name);
                        let service = format!("{}$", self.life.short);
                        let sid = story.computer_account(self.host);
                        service_ticket(account, realm, service, sid, ip, 0)
                    }
                    2 => preauthentication_failed(&who, realm, ip, 0x18),
                    3 => {
                        let name = format!("{}x", who.name).into();
                        ticket_granting(&Who { name, ..who }, story.domain.sid, ip, 6)
                    }
                    _ => credentials(&who.name, &origin.workstation, 0),
                };
                self.emit(at, shape);
            }
        }
        if dice.below(600) == 0
            && let Some(at) = self.moment(dice)
        {
            let origin = self.elsewhere(at, dice);
            self.emit(at, secure_channel(5805, &[&origin.workstation, "%%5"], 0xc000_0022));
        }
    }

    fn quirk(&mut self, minute: u64, dice: &mut Dice) {
        let story = self.story;
        let minutes = story.minutes;
        match self.host.quirk {
            Quirk::None | Quirk::StaleBoot | Quirk::TwoCollectors => {}
            Quirk::Manipulated => {
                if [minutes / 2, minutes * 4 / 5].contains(&minute) {
                    let cause = Culprit::Manipulated;
                    self.timeline.refuse_itself(self.index, self.begin, cause, dice);
                }
            }
            Quirk::Guessed => {
                if minute % 20 == 7 {
                    self.guesses(dice);
                }
            }
            Quirk::Skewed => {
                if minute % 30 == 11 {
                    let who = person(story, self.host, self.host.owner, dice);
                    let realm = &story.domain.realm;
                    let controller = dice.index(story.controllers);
                    let ip = mapped(&self.host.ip);
                    let shape = preauthentication_failed(&who, realm, ip.clone(), 0x25);
                    self.timeline.emit(controller, self.begin, shape);
                    let account = format!("{}@{realm}", who.name);
                    let service = format!("{}$", story.hosts[controller].lives[0].short);
                    let shape = service_ticket(account, realm, service, Principal::Null, ip, 0x25);
                    self.timeline.emit(controller, self.begin.plus_ticks(SECOND), shape);
                }
            }
            Quirk::Restored { taken, restored } => {
                let end = self.begin.plus_ticks(MINUTE);
                if self.begin <= restored && restored < end {
                    // It resumes with the clock of the snapshot.
                    for second in 1..4 {
                        let at = restored.plus_ticks(second * SECOND);
                        let time = taken.plus_ticks(second * SECOND);
                        let shape = service_state("Windows Time", "running");
                        self.timeline.emit_noted(self.index, at, time, shape, TruthNote::Nothing);
                    }
                    let old = taken.plus_ticks(5 * SECOND);
                    let at = restored.plus_ticks(5 * SECOND);
                    self.emit(at, clock_set(old, at));
                }
            }
        }
    }

    /// Passwords are guessed under workstation names of the attacker's choice.
    fn guesses(&mut self, dice: &mut Dice) {
        let story = self.story;
        for number in 0..5 + dice.below(15) {
            let at = self.begin.plus_ticks(number * 2 * SECOND + dice.below(SECOND));
            let Some((_, stolen)) = story.hosts[dice.index(story.hosts.len())].life_at(at) else {
                continue;
            };
            let origin = Origin {
                workstation: Arc::clone(&stolen.short),
                ip: format!("203.0.113.{}", 1 + dice.below(200)).into(),
                port: 40_000 + number as u16,
            };
            let name = Arc::from(*dice.pick(GUESSED_NAMES));
            let domain = match dice.below(4) {
                0 => ".".into(),
                1 => "".into(),
                _ => Arc::clone(&stolen.short),
            };
            let failure = match dice.below(2) {
                0 => LogonFailure::WRONG_PASSWORD,
                _ => LogonFailure::NO_SUCH_USER,
            };
            self.emit(at, logon_failed(&name, &domain, failure, Package::Ntlm, &origin));
            self.emit(at, credentials(&name, &origin.workstation, failure.sub_status));
        }
    }

    /// A random member of the fleet as the origin of a logon.
    fn elsewhere(&self, at: EventTime, dice: &mut Dice) -> Origin {
        let story = self.story;
        let members = story.hosts.len() - story.controllers;
        let other = &story.hosts[story.controllers + dice.index(members)];
        match other.life_at(at) {
            Some((_, life)) => origin_of(other, life, dice),
            None => origin_of(self.host, self.life, dice),
        }
    }
}

fn origin_of(host: &StoryHost, life: &Life, dice: &mut Dice) -> Origin {
    Origin {
        workstation: Arc::clone(&life.short),
        ip: Arc::clone(&host.ip),
        port: 49_152 + dice.below(16_000) as u16,
    }
}

/// An address as Kerberos events on a controller show it.
fn mapped(ip: &str) -> String {
    format!("::ffff:{ip}")
}

/// The host's own account, as the subject of its events.
fn system_of(host: &StoryHost, life: &Life, story: &Story) -> Who {
    let domain = match life.entry {
        LifeStart::Setup => "WORKGROUP".into(),
        _ => Arc::clone(&story.domain_of(host).netbios),
    };
    Who { sid: Principal::System, name: format!("{}$", life.short).into(), domain, logon: 0x3e7 }
}

fn local(life: &Life, account: usize, dice: &mut Dice) -> Who {
    let (name, rid) = LOCAL_ACCOUNTS[account];
    Who {
        sid: Principal::Issued(life.machine, rid),
        name: name.into(),
        domain: Arc::clone(&life.short),
        logon: 0x10_000 + dice.below(1 << 24),
    }
}

fn person(story: &Story, host: &StoryHost, user: usize, dice: &mut Dice) -> Who {
    let domain = story.domain_of(host);
    let user = &story.users[user];
    Who {
        sid: Principal::Issued(domain.sid, user.rid),
        name: Arc::clone(&user.name),
        domain: Arc::clone(&domain.netbios),
        logon: 0x10_000 + dice.below(1 << 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::fleet::{FleetSpec, Form, Traps};

    fn story(hours: u32) -> Story {
        let form = Form::Evtx;
        Story::new(&FleetSpec { hosts: 24, groups: 3, hours, seed: 5, form, traps: Traps::On })
    }

    #[test]
    fn what_lies_ahead_does_not_grow_with_the_hours() {
        let story = story(20);
        let mut timeline = Timeline::new(&story, 0..story.hosts.len());
        let mut ahead = Vec::new();
        for minute in 0..story.minutes {
            let events = timeline.play(minute).len();
            assert!(events < 1000, "{events} events in minute {minute}");
            ahead.push(timeline.pending.len());
        }
        assert!(ahead.iter().all(|events| *events < 300), "{:?}", ahead.iter().max());
    }

    #[test]
    fn events_come_in_order() {
        let story = story(2);
        let mut timeline = Timeline::new(&story, 0..story.hosts.len());
        let mut last = EventTime::MIN;
        for minute in 0..story.minutes {
            for event in timeline.play(minute) {
                assert!(event.at >= last);
                last = event.at;
            }
        }
        assert!(last > story.from);
    }

    #[test]
    fn some_hosts_played_alone_have_the_same_events() {
        let story = story(2);
        let events = |present: Range<usize>, of: Range<usize>| {
            let mut timeline = Timeline::new(&story, present);
            let mut events = Vec::new();
            for minute in 0..story.minutes {
                let played = timeline.play(minute).into_iter();
                events.extend(
                    played
                        .filter(|event| of.contains(&event.host))
                        .map(|event| (event.host, event.at, format!("{:?}", event.event))),
                );
            }
            events
        };
        for of in [0..2, 2..6, 20..26] {
            assert!(events(of.clone(), of.clone()) == events(0..26, of));
        }
    }
}
