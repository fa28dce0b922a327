//! Metrics in Prometheus's text format.
//!
//! | module       | what it does |
//! |--------------|--------------|
//! | [`table`]    | all metrics: names, types, units, labels, buckets |
//! | `definition` | how a metric is recorded |
//! | `disks`      | reads the free bytes of the disks that the process writes to |
//! | `gpus`       | readings of a GPU, as workers report it |
//! | `handles`    | keeps the handles of series for each thread |
//! | `models`     | bounds the names of models that become labels |
//! | `serve`      | the listener of `METRICS_PORT` |
//!
//! Events are counted where they happen (`table::TASKS_SUBMITTED.count(…)`). Values that exist elsewhere, such as the
//! length of a queue, are read by a [`Source`] during the scrape, so a series ends with the thing that it describes.
//! Labels have no ids, keys or texts of clients.

mod definition;
pub(crate) mod disks;
mod gpus;
mod handles;
mod models;
mod serve;
pub mod table;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::metrics::{set_global_recorder, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use definition::{Definition, Entered, Kind, Reading};
pub use disks::of_disk;
pub use gpus::of_gpu;
pub use models::{OTHER, model};
pub use serve::{bind, serve};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The interval at which recorded values are added to their buckets, which bounds the memory that they take.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Reads values during a scrape. It must end soon, whatever is unavailable.
pub type Source = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Reading>> + Send>> + Send + Sync>;

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    sources: Arc<Mutex<Vec<Source>>>,
}

/// The process's metrics, once they are recorded.
static INSTALLED: OnceLock<Metrics> = OnceLock::new();

fn is_installed() -> bool {
    INSTALLED.get().is_some()
}

/// Returns the process's metrics. The first call installs the recorder; what was counted before is lost.
pub fn install() -> Metrics {
    let install = || {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        if set_global_recorder(recorder).is_err() {
            tracing::error!(target: "service.metrics", "another recorder is installed: nothing is counted");
        }
        table::ALL.iter().for_each(|metric| metric.describe());
        Metrics { handle, sources: Arc::default() }
    };
    INSTALLED.get_or_init(install).clone()
}

impl Metrics {
    /// Adds a source for all further scrapes.
    pub fn add_source(&self, source: Source) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Returns all metrics as text.
    pub async fn render(&self) -> String {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut readings = vec![Reading::new(&table::BUILD_INFO, [env!("CARGO_PKG_VERSION")], 1.0)];
        for source in sources {
            readings.extend(source().await);
        }
        let mut text = self.handle.render();
        text.push_str(&render(&readings));
        text
    }

    /// Keeps the memory of recorded values bounded, until dropped.
    pub(crate) async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            self.handle.run_upkeep();
        }
    }
}

/// Returns readings as text. A recorder of their own has no series of earlier scrapes.
fn render(readings: &[Reading]) -> String {
    let recorder = builder().build_recorder();
    with_local_recorder(&recorder, || {
        readings.iter().for_each(|reading| reading.of.describe());
        readings.iter().for_each(Reading::record);
    });
    recorder.handle().render()
}

fn builder() -> PrometheusBuilder {
    table::ALL.iter().fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram(buckets) => builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
            .expect("a histogram has buckets"),
        Kind::Counter | Kind::Gauge => builder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_and_readings_are_rendered_and_old_readings_are_not() {
        let metrics = install();
        table::HTTP_REQUESTS.count(&["GET", "/a\"b", "200"], 2);
        table::HTTP_REQUEST_DURATION.observe(&["GET", "/a"], 0.3);
        let entered = table::ACTIVE_REQUESTS.enter();
        let names = Arc::new(Mutex::new(vec!["old"]));
        let read = names.clone();
        metrics.add_source(Arc::new(move || {
            let names = read.lock().unwrap().clone();
            Box::pin(async move {
                let read = |name: &&str| Reading::new(&table::TASKS_RUNNING, [name], 7.0);
                names.iter().map(read).collect()
            })
        }));
        let text = metrics.render().await;
        for line in [
            "# TYPE http_requests_total counter",
            "http_requests_total{method=\"GET\",endpoint=\"/a\\\"b\",status=\"200\"} 2",
            "http_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/a\",le=\"0.25\"} 0",
            "http_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/a\",le=\"1\"} 1",
            "active_requests 1",
            "tasks_running{model=\"old\"} 7",
        ] {
            assert!(text.lines().any(|each| each == line), "no line {line} in\n{text}");
        }
        assert!(text.contains("# HELP active_requests requests in progress"), "{text}");
        drop(entered);
        *names.lock().unwrap() = vec!["new"];
        let text = metrics.render().await;
        assert!(text.contains("active_requests 0"), "{text}");
        assert!(text.contains("\"new\"") && !text.contains("\"old\""), "{text}");
        let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut unique = types.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(types.len(), unique.len(), "each type once: {types:?}");
    }
}
