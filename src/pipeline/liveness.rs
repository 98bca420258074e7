//! Says now and then how a service goes, and ends the process when it does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::Stop;
use super::counters::Counters;
use crate::source::Lag;
use crate::time::EventTime;

/// A stage that commits nothing and reads nothing for so long hangs: no call in
/// it may take that long.
const SILENT_MAX: Duration = Duration::from_secs(180);

/// The exit code when the watchdog ends the process.
const EXIT_HANGS: i32 = 70;

const POLL_EVERY: Duration = Duration::from_millis(20);

/// Runs beside a service until it is done.
pub(crate) fn watch(counters: &Counters, done: &Stop, every: Duration) {
    let mut status_at = Instant::now();
    let mut before = (0, 0);
    while !done.is_asked() {
        std::thread::sleep(POLL_EVERY);
        if counters.silent_for() > SILENT_MAX {
            error!(
                "no progress for {} seconds; this process ends so that another can take over \
                 (nothing that was committed is lost)",
                SILENT_MAX.as_secs()
            );
            std::process::exit(EXIT_HANGS);
        }
        if status_at.elapsed() >= every {
            before = write_status(counters, status_at.elapsed(), before);
            status_at = Instant::now();
        }
    }
}

/// Writes the status line; records and bytes up to it.
fn write_status(counters: &Counters, elapsed: Duration, before: (u64, u64)) -> (u64, u64) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let seconds = elapsed.as_secs_f64();
    let now = (load(&counters.records), load(&counters.bytes));
    // A field has one type, for those who collect lines as JSON; without a value it is left out.
    let (lag, lag_unknown) = match counters.lag.sum() {
        Lag::NotCounted => (None, None),
        Lag::Unknown => (None, Some(true)),
        Lag::Records(records) => (Some(records), None),
    };
    info!(
        records_per_s = ((now.0 - before.0) as f64 / seconds) as u64,
        mb_per_s = ((now.1 - before.1) as f64 / seconds / 1e6) as u64,
        records = now.0,
        observed = load(&counters.observed),
        duplicates = load(&counters.duplicates),
        late = load(&counters.late),
        folded = load(&counters.folded),
        skipped = load(&counters.rejected),
        lag,
        lag_unknown,
        watermark = %watermark_text(EventTime(load(&counters.watermark))),
        incidents = load(&counters.incidents),
        dead_letters = load(&counters.dead_letters),
        commits = load(&counters.commits),
        slowest_commit_ms = counters.slowest_commit_ms.swap(0, Ordering::Relaxed),
        "working"
    );
    now
}

/// The last line of a run that ends in good order.
pub(crate) fn write_end(counters: &Counters) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    info!(
        records = load(&counters.records),
        observed = load(&counters.observed),
        accepted = load(&counters.accepted),
        duplicates = load(&counters.duplicates),
        late = load(&counters.late),
        folded = load(&counters.folded),
        skipped = load(&counters.rejected),
        incidents = load(&counters.incidents),
        "ended; what was taken in is committed"
    );
}

/// Before there is any time to go by there is none.
fn watermark_text(watermark: EventTime) -> String {
    match watermark {
        EventTime::MIN => "none".to_owned(),
        watermark => watermark.to_string(),
    }
}
