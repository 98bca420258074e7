//! Where to read on.

use crate::detect::findings::Subject;

/// Microsoft's texts on the mismatch.
const MISMATCH: [&str; 2] = [
    "https://support.microsoft.com/topic/76f7394d-c460-4882-9ed1-d27e0960f949",
    "https://support.microsoft.com/topic/f67abf78-41c5-4a89-a2da-a7b2fe280270",
];

/// Security events that have a page of their own.
const DOCUMENTED: [u32; 5] = [4625, 4768, 4769, 4771, 4776];

pub(super) fn references(subject: &Subject) -> Vec<String> {
    match subject {
        Subject::Failures { event_ids, .. } => {
            event_ids.iter().filter(|id| DOCUMENTED.contains(id)).map(event_page).collect()
        }
        Subject::Mismatches { .. } | Subject::Twins { .. } | Subject::RemediedTwins { .. } => {
            MISMATCH.map(str::to_owned).to_vec()
        }
        Subject::Withdrawn { .. } => Vec::new(),
    }
}

fn event_page(id: &u32) -> String {
    format!(
        "https://learn.microsoft.com/previous-versions/windows/it-pro/windows-10/security/\
         threat-protection/auditing/event-{id}"
    )
}
