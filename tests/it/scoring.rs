//! What is said of simulated fleets against what is true of them.
//!
//! The whole scoring, fifty fleets of a thousand hosts, needs optimised code:
//! `CARGO_PROFILE_DEV_OPT_LEVEL=2 TWINSID_FLEETS=50 cargo test --test it order_and_form`
//! (`scripts/test` scores twelve).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use twinsid::config::Config;
use twinsid::incident::{Class, HostStatus, Incident, Kind, State};
use twinsid::observation::short_host;
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, replay};
use twinsid::simulate::fleet;
use twinsid::simulate::fleet::{Culprit, FleetSpec, Form, Traps, Truth, simulate};

const FORMS: [Form; 5] = [Form::Forwarded, Form::Xml, Form::Winlogbeat, Form::Nxlog, Form::Openwec];

/// How many fleets of a thousand hosts are scored.
const FLEETS: &str = "TWINSID_FLEETS";

/// Orders of files beside the usual one.
const SHUFFLES: usize = 3;

fn incidents(paths: Vec<PathBuf>) -> Vec<Incident> {
    let Config { settings, rules, fact_rules, .. } = Config::embedded();
    let outputs = Vec::new();
    let (threads, damage) = (1, OnDamage::Stop);
    let inventory = Vec::new();
    let run = Replay { paths, outputs, settings, rules, fact_rules, inventory, threads, damage };
    replay(run, &mut NoProgress).expect("the fleet's logs are whole").incidents
}

fn spec(hosts: u32, groups: u32, hours: u32, seed: u64, form: Form) -> FleetSpec {
    FleetSpec { hosts, groups, hours, seed, form, traps: Traps::On }
}

/// What one fleet came to.
#[derive(Debug, Default)]
struct Score {
    groups: u64,
    verdicts: u64,
    right: u64,
    mistakes: Vec<String>,
}

fn label(computer: &str) -> String {
    short_host(computer).to_uppercase()
}

fn score(truth: &Truth, incidents: &[Incident]) -> Score {
    let mut score = Score::default();
    let found: BTreeMap<&str, &Incident> = incidents
        .iter()
        .filter(|incident| incident.kind == Kind::DuplicateMachineSid)
        .map(|incident| (&incident.source_key["sid:".len()..], incident))
        .collect();
    let members = |incident: &Incident, wanted: &[HostStatus]| -> BTreeSet<String> {
        let hosts = incident.hosts.iter().filter(|host| wanted.contains(&host.status));
        hosts.map(|host| label(&host.name)).collect()
    };
    for group in &truth.groups {
        let told: BTreeSet<String> = group.evidence.iter().map(|host| label(host)).collect();
        let incident = found.get(group.machine_sid.as_str());
        if told.len() < 2 {
            if incident.is_some() {
                score.mistakes.push(format!("{group:?} was found without evidence"));
            }
            continue;
        }
        score.groups += 1;
        let Some(incident) = incident else {
            score.mistakes.push(format!("not found: {group:?}"));
            continue;
        };
        if members(incident, &[HostStatus::Twin, HostStatus::Remedied]) != told {
            score.mistakes.push(format!("{group:?} has other members: {:?}", incident.hosts));
        }
        let former: BTreeSet<String> = group.former.iter().map(|host| label(host)).collect();
        let remedied: BTreeSet<String> = told.intersection(&former).cloned().collect();
        if members(incident, &[HostStatus::Remedied]) != remedied {
            score.mistakes.push(format!("{group:?}: others were rebuilt: {:?}", incident.hosts));
        }
        let state = match group.state {
            fleet::GroupState::Latent => State::Latent,
            fleet::GroupState::Active => State::Active,
            fleet::GroupState::Remedied => State::Remedied,
        };
        if incident.state != state {
            score.mistakes.push(format!("{group:?} is not {:?}", incident.state));
        }
        if incident.title.starts_with("A pool") != group.pool {
            score.mistakes.push(format!("{group:?} is called {}", incident.title));
        }
    }
    for (sid, incident) in &found {
        let of_domain = *sid == truth.domain.sid;
        let clones: BTreeSet<String> = truth.domain.clones.iter().map(|host| label(host)).collect();
        let is_group = truth.groups.iter().any(|group| group.machine_sid == *sid);
        let of_clones = of_domain && members(incident, &[HostStatus::Twin]).is_subset(&clones);
        if !is_group && !of_clones {
            score.mistakes.push(format!("no group: {}", incident.title));
        }
    }
    for mismatch in &truth.mismatches {
        let about = |incident: &&Incident| {
            let span = incident.first_seen.to_string()..=incident.last_seen.to_string();
            let target = label(&mismatch.target);
            incident.kind != Kind::AuthenticationFailures
                && span.contains(&mismatch.time)
                && incident.hosts.iter().any(|host| label(&host.name) == target)
        };
        // What is said of the one host comes before what is said of its group.
        let own = |incident: &&Incident| incident.kind == Kind::MachineIdMismatch;
        let said = incidents.iter().filter(about).max_by_key(|incident| own(incident));
        let right = match mismatch.cause {
            Culprit::Clone => Class::ClonedImage,
            Culprit::StaleBoot => Class::StaleBootSession,
            Culprit::Manipulated => Class::StaleOrManipulatedTicket,
        };
        score.verdicts += 1;
        score.right += u64::from(said.is_some_and(|incident| incident.verdict.class == right));
    }
    score
}

#[track_caller]
fn check(score: &Score) {
    assert!(score.mistakes.is_empty(), "{}", score.mistakes.join("\n"));
    assert!(
        score.right * 100 >= score.verdicts * 98,
        "{} of {} verdicts are right",
        score.right,
        score.verdicts
    );
}

#[test]
fn clones_are_found_and_nothing_else_is() {
    let (mut groups, mut verdicts) = (0, 0);
    for seed in 1..=4 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let spec = spec(90, 6, 4, seed, Form::Evtx);
        let truth = simulate(&spec, folder.path(), &mut |_| ()).expect("it can be written");
        let score = score(&truth, &incidents(vec![folder.path().to_owned()]));
        check(&score);
        groups += score.groups;
        verdicts += score.verdicts;
    }
    assert!(groups >= 20 && verdicts >= 100, "{groups} groups and {verdicts} verdicts");
}

/// The files of a folder in orders of their own.
fn shuffles(folder: &Path, seed: u64) -> Vec<Vec<PathBuf>> {
    let files = crate::corpus::evtx_files(folder);
    (1..=SHUFFLES)
        .map(|round| {
            let mut order: Vec<(u64, PathBuf)> = files
                .iter()
                .enumerate()
                .map(|(at, file)| {
                    let mixed = (at as u64 + 1) * (seed * 31 + round as u64);
                    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    (mixed.rotate_left(23), file.clone())
                })
                .collect();
            order.sort();
            order.into_iter().map(|(_, file)| file).collect()
        })
        .collect()
}

/// Fleets of a thousand hosts each, if [`FLEETS`] says how many; else two small
/// ones.
#[test]
fn order_and_form_of_the_logs_do_not_matter() {
    let asked = std::env::var(FLEETS).ok();
    let asked = asked.map(|count| count.parse::<u64>().expect("a number of fleets"));
    let (seeds, hosts, groups) = asked.map_or((2, 60, 5), |seeds| (seeds, 1000, 40));
    const HOURS: u32 = 2;
    let next = std::sync::atomic::AtomicU64::new(1);
    let total = std::sync::Mutex::new(Score::default());
    let one = |seed: u64| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs = folder.path().join("evtx");
        let spec = spec(hosts, groups, HOURS, seed, Form::Evtx);
        let truth = simulate(&spec, &logs, &mut |_| ()).expect("it can be written");
        let first = incidents(vec![logs.clone()]);
        for order in shuffles(&logs, seed) {
            assert!(incidents(order) == first, "seed {seed}: the order of files matters");
        }
        std::fs::remove_dir_all(&logs).expect("it was just written");
        for form in FORMS {
            let logs = folder.path().join(format!("{form:?}"));
            let spec = FleetSpec { form, ..spec };
            simulate(&spec, &logs, &mut |_| ()).expect("it can be written");
            assert!(incidents(vec![logs.clone()]) == first, "seed {seed}: {form:?} matters");
            std::fs::remove_dir_all(&logs).expect("it was just written");
        }
        let score = score(&truth, &first);
        let mut total = total.lock().expect("no other seed failed");
        total.groups += score.groups;
        total.verdicts += score.verdicts;
        total.right += score.right;
        total.mistakes.extend(score.mistakes.iter().map(|mistake| format!("{seed}: {mistake}")));
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed > seeds {
                        break;
                    }
                    one(seed);
                }
            });
        }
    });
    let total = total.into_inner().expect("no seed failed");
    eprintln!(
        "{seeds} fleets of {hosts} hosts: {} groups with evidence, {} of {} verdicts right",
        total.groups, total.right, total.verdicts
    );
    check(&total);
    assert!(total.groups >= seeds * u64::from(groups) / 2);
}
