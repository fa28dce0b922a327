//! `qwen-queue up`: runs gateway, worker and queue in one process.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Result, bail};
use service::settings::{QueueLocation, Secret};
use service::shutdown::CancellationToken;
use service::{Process, Settings};

use crate::output::{Output, OutputError};

/// Runs everything until a signal. Then the worker drains first, while the gateway still responds.
pub(crate) fn run(config: Option<&Path>, adapters: &[String], output: &mut Output) -> Result<()> {
    let (config, adapters) = (config.map(Path::to_path_buf), adapters.to_vec());
    // Created once for the whole run: a reload that finds no keys keeps it.
    let fresh_key = Secret::new(service::settings::fresh_key());
    let made = fresh_key.clone();
    let load = move || -> Result<Settings> {
        let mut settings = Settings::load_with(config.as_deref(), &adapters)?;
        if settings.api_keys.is_empty() {
            settings.api_keys.push(made.clone());
        }
        Ok(settings)
    };
    let settings = load()?;
    let is_fresh = settings.api_keys.first() == Some(&fresh_key);
    let work = async |process| serve(process, is_fresh, output).await;
    service::process::run("qwen-queue", settings, load, work)
}

async fn serve(process: Process, fresh_key: bool, output: &mut Output) -> Result<()> {
    let listeners = gateway::process::bind(&process.settings)?;
    let admin = listeners.admin.as_ref().map(TcpListener::local_addr).transpose()?;
    let port = listeners.public.local_addr()?.port();
    let banner = banner(&process.settings, port, admin, fresh_key);
    match output.print_or_note(&banner) {
        Ok(()) => {}
        Err(OutputError::Lost) if fresh_key => {
            bail!("the generated API key could be printed to neither output: set API_KEYS")
        }
        Err(error) => tracing::warn!(target: "up", "the address could not be printed: {error:#}"),
    }

    let stop = process.stop.clone();
    let gateway_stop = CancellationToken::new();
    let gateway = Process { stop: gateway_stop.clone(), ..process.clone() };
    // Whichever ends first also stops the other, except a worker that an operator drained: clients
    // can still submit tasks and fetch results.
    let gateway = async {
        let result = gateway::process::serve(listeners, gateway).await;
        stop.cancel();
        result
    };
    let worker = async {
        let result = worker::process::serve(process).await;
        if result.is_ok() {
            stop.cancelled().await;
        }
        gateway_stop.cancel();
        result
    };
    let (gateway, worker) = tokio::join!(gateway, worker);
    worker.and(gateway)
}

/// Formats the instructions that are shown at start.
fn banner(settings: &Settings, port: u16, admin: Option<SocketAddr>, fresh_key: bool) -> String {
    let host = match settings.host {
        host if host.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(host) => format!("[{host}]"),
        host => host.to_string(),
    };
    let url = format!("http://{host}:{port}");
    let key = settings.api_keys.first().map_or("", Secret::reveal);
    // A configured key is not printed, because terminals may be logged.
    let shown = if fresh_key { key } else { "$API_KEY" };
    let quote = if fresh_key { '\'' } else { '"' };
    let queue = match &settings.queue {
        QueueLocation::Redis(_) => "Redis".to_owned(),
        QueueLocation::Embedded(dir) => format!("embedded in {}", dir.display()),
    };
    format!(
        "
qwen-queue {version} is up

  url    {url}  (API docs: {url}/docs)
{admin}  key    {key_line}
  model  {model}
  queue  {queue}
  logs   {logs}: llm_requests.log, app.log, errors.log, audit.log

Submit a prompt; the answer is a task_id:

curl -s {url}/generate -H {quote}X-API-Key: {shown}{quote} -H 'Content-Type: application/json' -d '{{\"prompt\": \"How do I add a worker?\"}}'

and collect the result:

curl -s {url}/result/TASK_ID -H {quote}X-API-Key: {shown}{quote}

",
        version = env!("CARGO_PKG_VERSION"),
        admin = admin.map_or_else(String::new, |admin| format!("  admin  http://{admin}/admin\n")),
        key_line = if fresh_key {
            format!("{key}  (generated for this run; set API_KEYS to keep one)")
        } else {
            format!("{} from API_KEYS", settings.api_keys.len())
        },
        model = settings.model_id(),
        logs = settings.log_dir.display(),
    )
}
