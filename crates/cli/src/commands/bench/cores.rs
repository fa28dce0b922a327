//! Reserves a core for Redis. Redis runs one command at a time, so whatever delays it delays every
//! client. On a small machine this is mostly the threads that its replies wake, which the kernel
//! likes to run on the same core.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Never exists: on other systems threads cannot be kept off a core.
#[cfg(not(target_os = "linux"))]
pub(super) enum Reserved {}

#[cfg(not(target_os = "linux"))]
impl Reserved {
    pub(super) fn one() -> Option<Self> {
        None
    }

    pub(super) fn redis_arguments(&self) -> Vec<String> {
        match *self {}
    }
}

/// Keeps this thread, and the threads and processes that it starts meanwhile, off one core.
/// Dropping it restores the thread's affinity.
#[cfg(target_os = "linux")]
pub(super) struct Reserved {
    core: usize,
    before: CpuSet,
    rest: CpuSet,
}

#[cfg(target_os = "linux")]
impl Reserved {
    /// Reserves the first of the cores that this thread may use. Returns `None` if there is only
    /// one, or the system refuses.
    pub(super) fn one() -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let core = cores(&before).next()?;
        let mut rest = before;
        rest.unset(core);
        if rest.count() == 0 {
            return None;
        }
        sched_setaffinity(None, &rest).ok()?;
        Some(Self { core, before, rest })
    }

    /// Returns arguments for `redis-server`: its main thread runs on the core, its background work
    /// on the others.
    pub(super) fn redis_arguments(&self) -> Vec<String> {
        let rest: Vec<String> = cores(&self.rest).map(|core| core.to_string()).collect();
        let rest = rest.join(",");
        let lists = [
            ("--server_cpulist", self.core.to_string()),
            ("--bio_cpulist", rest.clone()),
            ("--aof_rewrite_cpulist", rest),
        ];
        lists.into_iter().flat_map(|(name, list)| [name.to_owned(), list]).collect()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Reserved {
    fn drop(&mut self) {
        // If this fails, the rest of the bench has one core less.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(target_os = "linux")]
fn cores(set: &CpuSet) -> impl Iterator<Item = usize> + '_ {
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_core_is_exclusive_until_it_is_dropped() {
        let all = sched_getaffinity(None).unwrap();
        let Some(reserved) = Reserved::one() else {
            assert_eq!(all.count(), 1);
            return;
        };
        let started = std::thread::spawn(|| sched_getaffinity(None).unwrap()).join().unwrap();
        assert!(!started.is_set(reserved.core) && started.count() == all.count() - 1);
        assert_eq!(reserved.redis_arguments()[1], reserved.core.to_string());
        drop(reserved);
        assert_eq!(sched_getaffinity(None).unwrap(), all);
    }
}
