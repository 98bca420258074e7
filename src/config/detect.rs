//! `[session]` and `[bounds]`: what the detector is set to.

use serde::Deserialize;
use toml::Spanned;

use super::file::{ConfigFile, similar};
use crate::detect::{Bounds, Settings, seconds};
use crate::record::Value;
use crate::status::{Category, CodeFamily, StatusCode};

/// Both sections as they are written.
#[derive(Default)]
pub(super) struct RawDetect {
    pub(super) session: RawSession,
    pub(super) bounds: RawBounds,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    gap_secs: Option<Spanned<u64>>,
    max_hours: Option<Spanned<u64>>,
    pair_window_secs: Option<Spanned<u64>>,
    known_hours: Option<Spanned<u64>>,
    failure_threshold: Option<Spanned<u64>>,
    spray_accounts: Option<Spanned<u64>>,
    grave_status: Option<Vec<Spanned<String>>>,
    grave_kerberos: Option<Vec<Spanned<String>>>,
    grave_category: Option<Vec<Spanned<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBounds {
    seen_records: Option<Spanned<u64>>,
    names_mib: Option<Spanned<u64>>,
    addresses: Option<Spanned<u64>>,
    patterns: Option<Spanned<u64>>,
    accounts: Option<Spanned<u64>>,
    hosts: Option<Spanned<u64>>,
    nearby: Option<Spanned<u64>>,
    open_runs: Option<Spanned<u64>>,
}

/// The settings of the file over the defaults. Mistakes go to `file`; defaults stand in for them.
pub(super) fn check(base: &RawDetect, over: &RawDetect, file: &mut ConfigFile<'_>) -> Settings {
    let (b, o) = (&base.session, &over.session);
    let statuses = o.grave_status.as_ref().or(b.grave_status.as_ref());
    let kerberos = o.grave_kerberos.as_ref().or(b.grave_kerberos.as_ref());
    let categories = o.grave_category.as_ref().or(b.grave_category.as_ref());
    let mut grave_statuses = grave_statuses(file, statuses, CodeFamily::Ntstatus);
    grave_statuses.extend(self::grave_statuses(file, kerberos, CodeFamily::Kerberos));
    let grave_categories = grave_categories(file, categories);
    let mut number =
        |key: &str, base: &Option<Spanned<u64>>, over: &Option<Spanned<u64>>, range| {
            file.number(&format!("session.{key}"), base.as_ref(), over.as_ref(), range)
        };
    let gap_secs = number("gap_secs", &b.gap_secs, &o.gap_secs, 1..=3600);
    let max_hours = number("max_hours", &b.max_hours, &o.max_hours, 1..=720);
    let pair_window_secs =
        number("pair_window_secs", &b.pair_window_secs, &o.pair_window_secs, 0..=300);
    let known_hours = number("known_hours", &b.known_hours, &o.known_hours, 0..=720);
    let failure_threshold =
        number("failure_threshold", &b.failure_threshold, &o.failure_threshold, 1..=1_000_000_000);
    let spray_accounts =
        number("spray_accounts", &b.spray_accounts, &o.spray_accounts, 2..=1_000_000_000);
    Settings {
        session_gap_ticks: seconds(gap_secs),
        session_max_ticks: seconds(max_hours * 3600),
        pair_window_ticks: seconds(pair_window_secs),
        known_ticks: seconds(known_hours * 3600),
        failure_threshold,
        spray_accounts,
        grave_statuses,
        grave_categories,
        bounds: bounds(&base.bounds, &over.bounds, file),
    }
}

fn bounds(b: &RawBounds, o: &RawBounds, file: &mut ConfigFile<'_>) -> Bounds {
    let mut bound = |key: &str, base: &Option<Spanned<u64>>, over: &Option<Spanned<u64>>| {
        let key = format!("bounds.{key}");
        file.number(&key, base.as_ref(), over.as_ref(), 1..=1_000_000_000) as usize
    };
    Bounds {
        seen_records: bound("seen_records", &b.seen_records, &o.seen_records),
        names_bytes: bound("names_mib", &b.names_mib, &o.names_mib).saturating_mul(1024 * 1024),
        addresses: bound("addresses", &b.addresses, &o.addresses),
        patterns: bound("patterns", &b.patterns, &o.patterns),
        accounts: bound("accounts", &b.accounts, &o.accounts),
        hosts: bound("hosts", &b.hosts, &o.hosts),
        nearby: bound("nearby", &b.nearby, &o.nearby),
        open_runs: bound("open_runs", &b.open_runs, &o.open_runs),
    }
}

/// Status codes of which one failure is enough, as they are written in events.
fn grave_statuses(
    file: &mut ConfigFile<'_>,
    texts: Option<&Vec<Spanned<String>>>,
    family: CodeFamily,
) -> Vec<StatusCode> {
    let mut codes = Vec::new();
    for text in texts.into_iter().flatten() {
        let value = Value::Text(text.get_ref().as_str().into()).as_u64();
        match value.and_then(|value| u32::try_from(value).ok()) {
            Some(value) => codes.push(StatusCode::new(family, value)),
            None => file.mistake(
                text.span().start,
                format!("`{}` is no status code", text.get_ref()),
                "write it as in the event, `0xC000006D`",
            ),
        }
    }
    codes
}

fn grave_categories(
    file: &mut ConfigFile<'_>,
    names: Option<&Vec<Spanned<String>>>,
) -> Vec<Category> {
    let mut categories = Vec::new();
    for name in names.into_iter().flatten() {
        match Category::from_name(name.get_ref()) {
            Some(category) => categories.push(category),
            None => {
                let hint = similar(name.get_ref(), Category::ALL.map(Category::name));
                let what = format!("`{}` is no category", name.get_ref());
                file.mistake(name.span().start, what, hint);
            }
        }
    }
    categories
}
