//! What only looks like clones, one trap a test, and what clones look like all
//! the same. Each test fails when its trap is not minded.

use serde_json::{Value, json};
use twinsid::incident::{
    Class, Confidence, Exposure, HostStatus, Incident, Kind, KnownHost, State,
};
use twinsid::observation::ListedHost;
use twinsid::sid::DomainSid;

use crate::attribution::{SECURITY, event, known_hosts, logged_on, of_kind, refused, replayed};

pub const IMAGE: &str = "S-1-5-21-11-12-13";
const OTHER: &str = "S-1-5-21-21-22-23";
const DOMAIN: &str = "S-1-5-21-31-32-33";

/// A computer logs its own Administrator.
pub fn own(clock: &str, computer: &str, record_id: u64, machine_sid: &str) -> Value {
    let netbios: String = computer.split('.').next().unwrap_or_default().chars().take(15).collect();
    let sid = format!("{machine_sid}-500");
    logged_on(clock, computer, record_id, [&netbios.to_uppercase(), "Administrator", &sid])
}

pub fn renamed(clock: &str, computer: &str, record_id: u64, from: &str, to: &str) -> Value {
    let data = json!({"param1": from, "param2": to});
    event("EventLog", 6011, clock, computer, record_id, &data)
}

fn mismatch(clock: &str, computer: &str, record_id: u64) -> Value {
    event("LsaSrv", 6167, clock, computer, record_id, &json!({}))
}

/// A domain controller hands out a ticket to an account of its domain.
fn ticket(clock: &str, controller: &str, record_id: u64, name: &str, ip: &str) -> Value {
    let data = json!({
        "TargetUserName": name, "TargetDomainName": "CORP", "TargetSid": format!("{DOMAIN}-1104"),
        "ServiceName": "krbtgt", "Status": "0x0", "IpAddress": ip,
    });
    event(SECURITY, 4768, clock, controller, record_id, &data)
}

fn groups(events: &[Value]) -> Vec<Incident> {
    let found = replayed(events, Vec::new()).incidents;
    of_kind(&found, Kind::DuplicateMachineSid).into_iter().cloned().collect()
}

fn names(incident: &Incident, status: HostStatus) -> Vec<&str> {
    let hosts = incident.hosts.iter().filter(|host| host.status == status);
    let mut names: Vec<&str> = hosts.map(|host| host.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn hosts(events: &[Value]) -> Vec<KnownHost> {
    known_hosts(&replayed(events, Vec::new()).detector)
}

/// Two clones, so that a test can show that it would find some.
fn clones() -> Vec<Value> {
    vec![
        own("07:00:00", "PC1.corp.example", 1, IMAGE),
        own("07:01:00", "PC2.corp.example", 900, IMAGE),
        own("09:00:00", "PC1.corp.example", 50, IMAGE),
        own("09:00:00", "PC2.corp.example", 950, IMAGE),
    ]
}

#[test]
fn two_hosts_with_one_machine_sid_are_clones() {
    let found = groups(&clones());
    assert_eq!(found.len(), 1);
    assert_eq!(names(&found[0], HostStatus::Twin), ["PC1.corp.example", "PC2.corp.example"]);
    assert_eq!((found[0].state, found[0].verdict.confidence), (State::Latent, Confidence::High));
    assert_eq!(found[0].source_key, format!("sid:{IMAGE}"));
    let hosts = hosts(&clones());
    assert_eq!(hosts[0].twins, ["PC2.corp.example"]);
    assert!(hosts[0].machine_sids[0].current);
}

#[test]
fn the_sid_of_a_domain_is_on_every_member() {
    let bob = |computer, id| {
        logged_on("07:00:00", computer, id, ["CORP", "bob", &format!("{DOMAIN}-1104")])
    };
    assert_eq!(groups(&[bob("PC1", 1), bob("PC2", 1), bob("PC3", 1)]), []);
}

#[test]
fn a_domain_controller_had_its_domains_sid_before() {
    let mut events = vec![
        own("06:00:00", "DC1.corp.example", 1, DOMAIN),
        ticket("08:00:00", "DC1.corp.example", 500, "bob", "10.0.0.9"),
        ticket("08:00:00", "DC2.corp.example", 500, "eve", "10.0.0.8"),
    ];
    assert_eq!(groups(&events), []);
    // A member that has it as well was made from the first controller's image.
    events.push(own("09:00:00", "PC1.corp.example", 7, DOMAIN));
    let found = groups(&events);
    assert_eq!(found.len(), 1);
    assert_eq!(names(&found[0], HostStatus::Twin), ["PC1.corp.example"]);
    assert_eq!(names(&found[0], HostStatus::Peer), ["DC1.corp.example", "DC2.corp.example"]);
    assert!(found[0].title.contains("first domain controller"), "{}", found[0].title);
}

#[test]
fn what_a_domain_controller_logs_under_its_own_name_is_its_domains() {
    let events = [
        ticket("08:00:00", "DC1.corp.example", 500, "bob", "10.0.0.9"),
        own("09:00:00", "DC1.corp.example", 600, DOMAIN),
    ];
    assert_eq!(groups(&events), []);
}

#[test]
fn a_host_that_made_a_domain_of_its_machine_sid_is_no_clone() {
    let computer = ["CORP", "PC1$", &format!("{DOMAIN}-1105")];
    let events = [
        // Nothing tells that it is a domain controller by now.
        own("06:00:00", "DC1.corp.example", 1, DOMAIN),
        logged_on("08:00:00", "PC1.corp.example", 1, computer),
    ];
    assert_eq!(groups(&events), []);
}

#[test]
fn a_renamed_host_is_one_host() {
    let mut events = vec![
        own("07:00:00", "OLD.corp.example", 1000, IMAGE),
        renamed("08:00:00", "MIDDLE.corp.example", 500, "OLD", "MIDDLE"),
        // Too far on for the record ids to say it.
        own("08:10:00", "MIDDLE.corp.example", 100_000, IMAGE),
        renamed("09:00:00", "NEW.corp.example", 600, "MIDDLE", "NEW"),
        own("09:30:00", "NEW.corp.example", 200_000, IMAGE),
    ];
    assert_eq!(groups(&events), []);
    let hosts = hosts(&events);
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].name, "NEW.corp.example");
    assert_eq!(hosts[0].names.len(), 3);
    // Another machine that still goes by the old name is a clone.
    events.push(own("09:40:00", "OLD.corp.example", 3000, IMAGE));
    let found = groups(&events);
    assert_eq!(names(&found[0], HostStatus::Twin), ["NEW.corp.example", "OLD.corp.example"]);
}

#[test]
fn record_ids_that_go_on_under_the_next_name_are_one_host() {
    let continued =
        |id| vec![own("07:00:00", "OLD", 1000, IMAGE), own("09:00:00", "NEW", id, IMAGE)];
    assert_eq!(groups(&continued(1020)), []);
    assert_eq!(groups(&continued(12)).len(), 1, "a machine of its own starts at its own number");
}

#[test]
fn placeholder_names_of_setup_are_nobody() {
    for name in ["37L4247F27-25", "37L4247D28-05", "MINWINPC", "MININT-AB12CD3"] {
        let events = [own("07:00:00", name, 40, IMAGE), own("07:05:00", "PC1", 3, IMAGE)];
        assert_eq!(groups(&events), [], "{name}");
    }
}

#[test]
fn the_first_start_of_setup_shows_the_images_machine_sid() {
    let mut events = Vec::new();
    for (host, random, sid) in
        [("PC1", "WIN-AAAAAAAAAAA", OTHER), ("PC2", "WIN-BBBBBBBBBBB", "S-1-5-21-41-42-43")]
    {
        events.push(own("07:00:00", random, 5, IMAGE));
        events.push(renamed("07:10:00", host, 9, random, host));
        events.push(own("07:20:00", host, 40, sid));
    }
    assert_eq!(groups(&events), []);
}

#[test]
fn a_rebuilt_host_is_a_twin_no_more() {
    let mut events = clones();
    events.push(own("11:00:00", "PC1.corp.example", 3, OTHER));
    events.push(own("12:00:00", "PC2.corp.example", 990, IMAGE));
    let found = groups(&events);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state, State::Remedied);
    assert_eq!(names(&found[0], HostStatus::Twin), ["PC2.corp.example"]);
    assert_eq!(names(&found[0], HostStatus::Remedied), ["PC1.corp.example"]);
    let hosts = hosts(&events);
    let sids: Vec<(String, bool)> =
        hosts[0].machine_sids.iter().map(|known| (known.sid.to_string(), known.current)).collect();
    assert_eq!(sids, [(IMAGE.to_owned(), false), (OTHER.to_owned(), true)]);
    assert!(hosts[0].twins.is_empty());
}

#[test]
fn a_name_given_to_another_machine_leaves_no_clone_behind() {
    let events = [
        own("07:00:00", "PC1", 1000, IMAGE),
        renamed("08:00:00", "PC2", 500, "PC1", "PC2"),
        own("08:30:00", "PC2", 1100, IMAGE),
        own("10:00:00", "PC1", 3, OTHER),
    ];
    assert_eq!(groups(&events), []);
}

#[test]
fn one_host_writes_its_name_in_several_ways() {
    let events = [
        own("07:00:00", "PC1.corp.example", 1, IMAGE),
        own("07:30:00", "PC1", 2, IMAGE),
        own("08:00:00", "pc1.CORP.example", 3, IMAGE),
    ];
    assert_eq!(groups(&events), []);
    assert_eq!(hosts(&events).len(), 1);
}

#[test]
fn names_longer_than_netbios_allows_are_cut() {
    let long = "ENGINEERING-WORKSTATION-07.corp.example";
    let events = [
        own("07:00:00", long, 1, IMAGE),
        own("07:10:00", "ENGINEERING-WOR", 2, IMAGE),
        own("07:00:00", "PC2.corp.example", 900, IMAGE),
    ];
    let found = groups(&events);
    assert_eq!(names(&found[0], HostStatus::Twin), [long, "PC2.corp.example"]);
}

#[test]
fn equal_short_names_in_two_domains_are_two_hosts() {
    let [one, two] = ["PRINT01.a.example", "PRINT01.b.example"];
    let apart = [own("07:00:00", one, 1, IMAGE), own("07:00:00", two, 1, OTHER)];
    assert_eq!(groups(&apart), []);
    assert_eq!(hosts(&apart).len(), 2);
    let clones = [
        own("07:00:00", one, 1, IMAGE),
        own("07:00:00", two, 1, IMAGE),
        own("08:00:00", one, 2, IMAGE),
    ];
    assert_eq!(names(&groups(&clones)[0], HostStatus::Twin), [one, two]);
}

#[test]
fn a_dot_or_nothing_is_no_domain() {
    let account = |computer, domain| {
        let sid = format!("{IMAGE}-500");
        logged_on("07:00:00", computer, 1, [domain, "Administrator", &sid])
    };
    for domain in [".", "", "-"] {
        assert_eq!(groups(&[account("PC1", domain), account("PC2", domain)]), [], "{domain}");
    }
}

#[test]
fn a_restored_snapshot_is_the_same_host() {
    let events = [
        own("07:00:00", "PC1", 1000, IMAGE),
        own("08:00:00", "PC1", 1100, IMAGE),
        own("07:30:00", "PC1", 1010, IMAGE),
        own("09:00:00", "PC1", 1012, IMAGE),
    ];
    assert_eq!(groups(&events), []);
    assert_eq!(hosts(&events).len(), 1);
}

#[test]
fn a_log_that_comes_twice_says_nothing_new() {
    let mut once = clones();
    once.push(refused("08:00:01", "PC1.corp.example", 20, "CORP", "bob"));
    once.push(mismatch("08:00:00", "PC1.corp.example", 3));
    let twice: Vec<Value> = once.iter().chain(&once).cloned().collect();
    let (once, twice) = (replayed(&once, Vec::new()), replayed(&twice, Vec::new()));
    assert_eq!(once.incidents, twice.incidents);
    assert_eq!(known_hosts(&once.detector), known_hosts(&twice.detector));
}

#[test]
fn desktops_that_live_briefly_are_a_pool() {
    let mut events = vec![own("07:00:00", "FS01", 1, OTHER), own("17:00:00", "FS01", 9, OTHER)];
    for (number, hour) in [(1, 8), (2, 10), (3, 12)] {
        let name = format!("VDI-00{number}");
        events.push(own(&format!("{hour:02}:00:00"), &name, 4001, IMAGE));
        events.push(own(&format!("{hour:02}:50:00"), &name, 4050, IMAGE));
    }
    let found = groups(&events);
    assert_eq!(found.len(), 1);
    assert!(found[0].title.starts_with("A pool of 3 desktops"), "{}", found[0].title);
}

#[test]
fn a_host_that_only_the_inventory_lists_makes_no_pool() {
    let hours = ["07:00:00", "17:00:00"];
    let of_host = |number: u64| {
        let name = format!("PC-00{number}");
        hours.map(|hour| own(hour, &name, number * 100, IMAGE))
    };
    let events: Vec<Value> = (1..=3).flat_map(of_host).collect();
    let listed = ListedHost { host: "PC-009".into(), ..ListedHost::default() };
    let found = replayed(&events, vec![listed]).incidents;
    let found = of_kind(&found, Kind::DuplicateMachineSid);
    assert_eq!(found.len(), 1);
    assert!(!found[0].title.contains("pool"), "{}", found[0].title);
}

#[test]
fn names_that_an_attacker_chooses_are_no_evidence() {
    let forged = |computer: &str, id| {
        let data = json!({
            "TargetUserSid": format!("{IMAGE}-500"), "TargetUserName": "Administrator",
            "TargetDomainName": computer, "Status": "0xc000006d", "SubStatus": "0xc000006a",
            "WorkstationName": "PC1", "IpAddress": "203.0.113.7",
        });
        event(SECURITY, 4625, "07:00:00", computer, id, &data)
    };
    let mut events = vec![own("07:00:00", "PC1", 1, IMAGE), forged("PC2", 1), forged("PC3", 1)];
    // Nor does the member of a host's own group say anything of the host.
    let data = json!({
        "MemberSid": format!("{IMAGE}-1001"), "MemberName": "bob", "TargetDomainName": "PC4",
        "TargetUserName": "Users", "TargetSid": "S-1-5-32-545",
    });
    events.push(event(SECURITY, 4732, "07:00:00", "PC4", 1, &data));
    assert_eq!(groups(&events), []);
}

#[test]
fn two_machine_sids_at_one_time_lower_the_confidence() {
    let mut events = clones();
    events.push(own("08:00:00", "PC1.corp.example", 20, OTHER));
    let found = groups(&events);
    assert_eq!(found.len(), 1);
    assert_eq!(names(&found[0], HostStatus::Twin).len(), 2, "no host is dropped");
    assert_eq!(found[0].verdict.confidence, Confidence::High, "PC1 has it before and after");
    events.push(own("10:00:00", "PC1.corp.example", 60, OTHER));
    let found = groups(&events);
    assert_eq!(names(&found[0], HostStatus::Twin).len(), 2, "no host is dropped");
    assert_eq!(found[0].verdict.confidence, Confidence::Medium);
    assert!(found[0].verdict.reasons.iter().any(|reason| reason.contains(OTHER)));
}

#[test]
fn the_inventory_wins() {
    let listed = |host: &str, sid: [u32; 3]| ListedHost {
        host: host.into(),
        machine_sid: Some(DomainSid(sid)),
        owner: Some("Desk 7".into()),
        ..ListedHost::default()
    };
    // It knows better than the events of PC1, and of a host that has none.
    let inventory = vec![listed("PC1", [21, 22, 23]), listed("PC9", [21, 22, 23])];
    let run = replayed(&clones(), inventory);
    let found = of_kind(&run.incidents, Kind::DuplicateMachineSid);
    let other = found.iter().find(|incident| incident.source_key.ends_with(OTHER)).expect("found");
    assert_eq!(names(other, HostStatus::Twin), ["PC1.corp.example", "PC9"]);
    assert!(other.verdict.reasons.iter().any(|reason| reason.contains("inventory")));
    assert!(other.verdict.reasons.iter().any(|reason| reason.contains("Desk 7")));
    let hosts = known_hosts(&run.detector);
    let current = hosts[0].machine_sids.iter().find(|known| known.current).expect("one is");
    assert_eq!(
        (current.sid.to_string().as_str(), &current.events[..]),
        (OTHER, &["inventory".to_owned()][..])
    );
}

#[test]
fn the_inventory_knows_whose_address_it_is() {
    let mut events = clones();
    events.push(ticket("08:00:00", "DC1.corp.example", 1, "PC7$", "10.0.0.2"));
    events.push(mismatch("08:05:00", "PC1.corp.example", 100));
    let data = json!({
        "TargetUserName": "bob", "TargetDomainName": "CORP", "Status": "0xc000006d",
        "SubStatus": "0x0", "WorkstationName": "-", "IpAddress": "10.0.0.2",
    });
    events.push(event(SECURITY, 4625, "08:05:01", "PC1.corp.example", 30, &data));
    let ips = vec![[10, 0, 0, 2].into()];
    let listed = ListedHost { host: "PC2".into(), ips, ..ListedHost::default() };
    let found = replayed(&events, vec![listed]).incidents;
    let group = of_kind(&found, Kind::DuplicateMachineSid)[0];
    assert_eq!(group.peers[0].host.as_deref(), Some("PC2.corp.example"));
}

#[test]
fn mismatches_of_clones_are_one_incident_for_ever() {
    let mut events = clones();
    let quiet = own("07:00:00", "PC3.corp.example", 5000, IMAGE);
    events.push(quiet);
    for (minute, target, peer) in [(0, "PC1", "PC2"), (20, "PC2", "PC1"), (40, "PC1", "PC2")] {
        let computer = format!("{target}.corp.example");
        events.push(mismatch(&format!("08:{minute:02}:00"), &computer, 100 + minute));
        let data = json!({
            "TargetUserName": "bob", "TargetDomainName": "CORP", "Status": "0xc000006d",
            "SubStatus": "0x0", "WorkstationName": peer, "IpAddress": "-",
        });
        let clock = format!("08:{minute:02}:01");
        events.push(event(SECURITY, 4625, &clock, &computer, 200 + minute, &data));
    }
    let found = replayed(&events, Vec::new()).incidents;
    assert_eq!(of_kind(&found, Kind::MachineIdMismatch), Vec::<&Incident>::new());
    let found = of_kind(&found, Kind::DuplicateMachineSid);
    assert_eq!((found.len(), found[0].state), (1, State::Active));
    assert_eq!((found[0].counts.mismatches, found[0].counts.failures), (3, 3));
    // The one that says nothing is a clone all the same.
    assert_eq!(names(found[0], HostStatus::Twin).len(), 3);
}

#[test]
fn a_clone_that_refuses_itself_has_another_reason() {
    let mut events = clones();
    events.push(event(
        "Microsoft-Windows-Kernel-General",
        12,
        "08:00:00",
        "PC1.corp.example",
        90,
        &json!({"BuildVersion": "26100", "QfeVersion": "6899"}),
    ));
    events.push(mismatch("08:03:00", "PC1.corp.example", 100));
    let data = json!({
        "TargetUserName": "bob", "TargetDomainName": "CORP", "Status": "0xc000006d",
        "SubStatus": "0x0", "WorkstationName": "PC1", "IpAddress": "127.0.0.1",
    });
    events.push(event(SECURITY, 4625, "08:03:01", "PC1.corp.example", 30, &data));
    let found = replayed(&events, Vec::new()).incidents;
    let own = of_kind(&found, Kind::MachineIdMismatch);
    assert_eq!(own[0].verdict.class, Class::StaleBootSession);
    assert_eq!(of_kind(&found, Kind::DuplicateMachineSid)[0].state, State::Latent);
    let exposure = own[0].hosts.iter().map(|host| host.exposure).collect::<Vec<_>>();
    assert_eq!(exposure, [Exposure::Enforcing, Exposure::Enforcing]);
}

#[test]
fn a_peer_is_known_by_the_address_that_it_logs_on_from() {
    let mut events = clones();
    events.push(ticket("08:00:00", "DC1.corp.example", 1, "PC2$", "::ffff:10.0.0.2"));
    events.push(mismatch("08:05:00", "PC1.corp.example", 100));
    let data = json!({
        "TargetUserName": "bob", "TargetDomainName": "CORP", "Status": "0xc000006d",
        "SubStatus": "0x0", "WorkstationName": "-", "IpAddress": "10.0.0.2",
    });
    events.push(event(SECURITY, 4625, "08:05:01", "PC1.corp.example", 30, &data));
    let found = replayed(&events, Vec::new()).incidents;
    let group = of_kind(&found, Kind::DuplicateMachineSid)[0];
    assert_eq!(group.peers[0].host.as_deref(), Some("PC2.corp.example"));
    assert_eq!(group.counts.mismatches, 1);
}
