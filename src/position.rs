//! Where sources begin, and where they go on after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::time::EventTime;

/// Where a source begins of which no position is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is still there.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// With the first record that was sent or written at this time, or later.
    At(EventTime),
}

/// Where a source goes on, by its parts: files, partitions.
pub type Positions = BTreeMap<Arc<str>, Position>;

/// Behind what was handed over of one part.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Position {
    /// The offset of the next record of a Kafka partition.
    Offset(i64),
    /// How far an event log that is being written was handed over.
    Log(LogPosition),
}

/// Where a log stands, and how it is known again.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LogPosition {
    /// Device and inode of its file; both 0 where files have none.
    pub device: u64,
    pub inode: u64,
    /// When the file was made, in nanoseconds since 1970: inodes are used again.
    /// 0 where that is not known.
    pub created: u64,
    /// The file's name when it was last seen.
    pub path: String,
    /// The oldest record of the log.
    pub first: Option<LogRecord>,
    /// The last one that was handed over; `None` when none was.
    pub last: Option<LogRecord>,
    /// Grows with each move of any log: which one moved the longest time ago.
    pub moves: u64,
}

/// A record by what tells it from those of other logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LogRecord {
    pub id: u64,
    /// When it was written, as a FILETIME; 0 when that could not be read.
    pub written: u64,
}

/// Where each source stands, by the source's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SourcePositions(BTreeMap<String, BTreeMap<String, Position>>);

impl SourcePositions {
    pub fn of(&self, source: &str) -> Positions {
        let parts = self.0.get(source).into_iter().flatten();
        parts.map(|(part, position)| (Arc::from(part.as_str()), position.clone())).collect()
    }

    pub fn get(&self, source: &str, part: &str) -> Option<&Position> {
        self.0.get(source)?.get(part)
    }

    /// Each part of each source.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Position)> {
        self.0.iter().flat_map(|(source, parts)| {
            parts.iter().map(move |(part, position)| (source.as_str(), part.as_str(), position))
        })
    }

    pub fn set(&mut self, source: &str, part: &str, position: Position) {
        let parts = match self.0.get_mut(source) {
            Some(parts) => parts,
            None => self.0.entry(source.to_owned()).or_default(),
        };
        parts.insert(part.to_owned(), position);
    }

    /// Takes over what moved on.
    pub fn absorb(&mut self, later: SourcePositions) {
        for (source, parts) in later.0 {
            self.0.entry(source).or_default().extend(parts);
        }
    }
}
