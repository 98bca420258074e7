//! Rule files: `[rules]` says which, each holds `[[rule]]` and `[[fact]]`. config/rules.toml explains
//! their form.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigFile, Remarks, Renamed, read, similar};
use super::raw_rules::{RawFactRule, RawFields, RawProtocol, RawRule, RawRules, check_field};
use crate::detect::rules::{
    AccountFields, AddressFields, FactKind, FactRule, HostFields, PeerFields, ProtocolField,
    RuleKind, RuleSpec,
};
use crate::observation::{Protocol, Side};
use crate::record::FIELDS_MAX;
use crate::status::Category;

const EMBEDDED: &str = include_str!("../../config/rules.toml");

const FACT: Renamed = Renamed { former: "[[teaching]]", name: "[[fact]]" };

/// The rules of all files.
#[derive(Debug, Default)]
pub(super) struct RuleSet {
    /// In the order in which they are tried.
    pub(super) rules: Vec<RuleSpec>,
    pub(super) fact_rules: Vec<FactRule>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRulesSection {
    embedded: Option<bool>,
    files: Option<Vec<String>>,
    disable: Option<Vec<Spanned<String>>>,
}

/// The embedded rules, then those of the files that are named. Mistakes in `rules.disable` go to
/// `file`, those within rule files to `remarks`.
pub(super) fn check(
    base: &RawRulesSection,
    over: &RawRulesSection,
    folder: &Path,
    file: &mut ConfigFile<'_>,
    remarks: &mut Remarks,
) -> RuleSet {
    let mut set = RuleSet::default();
    if over.embedded.or(base.embedded).unwrap_or(true) {
        let mut embedded = ConfigFile::new("rules.toml", EMBEDDED);
        set.add(&mut embedded);
        remarks.append(embedded.remarks);
    }
    for name in over.files.iter().flatten() {
        let path = folder.join(name);
        match read(&path) {
            Ok(text) => {
                let mut file = ConfigFile::new(&path.display().to_string(), &text);
                set.add(&mut file);
                remarks.append(file.remarks);
            }
            Err(mistake) => remarks.mistakes.push(mistake),
        }
    }
    for id in over.disable.iter().flatten() {
        let before = set.rules.len();
        set.rules.retain(|rule| rule.id != *id.get_ref());
        if set.rules.len() == before {
            let hint = similar(id.get_ref(), set.rules.iter().map(|rule| rule.id.as_str()));
            let what = format!("`rules.disable` names `{}`, which is no rule", id.get_ref());
            file.mistake(id.span().start, what, hint);
        }
    }
    set
}

impl RuleSet {
    /// Adds the rules of one file: before all others, so that they are tried first, or instead of
    /// one with the same id.
    fn add(&mut self, file: &mut ConfigFile<'_>) {
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
            match self.rules.iter_mut().find(|known| known.id == rule.id) {
                Some(known) => *known = rule,
                None => self.rules.insert(0, rule),
            }
        }
        if let Some(first) = raw.teaching.first() {
            let at = first.span().start;
            match raw.fact.is_empty() {
                true => file.warn_renamed(at, FACT),
                false => file.refuse_both(at, FACT),
            }
        }
        let facts = raw.fact.into_iter().chain(raw.teaching).map(Spanned::into_inner);
        self.fact_rules.extend(facts.map(fact_rule));
        let conditions = self.rules.iter().flat_map(|rule| &rule.conditions);
        let fields: BTreeSet<&str> = conditions.map(|test| test.field.as_str()).collect();
        if fields.len() > FIELDS_MAX / 2 {
            let hint = format!("at most {}", FIELDS_MAX / 2);
            file.mistake(0, "the rules name too many fields", hint);
        }
    }
}

fn fact_rule(raw: RawFactRule) -> FactRule {
    FactRule {
        sid: raw.sid,
        name: raw.name,
        domain: raw.domain,
        except: raw.except_event_id,
        machine_sid: raw.machine_sid.unwrap_or(true),
        address: raw.address.map(|address| AddressFields {
            event_ids: address.event_id,
            host: address.host,
            ip: address.ip,
        }),
    }
}

/// `None` after a mistake.
fn checked_rule(file: &mut ConfigFile<'_>, raw: RawRule) -> Option<RuleSpec> {
    let before = file.remarks.mistakes.len();
    let kind = checked_kind(file, &raw);
    let side = checked_side(file, raw.side.as_ref());
    let category = raw.category.as_ref().and_then(|text| checked_category(file, text));
    if raw.event_id.get_ref().is_empty() {
        file.mistake(raw.event_id.span().start, "`event_id` is empty", "name at least one id");
    }
    if raw.provider.get_ref().trim().is_empty() {
        let hint = "write the Provider's Name as in the event";
        file.mistake(raw.provider.span().start, "`provider` is empty", hint);
    }
    let protocol = checked_protocol(file, raw.protocol);
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
    let kind = kind.filter(|_| file.remarks.mistakes.len() == before)?;
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

/// From `kind` and `fact`; `None` after a mistake.
fn checked_kind(file: &mut ConfigFile<'_>, raw: &RawRule) -> Option<RuleKind> {
    let (kind, fact) = (&raw.kind, raw.fact.as_ref());
    match (kind.get_ref().as_str(), fact.map(|fact| fact.get_ref().as_str())) {
        ("mismatch", None) => Some(RuleKind::Mismatch),
        ("failure", None) => Some(RuleKind::Failure),
        ("success", None) => Some(RuleKind::Success),
        ("fact", Some("host")) => Some(RuleKind::Fact(FactKind::Host)),
        ("fact", Some("domain_controller")) => Some(RuleKind::Fact(FactKind::DomainController)),
        ("fact", Some("boot")) => Some(RuleKind::Fact(FactKind::Boot)),
        ("fact", _) => {
            file.mistake(
                fact.map_or(kind.span().start, |fact| fact.span().start),
                format!("rule `{}` does not say which fact", raw.id.get_ref()),
                "write `fact = \"host\"`, `\"domain_controller\"` or `\"boot\"`",
            );
            None
        }
        ("mismatch" | "failure" | "success", Some(_)) => {
            let what = format!("rule `{}` has a `fact` but is no fact", raw.id.get_ref());
            let hint = "write `kind = \"fact\"`, or leave `fact` out";
            file.mistake(kind.span().start, what, hint);
            None
        }
        (other, _) => {
            let hint = similar(other, ["mismatch", "failure", "success", "fact"]);
            file.mistake(kind.span().start, format!("`kind` is `{other}`"), hint);
            None
        }
    }
}

fn checked_side(file: &mut ConfigFile<'_>, raw: Option<&Spanned<String>>) -> Side {
    let Some(side) = raw else { return Side::Target };
    match side.get_ref().as_str() {
        "target" => Side::Target,
        "client" => Side::Client,
        "kdc" => Side::Kdc,
        other => {
            let hint = similar(other, ["target", "client", "kdc"]);
            file.mistake(side.span().start, format!("`side` is `{other}`"), hint);
            Side::Target
        }
    }
}

fn checked_category(file: &mut ConfigFile<'_>, text: &Spanned<String>) -> Option<Category> {
    let category = Category::from_name(text.get_ref());
    if category.is_none() {
        let hint = similar(text.get_ref(), Category::ALL.map(Category::name));
        file.mistake(text.span().start, format!("`category` is `{}`", text.get_ref()), hint);
    }
    category
}

fn checked_protocol(file: &mut ConfigFile<'_>, raw: Option<Spanned<RawProtocol>>) -> ProtocolField {
    let Some(protocol) = raw else { return ProtocolField::Fixed(Protocol::Unknown) };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(text: &str) -> (RuleSet, Remarks) {
        let mut file = ConfigFile::new("my.toml", text);
        let mut set = RuleSet::default();
        set.add(&mut file);
        (set, file.remarks)
    }

    fn mistakes_of(text: &str) -> Vec<String> {
        rules_of(text).1.mistakes.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn check_mistake(text: &str, expect: &[&str]) {
        let mistakes = mistakes_of(text);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        for part in expect {
            assert!(mistakes[0].contains(part), "{} lacks {part}", mistakes[0]);
        }
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
        assert_eq!(mistakes_of(text).len(), 3);
    }

    #[test]
    fn a_rule_of_the_same_id_replaces_the_earlier_one() {
        let mut set = RuleSet::default();
        for provider in ["P", "Q"] {
            let text = format!(
                "[[rule]]\nid = \"x\"\nprovider = \"{provider}\"\nevent_id = [1]\nkind = \"failure\"\n"
            );
            set.add(&mut ConfigFile::new("my.toml", &text));
        }
        assert_eq!(set.rules.len(), 1);
        assert_eq!(set.rules[0].provider, "Q");
    }

    const PAIR: &str = "sid = \"S\"\nname = \"N\"\ndomain = \"D\"\n";

    #[test]
    fn the_former_name_of_facts_is_read_with_a_warning() {
        let (facts, remarks) = rules_of(&format!("[[fact]]\n{PAIR}[[fact]]\n{PAIR}"));
        assert_eq!((remarks.warnings.len(), remarks.mistakes.len()), (0, 0));
        let (former, remarks) = rules_of(&format!("\n[[teaching]]\n{PAIR}[[teaching]]\n{PAIR}"));
        let warnings: Vec<String> = remarks.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            ["my.toml:2: `[[teaching]]` is now `[[fact]]`; the old name still works"]
        );
        assert_eq!(remarks.mistakes, []);
        let written = |set: &RuleSet| format!("{:?}", set.fact_rules);
        assert_eq!(written(&former), written(&facts));
        assert_eq!(facts.fact_rules.len(), 2);
    }

    #[test]
    fn both_names_of_facts_in_one_file_are_a_mistake() {
        check_mistake(
            &format!("[[fact]]\n{PAIR}[[teaching]]\n{PAIR}"),
            &["my.toml:5", "`[[teaching]]`", "`[[fact]]`", "hint"],
        );
    }
}
