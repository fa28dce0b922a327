//! Writes a log of ended tasks of about the given number of megabytes to standard output, for measurements:
//! `cargo run --release -p qwen-queue-reports --example synthesize -- 2000 > big.log`.
//!
//! Five weeks, two models, 40 owners; 3 % errors, 1 % cancelled, and a malformed line in 100,000.

use std::io::{BufWriter, Write};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::{Duration, OffsetDateTime};

const START: i64 = 1_763_683_200; // 2025-11-21 00:00
const WEEKS: i64 = 5;
/// The average length of a line in bytes.
const LINE: i64 = 265;

fn main() -> std::io::Result<()> {
    let megabytes: i64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let lines = megabytes * 1_000_000 / LINE;
    let mut random = StdRng::seed_from_u64(1);
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let (mut second, mut stamp) = (-1, String::new());
    for nth in 0..lines {
        let now = nth * WEEKS * 7 * 86_400 / lines;
        if now != second {
            second = now;
            let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(START + now);
            let (date, time) = (at.date(), at.time());
            let (hour, minute, second) = time.as_hms();
            stamp = format!("{date} {hour:02}:{minute:02}:{second:02}");
        }
        let (high, low): (u64, u64) = (random.random(), random.random());
        let id = format!(
            "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        );
        let skewed = |random: &mut StdRng| f64::exp(random.random_range(0.0..6.0f64)) / 50.0;
        let (wait, run) = (skewed(&mut random), skewed(&mut random));
        let times = format!(
            "queue_wait={wait:.2}s processing_time={run:.2}s total_time={:.2}s",
            wait + run
        );
        let owner = f64::powi(random.random(), 3) * 40.0;
        let model = if random.random_ratio(3, 4) { "Qwen/Qwen3-8B-GGUF:Q4_K_M" } else { "demo" };
        let tail =
            format!("model={model} owner={:016x}", (owner as u64 + 1) * 0x9e37_79b9_7f4a_7c15);
        match random.random_range(0..100_000) {
            0 => writeln!(out, "[{stamp}] task_id={id} status=succ")?,
            1..1_000 => writeln!(out, "[{stamp}] task_id={id} status=cancelled {times} {tail}")?,
            1_000..4_000 => writeln!(
                out,
                "[{stamp}] task_id={id} status=error error_message=\"the engine failed at step {nth}: \\\"out of memory\\\"\" {times} {tail} error_type=engine_error"
            )?,
            _ => {
                let (prompt, completion) =
                    (random.random_range(5..4_000), random.random_range(1..900));
                let rate = f64::from(completion) / run;
                writeln!(
                    out,
                    "[{stamp}] task_id={id} status=success prompt_tokens={prompt} completion_tokens={completion} tokens_per_sec={rate:.2} {times} cached_tokens={} {tail}",
                    prompt / 3
                )?;
            }
        }
    }
    out.flush()
}
