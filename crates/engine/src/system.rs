//! Memory of the system, and of GPUs as their driver reports it. Functions return `None` if the system does
//! not report a value.

use std::fs;
use std::path::{Path, PathBuf};

/// The use of a GPU by all processes, as the driver reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuUse {
    /// Its index in the numbering of `nvidia-smi`.
    pub id: u32,
    /// Bytes of its memory in use.
    pub memory_used_bytes: u64,
    /// Bytes of memory in total.
    pub memory_total_bytes: u64,
    /// The share of the driver's last sample period in which a kernel ran, in percent.
    pub utilization_percent: u32,
}

/// How much the threads that compute defer to others, in the units of `nice`. With this weight a woken thread of
/// the gateway, the queue or the worker preempts a step instead of waiting for a slice of its core.
const COMPUTE_NICENESS: i32 = 5;

/// Makes the calling thread defer to threads that wake up to pass tasks on. A step lasts milliseconds and uses all
/// cores; the others need microseconds.
pub(crate) fn defer_to_others() {
    // On Linux the value is one of the thread, elsewhere of the process. Without the right to change it, nothing is lost.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, COMPUTE_NICENESS);
}

/// Returns the bytes that this process may still allocate: the free memory of the machine or of its control
/// group (container), whichever is less. File cache that the system can reclaim counts as free.
pub fn available_memory() -> Option<usize> {
    let free = kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(control_groups().iter().filter_map(|group| cgroup_available(group)).fold(free, usize::min))
}

/// Returns the resident memory of this process in bytes.
pub fn resident_memory() -> Option<usize> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Returns the peak resident memory of this process in bytes, since its start or the last
/// [`reset_peak_memory`].
pub fn peak_memory() -> Option<usize> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Resets [`peak_memory`] to the current resident memory. Does nothing if the system does not support it.
pub fn reset_peak_memory() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Parses the value on the line that starts with `name`, which the kernel writes in KiB. Returns bytes.
fn kib(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

/// Returns the folders of this process's control group and of its ancestors, each of which may set a limit
/// (version 2: <https://docs.kernel.org/admin-guide/cgroup-v2.html>).
fn control_groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return vec![] };
    let root = Path::new("/sys/fs/cgroup");
    let folder = root.join(path);
    folder.ancestors().take_while(|at| at.starts_with(root)).map(Path::to_path_buf).collect()
}

/// Returns the bytes that a control group's limit leaves, or `None` if it has no limit.
fn cgroup_available(group: &Path) -> Option<usize> {
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    let (limit, used): (usize, usize) = (number("memory.max")?, number("memory.current")?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cached = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|bytes| bytes.parse::<usize>().ok()).unwrap_or(0)
    };
    let reclaimable = cached("inactive_file") + cached("active_file");
    Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reclaimable_cache_does_not_count_against_a_cgroup_limit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        assert_eq!(cgroup_available(folder.path()), None, "no such group");
        write("memory.current", "700\n");
        write("memory.max", "max\n");
        assert_eq!(cgroup_available(folder.path()), None, "no limit");
        write("memory.max", "1000\n");
        assert_eq!(cgroup_available(folder.path()), Some(300));
        write("memory.stat", "anon 450\nfile 250\ninactive_file 200\nactive_file 50\n");
        assert_eq!(cgroup_available(folder.path()), Some(550));
        write("memory.current", "5000\n");
        assert_eq!(cgroup_available(folder.path()), Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_of_this_process_is_reported() {
        let (now, peak) = (resident_memory().unwrap(), peak_memory().unwrap());
        assert!(now > 1 << 20 && peak > 1 << 20);
        assert!(available_memory().unwrap() > 1 << 20);
        // 16 MiB of touched memory show in the resident and in the peak memory.
        let touched = std::hint::black_box(vec![1_u8; 16 << 20]);
        assert!(resident_memory().unwrap() >= now + (12 << 20));
        drop(touched);
        assert!(peak_memory().unwrap() >= now + (12 << 20));
    }
}
