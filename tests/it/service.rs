//! `twinsid run` as it is operated: it never ends by itself, and is stopped or killed. Each test
//! waits for what should come, however long that takes within [`PATIENCE`].

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::events::{self, Origin, now_ms};

/// How long something may take to happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long to wait before something is looked at again, and how often something is sent meanwhile.
const POLL_EVERY: Duration = Duration::from_millis(100);

const STDIN: &str = "[[source]]\nkind = \"stdin\"\n";

const SHORT: &str = "[session]\ngap_secs = 3\n[time]\nallowed_lateness_secs = 0\nidle_secs = 3\n\
                     [service]\nstatus_ms = 200\nlinger_ms = 50\n";

/// Nothing closes while a test runs.
const LONG: &str = "[session]\ngap_secs = 900\n[service]\nstatus_ms = 200\nlinger_ms = 50\n";

const PEER: &str = "10.0.0.9";

/// A service that ends in a file, and with its test.
struct Live {
    folder: tempfile::TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    records: u64,
}

impl Live {
    fn start(sources: &str, settings: &str) -> Live {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "{sources}[sink]\nkind = \"file\"\npath = \"out.jsonl\"\n[state]\ndir = \"state\"\n\
             {settings}"
        );
        fs::write(folder.path().join("service.toml"), text).expect("written");
        let child = spawn(&folder);
        let mut live = Live { folder, child, stdin: None, records: 0 };
        live.stdin = live.child.stdin.take();
        live
    }

    /// Ends it as a power cut would, and starts it again.
    fn restart(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("ends");
        self.child = spawn(&self.folder);
        self.stdin = self.child.stdin.take();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("service.log")).unwrap_or_default()
    }

    /// The log without status lines, but for the last ones.
    fn excerpt(&self) -> String {
        let log = self.log();
        let (status, other): (Vec<&str>, _) =
            log.lines().partition(|line| line.contains("working"));
        let last = &status[status.len().saturating_sub(3)..];
        [&other[..], last].concat().join("\n")
    }

    /// The origin of the next event of a host, so many seconds from now.
    fn origin<'a>(&mut self, computer: &'a str, secs: i64) -> Origin<'a> {
        self.records += 1;
        Origin { computer, record_id: self.records, at_ms: now_ms() + secs * 1000 }
    }

    fn failures(&mut self, computer: &str, account: &str, count: usize) -> Vec<u8> {
        // An address of its own, so that no peer is seen to try many accounts.
        let last = account.bytes().fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let peer = format!("10.0.{}.{last}", account.len());
        let one = |_| line(&events::failure(self.origin(computer, 0), account, &peer));
        (0..count).flat_map(one).collect()
    }

    fn send(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("it reads");
    }

    /// Every revision in the output, in its order.
    fn revisions(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("out.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        text[..end].lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The last revisions of the incidents with these words in their source key.
    fn incidents(&self, source_key: &str) -> Vec<Value> {
        let mut last: BTreeMap<String, Value> = BTreeMap::new();
        for incident in self.revisions() {
            if incident["source_key"].as_str().expect("a key").contains(source_key) {
                last.insert(incident["id"].to_string(), incident);
            }
        }
        last.into_values().collect()
    }

    fn failures_of(&self, account: &str) -> u64 {
        self.incidents(&key(account)).iter().map(failures).sum()
    }

    fn is_closed(&self, account: &str) -> bool {
        let incidents = self.incidents(&key(account));
        !incidents.is_empty() && incidents.iter().all(|incident| incident["state"] == "closed")
    }

    /// Asks until it is so.
    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Live) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "not within patience: {what}\n{}", self.excerpt());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Connects to the socket of this name once it is there.
    fn connect(&mut self, name: &str) -> UnixStream {
        let mut stream = None;
        self.until("it listens", |live| {
            stream = UnixStream::connect(live.path(name)).ok();
            stream.is_some()
        });
        stream.expect("connected")
    }

    fn terminate(&mut self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill").success());
        self.await_end();
    }

    #[track_caller]
    fn await_end(&mut self) {
        let mut status = None;
        self.until("it ends", |live| {
            status = live.child.try_wait().expect("a child");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", self.excerpt());
    }

    /// A field of the last line of the log that has these words.
    fn field(&self, words: &str, name: &str) -> Option<String> {
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains(words))?;
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        rest.split(' ').next().map(str::to_owned)
    }

    fn number(&self, words: &str, name: &str) -> u64 {
        self.field(words, name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &tempfile::TempDir) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.path().join("service.log"));
    let child = Command::new(env!("CARGO_BIN_EXE_twinsid"))
        .args(["run", "-c"])
        .arg(folder.path().join("service.toml"))
        .stdin(Stdio::piped())
        .stderr(log.expect("a log"))
        .spawn();
    child.expect("runs")
}

fn key(account: &str) -> String {
    format!("name:CORP\\{}", account.to_uppercase())
}

fn failures(incident: &Value) -> u64 {
    incident["counts"]["failures"].as_u64().expect("a count")
}

fn line(event: &[u8]) -> Vec<u8> {
    [event, b"\n"].concat()
}

#[test]
fn a_session_closes_beside_a_source_that_is_busy_with_unwanted_events() {
    let sources = format!("{STDIN}[[source]]\nkind = \"unix\"\npath = \"busy.sock\"\n");
    let mut live = Live::start(&sources, SHORT);
    let mut busy = live.connect("busy.sock");
    let eight = live.failures("FS01.corp.example", "bob", 8);
    live.send(&eight);
    live.until("the session closes", |live| {
        let event = events::unwanted(live.origin("BUSY.corp.example", 0));
        busy.write_all(&line(&event)).expect("it reads");
        live.is_closed("bob")
    });
    assert_eq!(live.failures_of("bob"), 8);
}

#[test]
fn sessions_of_hosts_that_fell_silent_close_beside_one_that_goes_on_failing() {
    let mut live = Live::start(STDIN, SHORT);
    let bobs = live.failures("FS01.corp.example", "bob", 8);
    let cats = live.failures("FS02.corp.example", "cat", 8);
    live.send(&[bobs, cats].concat());
    live.until("both sessions close", |live| {
        let one = live.failures("FS03.corp.example", "eve", 1);
        live.send(&one);
        live.is_closed("bob") && live.is_closed("cat")
    });
    assert_eq!((live.failures_of("bob"), live.failures_of("cat")), (8, 8));
    let eves = live.incidents(&key("eve"));
    assert!(eves.len() == 1 && eves[0]["state"] == "open", "{eves:#?}");
}

#[test]
fn a_session_closes_beside_clocks_that_are_a_day_behind_and_a_day_ahead() {
    const DAY_SECS: i64 = 86_400;
    let mut live = Live::start(STDIN, SHORT);
    let bobs = live.failures("FS01.corp.example", "bob", 8);
    live.send(&bobs);
    live.until("the session closes", |live| {
        for (computer, secs) in
            [("PAST.corp.example", -DAY_SECS), ("FUTURE.corp.example", DAY_SECS)]
        {
            let event = events::failure(live.origin(computer, secs), "dan", PEER);
            live.send(&line(&event));
        }
        live.is_closed("bob")
    });
    assert_eq!(live.failures_of("bob"), 8);
    live.until("the log names the one ahead", |live| {
        let log = live.log();
        let mut ahead = log.lines().filter(|line| line.contains("clocks are ahead"));
        ahead.any(|line| line.contains("FUTURE.corp.example by ") && !line.contains("PAST"))
    });
}

/// Failures of one account within twenty seconds, many batches of them.
fn many_failures(live: &mut Live) -> Vec<u8> {
    const COUNT: i64 = MANY as i64;
    let start = now_ms() - COUNT;
    let one = |at: i64| {
        let origin = Origin { at_ms: start + at, ..live.origin("FS01.corp.example", 0) };
        line(&events::failure(origin, "bob", PEER))
    };
    (0..COUNT).flat_map(one).collect()
}

const MANY: u64 = 20_000;

/// There is one session, and its last revision has all of it.
#[track_caller]
fn check_many(live: &Live) {
    let bobs = live.incidents(&key("bob"));
    let counts: Vec<u64> = bobs.iter().map(failures).collect();
    assert_eq!(counts, [MANY], "{}", live.excerpt());
}

#[test]
fn what_was_sent_over_tcp_before_a_stop_is_reported_in_full() {
    // A port that nobody had a moment ago may be somebody's now; then it ends at once.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = probe.local_addr().expect("bound").port();
    drop(probe);
    let source = format!("[[source]]\nkind = \"tcp\"\nlisten = \"127.0.0.1:{port}\"\n");
    let mut live = Live::start(&source, SHORT);
    let mut stream = None;
    live.until("it listens", |_| {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("connected");
    let many = many_failures(&mut live);
    stream.write_all(&many).expect("sent");
    stream.shutdown(Shutdown::Write).expect("sent");
    live.terminate();
    check_many(&live);
}

#[test]
fn what_was_written_to_standard_input_before_a_stop_is_reported_in_full() {
    let mut live = Live::start(STDIN, SHORT);
    let many = many_failures(&mut live);
    live.send(&many);
    live.terminate();
    check_many(&live);
}

#[test]
fn a_pipe_that_ends_at_once_is_reported_in_full() {
    let mut live = Live::start(STDIN, SHORT);
    let eight = live.failures("FS01.corp.example", "bob", 8);
    live.send(&eight);
    live.stdin = None;
    live.await_end();
    assert_eq!(live.failures_of("bob"), 8, "{}", live.excerpt());
}

#[test]
fn a_killed_service_goes_on_counting_and_emits_no_revision_twice() {
    const RESTORED: &str = "the state is restored";
    let mut live = Live::start(STDIN, LONG);
    let first = live.failures("FS01.corp.example", "bob", 8);
    live.send(&first);
    // What is behind bob's in the same input is committed with them or later.
    for round in 0..25 {
        let account = format!("user{round}");
        let six = live.failures("FS02.corp.example", &account, 6);
        live.send(&six);
        live.until("it is emitted", |live| live.failures_of(&account) > 0);
    }
    live.until("commits are counted", |live| live.number("working", "commits") >= 25);
    let before = live.revisions();
    live.restart();
    live.until("it works again", |live| {
        let log = live.log();
        let again = log.split(RESTORED).nth(1).unwrap_or_default();
        again.lines().filter(|line| line.contains("working")).count() >= 3
    });
    assert!(live.number(RESTORED, "entries") > 0, "{}", live.excerpt());
    assert!(live.number(RESTORED, "evaluations") > 0, "they are applied: {}", live.excerpt());
    assert_eq!(live.revisions(), before, "nothing is judged anew");
    let more = live.failures("FS01.corp.example", "bob", 92);
    live.send(&more);
    live.terminate();
    assert_eq!(live.failures_of("bob"), 100);
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for incident in live.revisions() {
        let revision = incident["revision"].as_u64().expect("a number");
        let before = last.insert(incident["id"].to_string(), revision).unwrap_or(0);
        assert_eq!(revision, before + 1, "{incident}");
    }
}

/// So many names are tried, and so many runs are kept.
const NAMES: u64 = 5_000;
const BOUND: u64 = 200;

/// Fills the bound with failures of names that nobody knows, each from the peer that `peer` says,
/// and looks for bob's 43 failures and the one incident of all others.
#[track_caller]
fn check_names_beyond_the_bound(peer: impl Fn(u64) -> String, key: &str, counted: u64) {
    let mut live = Live::start(STDIN, &format!("{LONG}[bounds]\nopen_runs = {BOUND}\n"));
    let mut input = live.failures("DC1.corp.example", "bob", 3);
    for number in 0..NAMES {
        // Each once, in no order.
        let name = format!("rnd{:05}x", number * 7_919 % 100_003);
        let event = events::failure(live.origin("DC1.corp.example", 0), &name, &peer(number));
        input.extend(line(&event));
    }
    input.extend(live.failures("DC1.corp.example", "bob", 40));
    live.send(&input);
    live.until("both are emitted", |live| {
        live.failures_of("bob") > 0 && !live.incidents(key).is_empty()
    });
    live.terminate();
    assert_eq!(live.failures_of("bob"), 43, "{}", live.excerpt());
    let all = live.incidents(key);
    let counts: Vec<u64> = all.iter().map(failures).collect();
    assert_eq!(counts, [counted], "{all:#?}");
    assert_eq!(live.incidents("RND").len(), 0, "a single failure is no incident");
}

#[test]
fn a_spray_of_names_beyond_the_bound_is_one_incident_and_hides_no_known_account() {
    check_names_beyond_the_bound(|_| "10.9.9.9".to_owned(), "peer:", NAMES);
}

#[test]
fn names_beyond_the_bound_from_many_peers_are_one_incident_of_the_host() {
    let peer = |number: u64| format!("10.8.{}.{}", number / 250, number % 250 + 1);
    // Those that had room, beside bob, were kept apart.
    check_names_beyond_the_bound(peer, "crowd:", NAMES - (BOUND - 1));
}

#[test]
fn unwanted_events_alone_move_the_watermark_of_the_status_line() {
    let mut live = Live::start(STDIN, SHORT);
    let mut seen: Vec<String> = Vec::new();
    // Times a minute apart, so that what passes meanwhile does not explain them.
    let mut minutes = 60;
    live.until("the watermark moves", |live| {
        for computer in ["PC1", "PC2", "PC3"] {
            let event = events::unwanted(live.origin(computer, -60 * minutes));
            live.send(&line(&event));
        }
        let watermark = live.field("working", "watermark").filter(|of| of != "none");
        if let Some(watermark) = watermark
            && seen.last() != Some(&watermark)
        {
            seen.push(watermark);
            minutes -= 1;
        }
        seen.len() >= 4
    });
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(live.number("working", "observed"), 0);
    let span = |one: &str| one.parse::<jiff::Timestamp>().expect("a time").as_second();
    let moved = span(&seen[3]) - span(&seen[0]);
    assert!(moved >= 120, "by the events: {seen:?}");
}
