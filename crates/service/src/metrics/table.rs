//! The table of all metrics. A test compares it with docs/OPERATING.md.

use ::metrics::Unit;

use super::definition::{Definition, Kind};

/// Seconds of requests: from milliseconds to the longest waits for a task.
const REQUEST: &[f64] = &[0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0];
/// Seconds of tasks: from milliseconds to minutes.
const TASK: &[f64] =
    &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Seconds between two tokens: from the fastest GPU to the slowest CPU.
const TOKEN: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Seconds of loading a model.
const LOAD: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

macro_rules! table {
    ($($constant:ident = $name:literal $kind:expr, $unit:expr, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Definition = Definition {
                name: $name,
                kind: $kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All metrics, in the order of the documentation.
        pub static ALL: &[&Definition] = &[$(&$constant),*];
    };
}

use Kind::{Counter, Gauge, Histogram};

const BYTES: Option<Unit> = Some(Unit::Bytes);
const PERCENT: Option<Unit> = Some(Unit::Percent);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

table! {
    // Every process.
    BUILD_INFO = "build_info" Gauge, None, ["version"], "always 1; the label has the version";
    LOG_LINES_WAITING = "log_lines_waiting" Gauge, None, [], "lines of log files that wait in memory because the files can't be written";
    LOG_LINES_LOST = "log_lines_lost_total" Counter, None, [], "lines of log files that were lost";
    DISK_FREE = "disk_free_bytes" Gauge, BYTES, ["folder"], "what this process may still write to the disk of its logs, data, blobs or models";
    DISK_TOTAL = "disk_total_bytes" Gauge, BYTES, ["folder"], "size of that disk";
    LEASES_EXPIRED = "leases_expired_total" Counter, None, ["result"], "tasks whose worker stopped renewing its lease, as this process found: requeued or given_up";
    TRACE_SPANS = "trace_spans_total" Counter, None, ["result"], "spans of traces: sent to the collector, or lost because it did not take them or too many were pending";

    // The gateway.
    HTTP_REQUESTS = "http_requests_total" Counter, None, ["method", "endpoint", "status"], "answered requests; the endpoint is the route's pattern, or unknown";
    HTTP_REQUEST_DURATION = "http_request_duration_seconds" Histogram(REQUEST), SECONDS, ["method", "endpoint"], "time from a request's head to the head of its answer";
    ACTIVE_REQUESTS = "active_requests" Gauge, None, [], "requests in progress, with streams that are sent";
    REFUSALS = "refusals_total" Counter, None, ["code"], "refused requests, by the code of the refusal";
    TASKS_SUBMITTED = "tasks_submitted_total" Counter, None, ["model", "lane"], "tasks that this gateway queued";
    WEBHOOK_TRIES = "webhook_tries_total" Counter, None, ["result"], "webhooks that this gateway sent: delivered, retry or given_up";
    PERIODIC_OCCURRENCES = "periodic_occurrences_total" Counter, None, ["result"], "occurrences of periodic tasks that this gateway handled: submitted, skipped (missed), or refused (and tried again)";
    QUEUE_UP = "queue_up" Gauge, None, [], "1 if the queue answered this scrape, else 0, and then no other metric of the queue or of workers is there";
    QUEUE_LENGTH = "inference_queue_length" Gauge, None, ["model", "lane"], "tasks that wait for a worker, without the delayed";
    TASKS_DELAYED = "tasks_delayed" Gauge, None, ["model"], "tasks that wait for their time: submitted with a delay, or resting between attempts";
    TASKS_RUNNING = "tasks_running" Gauge, None, ["model"], "tasks that workers hold";
    TASK_CAPACITY = "task_capacity" Gauge, None, ["model"], "tasks that the ready workers can run at once";
    QUEUE_PAUSED = "queue_paused" Gauge, None, ["model"], "1 if an operator paused the model";
    TASKS_ENDED = "tasks_ended_total" Counter, None, ["model", "outcome"], "tasks of the queue that ended: completed, failed or cancelled";
    QUEUED_BYTES = "queued_bytes" Gauge, BYTES, [], "size of all queued tasks";
    DEAD_LETTERS = "dead_letters" Gauge, None, [], "dead letters that wait for an operator";
    WEBHOOKS_PENDING = "webhooks_pending" Gauge, None, [], "webhooks that are neither delivered nor given up";
    RESULT_CACHE_ENTRIES = "result_cache_entries" Gauge, None, [], "results that are kept for later tasks, if RESULT_CACHE is on";
    RESULT_CACHE_BYTES = "result_cache_bytes" Gauge, BYTES, [], "size of these results";
    WORKERS = "workers" Gauge, None, ["model", "state"], "live workers that serve a model: loading, loaded, unloading, unloaded or failed, or draining or deaf";

    // Gateway and worker.
    GPU_MEMORY_USED = "gpu_memory_used_bytes" Gauge, BYTES, ["host", "gpu_id"], "memory of a GPU in use, by all processes";
    GPU_MEMORY_TOTAL = "gpu_memory_total_bytes" Gauge, BYTES, ["host", "gpu_id"], "memory of a GPU";
    GPU_UTILIZATION = "gpu_utilization_percent" Gauge, PERCENT, ["host", "gpu_id"], "share of the last moment in which a GPU computed";

    // The worker.
    ATTEMPTS = "attempts_total" Counter, None, ["model", "end"], "attempts by their end: completed, failed, cancelled, retried, released, or lost (another attempt has the task)";
    INFERENCE_DURATION = "model_inference_duration_seconds" Histogram(TASK), SECONDS, ["model_name", "quantization"], "time from the claim of a task to its result, of completed tasks";
    QUEUE_WAIT = "queue_wait_seconds" Histogram(TASK), SECONDS, ["model"], "time from a task's submit to the start of an attempt";
    FIRST_TOKEN = "time_to_first_token_seconds" Histogram(TASK), SECONDS, ["model"], "time from the claim of a task to its first text";
    INTER_TOKEN = "inter_token_seconds" Histogram(TOKEN), SECONDS, ["model"], "average time between two tokens of a completed answer, after its first text";
    IMAGE_PREPARATION = "image_preparation_seconds" Histogram(TASK), SECONDS, ["model"], "time to encode the images and videos of a prompt, with the wait for the encoder";
    TOKENS = "tokens_total" Counter, None, ["model", "kind"], "tokens of ended tasks: prompt (with the cached), cached, completion (with the reasoning) or reasoning";
    RESULT_CACHE_LOOKUPS = "result_cache_lookups_total" Counter, None, ["model", "result"], "searches in the result cache: hit, miss, or error (it could not be asked)";
    MODEL_LOAD_TIME = "model_load_time_seconds" Histogram(LOAD), SECONDS, ["model_name"], "time to load a model";
    ENGINE_STEPS = "engine_steps_total" Counter, None, ["model"], "steps of the engine that computed tokens";
    ENGINE_BUSY = "engine_busy_seconds" Gauge, SECONDS, ["model"], "time that the engine has spent in these steps since it was loaded: divided by their number, the time of a step";
    ENGINE_STEP_TOKENS = "engine_step_tokens_total" Counter, None, ["model"], "tokens that these steps computed: divided by their number, the tokens of a step";
    ENGINE_KV_PAGES = "engine_kv_pages" Gauge, None, ["model", "state"], "pages of the KV cache: held by running sequences, cached (free, but kept for prompts with the same beginning) or blank";
    ENGINE_RUNNING = "engine_running_sequences" Gauge, None, ["model"], "sequences in the batch";
    ENGINE_WAITING = "engine_waiting_sequences" Gauge, None, ["model"], "sequences that wait for a place in the batch";
    ENGINE_CAPACITY = "engine_max_sequences" Gauge, None, ["model"], "largest number of sequences in the batch";
    ENGINE_COMPUTED = "engine_computed_prompt_tokens_total" Counter, None, ["model"], "tokens of prompts that were computed, again after a preemption too";
    ENGINE_CACHED = "engine_cached_prompt_tokens_total" Counter, None, ["model"], "tokens of prompts that were found in the prefix cache";
    ENGINE_PREEMPTIONS = "engine_preemptions_total" Counter, None, ["model"], "sequences that had to wait again because the KV memory was used up";
    ENGINE_DRAFTED = "engine_drafted_tokens_total" Counter, None, ["model", "drafter"], "tokens that were drafted and computed, by lookup or by the draft model";
    ENGINE_ACCEPTED = "engine_accepted_tokens_total" Counter, None, ["model", "drafter"], "drafted tokens that became tokens of answers: divided by the drafted ones, the acceptance rate";
    ENGINE_IMAGES = "engine_images_total" Counter, None, ["model", "source"], "images whose encoding was needed: encoded, or found in the cache";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "each name once");
        for metric in ALL {
            let name = metric.name;
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Counter, "{name}");
            let unit = match metric.unit {
                None => "",
                Some(Unit::Bytes) => "_bytes",
                Some(Unit::Percent) => "_percent",
                Some(Unit::Seconds) => "_seconds",
                Some(unit) => panic!("{name}: {unit:?}"),
            };
            assert!(name.ends_with(unit), "{name}");
            if let Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted() && buckets.len() < 16, "{name}");
            }
        }
    }

    #[test]
    fn the_documentation_has_a_row_for_each_metric() {
        let docs = include_str!("../../../../docs/OPERATING.md");
        let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
        for Definition { name, kind, labels, help, .. } in ALL {
            let kind = match kind {
                Counter => "counter",
                Gauge => "gauge",
                Histogram(_) => "histogram",
            };
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "));
            assert!(rows.contains(&row.as_str()), "docs/OPERATING.md lacks the row:\n{row}");
        }
    }
}
