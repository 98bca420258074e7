//! The data items of an event, from wherever its shape has them.

use super::doc::Doc;
use super::keys::{Key, Others, key};
use super::manifest::{SECURITY_AUDITING, manifest_names};
use super::shapes::AccountKeys;
use super::tape::NodeKind;
use crate::decode::event::{System, WantedData};
use crate::record::Value;

/// `EventData` of any shape.
pub(super) fn event_data<'a>(doc: Doc<'a>, node: u32, data: &mut WantedData<'_, 'a>) {
    if doc.at(node).kind != NodeKind::Object {
        return;
    }
    for (name, value) in doc.entries(node) {
        event_item(doc, name, value, data);
    }
}

fn event_item<'a>(doc: Doc<'a>, name: &str, value: u32, data: &mut WantedData<'_, 'a>) {
    match name {
        "#attributes" | "#text" => {}
        "Binary" => {
            let value = doc.text_of(value);
            data.binary(|| doc.value(value));
        }
        "Data" => unnamed(doc, value, data),
        _ if name.ends_with("_attributes") => {}
        _ => match numbered(name) {
            // `evtx_dump` numbers repeated elements from the second one on.
            Some(("Data_", _)) => unnamed(doc, value, data),
            // winlogbeat numbers data without a name. Some events have names of that form.
            Some(("param", _)) => {
                data.named(name, || doc.value(value));
                data.position(|| doc.value(value));
            }
            Some(_) | None => leaves(doc, value, name, data),
        },
    }
}

fn numbered(name: &str) -> Option<(&str, &str)> {
    let start = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    (start < name.len()).then(|| name.split_at(start))
}

/// One unnamed item, or an array of them.
fn unnamed<'a>(doc: Doc<'a>, node: u32, data: &mut WantedData<'_, 'a>) {
    let node = doc.text_of(node);
    if doc.at(node).kind == NodeKind::Array {
        doc.items(node).for_each(|item| unnamed(doc, item, data));
    } else {
        data.unnamed(|| doc.value(node));
    }
}

/// Reads every leaf below a node, named by its innermost key.
pub(super) fn leaves<'a>(doc: Doc<'a>, node: u32, name: &str, data: &mut WantedData<'_, 'a>) {
    match doc.at(node).kind {
        NodeKind::Array => doc.items(node).for_each(|item| leaves(doc, item, name, data)),
        NodeKind::Object => {
            let mut has_child = false;
            let mut text = None;
            for (key, value) in doc.entries(node) {
                match key {
                    // winlogbeat's name for the element in `UserData`.
                    "#attributes" | "xml_name" => {}
                    "#text" => text = Some(value),
                    _ if key.ends_with("_attributes") => {}
                    _ => {
                        has_child = true;
                        let key = key.rsplit_once(':').map_or(key, |(_, local)| local);
                        leaves(doc, value, key, data);
                    }
                }
            }
            match text {
                _ if has_child || name.is_empty() => {}
                Some(text) => leaves(doc, text, name, data),
                None => data.named(name, || Value::Null),
            }
        }
        NodeKind::Null | NodeKind::Text | NodeKind::Escaped if name.is_empty() => {}
        NodeKind::Text
        | NodeKind::Escaped
        | NodeKind::Number
        | NodeKind::True
        | NodeKind::False
        | NodeKind::Null => {
            data.named(name, || doc.value(node));
        }
    }
}

/// The data of a flat object: keys that are no system field and no metadata of a collector.
pub(super) fn flat_data<'a>(
    doc: Doc<'a>,
    node: u32,
    others: &Others,
    account: AccountKeys,
    data: &mut WantedData<'_, 'a>,
) {
    let mut item = |name: &'a str, value: u32| {
        let is_account = matches!(name, "AccountName" | "AccountType" | "Domain");
        let is_data = match account {
            AccountKeys::System => !is_account,
            AccountKeys::Data => true,
        };
        if is_data && !name.starts_with(['@', '_']) {
            event_item(doc, name, value, data);
        }
    };
    match others.values() {
        Some(values) => values.iter().for_each(|value| item(doc.key_of(*value), *value)),
        None => {
            let others = doc.entries(node).filter(|(name, _)| !key(name).is_some_and(Key::is_flat));
            others.for_each(|(name, value)| item(name, value));
        }
    }
}

pub(super) fn dotted_data<'a>(doc: Doc<'a>, node: u32, data: &mut WantedData<'_, 'a>) {
    for (name, value) in doc.entries(node) {
        if let Some(name) = name.strip_prefix("winlog.event_data.") {
            event_item(doc, name, value, data);
        } else if let Some(path) = name.strip_prefix("winlog.user_data.")
            && path != "xml_name"
        {
            let name = path.rsplit_once('.').map_or(path, |(_, name)| name);
            leaves(doc, value, name, data);
        }
    }
}

/// Values by position; by name where the manifest's order is known.
pub(super) fn string_inserts<'a>(
    doc: Doc<'a>,
    node: u32,
    system: &System<'a>,
    data: &mut WantedData<'_, 'a>,
) {
    if doc.at(node).kind != NodeKind::Array {
        return;
    }
    let security = system.provider.as_deref() == Some(SECURITY_AUDITING);
    let id = system.event_id.filter(|_| security);
    let names = id.and_then(|id| manifest_names(id, doc.items(node).count()));
    let mut names = names.into_iter().flatten();
    for item in doc.items(node) {
        match names.next() {
            Some(name) => data.named(name, || doc.value(item)),
            None => data.unnamed(|| doc.value(item)),
        }
    }
}
