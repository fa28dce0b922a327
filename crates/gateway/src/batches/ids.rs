//! Ids that every processor of a batch derives alike: of the tasks of its lines, and of its files.

use protocol::{BatchId, BlobId, TaskId, Timestamp};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Returns the id of a task of a line: the line's number from 0, and the number of the task within it.
pub(super) fn task_id(batch: BatchId, created_at: Timestamp, line: u32, task: usize) -> TaskId {
    derived(batch, created_at, &format!("task {line} {task}")).into()
}

/// Returns the id of a file of the batch.
pub(super) fn file_id(batch: BatchId, at: Timestamp, name: &str) -> BlobId {
    derived(batch, at, &format!("file {name}")).into()
}

/// Returns a UUIDv7 of this time, whose other bits are a hash.
fn derived(batch: BatchId, at: Timestamp, what: &str) -> Uuid {
    let hash: [u8; 32] = Sha256::digest(format!("{batch} {what}")).into();
    let mut bits = [0; 10];
    bits.copy_from_slice(&hash[..10]);
    Builder::from_unix_timestamp_millis(at.as_millis(), &bits).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_batch_line_and_task_and_never_change() {
        let at = Timestamp::from_millis(1_763_739_045_123);
        let batch: BatchId = "0192f0c1-2345-7abc-8def-0123456789ab".parse().unwrap();
        let id = task_id(batch, at, 7, 0);
        assert_eq!(id, task_id(batch, at, 7, 0));
        assert_eq!(id.as_uuid().get_version_num(), 7);
        for other in [
            task_id(batch, at, 8, 0),
            task_id(batch, at, 7, 1),
            task_id(BatchId::new(), at, 7, 0),
            TaskId::from(file_id(batch, at, "7 0").as_uuid()),
        ] {
            assert_ne!(id, other);
        }
        let known = "019aa70a-0d03-768c-99ca-ac3e7f18a41a";
        assert_eq!(id.to_string(), known, "tasks of running batches would not be found again");
    }
}
