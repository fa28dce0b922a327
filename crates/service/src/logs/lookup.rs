//! Searches `llm_requests.log` for lines that a process may have written before it died.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use protocol::TaskId;
use time::{Duration, OffsetDateTime};

use super::format;

/// The number of bytes that are read at once, from the end of a file backwards.
const BLOCK: usize = 256 << 10;
/// Tolerance for lines of several processes that are out of order, and for clocks that were set
/// back.
const SLACK: Duration = Duration::minutes(1);
/// The position of the time in `[2025-11-21 15:30:45] task_id=`.
const TIME: std::ops::Range<usize> = 1..20;
const ID: std::ops::Range<usize> = 30..66;

/// Returns those of `ids` that have a line, not older than `since`, in the files of `dir`. Skips
/// unreadable files.
pub(super) fn written(dir: &Path, ids: &HashSet<TaskId>, since: OffsetDateTime) -> HashSet<TaskId> {
    let since = since - SLACK;
    let mut found = HashSet::new();
    let mut day = OffsetDateTime::now_utc().date();
    while !ids.is_empty() && day >= since.date() {
        let file = File::open(dir.join(format!("llm_requests.{day}.log")));
        let scanned = file.and_then(|file| scan(&file, ids, &format::timestamp(since), &mut found));
        if let Err(error) = scanned
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(
                target: "service.logs",
                "cannot search llm_requests.{day}.log, so some lines may be written twice: {error}"
            );
        }
        let Some(before) = day.previous_day() else { break };
        day = before;
    }
    found
}

/// Reads a file backwards to the first line older than `since`.
fn scan(
    file: &File,
    ids: &HashSet<TaskId>,
    since: &str,
    found: &mut HashSet<TaskId>,
) -> io::Result<()> {
    let mut start = file.metadata()?.len();
    let mut cut_off = Vec::new(); // the end of the line that the block after begins with
    while start > 0 && found.len() < ids.len() {
        let size = BLOCK.min(usize::try_from(start).unwrap_or(BLOCK));
        start -= size as u64;
        let mut block = vec![0; size];
        file.read_exact_at(&mut block, start)?;
        block.append(&mut cut_off);
        // The block may start inside a line; all other lines are complete.
        let whole = match block.iter().position(|byte| *byte == b'\n') {
            _ if start == 0 => 0,
            Some(end) => end + 1,
            None => block.len(),
        };
        let mut lines =
            block[whole..].split(|byte| *byte == b'\n').filter_map(Line::read).peekable();
        let is_oldest = lines.peek().is_some_and(|line| line.time < since);
        found.extend(lines.map(|line| line.id).filter(|id| ids.contains(id)));
        if is_oldest {
            return Ok(());
        }
        block.truncate(whole);
        cut_off = block;
    }
    Ok(())
}

struct Line<'a> {
    time: &'a str,
    id: TaskId,
}

impl<'a> Line<'a> {
    /// Parses a complete line. Returns `None` for one that was cut off by a kill or a full disk.
    fn read(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        line.contains(" total_time=").then_some(())?;
        Some(Self { time: line.get(TIME)?, id: line.get(ID)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Metrics, ModelId, Outcome, TenantId, Timestamp, Usage};

    use super::*;

    fn line(id: TaskId, at: OffsetDateTime) -> String {
        let ms = Timestamp::from_millis;
        let metrics = Metrics::new(ms(0), None, ms(9), Usage::default());
        let (model, owner) = (ModelId::new("demo"), TenantId::new("o1"));
        let task = format::LoggedTask { id, model: &model, owner: &owner, trace: None };
        format::request_line(at, &task, &Outcome::CANCELLED, &metrics, false)
    }

    fn ids(count: usize) -> Vec<TaskId> {
        (0..count).map(|_| TaskId::new()).collect()
    }

    #[test]
    fn logged_ids_are_found_in_long_files_and_on_the_previous_day() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let yesterday = now - Duration::days(1);
        // Several blocks, so that lines cross their boundaries.
        let today = ids(3 * BLOCK / 100);
        let text: String = today.iter().map(|id| line(*id, now)).collect();
        assert!(text.len() > 3 * BLOCK);
        std::fs::write(dir.path().join(format!("llm_requests.{}.log", now.date())), text).unwrap();
        let before = ids(1)[0];
        let file = dir.path().join(format!("llm_requests.{}.log", yesterday.date()));
        std::fs::write(file, line(before, yesterday)).unwrap();

        let mut asked: HashSet<TaskId> = today.iter().copied().chain([before]).collect();
        asked.extend(ids(5));
        let found = written(dir.path(), &asked, yesterday);
        assert_eq!(found.len(), today.len() + 1);
        assert!(found.contains(&before) && today.iter().all(|id| found.contains(id)));
    }

    #[test]
    fn older_lines_and_incomplete_lines_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let [old, torn, whole] = ids(3)[..] else { unreachable!() };
        let mut text = line(old, now - Duration::hours(2));
        // More than a block lies between the old line and the requested ones.
        text.extend(ids(2 * BLOCK / 100).iter().map(|id| line(*id, now - Duration::hours(1))));
        text.push_str(&line(torn, now)[..80]);
        text.push('\n');
        text.push_str(&line(whole, now));
        std::fs::write(dir.path().join(format!("llm_requests.{}.log", now.date())), text).unwrap();
        let found = written(dir.path(), &HashSet::from([old, torn, whole]), now);
        assert_eq!(found, HashSet::from([whole]));
        assert!(written(Path::new("/nowhere"), &HashSet::from([old]), now).is_empty());
    }
}
