//! Rules: which records are failures, mismatches, successes or facts, and
//! which field of each plays which role.
//!
//! A rule file (`config/rules.toml`) becomes [`RuleSpec`]s; [`Rules`] compiles
//! them against the field table of [`Wanted`]; an [`Observer`] applies them to
//! the records of one worker. Facts repeat without end in real logs, so the
//! observer collects them and hands each over once, with the first and last
//! time it was seen, when there are enough or at the end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use regex::Regex;
use rustc_hash::{FxHashMap, FxHasher};

use super::fleet::hosts::netbios;
use crate::observation::{
    Account, Build, Fact, Failure, Mismatch, NETBIOS_NAME_CHARS_MAX, Observation, Peer, Protocol,
    RecordKey, Side, Success, What,
};
use crate::record::{FieldId, Record, Value, Wanted};
use crate::sid::Sid;
use crate::status::{Category, CodeFamily, StatusCode};
use crate::time::EventTime;
use std::hash::Hasher;

/// Longest name that is kept of an event, in bytes; longer ones are cut.
/// Windows' own longest, a distinguished name, has a limit of 255 characters.
pub const NAME_BYTES_MAX: usize = 512;

/// One rule as a file states it, checked.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    pub id: String,
    pub provider: String,
    /// Channel the record must come from; `None` for any.
    pub channel: Option<String>,
    pub event_ids: Vec<u32>,
    pub kind: RuleKind,
    pub conditions: Vec<Condition>,
    pub side: Side,
    pub account: AccountFields,
    pub peer: PeerFields,
    pub status: Option<StatusField>,
    pub sub_status: Option<StatusField>,
    pub reason: Fields,
    pub logon_type: Fields,
    pub service: Fields,
    pub protocol: ProtocolField,
    pub category: Option<Category>,
    pub host: HostFields,
}

/// The names a field goes by in different versions of an event; the first
/// that holds something counts.
pub type Fields = Vec<String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    Mismatch,
    Failure,
    Success,
    Fact(FactKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// The record's computer exists.
    Host,
    /// The record's computer answers as a domain controller.
    DomainController,
    /// The record's computer started.
    Boot,
}

/// A condition on one field. A field that is missing, empty or `-` is absent.
#[derive(Clone, Debug)]
pub struct Condition {
    pub field: String,
    pub test: Test,
    /// Whether the condition holds when the field is absent.
    pub when_absent: bool,
}

/// What is asked of a field that is there. Numbers are compared as numbers,
/// however they are written; other text without regard to case.
#[derive(Clone, Debug)]
pub enum Test {
    Anything,
    Nothing,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Matches(Regex),
}

#[derive(Clone, Debug, Default)]
pub struct AccountFields {
    pub sid: Fields,
    pub name: Fields,
    pub domain: Fields,
    /// A computer's name; the account is its `NAME$`.
    pub computer: Fields,
}

#[derive(Clone, Debug, Default)]
pub struct PeerFields {
    pub host: Fields,
    /// An address as text, or as the bytes of a socket address.
    pub ip: Fields,
}

/// What an event says of the computer that logged it.
#[derive(Clone, Debug, Default)]
pub struct HostFields {
    pub build: Fields,
    pub revision: Fields,
    /// A text with the number of an installed update, `KB5083769`.
    pub update: Fields,
    /// Its name before, and after.
    pub old_name: Fields,
    pub new_name: Fields,
}

#[derive(Clone, Debug)]
pub struct StatusField {
    pub fields: Fields,
    pub family: CodeFamily,
    /// The field holds the four bytes of the code, lowest first.
    pub bytes: bool,
}

#[derive(Clone, Debug)]
pub enum ProtocolField {
    Fixed(Protocol),
    From(Fields),
}

/// Three fields that name an account and its SID together.
#[derive(Clone, Debug)]
pub struct FactRule {
    pub sid: String,
    pub name: String,
    pub domain: String,
    /// Events in which these fields mean something else.
    pub except: Vec<u32>,
    /// Whether an account of the record's own computer shows its machine SID.
    pub machine_sid: bool,
    pub address: Option<AddressFields>,
}

/// Where the account logged on from, in events of logons that worked.
#[derive(Clone, Debug)]
pub struct AddressFields {
    pub event_ids: Vec<u32>,
    pub host: String,
    pub ip: String,
}

#[derive(Debug)]
struct CompiledFactRule {
    fields: [FieldId; 3],
    /// Host and address.
    address: Option<[FieldId; 2]>,
    fact_rule: FactRule,
}

/// All rules, compiled. Shared between workers.
#[derive(Debug)]
pub struct Rules {
    wanted: Arc<Wanted>,
    rules: Vec<Rule>,
    by_event: FxHashMap<u32, Vec<usize>>,
    fact_rules: Vec<CompiledFactRule>,
}

#[derive(Debug)]
struct Rule {
    spec: RuleSpec,
    conditions: Vec<(FieldId, Condition)>,
    sid: Vec<FieldId>,
    name: Vec<FieldId>,
    domain: Vec<FieldId>,
    computer: Vec<FieldId>,
    peer_host: Vec<FieldId>,
    peer_ip: Vec<FieldId>,
    status: Vec<FieldId>,
    sub_status: Vec<FieldId>,
    reason: Vec<FieldId>,
    logon_type: Vec<FieldId>,
    service: Vec<FieldId>,
    protocol: Vec<FieldId>,
    build: Vec<FieldId>,
    revision: Vec<FieldId>,
    update: Vec<FieldId>,
    old_name: Vec<FieldId>,
    new_name: Vec<FieldId>,
}

impl Rules {
    pub fn new(specs: &[RuleSpec], fact_rules: &[FactRule]) -> Rules {
        let events = specs
            .iter()
            .flat_map(|spec| spec.event_ids.iter().map(|id| (spec.provider.as_str(), *id)));
        fn fact_fields(fact_rule: &FactRule) -> impl Iterator<Item = &str> {
            let address = fact_rule.address.iter().flat_map(|a| [a.host.as_str(), a.ip.as_str()]);
            [fact_rule.name.as_str(), fact_rule.domain.as_str()].into_iter().chain(address)
        }
        let fields =
            specs.iter().flat_map(fields_of).chain(fact_rules.iter().flat_map(fact_fields));
        let carries_fact = fact_rules.iter().map(|fact_rule| fact_rule.sid.as_str());
        let fact_fields = fact_rules.iter().flat_map(fact_fields);
        let wanted =
            Arc::new(Wanted::new(events, fields, carries_fact).with_fact_fields(fact_fields));
        let mut by_event: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
        for (index, spec) in specs.iter().enumerate() {
            for id in &spec.event_ids {
                by_event.entry(*id).or_default().push(index);
            }
        }
        let rules = specs.iter().map(|spec| Rule::compile(spec, &wanted)).collect();
        let field = |name: &str| wanted.field(name).expect("every field was interned above");
        let fact_rules = fact_rules
            .iter()
            .map(|t| CompiledFactRule {
                fields: [field(&t.sid), field(&t.name), field(&t.domain)],
                address: t
                    .address
                    .as_ref()
                    .map(|address| [field(&address.host), field(&address.ip)]),
                fact_rule: t.clone(),
            })
            .collect();
        Rules { wanted, rules, by_event, fact_rules }
    }

    /// What decoders should read.
    pub fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// The first rule that holds for a record.
    fn rule_for(&self, record: &Record<'_>) -> Option<&Rule> {
        let candidates = self.by_event.get(&record.event_id)?;
        candidates.iter().map(|&index| &self.rules[index]).find(|rule| rule.holds(record))
    }
}

/// Every field that a rule reads.
fn fields_of(spec: &RuleSpec) -> impl Iterator<Item = &str> {
    let protocol: &[String] = match &spec.protocol {
        ProtocolField::From(fields) => fields,
        ProtocolField::Fixed(_) => &[],
    };
    let statuses = [&spec.status, &spec.sub_status].into_iter().flatten().flat_map(|s| &s.fields);
    let roles = [
        &spec.account.sid,
        &spec.account.name,
        &spec.account.domain,
        &spec.account.computer,
        &spec.peer.host,
        &spec.peer.ip,
        &spec.reason,
        &spec.logon_type,
        &spec.service,
        &spec.host.build,
        &spec.host.revision,
        &spec.host.update,
        &spec.host.old_name,
        &spec.host.new_name,
    ];
    let conditions = spec.conditions.iter().map(|condition| &condition.field);
    roles
        .into_iter()
        .flatten()
        .chain(protocol)
        .chain(statuses)
        .chain(conditions)
        .map(String::as_str)
}

impl Rule {
    fn compile(spec: &RuleSpec, wanted: &Wanted) -> Rule {
        let fields = |names: &[String]| -> Vec<FieldId> {
            names.iter().filter_map(|name| wanted.field(name)).collect()
        };
        let status = |status: &Option<StatusField>| {
            status.as_ref().map(|status| fields(&status.fields)).unwrap_or_default()
        };
        let protocol = match &spec.protocol {
            ProtocolField::From(names) => fields(names),
            ProtocolField::Fixed(_) => Vec::new(),
        };
        let conditions = spec
            .conditions
            .iter()
            .filter_map(|condition| Some((wanted.field(&condition.field)?, condition.clone())))
            .collect();
        Rule {
            conditions,
            sid: fields(&spec.account.sid),
            name: fields(&spec.account.name),
            domain: fields(&spec.account.domain),
            computer: fields(&spec.account.computer),
            peer_host: fields(&spec.peer.host),
            peer_ip: fields(&spec.peer.ip),
            status: status(&spec.status),
            sub_status: status(&spec.sub_status),
            reason: fields(&spec.reason),
            logon_type: fields(&spec.logon_type),
            service: fields(&spec.service),
            protocol,
            build: fields(&spec.host.build),
            revision: fields(&spec.host.revision),
            update: fields(&spec.host.update),
            old_name: fields(&spec.host.old_name),
            new_name: fields(&spec.host.new_name),
            spec: spec.clone(),
        }
    }

    fn holds(&self, record: &Record<'_>) -> bool {
        let channel = |expected: &String| record.channel.text().eq_ignore_ascii_case(expected);
        self.spec.provider.eq_ignore_ascii_case(&record.provider)
            && self.spec.channel.as_ref().is_none_or(channel)
            && self
                .conditions
                .iter()
                .all(|(field, condition)| condition.holds(record.field(*field)))
    }

    fn account(&self, record: &Record<'_>) -> Account {
        let computer = first_of(record, &self.computer).and_then(name_of);
        let computer = computer.and_then(|name| host_name(&name));
        let mut account = Account {
            sid: first_of(record, &self.sid).and_then(Value::as_sid).filter(Sid::is_account),
            name: first_of(record, &self.name)
                .and_then(name_of)
                .or_else(|| computer.map(|name| format!("{name}$").into())),
            domain: first_of(record, &self.domain).and_then(name_of),
        };
        split_account(&mut account);
        account
    }

    fn peer(&self, record: &Record<'_>) -> Peer {
        let host = first_of(record, &self.peer_host).and_then(name_of);
        let host = host.and_then(|host| host_name(&host));
        let ip = first_of(record, &self.peer_ip).and_then(address);
        // Where a name is asked for, an address may stand.
        match host.as_deref().and_then(|host| host.parse::<IpAddr>().ok()) {
            Some(literal) => Peer { host: None, ip: ip.or(Some(literal.to_canonical())) },
            None => Peer { host, ip },
        }
    }

    fn failure(&self, record: &Record<'_>) -> Failure {
        let number = |fields: &[FieldId]| {
            first_of(record, fields).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
        };
        let protocol = match &self.spec.protocol {
            ProtocolField::Fixed(protocol) => *protocol,
            ProtocolField::From(_) => first_of(record, &self.protocol)
                .map_or(Protocol::Unknown, |value| protocol_of(&value.text())),
        };
        let status = |fields: &[FieldId], spec: &Option<StatusField>| {
            status_of(first_of(record, fields), spec.as_ref())
        };
        Failure {
            account: self.account(record),
            peer: self.peer(record),
            side: self.spec.side,
            protocol,
            status: status(&self.status, &self.spec.status),
            sub_status: status(&self.sub_status, &self.spec.sub_status),
            reason: number(&self.reason),
            logon_type: number(&self.logon_type),
            service: first_of(record, &self.service).and_then(name_of),
            category: self.spec.category,
        }
    }
}

impl Rule {
    /// What the record says of its computer beside what the rule is about.
    fn own_facts(&self, record: &Record<'_>) -> impl Iterator<Item = Fact> {
        let number = |fields: &[FieldId]| {
            let number = first_of(record, fields).and_then(Value::as_u64);
            number.and_then(|number| u32::try_from(number).ok())
        };
        let name = |fields: &[FieldId]| first_of(record, fields).and_then(name_of);
        let build = number(&self.build)
            .map(|build| Fact::Build(Build { number: build, revision: number(&self.revision) }));
        let update = first_of(record, &self.update).and_then(|title| update_within(&title.text()));
        let names = name(&self.old_name).zip(name(&self.new_name));
        let renamed = names.map(|(from, to)| Fact::Renamed { from, to });
        [build, update.map(Fact::Update), renamed].into_iter().flatten()
    }
}

/// The number after `KB` in the title of an update.
fn update_within(title: &str) -> Option<u32> {
    title.match_indices("KB").find_map(|(at, _)| {
        let digits = &title[at + 2..];
        let len = digits.bytes().take_while(u8::is_ascii_digit).count();
        digits[..len].parse().ok()
    })
}

/// The first of several fields that holds something.
fn first_of<'r, 'v>(record: &'r Record<'v>, fields: &[FieldId]) -> Option<&'r Value<'v>> {
    fields.iter().filter_map(|field| record.field(*field)).find(|value| !value.is_nothing())
}

impl Condition {
    fn holds(&self, value: Option<&Value<'_>>) -> bool {
        let Some(value) = value.filter(|value| !value.is_nothing()) else {
            return self.when_absent;
        };
        match &self.test {
            Test::Anything => true,
            Test::Nothing => false,
            Test::OneOf(texts) => is_one_of(value, texts),
            Test::NoneOf(texts) => !is_one_of(value, texts),
            Test::Matches(regex) => regex.is_match(value.text().trim()),
        }
    }
}

fn is_one_of(value: &Value<'_>, texts: &[String]) -> bool {
    let number = value.as_u64();
    let text = value.text();
    texts.iter().any(|expected| match (number, Value::Text(expected.as_str().into()).as_u64()) {
        (Some(number), Some(expected)) => number == expected,
        _ => text.trim().eq_ignore_ascii_case(expected),
    })
}

/// A name, cut to [`NAME_BYTES_MAX`].
fn name_of(value: &Value<'_>) -> Option<Box<str>> {
    let name = value.as_name()?;
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    Some(name[..end].into())
}

/// `DOMAIN\user` and `user@REALM` hold both parts; a KDC's `krbtgt/REALM`
/// holds the realm.
fn split_account(account: &mut Account) {
    if let Some(domain) = &account.domain {
        let lower = domain.to_ascii_lowercase();
        if lower == "krbtgt" {
            account.domain = None;
        } else if lower.starts_with("krbtgt/") {
            account.domain = Some(domain["krbtgt/".len()..].into());
        }
    }
    let Some(name) = &account.name else { return };
    if let Some((domain, user)) = name.split_once('\\') {
        let part = |text: &str| (!text.is_empty()).then(|| Box::from(text));
        (account.domain, account.name) = (part(domain), part(user));
    } else if let Some((user, realm)) = name.rsplit_once('@')
        && !user.is_empty()
    {
        let (user, realm) = (Box::from(user), Box::<str>::from(realm));
        account.name = Some(user);
        let known = account.domain.take().filter(|domain| !matches!(&**domain, "." | ""));
        account.domain = known.or_else(|| Some(realm).filter(|realm| !realm.is_empty()));
    }
}

/// A computer name without `\\`, and without the service class of an SPN.
fn host_name(text: &str) -> Option<Box<str>> {
    let host = text.trim_start_matches('\\');
    let host = host.rsplit_once('/').map_or(host, |(_, host)| host);
    let host = host.trim_end_matches('$').trim();
    (!host.is_empty()).then(|| host.into())
}

/// An IP address; `::ffff:a.b.c.d` is the IPv4 address it stands for.
fn address(value: &Value<'_>) -> Option<IpAddr> {
    let ip = match value {
        Value::Binary(bytes) => socket_address(bytes)?,
        _ => {
            let text = value.as_name()?;
            let text = text.trim_start_matches('[').split(['%', ']']).next().unwrap_or_default();
            match text.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) => match text.parse::<std::net::SocketAddr>() {
                    Ok(socket) => socket.ip(),
                    Err(_) => socket_address(&value.as_bytes()?)?,
                },
            }
        }
    };
    let ip = ip.to_canonical();
    (!ip.is_unspecified()).then_some(ip)
}

/// The address in a Windows `SOCKADDR`: family (2 or 23) and port first.
fn socket_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes {
        [2, 0, _, _, rest @ ..] => rest.first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
        [23, 0, _, _, _, _, _, _, rest @ ..] => {
            rest.first_chunk::<16>().map(|ip| IpAddr::from(*ip))
        }
        _ => None,
    }
}

fn protocol_of(text: &str) -> Protocol {
    let text = text.trim().to_ascii_lowercase();
    if text.contains("kerberos") {
        Protocol::Kerberos
    } else if text.contains("ntlm") || text == "microsoft_authentication_package_v1_0" {
        Protocol::Ntlm
    } else {
        Protocol::Unknown
    }
}

fn status_of(value: Option<&Value<'_>>, spec: Option<&StatusField>) -> Option<StatusCode> {
    let (value, spec) = (value?, spec?);
    let number = if spec.bytes {
        let bytes = value.as_bytes()?;
        u32::from_le_bytes(*bytes.first_chunk()?)
    } else {
        match value.as_u64() {
            Some(number) => u32::try_from(number).ok()?,
            None => code_within(&value.text())?,
        }
    };
    Some(StatusCode::new(spec.family, number))
}

/// The code in a text such as `… invalid user name … (0xc000006d)`.
fn code_within(text: &str) -> Option<u32> {
    let digits = &text[text.rfind("0x")? + 2..];
    let len = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    u32::from_str_radix(&digits[..len], 16).ok()
}

/// Applies the rules for one worker.
#[derive(Debug)]
pub struct Observer {
    rules: Arc<Rules>,
    facts: FactBatch,
    matched: BTreeMap<(Box<str>, u32), u64>,
}

impl Observer {
    pub fn new(rules: Arc<Rules>) -> Observer {
        Observer { rules, facts: FactBatch::default(), matched: BTreeMap::new() }
    }

    /// What the rules make of one record; facts are held back until there are
    /// [`FACTS_MAX`] or [`Observer::finish`] is called.
    pub fn observe(&mut self, record: &Record<'_>, observations: &mut Vec<Observation>) {
        if self.facts.entries.len() >= FACTS_MAX {
            self.facts.drain(observations);
        }
        let Observer { rules, facts, matched } = self;
        for CompiledFactRule { fields, address, fact_rule } in &rules.fact_rules {
            if !fact_rule.except.contains(&record.event_id) {
                facts.account(
                    record,
                    fields.map(|field| record.field(field)),
                    fact_rule.machine_sid,
                );
            }
            if let (Some(address), Some(at)) = (&fact_rule.address, address)
                && address.event_ids.contains(&record.event_id)
            {
                let [sid, name, _] = fields.map(|field| record.field(field));
                let [host, ip] = at.map(|field| record.field(field));
                facts.address(record, [sid, name, host, ip]);
            }
        }
        let Some(rule) = rules.rule_for(record) else { return };
        for fact in rule.own_facts(record) {
            facts.own(record, fact);
        }
        let what = match rule.spec.kind {
            RuleKind::Mismatch => What::Mismatch(Mismatch { account: rule.account(record) }),
            RuleKind::Failure => What::Failure(Box::new(rule.failure(record))),
            RuleKind::Success => {
                let (account, peer) = (rule.account(record), rule.peer(record));
                What::Success(Success { account, peer, side: rule.spec.side })
            }
            RuleKind::Fact(FactKind::Boot) => What::Fact(Fact::Boot),
            RuleKind::Fact(FactKind::Host) => {
                facts.host(record, Fact::Host);
                return;
            }
            RuleKind::Fact(FactKind::DomainController) => {
                facts.host(record, Fact::DomainController);
                return;
            }
        };
        if rule.spec.side == Side::Kdc {
            facts.host(record, Fact::DomainController);
        }
        match what {
            What::Mismatch(_) | What::Failure(_) => {
                let event = (rule.spec.provider.as_str().into(), record.event_id);
                *matched.entry(event).or_default() += 1;
            }
            What::Success(_) | What::Fact(_) => {}
        }
        observations.push(Observation {
            key: record_key(record),
            provider: record.provider.as_ref().into(),
            event_id: record.event_id,
            what,
        });
    }

    /// Facts that are held back.
    pub fn held(&self) -> usize {
        self.facts.entries.len()
    }

    /// Hands over the facts that were held back.
    pub fn finish(&mut self, observations: &mut Vec<Observation>) {
        self.facts.drain(observations);
    }

    /// Records for which a rule of kind mismatch or failure held, by provider
    /// and event id, since the last call.
    pub fn take_matched(&mut self) -> BTreeMap<(Box<str>, u32), u64> {
        std::mem::take(&mut self.matched)
    }
}

/// Whether a domain is the computer itself.
fn is_own_name(computer: &Value<'_>, domain: &Value<'_>) -> bool {
    let ascii = |unit: &[u8; 2]| if unit[1] == 0 { unit[0] } else { u8::MAX };
    let differ = match (computer, domain) {
        (Value::Utf16(computer), Value::Utf16(domain)) => {
            let (computer, domain) = (computer.as_chunks().0, domain.as_chunks().0);
            differ_early(computer.iter().map(ascii), domain.iter().map(ascii))
        }
        (computer, domain) => differ_early(computer.text().bytes(), domain.text().bytes()),
    };
    !differ && is_own_domain(&computer.text(), &domain.text())
}

/// Whether some of the letters that decide differ, nearly always the first.
/// From the first letter beyond ASCII on, names are compared as text.
fn differ_early(computer: impl Iterator<Item = u8>, domain: impl Iterator<Item = u8>) -> bool {
    let mut pairs = computer
        .zip(domain)
        .take(NETBIOS_NAME_CHARS_MAX)
        .take_while(|(one, other)| one.is_ascii() && other.is_ascii());
    pairs.any(|(one, other)| !one.eq_ignore_ascii_case(&other))
}

/// Whether the domain of an account is the computer that logged it: then the
/// account is the computer's own. Compared as NetBIOS does, by fifteen
/// characters; a DNS domain is no computer.
fn is_own_domain(computer: &str, domain: &str) -> bool {
    !domain.is_empty() && !domain.contains('.') && netbios(computer) == netbios(domain)
}

fn record_key(record: &Record<'_>) -> RecordKey {
    RecordKey {
        time: record.time,
        computer: name_of(&record.computer).unwrap_or_default(),
        channel: name_of(&record.channel).unwrap_or_default(),
        record_id: record.record_id,
    }
}

/// Different facts held back by one worker; some 300 bytes each.
pub const FACTS_MAX: usize = 32_768;

/// Facts, each once. Found by the bytes as they stand in the
/// input, so that a known fact costs a hash and a comparison.
#[derive(Debug, Default)]
struct FactBatch {
    by_hash: FxHashMap<u64, usize>,
    /// Keys end to end; entry `n` owns `keys[entries[n].key]`.
    keys: Vec<u8>,
    entries: Vec<FactEntry>,
    scratch: Vec<u8>,
    /// Computers as numbers, and the last one: most records repeat it.
    computers: FxHashMap<Box<[u8]>, u32>,
    last_computer: (Vec<u8>, u32),
}

#[derive(Debug)]
struct FactEntry {
    key: std::ops::Range<usize>,
    /// Time and id of the last record.
    last: (EventTime, u64),
    /// `None` when the values turned out to name nobody.
    observation: Option<Observation>,
}

impl FactBatch {
    fn key_start(&mut self) {
        self.scratch.clear();
    }

    fn key_part(&mut self, value: &Value<'_>) {
        match value {
            Value::Utf16(bytes) => self.scratch.extend_from_slice(bytes),
            Value::Text(text) => self.scratch.extend_from_slice(text.as_bytes()),
            other => self.scratch.extend_from_slice(other.text().as_bytes()),
        }
        self.scratch.extend_from_slice(&[0, 0, 0xff]);
    }

    /// The record's computer, as a short number.
    fn key_computer(&mut self, computer: &Value<'_>) {
        let text;
        let bytes = match computer {
            Value::Utf16(bytes) => bytes,
            Value::Text(text) => text.as_bytes(),
            other => {
                text = other.text();
                text.as_bytes()
            }
        };
        let (known, number) = &mut self.last_computer;
        if *known != bytes || self.computers.is_empty() {
            let next = self.computers.len() as u32;
            *number = match self.computers.get(bytes) {
                Some(number) => *number,
                None => *self.computers.entry(bytes.into()).or_insert(next),
            };
            known.clear();
            known.extend_from_slice(bytes);
        }
        self.scratch.extend_from_slice(&number.to_le_bytes());
    }

    fn key_sid(&mut self, sid: &Sid) {
        for sub in sid.subs() {
            self.scratch.extend_from_slice(&sub.to_le_bytes());
        }
    }

    /// Notes that the fact whose key is in `scratch` stands in a record.
    fn seen(&mut self, record: &Record<'_>, fact: impl FnOnce() -> Option<Fact>) {
        let mut hasher = FxHasher::default();
        hasher.write(&self.scratch);
        let hash = hasher.finish();
        if let Some(entry) = self.by_hash.get(&hash).map(|&index| &mut self.entries[index])
            && self.keys[entry.key.clone()] == self.scratch[..]
        {
            entry.last = entry.last.max((record.time, record.record_id));
            if let Some(observation) = &mut entry.observation
                && (record.time, record.record_id)
                    < (observation.key.time, observation.key.record_id)
            {
                observation.key.time = record.time;
                observation.key.record_id = record.record_id;
            }
            return;
        }
        let start = self.keys.len();
        self.keys.extend_from_slice(&self.scratch);
        let observation = fact().map(|fact| Observation {
            key: record_key(record),
            provider: record.provider.as_ref().into(),
            event_id: record.event_id,
            what: What::Fact(fact),
        });
        self.by_hash.insert(hash, self.entries.len());
        self.entries.push(FactEntry {
            key: start..self.keys.len(),
            last: (record.time, record.record_id),
            observation,
        });
    }

    /// Whose address stands in a logon that worked: the computer's, when it
    /// logs on by itself, else the one that the client calls itself.
    fn address(&mut self, record: &Record<'_>, fields: [Option<&Value<'_>>; 4]) {
        let [sid, name, host, ip] = fields.map(|value| value.filter(|v| !v.is_nothing()));
        let (Some(sid), Some(name), Some(ip)) = (sid, name, ip) else { return };
        if !sid.as_sid().is_some_and(|sid| sid.is_account()) {
            return;
        }
        let by_itself = match name {
            Value::Utf16(bytes) => bytes.ends_with(&[b'$', 0]),
            name => name.text().ends_with('$'),
        };
        let Some(host) = (if by_itself { Some(name) } else { host }) else { return };
        self.key_start();
        self.key_part(host);
        self.key_part(ip);
        self.seen(record, || {
            let host = host_name(&name_of(host)?)?;
            Some(Fact::Address { host, ip: address(ip)? })
        });
    }

    /// The account that a record names.
    fn account(
        &mut self,
        record: &Record<'_>,
        fields: [Option<&Value<'_>>; 3],
        shows_machine_sid: bool,
    ) {
        let [Some(sid), Some(name), Some(domain)] = fields else { return };
        self.key_start();
        self.key_computer(&record.computer);
        let in_text = match sid {
            Value::Sid(bytes) if Sid::is_account_bytes(bytes) => {
                self.scratch.extend_from_slice(bytes);
                None
            }
            Value::Sid(_) => return,
            text => {
                let Some(sid) = text.as_sid().filter(Sid::is_account) else { return };
                self.key_sid(&sid);
                Some(sid)
            }
        };
        self.key_part(name);
        self.key_part(domain);
        let own = shows_machine_sid && is_own_name(&record.computer, domain);
        if own {
            // Distinguished by event.
            self.key_record(record);
        }
        self.seen(record, || {
            let sid = in_text.or_else(|| sid.as_sid())?;
            // A distinguished name (`MemberName`) is no account name.
            let name = name_of(name).filter(|name| !name.contains('='))?;
            let mut account = Account { sid: Some(sid), name: Some(name), domain: name_of(domain) };
            split_account(&mut account);
            Some(Fact::Account { sid, name: account.name?, domain: account.domain?, own })
        });
    }

    /// A fact about the record's own computer.
    fn host(&mut self, record: &Record<'_>, fact: Fact) {
        self.key_start();
        self.key_part(&record.computer);
        let kind = if fact == Fact::Host { "host" } else { "domain controller" };
        self.key_part(&Value::Text(kind.into()));
        self.seen(record, || Some(fact));
    }

    /// A fact about the record's own computer that few records tell.
    fn own(&mut self, record: &Record<'_>, fact: Fact) {
        self.key_start();
        self.key_part(&record.computer);
        self.key_part(&Value::Text(format!("{fact:?}").into()));
        self.key_record(record);
        self.seen(record, || Some(fact));
    }

    fn key_record(&mut self, record: &Record<'_>) {
        self.scratch.extend_from_slice(&record.event_id.to_le_bytes());
        self.scratch.extend_from_slice(record.provider.as_bytes());
        self.key_part(&record.channel);
    }

    fn drain(&mut self, observations: &mut Vec<Observation>) {
        for entry in self.entries.drain(..) {
            let Some(observation) = entry.observation else { continue };
            let last = (entry.last.0 > observation.key.time).then(|| {
                let mut last = observation.clone();
                (last.key.time, last.key.record_id) = entry.last;
                last
            });
            observations.push(observation);
            observations.extend(last);
        }
        self.by_hash.clear();
        self.keys.clear();
        self.computers.clear();
    }
}
