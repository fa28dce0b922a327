//! `bench system`: measures what gateway, Redis and worker cost. The same mixed load runs
//! alternately on the whole system, in processes of its own, and on the bare engine in the bench's
//! process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use engine::source::{self, SourceOptions};
use engine::{Engine, EngineOptions};
use serde::Serialize;

use super::contenders::{Bare, Gateway};
use super::cpu;
use super::engine::{MIXED_COLUMNS, mixed_row};
use super::mixed::{self, Figures, Load, at_least_one};
use super::processes::Process;
use super::redis::Redis;
use crate::output::{Output, note};
use crate::table::table;

/// Maximum time for a worker to load its model.
const LOADING: Duration = Duration::from_secs(300);

/// Measure the whole system's share of the bare engine's rate.
///
/// Starts a redis-server, a gateway and a worker as separate processes, and an engine with the
/// worker's settings in this process. Rounds of the same mixed load alternate between them; clients
/// of the system submit tasks and follow their events. Prints both rates and the system's share of
/// the engine's.
#[derive(Debug, Args)]
pub(crate) struct SystemBench {
    /// Hub repository with optional :quant, path to a .gguf file, or demo. `qwen-queue model synth`
    /// writes models of real size with random weights.
    #[arg(long, default_value = "demo")]
    model: String,
    /// Clients, each with one request in flight.
    #[arg(long, default_value_t = 16, value_parser = at_least_one)]
    clients: usize,
    #[command(flatten)]
    load: Load,
    /// Rounds; the share is the median of the rounds'.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    rounds: usize,
    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Report {
    /// The median round of the bare engine.
    engine: Figures,
    /// The median round of the whole system.
    system: Figures,
    /// Each round's rate of the system divided by that of the engine, lowest first.
    shares: Vec<f64>,
    /// Their median.
    share: f64,
    /// Processor seconds of all rounds: of the process with the engine, and of all processes of the
    /// system. Both include the clients. Other load on the machine changes these figures less than
    /// the rates.
    engine_cpu_seconds: Option<f64>,
    system_cpu_seconds: Option<f64>,
    /// The memory that the worker planned to use at most, in MiB.
    worker_planned_mib: Option<usize>,
    /// The worker's peak memory, in MiB.
    worker_peak_mib: Option<usize>,
}

/// Measures and prints the figures.
pub(super) fn run(args: &SystemBench) -> Result<()> {
    args.load.check()?;
    let kv_tokens = (args.clients * args.load.most_tokens().next_multiple_of(64)).max(256);
    let system = System::start(&args.model, args.clients, kv_tokens)?;
    note("loading the model here …");
    let model = source::resolve(&args.model, &SourceOptions::from_env())?;
    let options = EngineOptions {
        max_batch: args.clients,
        kv_tokens: Some(kv_tokens),
        ..EngineOptions::default()
    };
    let engine = Engine::start(&model, &options)?;
    let (bare, gateway) = (Bare(&engine), system.contender(args.clients));
    note("warming up …");
    // A round number that no round has, so that the prefix cache finds none of its prompts later.
    let warm_up = usize::try_from(u32::MAX)?;
    for contender in [&bare as &dyn mixed::Contender, &gateway] {
        args.load.clone().with_requests(2).run(contender, 2, warm_up)?;
    }
    let (mut of_engine, mut of_system, mut shares) = (vec![], vec![], vec![]);
    let here = || cpu::of(std::process::id());
    let (mut engine_cpu, mut system_cpu) = (Some(Duration::ZERO), Some(Duration::ZERO));
    for round in 0..args.rounds {
        note(&format!("round {} of {}: the engine …", round + 1, args.rounds));
        let before = here();
        let engine = args.load.run(&bare, args.clients, round)?;
        engine_cpu = plus(engine_cpu, before, here());
        note(&format!("round {} of {}: the system …", round + 1, args.rounds));
        let before = (here(), system.cpu());
        let through = args.load.run(&gateway, args.clients, round)?;
        system_cpu = plus(plus(system_cpu, before.0, here()), before.1, system.cpu());
        shares.push(through.output_per_second / engine.output_per_second);
        of_engine.push(engine);
        of_system.push(through);
    }
    shares.sort_by(f64::total_cmp);
    let report = Report {
        share: shares.get(shares.len() / 2).copied().context("no round")?,
        shares,
        engine: mixed::median(of_engine).context("no round")?,
        system: mixed::median(of_system).context("no round")?,
        engine_cpu_seconds: engine_cpu.map(|time| time.as_secs_f64()),
        system_cpu_seconds: system_cpu.map(|time| time.as_secs_f64()),
        worker_planned_mib: system.planned_mib(),
        worker_peak_mib: system.peak_mib(),
    };
    super::write_json(args.json.as_deref(), &report)?;
    Ok(Output::standard().print(&report.table())?)
}

impl Report {
    fn table(&self) -> String {
        let row = |name: &str, figures: &Figures| {
            let mut row = mixed_row(figures);
            row[0] = format!("{name}: {}", row[0]);
            row
        };
        let rows = [row("engine", &self.engine), row("system", &self.system)];
        let shares: Vec<String> = self.shares.iter().map(|share| format!("{share:.3}")).collect();
        let mut text = table(&MIXED_COLUMNS, &rows);
        text += &format!(
            "\nthe system reaches {:.1} % of the engine's rate (rounds: {})\n",
            100.0 * self.share,
            shares.join(", ")
        );
        if let Some((engine, system)) = self.engine_cpu_seconds.zip(self.system_cpu_seconds) {
            text += &format!("CPU time: engine {engine:.1} s, system {system:.1} s\n");
        }
        if let Some((peak, plan)) = self.worker_peak_mib.zip(self.worker_planned_mib) {
            text += &format!("the worker's peak memory is {peak} MiB, of {plan} MiB planned\n");
        }
        text
    }
}

/// A Redis, a gateway and a worker.
struct System {
    url: String,
    key: String,
    worker: Process,
    gateway: Process,
    /// Dropped last.
    redis: Redis,
}

impl System {
    /// Starts the processes and waits until the model is loaded.
    fn start(model: &str, max_batch: usize, kv_tokens: usize) -> Result<Self> {
        // The processes run in other folders, so a relative path would not lead to the file.
        let file = std::path::absolute(model)?;
        let model = if file.is_file() { file.to_string_lossy().into_owned() } else { model.into() };
        note("starting Redis, gateway and worker …");
        let redis = Redis::start(&[])?;
        let key = service::settings::fresh_key();
        let (gateway, address) = Process::gateway(&redis.url, &key, &model, &[])?;
        let (batch, kv) = (max_batch.to_string(), kv_tokens.to_string());
        let settings =
            [("REDIS_URL", &*redis.url), ("MODEL_NAME", &model), ("MAX_BATCH_SIZE", &batch)];
        let more = [("KV_TOKENS", &*kv), ("API_KEYS", &key), ("MODEL_DEVICE", "auto")];
        let mut worker = Process::start("worker", &[settings, more].concat())?;
        let url = format!("http://{address}");
        let until = Instant::now() + LOADING;
        while !is_ready(&url) {
            worker.check("worker")?;
            if Instant::now() > until {
                bail!("the worker has not loaded its model in {} s", LOADING.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { url, key, worker, gateway, redis })
    }

    /// Returns the processor time of all processes so far.
    fn cpu(&self) -> Option<Duration> {
        let redis = cpu::of(self.redis.own_pid()?)?;
        Some(cpu::of(self.worker.id())? + cpu::of(self.gateway.id())? + redis)
    }

    fn contender(&self, clients: usize) -> Gateway {
        Gateway::new(self.url.clone(), self.key.clone(), clients)
    }

    /// Returns the worker's memory plan from its log, in MiB.
    fn planned_mib(&self) -> Option<usize> {
        let log = self.worker.log();
        let (_, total) = log.lines().find_map(|line| line.rsplit_once("at most "))?;
        total.split_whitespace().next()?.parse().ok()
    }

    /// Returns the peak memory of the worker's process, in MiB.
    fn peak_mib(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: usize = line.split_whitespace().next()?.parse().ok()?;
        Some(kib.div_ceil(1024))
    }
}

/// Returns `sum` plus the difference of `before` and `after`.
fn plus(
    sum: Option<Duration>,
    before: Option<Duration>,
    after: Option<Duration>,
) -> Option<Duration> {
    Some(sum? + after?.saturating_sub(before?))
}

/// Returns `true` if a worker has loaded its model.
fn is_ready(url: &str) -> bool {
    // It runs on this machine: no proxy.
    let agent = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let Ok(mut health) = agent.get(format!("{url}/health")).call() else { return false };
    let body: serde_json::Value = health.body_mut().read_json().unwrap_or_default();
    body["model_loaded"] == true
}
