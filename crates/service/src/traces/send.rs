//! [`Sender`]: sends spans to the collector in batches, from a thread of its own, and counts those that are lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor,
};

use crate::metrics::table;
use crate::settings::Secret;

/// Maximum number of spans that wait to be sent. Each takes about a kilobyte.
const MAX_PENDING: usize = 8192;
/// The number of spans that are sent at once, before their time.
const BATCH: usize = 512;
/// The interval at which spans are sent.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time of a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of the collector's reply.
const MAX_REPLY: u64 = 64 * 1024;
/// The interval of reports of lost spans.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Traces can't be sent with these settings.
#[derive(Debug, thiserror::Error)]
#[error("traces can't be sent: {0}; check OTEL_EXPORTER_OTLP_ENDPOINT and other variables OTEL_…")]
pub struct TracesUnusable(#[from] ExporterBuildError);

/// Sends spans. Dropping it sends the pending ones.
pub(super) struct Sender {
    processor: BatchSpanProcessor,
    counts: Arc<Counts>,
}

impl Sender {
    /// Starts the thread that sends spans to the collector at the base URL `endpoint`.
    pub(super) fn start(
        endpoint: &str,
        headers: &[(String, Secret)],
        service_name: &str,
    ) -> Result<Self, TracesUnusable> {
        let counts = Arc::new(Counts::default());
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(Client::new(Arc::clone(&counts)))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_headers(headers.collect::<HashMap<_, _>>())
            .with_timeout(TIMEOUT)
            .build()?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_PENDING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(INTERVAL)
            .build();
        let exporter = Counted { exporter, counts: Arc::clone(&counts) };
        let mut processor = BatchSpanProcessor::new(exporter, config);
        processor.set_resource(&resource(service_name));
        Ok(Self { processor, counts })
    }

    /// Hands a span to the thread, or counts it as lost if too many are pending.
    pub(super) fn send(&self, span: impl Into<SpanData>) {
        if self.counts.pending.fetch_add(1, Ordering::Relaxed) >= MAX_PENDING {
            self.counts.pending.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost(1);
        } else {
            self.processor.on_end(span.into());
        }
    }

    /// Sends the pending spans, for at most `limit`.
    pub(super) fn shut_down(&self, limit: Duration) {
        let began = Instant::now();
        let ended = self.processor.shutdown_with_timeout(limit);
        let left = self.counts.pending.load(Ordering::Relaxed);
        if left > 0 {
            tracing::warn!(
                target: "service.traces",
                "{left} spans were not sent within {:.1} s: {ended:?}", began.elapsed().as_secs_f64()
            );
        }
    }
}

/// Describes this process.
fn resource(service_name: &str) -> Resource {
    use opentelemetry::KeyValue;
    Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .build()
}

/// The number of spans on their way, and what became of others.
#[derive(Debug, Default)]
struct Counts {
    pending: AtomicUsize,
    /// Lost since the last report.
    lost: AtomicU64,
    is_failing: AtomicBool,
    reported: Mutex<Option<Instant>>,
    /// Why the last request failed.
    problem: Mutex<String>,
}

impl Counts {
    fn lost(&self, spans: u64) {
        self.lost.fetch_add(spans, Ordering::Relaxed);
        table::TRACE_SPANS.count(&["lost"], spans);
    }

    /// Notes that the collector has taken spans.
    fn sent(&self, spans: u64) {
        table::TRACE_SPANS.count(&["sent"], spans);
        if self.is_failing.swap(false, Ordering::Relaxed) {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::info!(
                target: "service.traces",
                "the collector of traces takes spans again; {lost} more were lost"
            );
        } else {
            self.report("more than can be sent");
        }
    }

    /// Notes that the collector has not taken spans.
    fn failed(&self, spans: u64) {
        self.lost(spans);
        self.is_failing.store(true, Ordering::Relaxed);
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.report(&problem);
    }

    /// Reports the lost spans, if there are some and the last report is old enough.
    fn report(&self, problem: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
        if self.lost.load(Ordering::Relaxed) > 0 && is_due {
            *reported = Some(Instant::now());
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::warn!(
                target: "service.traces",
                "{lost} spans were lost: {}; tasks are not affected; check OTEL_EXPORTER_OTLP_ENDPOINT and the collector",
                problem.escape_debug()
            );
        }
    }
}

/// Counts what an exporter sends.
#[derive(Debug)]
struct Counted {
    exporter: OtlpExporter,
    counts: Arc<Counts>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.counts.pending.fetch_sub(spans, Ordering::Relaxed);
        match result {
            Ok(()) => self.counts.sent(spans as u64),
            Err(_) => self.counts.failed(spans as u64),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Connects to the collector. Blocks, which only the thread of the batches does.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    counts: Arc<Counts>,
}

impl Client {
    fn new(counts: Arc<Counts>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self { agent: config.into(), counts }
    }

    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let response = self.agent.run(Request::from_parts(head, body.to_vec()))?;
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(MAX_REPLY).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let result = self.post(request);
        let problem = match &result {
            Ok(response) => format!("the collector answers with {}", response.status()),
            Err(error) => error.to_string(),
        };
        *self.counts.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        Ok(result?)
    }
}
