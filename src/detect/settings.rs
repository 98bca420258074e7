//! What a detector is made with: time spans, thresholds and bounds.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::status::{Category, StatusCode};
use crate::time::TICKS_PER_SEC;

/// How observations are correlated and judged.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Settings {
    /// Longest gap within a session.
    pub session_gap_ticks: u64,
    /// A whole number of hours.
    pub session_max_ticks: u64,
    /// Longest time between a mismatch and what is paired with it.
    pub pair_window_ticks: u64,
    /// How long a session stays known after it was closed, so that late
    /// observations are added to it.
    pub known_ticks: u64,
    /// Failures that make a session an incident.
    pub failure_threshold: u64,
    /// Accounts that one peer tries within `session_gap` which make it a spray.
    pub spray_accounts: u64,
    /// Codes of which one failure is enough.
    pub grave_statuses: Vec<StatusCode>,
    /// Categories of which one failure is enough.
    pub grave_categories: Vec<Category>,
    pub bounds: Bounds,
}

/// The most that the detector keeps of each thing.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Bounds {
    /// Records remembered for dedup.
    pub seen_records: usize,
    /// Names of computers, accounts and the like, together.
    pub names_bytes: usize,
    pub addresses: usize,
    /// Combinations of event and status.
    pub patterns: usize,
    /// Names in the account directory.
    pub accounts: usize,
    /// Names of computers, and domains.
    pub hosts: usize,
    /// Failures kept for mismatches that may still come, and successes of
    /// domain controllers, each.
    pub nearby: usize,
    /// Runs of all sources, of failures and of mismatches each.
    pub open_runs: usize,
}

/// Ticks of so many seconds, for settings that are given in seconds.
pub const fn seconds(count: u64) -> u64 {
    count * TICKS_PER_SEC
}
