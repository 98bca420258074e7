//! `twinsid explain`: codes and event ids in words.

use super::CliError;
use super::output::print;
use crate::explain::codes;

#[derive(Debug, clap::Args)]
pub(super) struct ExplainFlags {
    /// A status code, a failure reason, a name, an event id
    #[arg(required = true)]
    code: Vec<String>,
}

/// Explains the words as one code (`logon type 3`), or else each by itself.
pub(super) fn run(flags: &ExplainFlags) -> Result<(), CliError> {
    let words = &flags.code;
    let mut explanations = codes::explain(&words.join(" "));
    if explanations.is_empty() {
        for word in words {
            let found = codes::explain(word);
            if found.is_empty() {
                return Err(CliError::Unexplained { code: word.clone() });
            }
            explanations.extend(found);
        }
    }
    let texts: Vec<String> = explanations
        .into_iter()
        .map(|explanation| {
            let lines = explanation.lines.iter().map(|line| format!("  {line}\n"));
            format!("{}\n{}", explanation.title, lines.collect::<String>())
        })
        .collect();
    print(&texts.join("\n"))
}
