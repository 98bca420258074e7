//! When something that failed is tried again, and when that is given up.

use std::thread;
use std::time::{Duration, Instant};

/// Tries of one thing: the pause before the next one, and how many are left.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    pause: Duration,
    pause_max: Duration,
    tries_left: u32,
    until: Option<Instant>,
    tries: u32,
}

impl Retry {
    /// A try after each `pause`, for so long.
    pub(crate) fn for_at_most(limit: Duration, pause: Duration) -> Retry {
        let until = Instant::now() + limit;
        Retry { pause, pause_max: pause, tries_left: u32::MAX, until: Some(until), tries: 0 }
    }

    /// So many tries, after pauses that double up to `pause_max`.
    pub(crate) fn backing_off(pause: Duration, pause_max: Duration, tries: u32) -> Retry {
        Retry { pause, pause_max, tries_left: tries, until: None, tries: 0 }
    }

    /// The pause before the next try; `None` once there shall be no more.
    pub(crate) fn next_pause(&mut self) -> Option<Duration> {
        let in_time = self.until.is_none_or(|until| Instant::now() < until);
        self.tries_left = self.tries_left.checked_sub(1).filter(|_| in_time)?;
        self.tries += 1;
        let pause = self.pause;
        self.pause = (pause * 2).min(self.pause_max);
        Some(pause)
    }

    /// How often it was tried again.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// Does something again, pausing between the tries, as long as it fails with an error that is
    /// retryable; its last result.
    pub(crate) fn run<T, E>(
        mut self,
        is_retryable: impl Fn(&E) -> bool,
        mut step: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let result = step();
            match &result {
                Err(error) if is_retryable(error) => match self.next_pause() {
                    Some(pause) => thread::sleep(pause),
                    None => return result,
                },
                _ => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_tries_come_to_an_end() {
        let mut retry = Retry::backing_off(MS, 3 * MS, 4);
        let pauses: Vec<_> = std::iter::from_fn(|| retry.next_pause()).collect();
        assert_eq!(pauses, [MS, 2 * MS, 3 * MS, 3 * MS]);
        assert_eq!(retry.tries(), 4);
        assert_eq!(Retry::for_at_most(Duration::ZERO, MS).next_pause(), None);
    }

    #[test]
    fn only_what_is_retryable_is_done_again() {
        let run = |errors: &[&'static str]| {
            let mut left = errors.iter();
            let step = || left.next().map_or(Ok(()), |error| Err(*error));
            let result = Retry::backing_off(MS, MS, 2).run(|error| *error == "retryable", step);
            (result, left.len())
        };
        assert_eq!(run(&["retryable", "retryable"]), (Ok(()), 0));
        assert_eq!(run(&["retryable", "final", "final"]), (Err("final"), 1));
        assert_eq!(run(&["retryable"; 4]), (Err("retryable"), 1));
    }
}
