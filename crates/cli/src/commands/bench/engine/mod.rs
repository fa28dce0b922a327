//! `bench engine`: measures how fast a model reads prompts and writes answers on this machine, and
//! its memory.
//!
//! | file        | what it holds |
//! |-------------|---------------|
//! | `beside.rs` | short prompts beside a long one |
//! | `drafting.rs` | decode rates with speculation, beside those without |
//! | `rate.rs` | a rate over several rounds |
//! | `report.rs` | the figures, as a table and as JSON |
//! | `plot.rs`   | the figures, as a chart |

mod beside;
mod drafting;
mod plot;
mod rate;
mod report;

pub(super) use self::report::{MIXED_COLUMNS, mixed_row};

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use engine::bench;
use engine::source::{self, SourceOptions};
use engine::{DeviceChoice, Engine, EngineOptions, ModelFile, Quantization, Speculation, system};

use self::beside::Beside;
use self::drafting::Drafting;
use self::rate::Rate;
use self::report::{Constrained, Report, Setup, Submits};
use super::contenders::Bare;
use super::mixed::{self, Load, at_least_one};
use crate::output::{Output, note};

/// Tokens per KV page.
const PAGE: usize = engine::kv::PAGE_TOKENS;

/// Measure the rates of prefill and decode of a model.
///
/// Each figure is the median of some rounds: the prefill rate of one prompt of each length; the
/// decode rate, summed over all concurrent answers; and a mixed load, in which each client has one
/// request in flight, with prompts of different lengths and answers of one length. Everything is
/// measured once per chunk size, each time with a new engine. Prompts are random, so the prefix
/// cache finds none of them.
#[derive(Debug, Args)]
pub(crate) struct EngineBench {
    /// Hub repository with optional :quant, path to a .gguf file or a folder with safetensors, or demo.
    /// `qwen-queue model synth` writes models of real size with random weights.
    #[arg(long, default_value = "demo")]
    model: String,
    /// none, 8bit or 4bit: the quantization of safetensors at load, or which GGUF file of a
    /// repository to use.
    #[arg(long)]
    quantization: Option<Quantization>,
    /// auto, cpu, cuda:N, or several devices that share the layers: cuda:0,1 or cuda:0,cpu.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Lengths of prompts to prefill, in tokens; 0 for none.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 512])]
    prompts: Vec<usize>,
    /// Numbers of answers to generate concurrently, each 1 to 256; 0 for none.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    streams: Vec<usize>,
    /// Length of the prompt of each of those answers, in tokens.
    #[arg(long, default_value_t = 32, value_name = "TOKENS", value_parser = at_least_one)]
    stream_prompt: usize,
    /// Also generate answers constrained by a JSON schema, alternating with unconstrained ones, and
    /// print the cost.
    #[arg(long)]
    constrained: bool,
    /// Also generate answers with speculation, off or lookup, on a second engine, alternating with those without, and
    /// print both rates and the part of the drafted tokens that was accepted.
    #[arg(long, default_value_t = Speculation::Off)]
    speculation: Speculation,
    /// A smaller model of the same vocabulary that drafts too, named like --model.
    #[arg(long, value_name = "MODEL")]
    draft_model: Option<String>,
    /// Numbers of clients of the mixed load, each 1 to 256; 0 for none.
    #[arg(long, value_delimiter = ',', default_values_t = [16])]
    clients: Vec<usize>,
    #[command(flatten)]
    load: Load,
    /// Compute a prompt of this many tokens alone, and beside clients with short prompts.
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    beside: Option<usize>,
    /// The number of those clients, 1 to 255.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 15], value_parser = at_least_one)]
    beside_clients: Vec<usize>,
    /// Chunk sizes: the most tokens computed in one step. Larger ones speed up prefill, smaller ones
    /// generate running answers more evenly.
    #[arg(long, value_delimiter = ',', default_values_t = [512], value_parser = at_least_one)]
    step_tokens: Vec<usize>,
    /// KV tokens of all sequences together [default: as many as the largest load needs].
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    kv_tokens: Option<usize>,
    /// Rounds of each load; figures are their medians.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    rounds: usize,
    /// Also write the figures to this file, as JSON; - prints the JSON instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw the figures to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Measures and prints the figures.
pub(super) fn run(mut args: EngineBench) -> Result<()> {
    args.load.check()?;
    for list in [&mut args.prompts, &mut args.streams, &mut args.clients] {
        list.retain(|number| *number > 0);
    }
    let beside = args.beside_clients.iter().map(|clients| clients + 1);
    let beside = beside.filter(|_| args.beside.is_some());
    let at_once = args.streams.iter().chain(&args.clients).copied().chain(beside);
    let most = at_once.max().unwrap_or(1);
    anyhow::ensure!(most <= 256, "{most} answers at once are too many: allowed is 1 to 256");
    let model = args.resolve(&args.model)?;
    let mut report = Report::new(args.rounds);
    for step_tokens in args.step_tokens.clone() {
        let setup = measure(&args, &model, step_tokens, most, &mut report)?;
        report.setups.push(setup);
    }
    if let Some(file) = &args.plot {
        plot::draw(&report, file)
            .with_context(|| format!("can't write the plot to {}", file.display()))?;
    }
    let to_stdout = args.json.as_deref().is_some_and(|file| file.as_os_str() == "-");
    if to_stdout {
        return Ok(Output::standard().line(&serde_json::to_string_pretty(&report)?)?);
    }
    super::write_json(args.json.as_deref(), &report)?;
    Ok(Output::standard().print(&report.table())?)
}

/// Runs all loads on one engine.
fn measure(
    args: &EngineBench,
    model: &ModelFile,
    step_tokens: usize,
    max_batch: usize,
    report: &mut Report,
) -> Result<Setup> {
    progress(&format!("loading the model, {step_tokens} tokens a step"));
    system::reset_peak_memory();
    let begin = Instant::now();
    let options = EngineOptions {
        device: args.device.clone(),
        max_batch,
        kv_tokens: Some(args.kv_tokens.unwrap_or_else(|| args.tokens_at_once())),
        step_tokens,
        ..EngineOptions::default()
    };
    let engine = Engine::start(model, &options)?;
    let drafting = match args.speculation {
        Speculation::Off => None,
        speculation => {
            let draft_model = args.draft_model.as_deref();
            let draft_model = draft_model.map(|name| args.resolve(name)).transpose()?;
            let options = EngineOptions { speculation, draft_model, ..options };
            Some(Engine::start(model, &options)?)
        }
    };
    let load_seconds = begin.elapsed().as_secs_f64();
    report.describe(engine.info());
    bench::prompt_rate(&engine, 16)?; // warms up: the first pass is slower
    let rounds = |measure: &dyn Fn() -> Result<f64, engine::GenerateError>| {
        (0..args.rounds).map(|_| measure()).collect::<Result<Vec<f64>, _>>()
    };
    let (mut prompts, mut clients) = (vec![], vec![]);
    let (mut streams, mut constrained, mut drafted) = (vec![], vec![], vec![]);
    for tokens in args.prompts.iter().copied() {
        progress(&format!("a prompt of {tokens} tokens"));
        prompts.push(Rate::of(tokens, rounds(&|| bench::prompt_rate(&engine, tokens))?));
    }
    let schema = bench::endless_list();
    let submits = args.constrained.then(|| -> Result<_, engine::GenerateError> {
        progress("the first answers with a schema");
        let submit = || bench::submit_time(&engine, &schema);
        Ok(Submits::of(submit()?, submit()?))
    });
    let submits = submits.transpose()?;
    for count in args.streams.iter().copied() {
        let answers = if count == 1 { "answer" } else { "answers at once" };
        progress(&format!("{count} {answers}"));
        let rate = |constraint| {
            bench::decode_rate(&engine, count, args.stream_prompt, args.load.answer, constraint)
        };
        let (mut free, mut bound) = (vec![], vec![]);
        for round in 0..args.rounds {
            if !args.constrained {
                free.push(rate(None)?);
                continue;
            }
            // Alternates which goes first, so that load on the machine affects both alike.
            for constrains in [round % 2 == 1, round % 2 == 0] {
                let rates = if constrains { &mut bound } else { &mut free };
                rates.push(rate(constrains.then_some(&schema))?);
            }
        }
        if args.constrained {
            constrained.push(Constrained::of(count, &free, bound));
        }
        if let Some(drafting) = &drafting {
            progress(&format!("{count} {answers} with speculation"));
            let engines = [&engine, drafting];
            drafted.push(Drafting::measure(engines, count, args.rounds, |engine| {
                let (prompt, answer) = (args.stream_prompt, args.load.answer);
                bench::decode_rate(engine, count, prompt, answer, None)
            })?);
        }
        streams.push(Rate::of(count, free));
    }
    for count in args.clients.iter().copied() {
        progress(&format!("{count} clients with a mixed load"));
        let bare = Bare(&engine);
        let figures = (0..args.rounds).map(|round| args.load.run(&bare, count, round));
        clients.extend(mixed::median(figures.collect::<Result<_>>()?));
    }
    let mut beside = vec![];
    for (long, clients) in args.long_prompts() {
        progress(&format!("a prompt of {long} tokens, alone and beside {clients} clients"));
        beside.push(Beside::measure(&engine, long, clients)?);
    }
    let totals = engine.totals();
    Ok(Setup {
        step_tokens,
        load_seconds,
        plan: engine.memory(),
        peak_memory_bytes: system::peak_memory(),
        preemptions: totals.preemptions,
        prompts,
        streams,
        submits,
        constrained,
        drafting: drafted,
        clients,
        beside,
    })
}

impl EngineBench {
    /// Finds a model by its name.
    fn resolve(&self, name: &str) -> Result<ModelFile> {
        let options =
            SourceOptions { quantization: self.quantization, ..SourceOptions::from_env() };
        Ok(source::resolve(name, &options)?)
    }

    /// Returns each long prompt, in tokens, with the number of clients beside it.
    fn long_prompts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.beside.into_iter().flat_map(|long| self.beside_clients.iter().map(move |n| (long, *n)))
    }

    /// Returns the tokens that the largest load holds at once, in whole pages.
    fn tokens_at_once(&self) -> usize {
        let pages = |tokens: usize| tokens.next_multiple_of(PAGE);
        let most = |list: &[usize]| list.iter().copied().max().unwrap_or(0);
        let of_streams = most(&self.streams) * pages(self.stream_prompt + self.load.answer);
        let of_clients = most(&self.clients) * pages(self.load.most_tokens());
        let beside =
            self.long_prompts().map(|(long, clients)| Beside::tokens_at_once(long, clients));
        of_streams
            .max(of_clients)
            .max(beside.max().unwrap_or(0))
            .max(pages(most(&self.prompts) + 1))
            .max(PAGE)
    }
}

/// Prints to standard error what is being measured.
fn progress(what: &str) {
    note(&format!("{what} …"));
}
