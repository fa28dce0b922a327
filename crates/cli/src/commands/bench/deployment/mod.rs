//! `bench load`: sends tasks to a deployment, measures what its clients see, and says whether it meets goals.
//!
//! | file          | what it does |
//! |---------------|--------------|
//! | `requests.rs` | the requests: a mix of kinds, or those of a file |
//! | `schedule.rs` | when each request is due, in an open or a closed loop |
//! | `drive.rs`    | sends them and waits for the tasks' ends |
//! | `figures.rs`  | distributions, rates and errors |
//! | `goals.rs`    | goals, and whether they are met |
//! | `plot.rs`     | draws latencies over time and by percentile |

mod drive;
mod figures;
mod goals;
mod plot;
mod requests;
mod schedule;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use self::figures::Figures;
use self::goals::{Goal, Verdict};
use self::requests::{Mix, Requests};
use self::schedule::{Loop, Schedule};
use super::write_json;
use crate::client::{Client, Target};
use crate::output::Output;

/// Examples below the help of `bench load`.
pub(crate) const EXAMPLES: &str = "Examples:
  qwen-queue bench load --clients 16 --seconds 60
  qwen-queue bench load --url https://queue.example.com --rate 20 --ramp 10 --mix short=8,long=1 \\
      --goal 'total.p95<5s' --goal 'errors<1%' --json load.json --plot load.svg";

/// The deployment, the load and the goals.
#[derive(Debug, Args)]
pub(crate) struct LoadBench {
    #[command(flatten)]
    target: Target,
    /// Closed loop: this many clients, each with one task at a time [default: 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    clients: Option<u16>,
    /// Open loop: send this many requests a second, however many tasks are unfinished. Times count from the moment at
    /// which a request was due, so a server that stalls can't hide it.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "clients", value_parser = positive)]
    rate: Option<f64>,
    /// Send requests for this many seconds, the ramp not counted, and then wait until all tasks have ended.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = positive)]
    seconds: f64,
    /// Let the load grow for this many seconds first. The figures leave out requests of that time.
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = not_negative)]
    ramp: f64,
    /// Open loop: the most requests in flight; further ones wait, and their wait counts.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4_096))]
    in_flight: u16,
    /// The shares of short and long prompts and of questions about --image, e.g. short=8,long=1,image=1.
    #[arg(long, default_value = "short=1")]
    mix: Mix,
    /// The image of the mix's kind `image`; it is uploaded once.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Send the requests of this file in turn instead of a mix: one JSON body of POST /generate per line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mix", "image"])]
    requests: Option<PathBuf>,
    /// Generate at most this many tokens per task of the mix.
    #[arg(long, default_value_t = 64, conflicts_with = "requests")]
    max_tokens: u32,
    /// The model that answers [default: the gateway's default model].
    #[arg(long, conflicts_with = "requests")]
    model: Option<String>,
    /// A goal, e.g. total.p95<5s, wait.p99<500ms, errors<1%, rate>10; may be repeated. If one is missed, the exit code
    /// is 1.
    #[arg(long, value_name = "GOAL")]
    goal: Vec<Goal>,
    /// Write all figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the latencies into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let is_allowed = (0.0..=1e6).contains(&number);
    is_allowed.then_some(number).ok_or_else(|| "it must be from 0 to 1,000,000".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = not_negative(text)?;
    (number > 0.0).then_some(number).ok_or_else(|| "it must be more than 0".to_owned())
}

impl LoadBench {
    fn schedule(&self) -> Schedule {
        Schedule {
            kind: match self.rate {
                Some(per_second) => Loop::Open { per_second },
                None => Loop::Closed { clients: self.clients.unwrap_or(8).into() },
            },
            ramp: Duration::from_secs_f64(self.ramp),
            span: Duration::from_secs_f64(self.seconds),
        }
    }

    fn requests(&self, client: &Client) -> Result<Requests> {
        match &self.requests {
            Some(file) => Requests::of_file(file),
            None => {
                let image = self.image.as_deref();
                Requests::of_mix(&self.mix, image, self.max_tokens, self.model.as_deref(), client)
            }
        }
    }
}

/// Measures a deployment, and prints the figures and whether the goals are met.
///
/// # Errors
/// If a file can't be used, no task was accepted, or a goal is missed.
pub(super) fn run(args: &LoadBench) -> Result<()> {
    let mut output = Output::standard();
    let client = Client::new(&args.target)?;
    let (schedule, requests) = (args.schedule(), args.requests(&client)?);
    let threads = match schedule.kind {
        Loop::Closed { clients } => clients,
        Loop::Open { .. } => args.in_flight.into(),
    };
    let driven = drive::drive(&client, &requests, &schedule, threads);
    requests.clean_up(&client);
    let figures = Figures::new(&driven, &schedule);
    output.print(&figures.text())?;
    let verdicts: Vec<_> = args.goal.iter().map(|goal| goal.judge(&figures)).collect();
    for verdict in &verdicts {
        output.line(&verdict.to_string())?;
    }
    let mut json = figures.json();
    json["goals"] = verdicts.iter().map(Verdict::json).collect();
    write_json(args.json.as_deref(), &json)?;
    if let Some(file) = &args.plot {
        plot::draw(&figures, file)?;
    }
    if figures.ended == 0 {
        bail!("no task ended: {}", figures.first_error());
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met).count();
    if missed > 0 {
        bail!("{missed} of {} goals missed", verdicts.len());
    }
    Ok(())
}
