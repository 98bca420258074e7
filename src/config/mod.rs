//! Settings and rule files: what was written, then what is known to be good.
//!
//! `config/default.toml` and `config/rules.toml` are part of the program. A
//! file of the user's is laid over them. Every mistake is reported with file,
//! line, key and a hint, all of them at once.

pub mod effective;
pub mod inventory;
pub mod service;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use regex::RegexBuilder;
use serde::Deserialize;
use toml::Spanned;

use service::Service;

use crate::detect::rules::{
    AccountFields, AddressFields, Condition, FactKind, FactRule, Fields, HostFields, PeerFields,
    ProtocolField, RuleKind, RuleSpec, StatusField, Test,
};
use crate::detect::{Bounds, Settings, seconds};
use crate::observation::{Protocol, Side};
use crate::record::{FIELDS_MAX, POSITIONS_MAX};
use crate::status::{Category, CodeFamily, StatusCode};

const DEFAULT: &str = include_str!("../../config/default.toml");
const RULES: &str = include_str!("../../config/rules.toml");

/// Largest configuration or rule file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Compiled size of one regular expression of a rule.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Everything checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub settings: Settings,
    pub rules: Vec<RuleSpec>,
    pub fact_rules: Vec<FactRule>,
    /// What `twinsid run` does; `None` where the file has no source and no sink.
    pub service: Option<Service>,
}

/// All mistakes of a configuration.
#[derive(Debug)]
pub struct ConfigError {
    pub mistakes: Vec<Mistake>,
}

/// One mistake: where, what, and what would be right.
#[derive(Debug, PartialEq)]
pub struct Mistake {
    pub file: String,
    /// Counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    pub what: String,
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    session: RawSession,
    #[serde(default)]
    rules: RawRulesSection,
    #[serde(default)]
    bounds: RawBounds,
    #[serde(default)]
    source: Vec<Spanned<service::RawSource>>,
    sink: Option<Spanned<service::RawSink>>,
    #[serde(default)]
    state: service::RawState,
    #[serde(default)]
    time: service::RawTime,
    #[serde(default)]
    service: service::RawService,
}

impl RawConfig {
    fn take_service(&mut self) -> service::RawParts {
        service::RawParts {
            source: std::mem::take(&mut self.source),
            sink: self.sink.take(),
            state: std::mem::take(&mut self.state),
            time: std::mem::take(&mut self.time),
            service: std::mem::take(&mut self.service),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSession {
    gap_secs: Option<Spanned<u64>>,
    max_hours: Option<Spanned<u64>>,
    pair_window_secs: Option<Spanned<u64>>,
    known_hours: Option<Spanned<u64>>,
    failure_threshold: Option<Spanned<u64>>,
    grave_status: Option<Vec<Spanned<String>>>,
    grave_kerberos: Option<Vec<Spanned<String>>>,
    grave_category: Option<Vec<Spanned<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRulesSection {
    embedded: Option<bool>,
    files: Option<Vec<String>>,
    disable: Option<Vec<Spanned<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBounds {
    seen_records: Option<Spanned<u64>>,
    names_mib: Option<Spanned<u64>>,
    addresses: Option<Spanned<u64>>,
    patterns: Option<Spanned<u64>>,
    accounts: Option<Spanned<u64>>,
    hosts: Option<Spanned<u64>>,
    nearby: Option<Spanned<u64>>,
    open_runs: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    teaching: Vec<RawFactRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFactRule {
    sid: String,
    name: String,
    domain: String,
    #[serde(default)]
    except_event_id: Vec<u32>,
    machine_sid: Option<bool>,
    address: Option<RawAddress>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAddress {
    event_id: Vec<u32>,
    host: String,
    ip: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: Spanned<String>,
    provider: Spanned<String>,
    channel: Option<String>,
    event_id: Spanned<Vec<u32>>,
    kind: Spanned<String>,
    fact: Option<Spanned<String>>,
    #[serde(default)]
    when: BTreeMap<Spanned<String>, Spanned<RawCondition>>,
    side: Option<Spanned<String>>,
    #[serde(default)]
    account: RawAccount,
    #[serde(default)]
    peer: RawPeer,
    status: Option<RawStatus>,
    sub_status: Option<RawStatus>,
    reason: Option<RawFields>,
    logon_type: Option<RawFields>,
    service: Option<RawFields>,
    protocol: Option<Spanned<RawProtocol>>,
    category: Option<Spanned<String>>,
    #[serde(default)]
    host: RawHost,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFields {
    One(String),
    Several(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccount {
    sid: Option<RawFields>,
    name: Option<RawFields>,
    domain: Option<RawFields>,
    computer: Option<RawFields>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    build: Option<RawFields>,
    revision: Option<RawFields>,
    update: Option<RawFields>,
    old_name: Option<RawFields>,
    new_name: Option<RawFields>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPeer {
    host: Option<RawFields>,
    ip: Option<RawFields>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawStatus {
    Fields(RawFields),
    Full(RawStatusTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStatusTable {
    field: RawFields,
    family: Option<String>,
    #[serde(default)]
    bytes: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawProtocol {
    Name(String),
    From { from: RawFields },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    equals: Option<RawText>,
    one_of: Option<Vec<RawText>>,
    none_of: Option<Vec<RawText>>,
    matches: Option<String>,
    absent: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawText {
    Text(String),
    Number(i64),
}

impl RawText {
    fn into_text(self) -> String {
        match self {
            RawText::Text(text) => text,
            RawText::Number(number) => number.to_string(),
        }
    }
}

/// Collects the mistakes of one file.
struct File<'t> {
    name: String,
    text: &'t str,
    mistakes: Vec<Mistake>,
}

impl<'t> File<'t> {
    fn new(name: &str, text: &'t str) -> File<'t> {
        File { name: name.to_owned(), text, mistakes: Vec::new() }
    }

    fn mistake(&mut self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        self.mistakes.push(Mistake {
            file: self.name.clone(),
            line: Some(line),
            what: what.into(),
            hint: Some(hint.into()),
        });
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        match toml::from_str(self.text) {
            Ok(raw) => Some(raw),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let mut message = error.message().lines();
                let what = message.next().unwrap_or("not valid TOML").to_owned();
                let hint: Vec<&str> = message.collect();
                let hint = if hint.is_empty() {
                    "the keys and their forms are explained in config/default.toml and \
                     config/rules.toml"
                        .to_owned()
                } else {
                    hint.join("; ")
                };
                self.mistake(at, what, hint);
                None
            }
        }
    }
}

impl Config {
    /// The configuration that is part of the program.
    pub fn embedded() -> Config {
        match Config::load(None) {
            Ok(config) => config,
            Err(error) => panic!("the embedded configuration is tested to be right: {error}"),
        }
    }

    /// The embedded configuration with the user's file laid over it.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let mut mistakes = Vec::new();
        let mut default = File::new("default.toml", DEFAULT);
        let base: Option<RawConfig> = default.parse();
        mistakes.append(&mut default.mistakes);
        let text;
        let mut user = File::new("", "");
        let mut over: Option<RawConfig> = None;
        if let Some(path) = path {
            match read(path) {
                Ok(read) => {
                    text = read;
                    user = File::new(&path.display().to_string(), &text);
                    over = user.parse();
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let Some(mut base) = base else { return Err(ConfigError { mistakes }) };
        let mut over = over.unwrap_or_default();
        let settings = settings(&base, &over, &mut user);
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let (rules, fact_rules) = all_rules(&base, &over, folder, &mut user, &mut mistakes);
        let (base, over) = (base.take_service(), over.take_service());
        let service = service::check(&base, over, folder, &mut user);
        mistakes.append(&mut user.mistakes);
        if mistakes.is_empty() {
            Ok(Config { settings, rules, fact_rules, service })
        } else {
            Err(ConfigError { mistakes })
        }
    }
}

fn read(path: &Path) -> Result<String, Mistake> {
    let mistake = |what: String, hint: &str| Mistake {
        file: path.display().to_string(),
        line: None,
        what,
        hint: Some(hint.to_owned()),
    };
    let size = std::fs::metadata(path)
        .map_err(|error| mistake(format!("cannot be read: {error}"), "check the path"))?
        .len();
    if size > FILE_BYTES_MAX {
        let what = format!("is larger than {FILE_BYTES_MAX} bytes");
        return Err(mistake(what, "is this the right file?"));
    }
    std::fs::read_to_string(path).map_err(|error| {
        mistake(format!("cannot be read: {error}"), "the file must be readable UTF-8 text")
    })
}

/// The value of a number key: the user's if it is within its range.
fn number(
    user: &mut File<'_>,
    key: &str,
    base: Option<&Spanned<u64>>,
    over: Option<&Spanned<u64>>,
    range: std::ops::RangeInclusive<u64>,
) -> u64 {
    if let Some(over) = over {
        if range.contains(over.get_ref()) {
            return *over.get_ref();
        }
        let what = format!("`{key}` is {}", over.get_ref());
        user.mistake(
            over.span().start,
            what,
            format!("it must be from {} to {}", range.start(), range.end()),
        );
    }
    base.map_or(*range.start(), |base| *base.get_ref())
}

fn settings(base: &RawConfig, over: &RawConfig, user: &mut File<'_>) -> Settings {
    let (b, o) = (&base.session, &over.session);
    let mut grave_statuses =
        grave(user, o.grave_status.as_ref().or(b.grave_status.as_ref()), CodeFamily::Ntstatus);
    grave_statuses.extend(grave(
        user,
        o.grave_kerberos.as_ref().or(b.grave_kerberos.as_ref()),
        CodeFamily::Kerberos,
    ));
    let mut grave_categories = Vec::new();
    for text in o.grave_category.as_ref().or(b.grave_category.as_ref()).into_iter().flatten() {
        match Category::from_name(text.get_ref()) {
            Some(category) => grave_categories.push(category),
            None => {
                let hint = similar(text.get_ref(), Category::ALL.map(Category::name));
                let what = format!("`{}` is no category", text.get_ref());
                user.mistake(text.span().start, what, hint);
            }
        }
    }
    let gap = number(user, "session.gap_secs", b.gap_secs.as_ref(), o.gap_secs.as_ref(), 1..=3600);
    let max =
        number(user, "session.max_hours", b.max_hours.as_ref(), o.max_hours.as_ref(), 1..=720);
    let window = number(
        user,
        "session.pair_window_secs",
        b.pair_window_secs.as_ref(),
        o.pair_window_secs.as_ref(),
        0..=300,
    );
    let known = number(
        user,
        "session.known_hours",
        b.known_hours.as_ref(),
        o.known_hours.as_ref(),
        0..=720,
    );
    let threshold = number(
        user,
        "session.failure_threshold",
        b.failure_threshold.as_ref(),
        o.failure_threshold.as_ref(),
        1..=1_000_000_000,
    );
    let (b, o) = (&base.bounds, &over.bounds);
    let mut bound = |key: &str, base: &Option<Spanned<u64>>, over: &Option<Spanned<u64>>| {
        let key = format!("bounds.{key}");
        number(user, &key, base.as_ref(), over.as_ref(), 1..=1_000_000_000) as usize
    };
    let bounds = Bounds {
        seen_records: bound("seen_records", &b.seen_records, &o.seen_records),
        names_bytes: bound("names_mib", &b.names_mib, &o.names_mib).saturating_mul(1024 * 1024),
        addresses: bound("addresses", &b.addresses, &o.addresses),
        patterns: bound("patterns", &b.patterns, &o.patterns),
        accounts: bound("accounts", &b.accounts, &o.accounts),
        hosts: bound("hosts", &b.hosts, &o.hosts),
        nearby: bound("nearby", &b.nearby, &o.nearby),
        open_runs: bound("open_runs", &b.open_runs, &o.open_runs),
    };
    Settings {
        session_gap_ticks: seconds(gap),
        session_max_ticks: seconds(max * 3600),
        pair_window_ticks: seconds(window),
        known_ticks: seconds(known * 3600),
        failure_threshold: threshold,
        grave_statuses,
        grave_categories,
        bounds,
    }
}

fn grave(
    user: &mut File<'_>,
    texts: Option<&Vec<Spanned<String>>>,
    family: CodeFamily,
) -> Vec<StatusCode> {
    let mut codes = Vec::new();
    for text in texts.into_iter().flatten() {
        let value = crate::record::Value::Text(text.get_ref().as_str().into()).as_u64();
        match value.and_then(|value| u32::try_from(value).ok()) {
            Some(value) => codes.push(StatusCode::new(family, value)),
            None => user.mistake(
                text.span().start,
                format!("`{}` is no status code", text.get_ref()),
                "write it as in the event, `0xC000006D`",
            ),
        }
    }
    codes
}

fn all_rules(
    base: &RawConfig,
    over: &RawConfig,
    folder: &Path,
    user: &mut File<'_>,
    mistakes: &mut Vec<Mistake>,
) -> (Vec<RuleSpec>, Vec<FactRule>) {
    let mut rules: Vec<RuleSpec> = Vec::new();
    let mut fact_rules = Vec::new();
    let embedded = over.rules.embedded.or(base.rules.embedded).unwrap_or(true);
    if embedded {
        let mut file = File::new("rules.toml", RULES);
        add_rules(&mut file, &mut rules, &mut fact_rules);
        mistakes.append(&mut file.mistakes);
    }
    for name in over.rules.files.iter().flatten() {
        let path: PathBuf = folder.join(name);
        match read(&path) {
            Ok(text) => {
                let mut file = File::new(&path.display().to_string(), &text);
                add_rules(&mut file, &mut rules, &mut fact_rules);
                mistakes.append(&mut file.mistakes);
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    for id in over.rules.disable.iter().flatten() {
        let before = rules.len();
        rules.retain(|rule| rule.id != *id.get_ref());
        if rules.len() == before {
            let hint = similar(id.get_ref(), rules.iter().map(|rule| rule.id.as_str()));
            let what = format!("`rules.disable` names `{}`, which is no rule", id.get_ref());
            user.mistake(id.span().start, what, hint);
        }
    }
    (rules, fact_rules)
}

/// Adds the rules of one file: in front of those before it, so that they are
/// asked first; in the place of one with the same id.
fn add_rules(file: &mut File<'_>, rules: &mut Vec<RuleSpec>, fact_rules: &mut Vec<FactRule>) {
    let Some(raw) = file.parse::<RawRules>() else { return };
    let mut new: Vec<RuleSpec> = Vec::new();
    for rule in raw.rule {
        let at = rule.span().start;
        let Some(rule) = checked_rule(file, rule.into_inner()) else { continue };
        if new.iter().any(|known| known.id == rule.id) {
            let what = format!("rule `{}` stands twice in this file", rule.id);
            file.mistake(at, what, "give one of them another id");
            continue;
        }
        new.push(rule);
    }
    for rule in new.into_iter().rev() {
        match rules.iter_mut().find(|known| known.id == rule.id) {
            Some(known) => *known = rule,
            None => rules.insert(0, rule),
        }
    }
    fact_rules.extend(raw.teaching.into_iter().map(|teaching| FactRule {
        sid: teaching.sid,
        name: teaching.name,
        domain: teaching.domain,
        except: teaching.except_event_id,
        machine_sid: teaching.machine_sid.unwrap_or(true),
        address: teaching.address.map(|address| AddressFields {
            event_ids: address.event_id,
            host: address.host,
            ip: address.ip,
        }),
    }));
    let fields: std::collections::BTreeSet<&str> =
        rules.iter().flat_map(|rule| rule.conditions.iter().map(|c| c.field.as_str())).collect();
    if fields.len() > FIELDS_MAX / 2 {
        file.mistake(0, "the rules name too many fields", format!("at most {}", FIELDS_MAX / 2));
    }
}

fn checked_rule(file: &mut File<'_>, raw: RawRule) -> Option<RuleSpec> {
    let before = file.mistakes.len();
    let fact = raw.fact.as_ref();
    let kind = match (raw.kind.get_ref().as_str(), fact.map(|fact| fact.get_ref().as_str())) {
        ("mismatch", None) => Some(RuleKind::Mismatch),
        ("failure", None) => Some(RuleKind::Failure),
        ("success", None) => Some(RuleKind::Success),
        ("fact", Some("host")) => Some(RuleKind::Fact(FactKind::Host)),
        ("fact", Some("domain_controller")) => Some(RuleKind::Fact(FactKind::DomainController)),
        ("fact", Some("boot")) => Some(RuleKind::Fact(FactKind::Boot)),
        ("fact", _) => {
            file.mistake(
                fact.map_or(raw.kind.span().start, |fact| fact.span().start),
                format!("rule `{}` does not say which fact", raw.id.get_ref()),
                "write `fact = \"host\"`, `\"domain_controller\"` or `\"boot\"`",
            );
            None
        }
        ("mismatch" | "failure" | "success", Some(_)) => {
            let what = format!("rule `{}` has a `fact` but is no fact", raw.id.get_ref());
            file.mistake(
                raw.kind.span().start,
                what,
                "write `kind = \"fact\"`, or leave `fact` out",
            );
            None
        }
        (other, _) => {
            let hint = similar(other, ["mismatch", "failure", "success", "fact"]);
            file.mistake(raw.kind.span().start, format!("`kind` is `{other}`"), hint);
            None
        }
    };
    let side = match raw.side.as_ref().map(|side| side.get_ref().as_str()) {
        None | Some("target") => Side::Target,
        Some("client") => Side::Client,
        Some("kdc") => Side::Kdc,
        Some(other) => {
            let at = raw.side.as_ref().map_or(0, |side| side.span().start);
            let hint = similar(other, ["target", "client", "kdc"]);
            file.mistake(at, format!("`side` is `{other}`"), hint);
            Side::Target
        }
    };
    let category = raw.category.as_ref().and_then(|text| {
        let category = Category::from_name(text.get_ref());
        if category.is_none() {
            let hint = similar(text.get_ref(), Category::ALL.map(Category::name));
            file.mistake(text.span().start, format!("`category` is `{}`", text.get_ref()), hint);
        }
        category
    });
    if raw.event_id.get_ref().is_empty() {
        file.mistake(raw.event_id.span().start, "`event_id` is empty", "name at least one id");
    }
    if raw.provider.get_ref().trim().is_empty() {
        let hint = "write the Provider's Name as in the event";
        file.mistake(raw.provider.span().start, "`provider` is empty", hint);
    }
    let protocol = match raw.protocol {
        None => ProtocolField::Fixed(Protocol::Unknown),
        Some(protocol) => {
            let at = protocol.span().start;
            match protocol.into_inner() {
                RawProtocol::From { from } => ProtocolField::From(from.checked(file, at)),
                RawProtocol::Name(name) => match name.as_str() {
                    "kerberos" => ProtocolField::Fixed(Protocol::Kerberos),
                    "ntlm" => ProtocolField::Fixed(Protocol::Ntlm),
                    other => {
                        let hint = "write \"kerberos\", \"ntlm\" or { from = \"FieldName\" }";
                        file.mistake(at, format!("`protocol` is `{other}`"), hint);
                        ProtocolField::Fixed(Protocol::Unknown)
                    }
                },
            }
        }
    };
    let at = raw.id.span().start;
    let mut conditions = Vec::new();
    for (field, condition) in raw.when {
        let at = condition.span().start;
        let field = field.into_inner();
        check_field(file, at, &field);
        conditions.extend(condition.into_inner().checked(file, at, field));
    }
    let mut fields =
        |raw: Option<RawFields>| raw.map(|raw| raw.checked(file, at)).unwrap_or_default();
    let account = AccountFields {
        sid: fields(raw.account.sid),
        name: fields(raw.account.name),
        domain: fields(raw.account.domain),
        computer: fields(raw.account.computer),
    };
    let peer = PeerFields { host: fields(raw.peer.host), ip: fields(raw.peer.ip) };
    let (reason, logon_type) = (fields(raw.reason), fields(raw.logon_type));
    let service = fields(raw.service);
    let host = HostFields {
        build: fields(raw.host.build),
        revision: fields(raw.host.revision),
        update: fields(raw.host.update),
        old_name: fields(raw.host.old_name),
        new_name: fields(raw.host.new_name),
    };
    let status = raw.status.map(|status| status.checked(file, at));
    let sub_status = raw.sub_status.map(|status| status.checked(file, at));
    let kind = kind.filter(|_| file.mistakes.len() == before)?;
    Some(RuleSpec {
        id: raw.id.into_inner(),
        provider: raw.provider.into_inner(),
        channel: raw.channel,
        event_ids: raw.event_id.into_inner(),
        kind,
        conditions,
        side,
        account,
        peer,
        status,
        sub_status,
        reason,
        logon_type,
        service,
        protocol,
        category,
        host,
    })
}

/// Names that start with `#` are not data; a misspelt one would never hold.
fn check_field(file: &mut File<'_>, at: usize, field: &str) {
    const KNOWN: [&str; 7] =
        ["#count", "#binary", "#level", "#version", "#user", "#message", "#culture"];
    let Some(rest) = field.strip_prefix('#') else { return };
    let position = rest.parse::<usize>().is_ok_and(|n| (1..=POSITIONS_MAX).contains(&n));
    if !position && !KNOWN.contains(&field) {
        let what = format!("`{field}` is no field");
        let hint = format!("one of {}, or #1 to #{POSITIONS_MAX}", KNOWN.join(", "));
        file.mistake(at, what, hint);
    }
}

impl RawFields {
    fn checked(self, file: &mut File<'_>, at: usize) -> Fields {
        let fields = match self {
            RawFields::One(field) => vec![field],
            RawFields::Several(fields) => fields,
        };
        for field in &fields {
            check_field(file, at, field);
        }
        fields
    }
}

impl RawStatus {
    fn checked(self, file: &mut File<'_>, at: usize) -> StatusField {
        let table = match self {
            RawStatus::Fields(field) => RawStatusTable { field, family: None, bytes: false },
            RawStatus::Full(table) => table,
        };
        let family = match table.family.as_deref() {
            None | Some("ntstatus") => CodeFamily::Ntstatus,
            Some("kerberos") => CodeFamily::Kerberos,
            Some("win32") => CodeFamily::Win32,
            Some(other) => {
                let hint = similar(other, ["ntstatus", "kerberos", "win32"]);
                file.mistake(at, format!("`family` is `{other}`"), hint);
                CodeFamily::Ntstatus
            }
        };
        StatusField { fields: table.field.checked(file, at), family, bytes: table.bytes }
    }
}

impl RawCondition {
    fn checked(self, file: &mut File<'_>, at: usize, field: String) -> Option<Condition> {
        let mut tests = Vec::new();
        if let Some(text) = self.equals {
            tests.push(Test::OneOf(vec![text.into_text()]));
        }
        if let Some(texts) = self.one_of {
            tests.push(Test::OneOf(texts.into_iter().map(RawText::into_text).collect()));
        }
        if let Some(texts) = self.none_of {
            tests.push(Test::NoneOf(texts.into_iter().map(RawText::into_text).collect()));
        }
        if let Some(pattern) = self.matches {
            match RegexBuilder::new(&pattern).size_limit(REGEX_BYTES_MAX).build() {
                Ok(regex) => tests.push(Test::Matches(regex)),
                Err(error) => {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or("not a regular expression");
                    let what = format!("`matches` of `{field}`: {}", reason.trim());
                    file.mistake(at, what, "backslashes are written twice in \"…\"");
                    return None;
                }
            }
        }
        if tests.len() > 1 {
            let what = format!("`{field}` has {} conditions", tests.len());
            file.mistake(at, what, "keep one of equals, one_of, none_of and matches");
            return None;
        }
        match (tests.pop(), self.absent) {
            (Some(test), absent) => {
                let by_default = matches!(test, Test::NoneOf(_));
                Some(Condition { field, test, when_absent: absent.unwrap_or(by_default) })
            }
            (None, Some(absent)) => {
                let test = if absent { Test::Nothing } else { Test::Anything };
                Some(Condition { field, test, when_absent: absent })
            }
            (None, None) => {
                let what = format!("`{field}` has no condition");
                file.mistake(at, what, "add equals, one_of, none_of, matches or absent");
                None
            }
        }
    }
}

/// A hint that names the nearest of the words that would be right.
fn similar<'w>(word: &str, right: impl IntoIterator<Item = &'w str>) -> String {
    let right: Vec<&str> = right.into_iter().collect();
    let shared = |other: &str| {
        let prefix = other.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
        (prefix, std::cmp::Reverse(other.len().abs_diff(word.len())))
    };
    let nearest =
        right.iter().max_by_key(|other| shared(other)).filter(|other| shared(other).0 > 2);
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if right.len() <= 20 => format!("one of {}", right.join(", ")),
        None => "look it up in config/rules.toml".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::codes;

    fn rules_of(text: &str) -> (Vec<RuleSpec>, Vec<String>) {
        let mut file = File::new("my.toml", text);
        let (mut rules, mut fact_rules) = (Vec::new(), Vec::new());
        add_rules(&mut file, &mut rules, &mut fact_rules);
        (rules, file.mistakes.iter().map(Mistake::to_string).collect())
    }

    #[track_caller]
    fn check_mistake(text: &str, expect: &[&str]) {
        let (_, mistakes) = rules_of(text);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        for part in expect {
            assert!(mistakes[0].contains(part), "{} lacks {part}", mistakes[0]);
        }
    }

    #[test]
    fn the_embedded_configuration_is_right() {
        let config = Config::load(None).map_err(|error| error.to_string()).expect("right");
        assert!(config.rules.len() > 30);
        assert_eq!(config.settings.session_gap_ticks, seconds(600));
        assert_eq!(config.settings.failure_threshold, 5);
    }

    #[test]
    fn a_mistake_is_named_with_file_line_and_hint() {
        let rule = "[[rule]]\nid = \"x\"\nprovider = \"P\"\nevent_id = [1]\n";
        check_mistake(&format!("{rule}kind = \"failur\"\n"), &["my.toml:5", "failur", "`failure`"]);
        check_mistake(
            &format!("{rule}kind = \"failure\"\nstatuss = \"S\"\n"),
            &["my.toml:6", "statuss"],
        );
        check_mistake(
            &format!("{rule}kind = \"failure\"\ncategory = \"bad_pasword\"\n"),
            &["my.toml:6", "`bad_password`"],
        );
        check_mistake(
            &format!("{rule}kind = \"failure\"\n[rule.when]\nStatus = {{ matches = \"(\" }}\n"),
            &["my.toml:7", "`matches` of `Status`", "hint"],
        );
        check_mistake(
            &format!("{rule}kind = \"failure\"\n[rule.when]\n\"#levle\" = {{ equals = 2 }}\n"),
            &["my.toml:7", "`#levle` is no field"],
        );
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let text = "[[rule]]\nid = \"x\"\nprovider = \"\"\nevent_id = []\nkind = \"no\"\n";
        assert_eq!(rules_of(text).1.len(), 3);
    }

    #[test]
    fn a_rule_of_the_same_id_takes_the_place_of_the_earlier_one() {
        let mut rules = Vec::new();
        let mut fact_rules = Vec::new();
        for provider in ["P", "Q"] {
            let text = format!(
                "[[rule]]\nid = \"x\"\nprovider = \"{provider}\"\nevent_id = [1]\nkind = \"failure\"\n"
            );
            let mut file = File::new("my.toml", &text);
            add_rules(&mut file, &mut rules, &mut fact_rules);
        }
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].provider, "Q");
    }

    #[test]
    fn every_event_of_the_shipped_rules_is_explained() {
        let mut rules = Config::embedded().rules;
        rules.retain(|rule| matches!(rule.kind, RuleKind::Mismatch | RuleKind::Failure));
        let mut ids: Vec<u32> = rules.into_iter().flat_map(|rule| rule.event_ids).collect();
        ids.retain(|id| codes::explain(&format!("event {id}")).is_empty());
        assert_eq!(ids, [0; 0]);
    }
}
