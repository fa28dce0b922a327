//! Formats `app.log` and the console: `2025-11-21 15:30:45 - gateway.generate - INFO - message`, or
//! JSON.

use std::fmt::{self, Write};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::format::{one_line, timestamp};

/// Creates a layer that writes events to `writer`.
pub(super) fn layer<S, W>(writer: W, json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    if json {
        Box::new(layer.json().flatten_event(true))
    } else {
        Box::new(layer.event_format(Line))
    }
}

/// Formats `time - name - LEVEL - message field=value`, always as one line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        writeln!(
            writer,
            "{} - {} - {} - {}{}",
            timestamp(OffsetDateTime::now_utc()),
            // Writes Rust paths with dots, like our own targets.
            metadata.target().replace("::", "."),
            metadata.level(),
            one_line(&text.message),
            text.fields
        )
    }
}

/// An event's message, and its other fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={}", field.name(), one_line(&format!("{value:?}")))
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::registry().with(layer(move || writer.clone(), json));
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn app_log_line_has_the_exact_format() {
        let line = logged(false, || tracing::info!(target: "gateway.generate", "queued"));
        let (time, rest) = line.split_at(19);
        assert_eq!(rest, " - gateway.generate - INFO - queued\n");
        assert_eq!(time.len(), "2025-11-21 15:30:45".len());
    }

    #[test]
    fn untrusted_text_stays_on_its_line() {
        let user = "x\n2025-11-21 15:30:45 - root - ERROR - forged";
        let line = logged(false, || tracing::warn!(name = user, shown = %user, "got {user}"));
        assert_eq!(line.lines().count(), 1, "{line}");
        let line = logged(true, || tracing::warn!(name = user, "got {user}"));
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}
