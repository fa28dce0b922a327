//! `bench server`: runs the mixed load on a running server, to measure other servers in the same
//! way and with the same prompts.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::contenders::{Gateway, LlamaServer, OpenAi};
use super::mixed::{Contender, Load, at_least_one};
use crate::output::Output;

/// The server and the mixed load.
#[derive(Debug, Args)]
pub(crate) struct ServerBench {
    /// The API that the server has.
    #[arg(long)]
    api: Api,
    /// The server's URL.
    #[arg(long)]
    url: String,
    /// The API key.
    #[arg(long, default_value = "", hide_default_value = true)]
    key: String,
    /// Clients, each with one request in flight.
    #[arg(long, default_value_t = 16, value_parser = at_least_one)]
    clients: usize,
    /// The round whose prompts to use.
    #[arg(long, default_value_t = 0)]
    round: usize,
    #[command(flatten)]
    load: Load,
}

/// An API.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Api {
    /// qwen-queue's gateway: submits tasks and follows their events.
    QwenQueue,
    /// OpenAI's chat completions, of qwen-queue or any other server; with the first model that it lists.
    #[value(name = "openai")]
    OpenAi,
    /// llama.cpp's llama-server.
    LlamaServer,
}

/// Measures and prints one line of JSON.
pub(super) fn run(args: &ServerBench) -> Result<()> {
    args.load.check()?;
    let url = args.url.trim_end_matches('/').to_owned();
    let contender: Box<dyn Contender> = match args.api {
        Api::QwenQueue => Box::new(Gateway::new(url, args.key.clone(), args.clients)),
        Api::OpenAi => Box::new(OpenAi::new(url, args.key.clone(), args.clients)?),
        Api::LlamaServer => Box::new(LlamaServer::new(url, args.clients)),
    };
    let figures = args.load.run(&*contender, args.clients, args.round)?;
    Ok(Output::standard().line(&serde_json::to_string(&figures)?)?)
}
