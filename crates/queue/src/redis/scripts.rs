//! The Lua scripts, one per operation or batch of operations. Each file's header documents its arguments
//! and replies. Shared functions are in `scripts/lib/`; each script gets `base.lua` and the parts listed
//! for it, in that order, since every call creates all functions of the script anew.

use std::time::Duration;

use protocol::{Task, record};
use redis::Script;

use crate::limits::{MAX_EVENTS, MAX_FAILURES, PROMOTED, SHORT_LIMIT, WINDOW};
use crate::pace::LATEST_WEIGHT;
use crate::retry::{LONGEST, MAX_DOUBLINGS};
use crate::{
    DEAD_LETTER_TTL, LINE_KEPT, LINE_SPAN, LISTED_ENDED, MAX_DEAD_LETTERS, MAX_TRIES_KEPT,
    TOMBSTONE, WEBHOOK_REPORT_TTL,
};

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $flags:literal [$($part:ident)*]),+ $(,)?) => {
        /// All scripts, ready to run.
        #[derive(Debug)]
        pub(crate) struct Scripts {
            $($(#[$doc])* pub(crate) $name: Script,)+
        }

        impl Scripts {
            /// Creates the scripts for a queue with that many partitions.
            pub(crate) fn new(partitions: u32) -> Self {
                let constants = constants(partitions);
                Self {
                    $($name: Script::new(&format!(
                        "#!lua flags={}\n{constants}\n{}{}{}",
                        $flags,
                        include_str!("scripts/lib/base.lua"),
                        concat!($(include_str!(concat!("scripts/lib/", stringify!($part), ".lua")),)*),
                        include_str!(concat!("scripts/", stringify!($name), ".lua")),
                    )),)+
                }
            }
        }
    };
}

// With `allow-oom` a script runs although Redis is at `maxmemory`. Only scripts that add new work are
// refused then; scripts that move tasks to their end must run, or nothing would ever free memory.
// Redis refuses a script before its first write, so nothing is left half done.
scripts! {
    agree: "allow-oom" [],
    room: "" [],
    submit: "" [ended task counters listed line standing accepted save isolate periodic submit],
    submit_charged: "" [ended task counters listed line standing accepted meters charge save isolate periodic submit],
    accepted: "no-writes" [ended task counters listed line standing accepted],
    finish_and_claim: "allow-oom" [ended task counters listed line promote meters settle ending failures letters journal save isolate],
    snapshot: "no-writes" [ended task counters standing snapshot],
    expired: "no-writes" [],
    events: "no-writes" [ended events],
    renew: "allow-oom" [],
    publish: "" [ended task events],
    release: "allow-oom" [ended task counters listed line events meters settle ending end_early failures requeue save],
    cancel: "allow-oom" [ended task counters listed line meters settle ending end_early save],
    cancel_queued: "allow-oom" [ended task counters listed line meters settle ending end_early save isolate],
    tasks: "no-writes" [ended task listed],
    reap: "allow-oom" [ended task counters listed line events promote meters settle ending end_early failures requeue save workers clock tidy],
    readings: "no-writes" [task meters charge],
    usage: "no-writes" [],
    forget_usage: "allow-oom" [],
    unlogged: "allow-oom" [ended snapshot journal],
    logged: "allow-oom" [journal],
    report_worker: "allow-oom" [task counters workers],
    workers: "no-writes" [],
    forget_worker: "allow-oom" [task counters workers],
    drain_worker: "allow-oom" [],
    overview: "no-writes" [counters letters],
    set_paused: "allow-oom" [],
    dead_letters: "no-writes" [letters],
    replayed: "allow-oom" [],
    purge: "allow-oom" [letters],
    notify: "" [],
    due_webhooks: "allow-oom" [],
    webhook_tried: "allow-oom" [],
    webhook: "no-writes" [ended task],
    reserve_blob: "" [blobs],
    store_chunk: "" [],
    commit_blob: "allow-oom" [blobs],
    abandon_blob: "allow-oom" [blobs],
    find_blob: "no-writes" [blobs],
    list_blobs: "no-writes" [blobs],
    touch_blob: "allow-oom" [blobs],
    delete_blob: "allow-oom" [blobs],
    reap_blobs: "allow-oom" [blobs],
    find_batch: "no-writes" [batches],
    save_batch: "allow-oom" [batches],
    list_batches: "no-writes" [batches],
    running_batches: "no-writes" [batches],
    due_batches: "allow-oom" [batches],
    hold_batch: "allow-oom" [batches],
    add_key: "" [keys],
    find_key: "no-writes" [keys],
    list_keys: "no-writes" [keys],
    change_key: "allow-oom" [keys],
    revoke_key: "allow-oom" [keys],
    note_keys_used: "allow-oom" [keys],
    owner_secret: "allow-oom" [],
    periodic_tasks: "no-writes" [],
    step_periodic: "" [periodic],
    cache_result: "" [results],
    result_cache_size: "allow-oom" [results],
}

impl Scripts {
    /// Returns `rights.lua`, which checks a server, not a partition. It may not write, so none of the
    /// commands that it tries has an effect.
    pub(crate) fn rights() -> Script {
        Script::new(concat!("#!lua flags=no-writes\n", include_str!("scripts/rights.lua")))
    }
}

/// Returns a span in milliseconds, as scripts take it.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the contract's constants under the names that the scripts use.
fn constants(partitions: u32) -> String {
    let seconds = |span: Duration| span.as_secs().to_string();
    let (names, values): (Vec<_>, Vec<_>) = [
        ("VERSION", record::VERSION.to_string()),
        ("LATEST_WEIGHT", LATEST_WEIGHT.to_string()),
        ("WINDOW", WINDOW.to_string()),
        ("PROMOTED", PROMOTED.to_string()),
        ("SHORT_MS", millis(SHORT_LIMIT).to_string()),
        ("MAX_EVENTS", MAX_EVENTS.to_string()),
        ("MAX_FAILURES", MAX_FAILURES.to_string()),
        ("MAX_DEAD_LETTERS", MAX_DEAD_LETTERS.div_ceil(partitions.into()).to_string()),
        ("DEAD_LETTER_TTL_S", seconds(DEAD_LETTER_TTL)),
        ("TOMBSTONE_S", seconds(TOMBSTONE)),
        ("LINE_SPAN_MS", LINE_SPAN.as_millis().to_string()),
        ("LINE_KEPT_S", seconds(LINE_KEPT)),
        ("LISTED_ENDED", LISTED_ENDED.div_ceil(partitions.into()).to_string()),
        ("MAX_TRIES", MAX_TRIES_KEPT.to_string()),
        ("WEBHOOK_REPORT_TTL_S", seconds(WEBHOOK_REPORT_TTL)),
        ("DEFAULT_BACKOFF_MS", (u64::from(Task::DEFAULT_RETRY_BACKOFF_S) * 1_000).to_string()),
        ("LONGEST_BACKOFF_MS", millis(LONGEST).to_string()),
        ("MAX_DOUBLINGS", MAX_DOUBLINGS.to_string()),
    ]
    .into_iter()
    .unzip();
    format!("local {} = {}", names.join(", "), values.join(", "))
}
