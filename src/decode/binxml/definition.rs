//! Compiled definitions, recognised from chunk to chunk.

use super::{Plan, read_u32};

/// A compiled definition, and what it takes to recognise it in another chunk.
///
/// From chunk to chunk the same template differs in the offsets of its names, and in the links
/// between names; all else is equal byte for byte.
#[derive(Debug)]
pub struct Definition {
    pub(super) body: Box<[u8]>,
    pub(super) names: Vec<NameRef>,
    pub plan: Plan,
}

/// A name within a definition's body.
#[derive(Debug)]
pub(super) struct NameRef {
    /// Where in the body its offset is.
    pub(super) at: usize,
    /// Whether the name itself follows.
    pub(super) inline: bool,
    pub(super) text: Box<[u8]>,
}

impl Definition {
    /// Whether the body at `start` of a chunk is the same definition.
    pub fn is_at(&self, chunk: &[u8], start: usize) -> bool {
        let Some(body) = chunk.get(start..start + self.body.len()) else { return false };
        let mut from = 0;
        for name in &self.names {
            let Some(offset) = read_u32(body, name.at).map(|offset| offset as usize) else {
                return false;
            };
            let inline = offset == start + name.at + 4;
            let text = chunk.get(offset.saturating_add(6)..).and_then(|rest| {
                let (chars, rest) = rest.split_first_chunk::<2>()?;
                rest.get(..usize::from(u16::from_le_bytes(*chars)) * 2)
            });
            if inline != name.inline
                || text != Some(&*name.text)
                || body[from..name.at] != self.body[from..name.at]
            {
                return false;
            }
            // Past the offset, and the link that an inline name starts with.
            from = name.at + if inline { 8 } else { 4 };
        }
        body[from..] == self.body[from..]
    }
}
