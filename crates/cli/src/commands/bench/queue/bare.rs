//! Measures Redis by itself: `redis-benchmark` runs a script with as many commands, keys and bytes
//! as a submit's, that does nothing useful. Like the queue's stages, it shares the cores with its
//! client.

use std::process::Command;

use anyhow::{Context, Result};
use queue::SubmitOptions;

use super::report::Bare;
use super::rig::Rig;
use super::submits::{self, CONCURRENCY};

/// The number of calls that are measured.
const CALLS: u32 = 100_000;

/// Runs ARGV[1] commands on the seven keys of a submit.
const SCRIPT: &str = "redis.call('HSET', KEYS[2], 'record', ARGV[2]) \
    redis.call('XADD', KEYS[3], '*', 'body', 'queued') \
    for i = 3, tonumber(ARGV[1]) do redis.call('HINCRBY', KEYS[4 + i % 4], 'n', 1) end \
    return { 'accepted', KEYS[2] }";

/// Measures the rig's own Redis. Returns `None` without one, or if `redis-benchmark` is not
/// installed.
///
/// # Errors
/// If Redis or the benchmark fails.
pub(super) fn measure(rig: &Rig) -> Result<Option<Bare>> {
    let Some((redis, port)) = rig.redis.as_ref().and_then(|r| Some((r, r.own_port()?))) else {
        return Ok(None);
    };
    let task = submits::task();
    let submit = || {
        rig.runtime.block_on(rig.broker.submit(&submits::task(), &SubmitOptions::PLAIN))?;
        Ok(())
    };
    submit()?; // loads the script
    let commands = redis.watch(submit)?.iter().filter(|line| line.contains(" lua]")).count();

    let client = redis::Client::open(redis.url.as_str())?;
    let mut load = redis::cmd("SCRIPT");
    let sha: String = load.arg("LOAD").arg(SCRIPT).query(&mut client.get_connection()?)?;
    let (count, record) = (commands.to_string(), serde_json::to_string(&task)?);
    let keys = ["b:", "b:t:__rand_int__", "b:e:__rand_int__", "b:1", "b:2", "b:3", "b:4"];
    let done = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-c", &CONCURRENCY.to_string(), "-q"])
        .args(["-n", &CALLS.to_string(), "-r", "100000000"])
        .args(["EVALSHA", &sha, "7"])
        .args(keys)
        .args([&count, &record])
        .output();
    let Ok(done) = done else { return Ok(None) }; // not installed
    let said = String::from_utf8_lossy(&done.stdout);
    let words: Vec<&str> = said.split_whitespace().collect();
    let at = words.iter().rposition(|word| *word == "requests");
    let per_second = at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok());
    let per_second = per_second.with_context(|| {
        format!("redis-benchmark printed: {said}{}", String::from_utf8_lossy(&done.stderr))
    })?;
    Ok(Some(Bare { per_second, commands }))
}
