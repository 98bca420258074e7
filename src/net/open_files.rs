//! How many files and sockets the process may have open.

/// Enough for all connections of a few listeners, and for everything else.
const OPEN_FILES_WANTED: u64 = 65_536;

/// Raises the process's soft limit as far as its hard limit allows and connections need. Gives the
/// limit that holds then; `None`: there is none.
#[cfg(unix)]
pub fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let wanted = limit.maximum.map_or(OPEN_FILES_WANTED, |max| max.min(OPEN_FILES_WANTED));
    if current >= wanted {
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        Ok(()) => Some(wanted),
        Err(_) => Some(current),
    }
}

/// This system has no such limit.
#[cfg(not(unix))]
pub fn raise_limit() -> Option<u64> {
    None
}
