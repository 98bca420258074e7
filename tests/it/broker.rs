//! Apache Kafka for the tests, started by `scripts/kafka`: one node for the
//! whole test binary, with listeners in plain text, TLS and SASL; nodes of
//! their own for tests that hurt them; and a proxy that cuts connections.
//!
//! Where neither Java nor the artefacts can be had, tests say that they are
//! skipped; with `TWINSID_REQUIRE_KAFKA=1` they fail.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use twinsid::brokers::{Cluster, Reports, TopicSpec, create_missing};

/// How long a broker may take to start, or a client to be served.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Broker {
    // Ends before its folder goes.
    node: Node,
    folder: tempfile::TempDir,
    pub plain: u16,
    /// Behind the proxy; clients that begin here stay behind it.
    pub proxied: u16,
    pub tls: u16,
    pub mutual_tls: u16,
    pub sasl: u16,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether Kafka can be had; asked once.
fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let install = Command::new(root().join("scripts/kafka")).arg("install").output();
        let works = install.as_ref().is_ok_and(|output| output.status.success());
        if !works {
            let required = std::env::var_os("TWINSID_REQUIRE_KAFKA").is_some();
            assert!(!required, "Kafka cannot be had: {install:?}");
            let _ = writeln!(std::io::stderr(), "SKIPPED: no Kafka for the tests: {install:?}");
        }
        works
    })
}

/// The broker that all tests share; `None` where there is none.
pub fn shared() -> Option<&'static Broker> {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    available().then(|| SHARED.get_or_init(|| Broker::start(None)))
}

/// A broker of one's own. Whoever has one, or a [`Trio`], is alone with it: the next waits until
/// it has stopped, so that a small machine never runs more of them at once.
pub fn own(proxy_port: Option<u16>) -> Option<OwnBroker> {
    available().then(|| {
        let turn = own_turn();
        OwnBroker { broker: Broker::start(proxy_port), _turn: turn }
    })
}

pub struct OwnBroker {
    // Stops before the next may start.
    broker: Broker,
    _turn: MutexGuard<'static, ()>,
}

impl std::ops::Deref for OwnBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

fn own_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that could harm the next one.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port that nobody has, and that no client is given by chance before it is
/// used: those come from 32768 on, and a broker that is started again needs the one
/// that it had.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Two runs at one time begin elsewhere.
    let start = std::process::id().wrapping_mul(97);
    let mut ports = std::iter::repeat_with(|| {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst)) % COUNT;
        (FIRST + at) as u16
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.by_ref().take(COUNT as usize).find(is_free).expect("a free port")
}

/// A name that no other test has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::SeqCst))
}

impl Broker {
    fn start(proxy_port: Option<u16>) -> Broker {
        let folder = tempfile::tempdir().expect("a folder");
        let users = "--add-scram SCRAM-SHA-256=[name=anna,password=right] \
                     --add-scram SCRAM-SHA-512=[name=anna,password=right]";
        let environment = [("HEAP", "384m"), ("FORMAT_ARGUMENTS", users)];
        let broker = Broker {
            node: Node::new(folder.path().join("server.properties"), &environment),
            plain: free_port(),
            proxied: free_port(),
            tls: free_port(),
            mutual_tls: free_port(),
            sasl: free_port(),
            folder,
        };
        broker.write_certificates();
        broker.write_properties(proxy_port);
        broker.launch();
        broker
    }

    pub fn cluster(&self) -> Cluster {
        cluster(self.plain, &[])
    }

    /// A file of the certificates.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_certificates(&self) {
        let put = |name: &str, text: String| fs::write(self.file(name), text).expect("written");
        for authority in ["ca", "other"] {
            let mut params = CertificateParams::new(Vec::new()).expect("parameters");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, format!("authority {authority}"));
            let key = KeyPair::generate().expect("a key");
            let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
            put(&format!("{authority}.pem"), issuer.pem());
            let leaves = if authority == "ca" { &["server", "client"][..] } else { &["stranger"] };
            for leaf in leaves {
                let key = KeyPair::generate().expect("a key");
                let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
                let mut params = CertificateParams::new(names).expect("parameters");
                params.distinguished_name.push(DnType::CommonName, *leaf);
                let certificate = params.signed_by(&key, &issuer).expect("signed");
                put(&format!("{leaf}.pem"), certificate.pem());
                put(&format!("{leaf}.key"), key.serialize_pem());
                let both = format!("{}{}", key.serialize_pem(), certificate.pem());
                put(&format!("{leaf}.both.pem"), both);
            }
        }
    }

    fn write_properties(&self, proxy_port: Option<u16>) {
        let controller = free_port();
        let path = |name: &str| self.file(name).display().to_string();
        let jaas = "org.apache.kafka.common.security";
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAIN\n\
             listeners=PLAIN://127.0.0.1:{plain},PROXIED://127.0.0.1:{proxied},TLS://127.0.0.1:{tls},MUTUAL://127.0.0.1:{mutual},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAIN://127.0.0.1:{plain},PROXIED://127.0.0.1:{advertised},TLS://127.0.0.1:{tls},MUTUAL://127.0.0.1:{mutual},SASL://127.0.0.1:{sasl}\n\
             listener.security.protocol.map=PLAIN:PLAINTEXT,PROXIED:PLAINTEXT,TLS:SSL,MUTUAL:SSL,SASL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             log.dirs={data}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=5\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=5\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={keystore}\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={truststore}\n\
             listener.name.mutual.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
             listener.name.sasl.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_anna=\"right\";\n\
             listener.name.sasl.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n\
             listener.name.sasl.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n\
             listener.name.sasl.oauthbearer.sasl.jaas.config={jaas}.oauthbearer.OAuthBearerLoginModule required;\n\
             listener.name.sasl.oauthbearer.sasl.server.callback.handler.class={jaas}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler\n",
            plain = self.plain,
            proxied = self.proxied,
            advertised = proxy_port.unwrap_or(self.proxied),
            tls = self.tls,
            mutual = self.mutual_tls,
            sasl = self.sasl,
            data = path("data"),
            keystore = path("server.both.pem"),
            truststore = path("ca.pem"),
        );
        fs::write(self.file("server.properties"), text).expect("written");
    }

    /// Starts it, with the data that it has.
    pub fn launch(&self) {
        self.node.launch();
        wait_for(&self.cluster());
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) {
        self.node.kill();
    }

    /// Ends it as a power cut would, and starts it again with its data.
    pub fn restart(&self) {
        self.kill();
        self.launch();
    }

    /// It holds its connections and answers nothing.
    pub fn hang(&self) {
        self.node.signal("-STOP");
    }

    pub fn wake(&self) {
        self.node.signal("-CONT");
    }
}

fn wait_for(cluster: &Cluster) {
    let start = Instant::now();
    while cluster.connect().is_err() {
        assert!(start.elapsed() < PATIENCE, "the broker answers");
    }
}

/// One node, and its Java process while it runs.
pub struct Node {
    properties: PathBuf,
    environment: Vec<(&'static str, String)>,
    java: Mutex<Option<(Child, u32)>>,
}

impl Node {
    fn new(properties: PathBuf, environment: &[(&'static str, &str)]) -> Node {
        let environment =
            environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Node { properties, environment, java: Mutex::new(None) }
    }

    pub fn launch(&self) {
        let log = self.properties.with_extension("log");
        let mut child = Command::new(root().join("scripts/kafka"))
            .arg("run")
            .arg(&self.properties)
            .env("TIER", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("bash");
        // The first line is the process id; what follows is Kafka's log.
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("read");
        let java: u32 = line.trim().parse().unwrap_or_else(|_| {
            panic!("Kafka did not start: {}", fs::read_to_string(&log).unwrap_or_default())
        });
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut out, &mut std::io::sink());
        });
        *self.java.lock().expect("not poisoned") = Some((child, java));
    }

    pub fn signal(&self, signal: &str) {
        let java =
            self.java.lock().expect("not poisoned").as_ref().map(|(_, java)| *java).expect("runs");
        let sent = Command::new("kill").arg(signal).arg(java.to_string()).status();
        assert!(sent.expect("kill").success());
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) {
        self.signal("-9");
        self.stop();
    }

    /// Ends it, and waits until it has.
    pub fn stop(&self) {
        if let Some((mut child, _)) = self.java.lock().expect("not poisoned").take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Three nodes that hold copies of each other's data, two of which have to have
/// what is committed.
pub struct Trio {
    pub nodes: Vec<Node>,
    pub brokers: String,
    _folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Trio {
    /// `None` where Kafka is not to be had.
    pub fn start() -> Option<Trio> {
        if !available() {
            return None;
        }
        let turn = own_turn();
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = (1..)
            .zip(&ports)
            .map(|(node, (_, controller))| format!("{node}@127.0.0.1:{controller}"))
            .collect();
        let nodes: Vec<Node> = (1..)
            .zip(&ports)
            .map(|(node, (port, controller))| {
                let text = format!(
                    "process.roles=broker,controller\nnode.id={node}\n\
                     controller.quorum.voters={}\ncontroller.listener.names=CONTROLLER\n\
                     listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                     advertised.listeners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\n\
                     default.replication.factor=3\nmin.insync.replicas=2\n\
                     offsets.topic.replication.factor=3\noffsets.topic.num.partitions=3\n\
                     transaction.state.log.replication.factor=3\ntransaction.state.log.min.isr=2\n\
                     transaction.state.log.num.partitions=3\n\
                     group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
                     broker.session.timeout.ms=4000\nreplica.lag.time.max.ms=4000\n",
                    voters.join(","),
                    folder.path().join(format!("data-{node}")).display()
                );
                let properties = folder.path().join(format!("node-{node}.properties"));
                fs::write(&properties, text).expect("written");
                let environment = [("HEAP", "256m"), ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qg")];
                Node::new(properties, &environment)
            })
            .collect();
        nodes.iter().for_each(Node::launch);
        let brokers: Vec<String> =
            ports.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let trio = Trio { nodes, brokers: brokers.join(","), _folder: folder, _turn: turn };
        wait_for(&trio.cluster());
        let (client, start) = (trio.cluster().connect().expect("a broker"), Instant::now());
        let known = || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(5));
            metadata.map_or(0, |metadata| metadata.brokers().len())
        };
        while known() < trio.nodes.len() {
            assert!(start.elapsed() < PATIENCE, "{} nodes know of each other", known());
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(trio)
    }

    pub fn cluster(&self) -> Cluster {
        Cluster {
            brokers: self.brokers.clone(),
            options: Default::default(),
            oauth_token_file: None,
        }
    }
}

pub fn cluster(port: u16, options: &[(&str, &str)]) -> Cluster {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Cluster {
        brokers: format!("127.0.0.1:{port}"),
        options: options.collect(),
        oauth_token_file: None,
    }
}

impl Broker {
    pub fn create_topic(&self, name: &str, partitions: i32) {
        create_topic(&self.cluster(), name, partitions);
    }

    /// Each value as a record, in turn over the partitions.
    pub fn produce(&self, topic: &str, partitions: i32, values: &[Vec<u8>]) {
        self.produce_with(topic, partitions, values, "none", &[]);
    }

    /// The same, packed by a codec and with headers.
    pub fn produce_with(
        &self,
        topic: &str,
        partitions: i32,
        values: &[Vec<u8>],
        codec: &str,
        headers: &[(&str, &str)],
    ) {
        produce(&self.cluster(), topic, partitions, values, codec, headers);
    }

    /// Every committed record of a topic, in the order of their times,
    /// and of their partitions where those are the same.
    pub fn consume(&self, topic: &str) -> Vec<Record> {
        consume(&self.cluster(), topic)
    }
}

pub fn create_topic(cluster: &Cluster, name: &str, partitions: i32) {
    let client = cluster.connect().expect("a broker");
    let spec = TopicSpec { name: name.to_owned(), partitions, settings: Vec::new(), purpose: "" };
    create_missing(cluster, &client, &[spec]).expect("created");
}

/// Each value as a record, in turn over the partitions, packed by a codec and
/// with headers.
pub fn produce(
    cluster: &Cluster,
    topic: &str,
    partitions: i32,
    values: &[Vec<u8>],
    codec: &str,
    headers: &[(&str, &str)],
) {
    let settings = vec![("linger.ms", "5".to_owned()), ("compression.type", codec.to_owned())];
    let producer: ThreadedProducer<Reports> = cluster.client(&settings).expect("a producer");
    for (number, value) in values.iter().enumerate() {
        let partition = number as i32 % partitions;
        let owned = headers.iter().fold(OwnedHeaders::new(), |owned, (key, value)| {
            owned.insert(Header { key, value: Some(*value) })
        });
        let mut record =
            BaseRecord::<[u8], [u8]>::to(topic).payload(value).partition(partition).headers(owned);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.flush(Duration::from_millis(100)).ok();
        }
    }
    producer.flush(PATIENCE).expect("delivered");
}

/// Every committed record of a topic, in the order of their times,
/// and of their partitions where those are the same.
pub fn consume(cluster: &Cluster, topic: &str) -> Vec<Record> {
    let client = cluster.connect().expect("a broker");
    let parts = twinsid::brokers::partitions(&client, topic).expect("metadata");
    let mut records = Vec::new();
    for partition in parts.unwrap_or_default() {
        let (first, end) = twinsid::brokers::ends(&client, topic, partition).expect("ends");
        if first == end {
            continue;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(first)).expect("listed");
        client.assign(&list).expect("assigned");
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "{topic} can be read");
            match client.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => records.push(Record::of(&message)),
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => break,
                Some(Err(_)) | None => {}
            }
        }
    }
    // Within a partition the order of times is that of the offsets, and stays.
    records.sort_by_key(|record| record.time_ms);
    records
}

#[derive(Clone, Debug)]
pub struct Record {
    pub key: String,
    pub value: String,
    pub headers: BTreeMap<String, String>,
    pub time_ms: i64,
}

impl Record {
    fn of(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(&[])).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), text(header.value)))
        });
        Record {
            key: text(message.key()),
            value: text(message.payload()),
            headers: headers.collect(),
            time_ms: message.timestamp().to_millis().unwrap_or_default(),
        }
    }
}

/// Forwards connections, until it is told not to.
pub struct Proxy {
    pub port: u16,
    state: Arc<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    cut: AtomicBool,
    ended: AtomicBool,
}

impl Proxy {
    /// Listens; where to, is said when the broker is there.
    pub fn listen() -> (Proxy, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        (Proxy { port, state: Arc::default() }, listener)
    }

    pub fn forward(&self, listener: TcpListener, to: u16) {
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.ended.load(Ordering::SeqCst) {
                    return;
                }
                if state.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) =
                        (from.try_clone().expect("cloned"), to.try_clone().expect("cloned"));
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || pump(from, to, &state));
                }
            }
        });
    }

    /// The network between the two is gone: open connections fall silent, new
    /// ones are not answered.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    pub fn restore(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// What comes while the network is cut is lost, and the connection with it.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &ProxyState) {
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    let mut buffer = vec![0; 64 * 1024];
    let mut lost = false;
    while !state.ended.load(Ordering::SeqCst) {
        let cut = state.cut.load(Ordering::SeqCst);
        if lost && !cut {
            break;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) if cut => lost = true,
            Ok(read) => {
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
