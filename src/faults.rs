//! Points at which a test lets the process die, as `kill -9` would, or lets a step
//! fail: in debug builds, those that the environment names. Elsewhere nothing.
//!
//! `TWINSID_DIE_AT=name:3` dies when the point `name` is passed for the third
//! time; with `TWINSID_FAIL_AT=name:3` the step there fails, that one time.

/// Passes a point.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use armed::Armed;
    static DIE_AT: Armed = Armed::by("TWINSID_DIE_AT");
    if DIE_AT.is_struck_at(name) {
        std::process::abort();
    }
}

/// Whether the step at this point is to fail, or what it answered to be lost.
#[cfg(all(debug_assertions, feature = "kafka"))]
pub fn fails(name: &str) -> bool {
    use armed::Armed;
    static FAIL_AT: Armed = Armed::by("TWINSID_FAIL_AT");
    FAIL_AT.is_struck_at(name)
}

#[cfg(not(debug_assertions))]
pub fn point(_: &str) {}

#[cfg(all(not(debug_assertions), feature = "kafka"))]
pub fn fails(_: &str) -> bool {
    false
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What a variable of the environment asks for.
    pub struct Armed {
        variable: &'static str,
        at: OnceLock<Option<(String, u64)>>,
        passed: AtomicU64,
    }

    impl Armed {
        pub const fn by(variable: &'static str) -> Armed {
            Armed { variable, at: OnceLock::new(), passed: AtomicU64::new(0) }
        }

        pub fn is_struck_at(&self, name: &str) -> bool {
            let at = self.at.get_or_init(|| {
                let text = std::env::var(self.variable).ok()?;
                let (name, times) = text.split_once(':')?;
                Some((name.to_owned(), times.parse().ok()?))
            });
            at.as_ref().is_some_and(|(at, times)| {
                at == name && self.passed.fetch_add(1, Ordering::SeqCst) + 1 == *times
            })
        }
    }
}
