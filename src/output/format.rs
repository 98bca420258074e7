//! An incident as one line of JSON, in the format of the system that reads it.
//!
//! | format | what a line is |
//! |---|---|
//! | `native` | [`WireIncident`], as `schemas/incident.schema.json` describes it |
//! | `ecs` | a document of the Elastic Common Schema, the native incident in `twinsid` |
//! | `ocsf` | an OCSF Detection Finding, the native incident in `unmapped` |
//!
//! `ecs` and `ocsf` include the whole native incident, so nothing is lost by choosing one. Beside it
//! they have what their schema has a field for. What is not known is left out there, never `null`.

use std::io::{self, Write};

use super::wire::WireIncident;
use super::{ecs, ocsf, write_line};
use crate::incident::Incident;

/// The JSON schemas of formats `ecs` and `ocsf`.
pub const ECS_SCHEMA: &str = include_str!("../../schemas/ecs.schema.json");
pub const OCSF_SCHEMA: &str = include_str!("../../schemas/ocsf.schema.json");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Native,
    /// Elastic Common Schema.
    Ecs,
    /// Open Cybersecurity Schema Framework, class 2004.
    Ocsf,
}

/// Appends an incident as one line.
pub type WriteIncident = fn(&Incident, &mut Vec<u8>) -> io::Result<()>;

impl Format {
    pub const ALL: [Format; 3] = [Format::Native, Format::Ecs, Format::Ocsf];

    pub fn name(self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Ecs => "ecs",
            Format::Ocsf => "ocsf",
        }
    }

    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Writes the incident as one line. Hidden characters are escaped in every format, as by
    /// [`write_line`].
    pub fn write(self, incident: &Incident, out: &mut dyn Write) -> io::Result<()> {
        let native = WireIncident::from(incident);
        match self {
            Format::Native => write_line(out, &native),
            Format::Ecs => write_line(out, &ecs::EcsDocument::of(incident, &native)),
            Format::Ocsf => write_line(out, &ocsf::OcsfFinding::of(incident, &native)),
        }
    }

    /// [`Format::write`] as a plain function.
    pub fn writer(self) -> WriteIncident {
        match self {
            Format::Native => |incident, out| Format::Native.write(incident, out),
            Format::Ecs => |incident, out| Format::Ecs.write(incident, out),
            Format::Ocsf => |incident, out| Format::Ocsf.write(incident, out),
        }
    }

    /// The incident as one line, without the line end.
    pub fn line(self, incident: &Incident) -> Vec<u8> {
        let mut line = Vec::new();
        self.write(incident, &mut line).expect("plain values can be written, and into memory");
        line.pop();
        line
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::output::samples;
    use crate::output::wire::WireIncident;

    /// The native incident within the document of each format.
    fn native_in(format: Format, document: &Value) -> Value {
        match format {
            Format::Native => document.clone(),
            Format::Ecs => document["twinsid"].clone(),
            Format::Ocsf => document["unmapped"].clone(),
        }
    }

    #[test]
    fn every_format_has_the_whole_incident_on_one_line() {
        for format in Format::ALL {
            let mut incident = samples::incident();
            incident.title = "two\nlines\u{2028}\u{202e}\u{1b}[31m".to_owned();
            let line = String::from_utf8(format.line(&incident)).unwrap();
            assert!(!line.chars().any(|char| char.is_control()), "{line}");
            assert!(!line.contains(['\u{2028}', '\u{202e}']), "{line}");
            let document: Value = serde_json::from_str(&line).unwrap();
            let native = serde_json::to_value(WireIncident::from(&incident)).unwrap();
            assert_eq!(native_in(format, &document), native, "{format:?}");
        }
    }

    #[test]
    fn a_name_gives_its_format_and_no_other_name_gives_one() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
        for name in ["", "ECS", "cef"] {
            assert_eq!(Format::from_name(name), None, "{name}");
        }
    }
}
