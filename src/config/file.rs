//! One TOML file: its text, the position of each value, and what is wrong with it.
//!
//! A check continues after a mistake, with the default in its place, so that all mistakes of all files
//! are reported at once.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::Mistake;

/// Largest configuration or rule file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What the checks of one or more files found.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Warning>,
}

/// Something that still works, but should be written differently.
#[derive(Debug, PartialEq)]
pub(super) struct Warning {
    file: String,
    /// Counted from 1.
    line: usize,
    what: String,
}

/// A name in a file that has replaced another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renamed {
    pub(super) former: &'static str,
    pub(super) name: &'static str,
}

/// A file while it is checked. Positions are byte offsets into its text.
#[derive(Debug)]
pub(super) struct ConfigFile<'t> {
    name: String,
    text: &'t str,
    pub(super) remarks: Remarks,
}

/// The text of a file. The error says why there is none.
pub(super) fn read(path: &Path) -> Result<String, Mistake> {
    let mistake = |what: String, hint: &str| Mistake {
        file: path.display().to_string(),
        line: None,
        what,
        hint: Some(hint.to_owned()),
    };
    let size = std::fs::metadata(path)
        .map_err(|error| mistake(format!("cannot be read: {error}"), "check the path"))?
        .len();
    if size > FILE_BYTES_MAX {
        let what = format!("is larger than {FILE_BYTES_MAX} bytes");
        return Err(mistake(what, "is this the right file?"));
    }
    std::fs::read_to_string(path).map_err(|error| {
        mistake(format!("cannot be read: {error}"), "the file must be readable UTF-8 text")
    })
}

/// A hint that names the most similar of the valid words, or all of them when there are few.
pub(super) fn similar<'w>(word: &str, right: impl IntoIterator<Item = &'w str>) -> String {
    let right: Vec<&str> = right.into_iter().collect();
    let shared = |other: &str| {
        let prefix = other.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
        (prefix, std::cmp::Reverse(other.len().abs_diff(word.len())))
    };
    let nearest =
        right.iter().max_by_key(|other| shared(other)).filter(|other| shared(other).0 > 2);
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if right.len() <= 20 => format!("one of {}", right.join(", ")),
        None => "config/rules.toml has the valid ones".to_owned(),
    }
}

impl<'t> ConfigFile<'t> {
    pub(super) fn new(name: &str, text: &'t str) -> ConfigFile<'t> {
        ConfigFile { name: name.to_owned(), text, remarks: Remarks::default() }
    }

    /// Adds a mistake.
    pub(super) fn mistake(&mut self, at: usize, what: impl Into<String>, hint: impl Into<String>) {
        let line = self.line(at);
        self.remarks.mistakes.push(Mistake {
            file: self.name.clone(),
            line: Some(line),
            what: what.into(),
            hint: Some(hint.into()),
        });
    }

    /// Warns of a former name.
    pub(super) fn warn_renamed(&mut self, at: usize, renamed: Renamed) {
        let Renamed { former, name } = renamed;
        self.remarks.warnings.push(Warning {
            file: self.name.clone(),
            line: self.line(at),
            what: format!("`{former}` is now `{name}`; the old name still works"),
        });
    }

    /// A mistake: both names were used, and it is unclear which value was meant.
    pub(super) fn refuse_both(&mut self, at: usize, renamed: Renamed) {
        let Renamed { former, name } = renamed;
        let what = format!("`{former}` is set beside `{name}`, its new name");
        self.mistake(at, what, format!("write `{name}` only"));
    }

    /// The whole file in its TOML form; `None` after a mistake.
    pub(super) fn parse<T: DeserializeOwned>(&mut self) -> Option<T> {
        match toml::from_str(self.text) {
            Ok(raw) => Some(raw),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let mut message = error.message().lines();
                let what = message.next().unwrap_or("not valid TOML").to_owned();
                let hint: Vec<&str> = message.collect();
                let hint = if hint.is_empty() {
                    "the keys and their forms are explained in config/default.toml and \
                     config/rules.toml"
                        .to_owned()
                } else {
                    hint.join("; ")
                };
                self.mistake(at, what, hint);
                None
            }
        }
    }

    /// The value of a number key: that of this file (`over`) when it is within its range, else the
    /// default (`base`), else the least of the range.
    pub(super) fn number(
        &mut self,
        key: &str,
        base: Option<&Spanned<u64>>,
        over: Option<&Spanned<u64>>,
        range: RangeInclusive<u64>,
    ) -> u64 {
        if let Some(over) = over {
            if range.contains(over.get_ref()) {
                return *over.get_ref();
            }
            let what = format!("`{key}` is {}", over.get_ref());
            let hint = format!("it must be from {} to {}", range.start(), range.end());
            self.mistake(over.span().start, what, hint);
        }
        base.map_or(*range.start(), |base| *base.get_ref())
    }

    /// The value of a key that has a former name too: that under its present name, or that under
    /// the former one with a warning. Both at once are a mistake.
    pub(super) fn renamed<T>(
        &mut self,
        renamed: Renamed,
        value: Option<Spanned<T>>,
        former: Option<Spanned<T>>,
    ) -> Option<Spanned<T>> {
        match (value, former) {
            (Some(value), Some(former)) => {
                self.refuse_both(former.span().start, renamed);
                Some(value)
            }
            (None, Some(former)) => {
                self.warn_renamed(former.span().start, renamed);
                Some(former)
            }
            (value, None) => value,
        }
    }

    /// A value that must be there; `None` after a mistake.
    pub(super) fn required<T>(&mut self, at: usize, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.mistake(at, format!("`{key}` is missing"), format!("add `{key}`"));
        }
        value
    }

    /// A mistake for each key that is set, although it means nothing for this kind.
    pub(super) fn refuse_stray(&mut self, at: usize, kind: &str, keys: &[(&str, bool)]) {
        for (key, _) in keys.iter().filter(|(_, is_set)| *is_set) {
            let what = format!("`{key}` means nothing for kind `{kind}`");
            self.mistake(at, what, "remove it, or check the kind");
        }
    }

    /// A mistake: the kind is none of `kinds`.
    pub(super) fn unknown_kind(&mut self, kind: &Spanned<String>, kinds: &[&'static str]) {
        let what = format!("`{}` is no kind", kind.get_ref());
        let hint = similar(kind.get_ref(), kinds.iter().copied());
        self.mistake(kind.span().start, what, hint);
    }

    /// Counted from 1.
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }
}

impl Remarks {
    pub(super) fn append(&mut self, mut other: Remarks) {
        self.mistakes.append(&mut other.mistakes);
        self.warnings.append(&mut other.warnings);
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}
