//! A simulated fleet: the same incidents whatever form its logs take, in
//! whatever order they are read, and mismatches as many as there were.

use std::path::{Path, PathBuf};

use twinsid::config::Config;
use twinsid::incident::Incident;
use twinsid::pipeline::replay::{NoProgress, OnDamage, Replay, Replayed, replay};
use twinsid::simulate::fleet::{FleetSpec, Form, Traps, Truth, simulate};

const FORMS: [Form; 6] =
    [Form::Evtx, Form::Forwarded, Form::Xml, Form::Winlogbeat, Form::Nxlog, Form::Openwec];

fn fleet(form: Form, folder: &Path) -> Truth {
    let spec = FleetSpec { hosts: 45, groups: 3, hours: 3, seed: 11, form, traps: Traps::On };
    simulate(&spec, folder, &mut |_| ()).expect("the folder can be written")
}

fn replayed(paths: Vec<PathBuf>) -> Replayed {
    let config = Config::embedded();
    let replayed = replay(
        Replay {
            paths,
            outputs: Vec::new(),
            settings: config.settings,
            rules: config.rules,
            fact_rules: config.fact_rules,
            inventory: Vec::new(),
            threads: 2,
            damage: OnDamage::Stop,
        },
        &mut NoProgress,
    );
    replayed.expect("the fleet's logs are whole")
}

#[test]
fn every_form_of_a_fleet_gives_the_same_incidents() {
    let mut first: Option<Vec<Incident>> = None;
    for form in FORMS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let truth = fleet(form, folder.path());
        let replayed = replayed(vec![folder.path().to_owned()]);
        assert_eq!(replayed.tally.records, truth.records, "{form:?}");
        assert_eq!(replayed.ingested.mismatches, truth.mismatches.len() as u64, "{form:?}");
        let first = first.get_or_insert_with(|| replayed.incidents.clone());
        assert!(*first == replayed.incidents, "{form:?} gives other incidents");
    }
}

#[test]
fn the_order_of_files_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fleet(Form::Evtx, folder.path());
    let mut paths = crate::corpus::evtx_files(folder.path());
    let forwards = replayed(paths.clone()).incidents;
    assert!(forwards.len() > 10);
    paths.reverse();
    assert!(replayed(paths.clone()).incidents == forwards);
    let middle = paths.len() / 3;
    paths.rotate_left(middle);
    assert!(replayed(paths).incidents == forwards);
}
