//! What the system says of memory, and the driver of GPUs. `None` wherever they do not tell.

use std::fs;
use std::path::{Path, PathBuf};

/// What the driver says of a GPU, whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuUse {
    /// Its number, as `nvidia-smi` counts.
    pub id: u32,
    /// Bytes of its memory in use, by all processes.
    pub memory_used_bytes: u64,
    /// Bytes of its memory.
    pub memory_total_bytes: u64,
    /// How much of the last moment some kernel ran, in percent.
    pub utilization_percent: u32,
}

/// Bytes that this process may still take: what is free on the machine, or in the control group
/// (container) that it runs in, whichever is less. What the system holds only as a cache counts as free.
pub fn available_memory() -> Option<usize> {
    let free = kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(control_groups().iter().filter_map(|group| left_in(group)).fold(free, usize::min))
}

/// Bytes of memory that this process holds now.
pub fn resident_memory() -> Option<usize> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The most bytes of memory that this process has held, since its start or since
/// [`forget_peak_memory`].
pub fn peak_memory() -> Option<usize> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Lets [`peak_memory`] begin anew. Where the system can't, the peak stays.
pub fn forget_peak_memory() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The number of bytes on the line of this name, which the kernel gives in KiB.
fn kib(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

/// The folders of this process' control group and of those around it, each of which may set a limit
/// (version 2: <https://docs.kernel.org/admin-guide/cgroup-v2.html>).
fn control_groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return vec![] };
    let root = Path::new("/sys/fs/cgroup");
    let folder = root.join(path);
    folder.ancestors().take_while(|at| at.starts_with(root)).map(Path::to_path_buf).collect()
}

/// What a control group's limit leaves, if it has one.
fn left_in(group: &Path) -> Option<usize> {
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
    fn a_control_group_leaves_its_limit_less_what_is_no_cache() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        assert_eq!(left_in(folder.path()), None, "no such group");
        write("memory.current", "700\n");
        write("memory.max", "max\n");
        assert_eq!(left_in(folder.path()), None, "no limit");
        write("memory.max", "1000\n");
        assert_eq!(left_in(folder.path()), Some(300));
        write("memory.stat", "anon 450\nfile 250\ninactive_file 200\nactive_file 50\n");
        assert_eq!(left_in(folder.path()), Some(550));
        write("memory.current", "5000\n");
        assert_eq!(left_in(folder.path()), Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_of_this_process() {
        let (now, peak) = (resident_memory().unwrap(), peak_memory().unwrap());
        assert!(now > 1 << 20 && peak > 1 << 20);
        assert!(available_memory().unwrap() > 1 << 20);
        // Sixteen MiB that are touched are seen, now and in the peak.
        let touched = std::hint::black_box(vec![1_u8; 16 << 20]);
        assert!(resident_memory().unwrap() >= now + (12 << 20));
        drop(touched);
        assert!(peak_memory().unwrap() >= now + (12 << 20));
    }
}
