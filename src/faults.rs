//! Points at which a test lets the process die, as `kill -9` would: in debug
//! builds, the one that the environment names. Elsewhere nothing.
//!
//! `TWINSID_DIE_AT=name:3` dies when the point `name` is passed for the third
//! time.

/// Passes a point.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static DIE_AT: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let die_at = DIE_AT.get_or_init(|| {
        let text = std::env::var("TWINSID_DIE_AT").ok()?;
        let (name, times) = text.split_once(':')?;
        Some((name.to_owned(), times.parse().ok()?))
    });
    if let Some((at, times)) = die_at
        && at == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *times
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn point(_: &str) {}
