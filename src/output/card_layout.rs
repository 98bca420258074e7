//! A card in columns: labels on the left, wrapped text on the right, colour for the severity.
//!
//! Every text is escaped here, so that nothing of an event reaches the terminal as it came.

use std::io;

use super::escape;
use crate::incident::{Incident, Severity};

/// Fewer columns are treated as this many.
pub const WIDTH_MIN: usize = 40;
/// Longer lines are hard to read, however wide the terminal.
pub(super) const WIDTH_MAX: usize = 110;

/// Columns left of the text: two, the longest label, two.
const INDENT: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// ANSI colours, for the severity only.
    Color,
}

/// A card while it is written. `width` is in columns; a character counts as one.
pub(super) struct Card<'w> {
    out: &'w mut dyn io::Write,
    width: usize,
}

impl<'w> Card<'w> {
    /// The width is brought within its limits.
    pub(super) fn new(out: &'w mut dyn io::Write, width: usize) -> Card<'w> {
        Card { out, width: width.clamp(WIDTH_MIN, WIDTH_MAX) }
    }

    /// Severity and title.
    pub(super) fn heading(&mut self, incident: &Incident, style: Style) -> io::Result<()> {
        let severity = incident.severity.name().to_uppercase();
        let indent = severity.len() + 2;
        let (on, off) = color(incident.severity, style);
        let mut before = format!("{on}{severity}{off}  ");
        for line in wrap(&escape::terminal(&incident.title), self.width - indent) {
            writeln!(self.out, "{before}{line}")?;
            before = " ".repeat(indent);
        }
        Ok(())
    }

    /// A label, and texts below each other.
    pub(super) fn field(&mut self, label: &str, texts: &[String]) -> io::Result<()> {
        let mut label = label;
        for text in texts {
            self.entry(&mut label, "", text)?;
        }
        Ok(())
    }

    /// A label, and numbered texts.
    pub(super) fn steps(&mut self, label: &str, texts: &[String]) -> io::Result<()> {
        let mut label = label;
        for (index, text) in texts.iter().enumerate() {
            self.entry(&mut label, &format!("{}. ", index + 1), text)?;
        }
        Ok(())
    }

    /// The empty line after a card.
    pub(super) fn end(self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// One wrapped text. Takes the label, so that only the first text has it.
    fn entry(&mut self, label: &mut &str, bullet: &str, text: &str) -> io::Result<()> {
        let indent = INDENT + bullet.len();
        let mut bullet = bullet;
        for line in wrap(&escape::terminal(text), self.width - indent) {
            let hang = indent - INDENT;
            writeln!(self.out, "  {label:<7}{bullet:<hang$}{line}")?;
            (*label, bullet) = ("", "");
        }
        Ok(())
    }
}

fn color(severity: Severity, style: Style) -> (&'static str, &'static str) {
    const OFF: &str = "\x1b[0m";
    match (style, severity) {
        (Style::Plain, _) => ("", ""),
        (Style::Color, Severity::Critical) => ("\x1b[1;97;41m", OFF),
        (Style::Color, Severity::High) => ("\x1b[1;31m", OFF),
        (Style::Color, Severity::Medium) => ("\x1b[1;33m", OFF),
        (Style::Color, Severity::Low) => ("\x1b[1;36m", OFF),
        (Style::Color, Severity::Informational) => ("\x1b[1m", OFF),
    }
}

/// Splits text into lines of at most `width` characters, at spaces where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let gap = usize::from(used > 0);
        let chars = word.chars().count();
        if used + gap + chars > width && used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for char in word.chars() {
            if used == width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(char);
            used += 1;
        }
    }
    if used > 0 {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_spaces_and_long_words_are_cut() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a ääääääääää b", 4), ["a", "ääää", "ääää", "ää b"]);
        assert_eq!(wrap("", 4), [""; 0]);
    }
}
