//! `qwen-queue up`: gateway, worker and queue in one process.

use std::path::Path;

use anyhow::{Context, Result};
use service::settings::{QueueLocation, Secret};
use service::shutdown::{self, CancellationToken};
use service::{Logs, Settings};

/// Runs everything until a signal: the worker drains first, and the gateway answers until it has.
pub(crate) fn run(config: Option<&Path>) -> Result<()> {
    let mut settings = Settings::load(config)?;
    let fresh_key = settings.api_keys.is_empty();
    if fresh_key {
        settings.api_keys.push(Secret::new(service::settings::fresh_key()));
    }
    let logs = Logs::start(&settings)?;
    let result = tokio::runtime::Runtime::new()
        .context("the runtime can't be started")?
        .block_on(serve(&settings, &logs, fresh_key));
    logs.last_words(result)
}

async fn serve(settings: &Settings, logs: &Logs, fresh_key: bool) -> Result<()> {
    let stop = shutdown::on_signal().context("signals can't be listened to")?;
    settings.warnings().iter().for_each(|warning| tracing::warn!(target: "up", "{warning}"));
    let broker = service::broker::open(settings)?;
    let listener = gateway::process::bind(settings)?;
    print!("{}", banner(settings, listener.local_addr()?.port(), fresh_key));

    let reaper_stop = CancellationToken::new();
    let reaper =
        service::reaper::run(broker.clone(), logs.tasks(), settings.lease, reaper_stop.clone());
    let reaper = tokio::spawn(reaper);
    let gateway_stop = CancellationToken::new();
    let gateway = gateway::process::serve(
        listener,
        settings,
        broker.clone(),
        logs.tasks(),
        gateway_stop.clone(),
    );
    let worker = async {
        let result = worker::process::serve(settings, broker.clone(), logs.tasks(), stop).await;
        gateway_stop.cancel();
        result
    };
    let (gateway, worker) = tokio::join!(gateway, worker);
    reaper_stop.cancel();
    reaper.await.context("the reaper broke off")?;
    worker?;
    gateway
}

/// What a person needs to begin.
fn banner(settings: &Settings, port: u16, fresh_key: bool) -> String {
    let host = match settings.host {
        host if host.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(host) => format!("[{host}]"),
        host => host.to_string(),
    };
    let url = format!("http://{host}:{port}");
    let key = settings.api_keys.first().map_or("", Secret::reveal);
    // A key that was set stays out of terminals and their logs.
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
  key    {key_line}
  model  {model}
  queue  {queue}
  logs   {logs}: llm_requests.log, app.log, errors.log

Submit a prompt; the answer is a task_id:

curl -s {url}/generate -H {quote}X-API-Key: {shown}{quote} -H 'Content-Type: application/json' -d '{{\"prompt\": \"How do I add a worker?\"}}'

and collect the result:

curl -s {url}/result/TASK_ID -H {quote}X-API-Key: {shown}{quote}

",
        version = env!("CARGO_PKG_VERSION"),
        key_line = if fresh_key {
            format!("{key}  (made for this run; set API_KEYS to keep one)")
        } else {
            format!("{} from API_KEYS", settings.api_keys.len())
        },
        model = settings.model_id(),
        logs = settings.log_dir.display(),
    )
}
