//! Groups of twins: emitted where they are news, and withdrawn where they are none any more.

use std::collections::BTreeSet;

use super::{Mismatches, TwinRefusals};
use crate::detect::detector::Detector;
use crate::detect::findings::Finding;
use crate::detect::fleet::twins::Fleet;
use crate::detect::judge::duplicates::{self, Refusals};
use crate::detect::revisions::News;
use crate::sid::DomainSid;

impl Detector {
    /// Emits the groups of twins that are news, and withdraws those that were
    /// emitted and are none by what is known now. At the end, all that changed
    /// in any way. Without `mismatches` and another fleet nothing did.
    pub(in crate::detect) fn emit_groups(
        &mut self,
        fleet: &Fleet,
        is_other_fleet: bool,
        mismatches: Option<Mismatches>,
        news: News,
        findings: &mut Vec<Finding>,
    ) {
        let is_all = is_other_fleet || news == News::AnyChange;
        if mismatches.is_none() && !is_all {
            return;
        }
        // Without an evaluation of their own they are as they were.
        let is_judged = mismatches.is_some();
        let Mismatches { refused, unexplained } = mismatches.unwrap_or_default();
        let mut touched: BTreeSet<DomainSid> = if is_judged {
            let before = std::mem::take(&mut self.refused);
            self.refused = refused.keys().copied().collect();
            before.into_iter().chain(refused.keys().copied()).collect()
        } else {
            BTreeSet::new()
        };
        let none = Refusals::default();
        let mut emitted = std::mem::take(&mut self.state.group_revisions);
        let mut mismatch_revisions = std::mem::take(&mut self.state.mismatch_revisions);
        let mut revised = std::mem::take(&mut self.evaluated.groups);
        let context = self.context(fleet);
        for (sid, emitted) in &mut emitted {
            if emitted.release(&unexplained) {
                touched.insert(*sid);
                revised.insert(*sid);
            }
        }
        let is_touched = |sid: &DomainSid| is_all || touched.contains(sid);
        for (sid, group) in fleet.groups.iter().filter(|(sid, _)| is_touched(sid)) {
            let now = refused.get(sid).map(|refused| &refused.now);
            let refusals = now.or_else(|| self.state.refusals.get(sid)).unwrap_or(&none);
            let mut finding = duplicates::of_group(&context, group, refusals);
            // Sessions that were emitted before their twins were known.
            for runs in refused.get(sid).into_iter().flat_map(|refused| &refused.runs) {
                finding.supersedes.extend(mismatch_revisions.take_over(runs, &unexplained));
            }
            if !finding.supersedes.is_empty() {
                revised.insert(*sid);
            }
            if emitted.entry(*sid).or_default().revise(&mut finding, news) {
                revised.insert(*sid);
                findings.push(finding);
            }
        }
        let withdrawn = emitted.iter_mut();
        for (sid, emitted) in withdrawn.filter(|(sid, _)| !fleet.groups.contains_key(sid)) {
            if !is_touched(sid) || emitted.is_withdrawn(&duplicates::source_key(*sid)) {
                continue;
            }
            let refusals = self.state.refusals.get(sid).unwrap_or(&none);
            let is_domain = self.state.hosts.domain(*sid).is_some();
            let mut finding = duplicates::withdrawn(&context, *sid, is_domain, refusals);
            if emitted.revise(&mut finding, news) {
                revised.insert(*sid);
                findings.push(finding);
            }
        }
        (self.state.group_revisions, self.state.mismatch_revisions) = (emitted, mismatch_revisions);
        self.evaluated.groups = revised;
        let past = refused.into_iter().filter(|(_, refused)| refused.past.is_any());
        for (sid, TwinRefusals { past, .. }) in past {
            if self.state.refusals.get(&sid) != Some(&past) {
                self.evaluated.refusals.insert(sid);
                self.state.refusals.insert(sid, past);
            }
        }
    }
}
