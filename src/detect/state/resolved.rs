//! Which source each key was resolved to, both ways: names come to belong to SIDs, and what was
//! kept under a name is then part of what was kept under the SID.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use rustc_hash::FxHashMap;

use super::sessions::SourceKey;

#[derive(Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Resolved {
    /// Keys that are not their own only source, and their sources in order.
    sources: BTreeMap<SourceKey, Vec<SourceKey>>,
    /// The same from the other side.
    #[borsh(skip)]
    keys: FxHashMap<SourceKey, Vec<SourceKey>>,
}

impl Resolved {
    /// Makes the other side anew after this one was read back.
    pub fn rebuild(&mut self) {
        self.keys.clear();
        for (key, sources) in &self.sources {
            for source in sources {
                self.keys.entry(*source).or_default().push(*key);
            }
        }
    }

    /// The sources of a key's runs, as of the last [`Resolved::set`].
    pub fn sources(&self, key: SourceKey) -> Vec<SourceKey> {
        self.sources.get(&key).cloned().unwrap_or_else(|| vec![key])
    }

    /// The keys that may have runs of a source.
    pub fn keys_of(&self, source: SourceKey) -> Vec<SourceKey> {
        let mut keys = self.keys.get(&source).cloned().unwrap_or_default();
        if !keys.contains(&source) {
            keys.push(source);
        }
        keys
    }

    /// Sets the sources of a key's runs, in order.
    pub fn set(&mut self, key: SourceKey, sources: Vec<SourceKey>) {
        if self.sources(key) == sources {
            return;
        }
        self.forget(key);
        if sources != [key] {
            for source in &sources {
                self.keys.entry(*source).or_default().push(key);
            }
            self.sources.insert(key, sources);
        }
    }

    /// A key has no runs any more.
    pub fn forget(&mut self, key: SourceKey) {
        for source in self.sources.remove(&key).into_iter().flatten() {
            if let Some(keys) = self.keys.get_mut(&source) {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.keys.remove(&source);
                }
            }
        }
    }
}
