//! A rule file as it is written, and the checks of the small parts of a rule: fields, status codes,
//! conditions.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigFile, similar};
use crate::detect::rules::{Condition, Fields, StatusField, Test};
use crate::record::POSITIONS_MAX;
use crate::status::CodeFamily;

/// Compiled size of one regular expression of a rule.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRules {
    #[serde(default)]
    pub(super) rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub(super) fact: Vec<Spanned<RawFactRule>>,
    /// The former name of `fact`.
    #[serde(default)]
    pub(super) teaching: Vec<Spanned<RawFactRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFactRule {
    pub(super) sid: String,
    pub(super) name: String,
    pub(super) domain: String,
    #[serde(default)]
    pub(super) except_event_id: Vec<u32>,
    pub(super) machine_sid: Option<bool>,
    pub(super) address: Option<RawAddress>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAddress {
    pub(super) event_id: Vec<u32>,
    pub(super) host: String,
    pub(super) ip: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) id: Spanned<String>,
    pub(super) provider: Spanned<String>,
    pub(super) channel: Option<String>,
    pub(super) event_id: Spanned<Vec<u32>>,
    pub(super) kind: Spanned<String>,
    pub(super) fact: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) when: BTreeMap<Spanned<String>, Spanned<RawCondition>>,
    pub(super) side: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) account: RawAccount,
    #[serde(default)]
    pub(super) peer: RawPeer,
    pub(super) status: Option<RawStatus>,
    pub(super) sub_status: Option<RawStatus>,
    pub(super) reason: Option<RawFields>,
    pub(super) logon_type: Option<RawFields>,
    pub(super) service: Option<RawFields>,
    pub(super) protocol: Option<Spanned<RawProtocol>>,
    pub(super) category: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) host: RawHost,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawFields {
    One(String),
    Several(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccount {
    pub(super) sid: Option<RawFields>,
    pub(super) name: Option<RawFields>,
    pub(super) domain: Option<RawFields>,
    pub(super) computer: Option<RawFields>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHost {
    pub(super) build: Option<RawFields>,
    pub(super) revision: Option<RawFields>,
    pub(super) update: Option<RawFields>,
    pub(super) old_name: Option<RawFields>,
    pub(super) new_name: Option<RawFields>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPeer {
    pub(super) host: Option<RawFields>,
    pub(super) ip: Option<RawFields>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawStatus {
    Fields(RawFields),
    Full(RawStatusTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatusTable {
    field: RawFields,
    family: Option<String>,
    #[serde(default)]
    bytes: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawProtocol {
    Name(String),
    From { from: RawFields },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCondition {
    equals: Option<RawText>,
    one_of: Option<Vec<RawText>>,
    none_of: Option<Vec<RawText>>,
    matches: Option<String>,
    absent: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawText {
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

/// Refuses unknown names that start with `#`: they are no data, and a misspelt one never matches.
pub(super) fn check_field(file: &mut ConfigFile<'_>, at: usize, field: &str) {
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
    /// Mistakes are reported at `at`, the place of the rule.
    pub(super) fn checked(self, file: &mut ConfigFile<'_>, at: usize) -> Fields {
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
    pub(super) fn checked(self, file: &mut ConfigFile<'_>, at: usize) -> StatusField {
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
    /// `None` after a mistake.
    pub(super) fn checked(
        self,
        file: &mut ConfigFile<'_>,
        at: usize,
        field: String,
    ) -> Option<Condition> {
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
