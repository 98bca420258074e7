//! Shared by the readers of XML and JSON text: excerpts, numbers, byte search.

/// Characters of the input that a [`Fault`] shows.
const EXCERPT_CHARS: usize = 100;

/// The start of a text between backticks, for the description of a reject.
pub(super) fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(EXCERPT_CHARS).map_or(text.len(), |(index, _)| index);
    format!("`{}{}`", &text[..end], if end < text.len() { "…" } else { "" })
}

/// A decimal number: ASCII digits only, blanks around them allowed.
pub(super) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = text.trim_ascii();
    // `parse` alone would take a leading `+`.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that equals `byte`; above the first such byte
/// there may be false ones.
#[inline(always)]
pub(super) fn matches_of(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference & HIGHS
}
