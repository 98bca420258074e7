//! Text that came from events, made harmless before it is shown.
//!
//! Anybody who can fail a logon chooses the account and computer names that end up in an event. Such
//! text must not move the cursor, change colours, hide parts of itself, reverse the reading direction
//! or start a line of its own.

use std::borrow::Cow;
use std::fmt::Write;

/// Longest text that is shown of one value; the rest becomes `…`.
pub const SHOWN_CHARS_MAX: usize = 512;

/// Text for a terminal: every character that is not visible becomes a visible escape, `\x1b` or
/// `\u{202e}`, and text of more than [`SHOWN_CHARS_MAX`] characters ends in `…`. A backslash stays as
/// it is, as most of the text has the form `DOMAIN\user`. So the result is safe to show, but cannot be
/// parsed back.
pub fn terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) && text.chars().nth(SHOWN_CHARS_MAX).is_none() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut room = SHOWN_CHARS_MAX;
    for char in text.chars() {
        let at = shown.len();
        match char {
            hidden if is_hidden(hidden) && hidden.is_ascii() => {
                write!(shown, "\\x{:02x}", u32::from(hidden))
            }
            hidden if is_hidden(hidden) => write!(shown, "\\u{{{:x}}}", u32::from(hidden)),
            visible => shown.write_char(visible),
        }
        .expect("a string takes whatever is written to it");
        let chars = shown[at..].chars().count();
        if chars > room {
            shown.truncate(at);
            shown.push('…');
            break;
        }
        room -= chars;
    }
    Cow::Owned(shown)
}

/// JSON text with every hidden character as `\u` escape. In JSON they occur within strings only, where
/// the escape means the same.
pub fn json(text: String) -> String {
    // The text has no line ends: those would be between values.
    if !text.chars().any(is_hidden) {
        return text;
    }
    let mut plain = String::with_capacity(text.len() + 64);
    for char in text.chars() {
        if is_hidden(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(plain, "\\u{unit:04x}").expect("a string takes whatever is written to it");
            }
        } else {
            plain.push(char);
        }
    }
    plain
}

/// Control characters, and those that change their neighbours or are invisible (Unicode:
/// bidirectional controls, default ignorable code points, line separators).
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(terminal(text), expect);
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_an_escape() {
        check("\x1b[2Jgone", r"\x1b[2Jgone");
        check("a\r\nb\tc\0\x7f", r"a\x0d\x0ab\x09c\x00\x7f");
        check("\u{9b}31m", r"\u{9b}31m");
        check("user\u{202e}nimda\u{2069}", r"user\u{202e}nimda\u{2069}");
        check("a\u{200b}b\u{feff}\u{2028}\u{2029}", r"a\u{200b}b\u{feff}\u{2028}\u{2029}");
    }

    #[test]
    fn visible_text_is_left_alone() {
        for text in ["", r"CORP\bob", "Jörg Müller", "山田 太郎", "WS07$", "🙂"] {
            assert!(matches!(terminal(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn long_text_ends_in_an_ellipsis_and_no_escape_is_cut() {
        let full = "ä".repeat(SHOWN_CHARS_MAX);
        check(&full, &full);
        check(&format!("{full}x"), &format!("{full}…"));
        let nearly = "a".repeat(SHOWN_CHARS_MAX - 3);
        check(&format!("{nearly}\x1bxyz"), &format!("{nearly}…"));
    }
}
