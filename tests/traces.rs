//! Tests the traces of tasks, with a collector on a real socket: a task's whole trace across the death of a worker, and
//! that a collector that is down or hangs disturbs nothing.

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::models;
use harness::process::{Home, KEY, Process};
use harness::receiver::{ReceivedRequest, Receiver, ReceiverReply};
use harness::redis::RedisServer;
use harness::{free_port, wait_for};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use serde_json::{Value as Json, json};

const SOON: Duration = Duration::from_secs(60);
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENTS_SPAN: &str = "00f067aa0ba902b7";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A span, with the name of the process that sent it.
#[derive(Debug, Clone)]
struct Sent {
    service: String,
    span: Span,
}

impl Sent {
    fn attribute(&self, name: &str) -> String {
        value(&self.span.attributes, name)
    }

    fn status(&self) -> StatusCode {
        let code = self.span.status.as_ref().map_or(0, |Status { code, .. }| *code);
        StatusCode::try_from(code).expect("a status")
    }

    fn is_child_of(&self, parent: &Self) -> bool {
        self.span.parent_span_id == parent.span.span_id
            && self.span.trace_id == parent.span.trace_id
    }
}

fn value(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{name} is {other:?} in {attributes:?}"),
    }
}

/// Decodes all spans that a collector has received.
fn spans(heard: &[ReceivedRequest]) -> Vec<Sent> {
    let mut all = Vec::new();
    for request in heard {
        assert!(request.line.starts_with("POST /v1/traces "), "{}", request.line);
        let message = ExportTraceServiceRequest::decode(&*request.body).expect("a message of OTLP");
        for of_process in message.resource_spans {
            let attributes = of_process.resource.expect("a resource").attributes;
            let service = value(&attributes, "service.name");
            for of_scope in of_process.scope_spans {
                let sent = |span| Sent { service: service.clone(), span };
                all.extend(of_scope.spans.into_iter().map(sent));
            }
        }
    }
    all
}

/// Returns the only span of a name.
fn only<'a>(spans: &'a [Sent], name: &str) -> &'a Sent {
    let mut found = spans.iter().filter(|sent| sent.span.name == name);
    match (found.next(), found.next()) {
        (Some(sent), None) => sent,
        found => panic!("{name}: {found:?} in {spans:#?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends `POST /generate` as a client with traces does. Returns the task's id and the trace's.
fn submit(port: u16, body: &Json) -> (String, String) {
    let response = ureq::post(format!("http://127.0.0.1:{port}/generate"))
        .header("X-API-Key", KEY)
        .header("traceparent", TRACEPARENT)
        .send_json(body)
        .expect("a task is accepted");
    let trace_id = response.headers().get("x-trace-id").expect("the header of the trace");
    let trace_id = trace_id.to_str().expect("text").to_owned();
    let body: Json = response.into_body().read_json().expect("JSON");
    (body["task_id"].as_str().expect("an id").to_owned(), trace_id)
}

fn stop(mut process: Process) {
    process.signal("TERM");
    assert!(process.wait(SOON).success(), "{}", process.output());
}

#[test]
fn a_trace_goes_from_the_client_to_the_engine_across_a_workers_death() {
    let (redis, collector) = (RedisServer::start(), Receiver::kind());
    let (of_gateway, of_workers) = (Home::new(), [Home::new(), Home::new()]);
    let (port, model) = (free_port(), models::slow());
    let (port_text, url, endpoint) = (port.to_string(), redis.url(), collector.url(""));
    let common = [
        ("REDIS_URL", url.as_str()),
        ("LEASE_SECONDS", "2"),
        ("MODEL_NAME", model.to_str().expect("UTF-8")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
    ];
    let of_the_gateway = [("PORT", port_text.as_str()), ("API_KEYS", KEY)];
    let settings = [common.as_slice(), &of_the_gateway].concat();
    let mut gateway = Process::start(&of_gateway, "qwen-queue", &["gateway"], &settings);
    let start = |home| Process::start(home, "qwen-queue", &["worker"], &common);
    let first = start(&of_workers[0]);
    let client = Client::new(port);
    client.wait_until_healthy(&mut gateway, true);

    let prompt = "the quick zebra of the tests";
    let body = json!({"prompt": prompt, "raw": true, "max_tokens": 150, "temperature": 0.0});
    let (task, trace_id) = submit(port, &body);
    assert_eq!(trace_id, TRACE_ID);
    client.wait_for_state(&task, "processing");
    let second = start(&of_workers[1]);
    first.kill_9();
    let result = client.wait_for_result(&task, SOON).body;
    assert_eq!(result["status"], "completed", "{result:#}");
    // Spans that wait are sent before the end.
    stop(second);
    stop(gateway);

    let heard = collector.heard();
    let spans = spans(&heard);
    assert!(spans.iter().all(|sent| hex(&sent.span.trace_id) == TRACE_ID), "{spans:#?}");
    let request = only(&spans, "POST /generate");
    assert_eq!((&*request.service, request.span.kind()), ("qwen-queue-gateway", SpanKind::Server));
    assert_eq!(hex(&request.span.parent_span_id), CLIENTS_SPAN);
    assert_eq!(request.attribute("http.response.status_code"), "202");
    assert_eq!(request.status(), StatusCode::Unset);

    let (lost, last) = (only(&spans, "attempt 1"), only(&spans, "attempt 2"));
    let mut waits: Vec<_> = spans.iter().filter(|sent| sent.span.name == "queue wait").collect();
    waits.sort_by_key(|sent| sent.span.start_time_unix_nano);
    assert_eq!(waits.len(), 2, "{spans:#?}");
    for sent in [lost, last, waits[0], waits[1]] {
        assert!(sent.is_child_of(request), "{sent:#?}");
        assert_eq!(sent.service, "qwen-queue-worker");
        assert_eq!(sent.attribute("qwen_queue.task_id"), task);
        assert_eq!(sent.attribute("qwen_queue.lane"), "normal");
    }
    assert_eq!((lost.span.kind(), last.span.kind()), (SpanKind::Consumer, SpanKind::Consumer));
    assert_eq!((lost.status(), last.status()), (StatusCode::Error, StatusCode::Unset));
    assert_eq!(lost.attribute("error.type"), "worker_lost");
    assert_eq!(
        (lost.attribute("qwen_queue.end"), last.attribute("qwen_queue.end")),
        ("lost".into(), "completed".into())
    );
    assert_ne!(lost.attribute("qwen_queue.worker"), last.attribute("qwen_queue.worker"));
    assert!(lost.span.links.is_empty());
    let links: Vec<_> = last.span.links.iter().map(|link| link.span_id.clone()).collect();
    assert_eq!(links, std::slice::from_ref(&lost.span.span_id));
    // One follows the other, by the queue's clock.
    let times = |sent: &Sent| (sent.span.start_time_unix_nano, sent.span.end_time_unix_nano);
    assert_eq!(times(waits[0]).1, times(lost).0);
    assert!(times(lost).1 - times(lost).0 >= 1_000_000_000, "until its lease expired");
    assert_eq!(times(lost).1, times(waits[1]).0);
    assert_eq!(times(waits[1]).1, times(last).0);

    let (prefill, decode) = (only(&spans, "prefill"), only(&spans, "decode"));
    assert!(prefill.is_child_of(last) && decode.is_child_of(last), "{spans:#?}");
    assert_eq!(times(prefill).1, times(decode).0);
    assert!(times(last).0 <= times(prefill).0 && times(decode).1 <= times(last).1);
    for (sent, name, metric) in [
        (prefill, "gen_ai.usage.input_tokens", "prompt_tokens"),
        (decode, "gen_ai.usage.output_tokens", "completion_tokens"),
    ] {
        assert_eq!(sent.attribute(name), result["metrics"][metric].to_string());
    }

    let bytes = heard.iter().flat_map(|request| request.body.iter().copied()).collect::<Vec<_>>();
    let exported = String::from_utf8_lossy(&bytes).into_owned();
    assert!(exported.contains(&task), "the search would find texts");
    let answer = result["result"].as_str().or(result["response"].as_str()).unwrap_or_default();
    assert!(!answer.is_empty(), "{result:#}");
    for secret in [prompt, "zebra", KEY, answer] {
        assert!(!exported.contains(secret), "{secret:?} was exported");
    }
    let log = of_gateway.read("logs/app.log") + &of_workers[1].read("logs/app.log");
    for said in ["POST /generate -> 202", "attempt 2 begins", "completed in"] {
        let line = log.lines().find(|line| line.contains(said)).expect(said);
        assert!(line.contains(&format!("trace_id={TRACE_ID}")), "{line}");
    }
}

#[test]
fn a_collector_that_is_down_disturbs_nothing() {
    let home = Home::new();
    let (port, closed) = (free_port(), free_port());
    let (port_text, endpoint) = (port.to_string(), format!("http://127.0.0.1:{closed}/"));
    let settings = [
        ("PORT", port_text.as_str()),
        ("API_KEYS", KEY),
        ("LOG_FORMAT", "json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut up, true);
    let (task, _) = submit(port, &json!({"prompt": "How do I add a worker?"}));
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
    let (failed, _) = submit(port, &json!({"prompt": "x ".repeat(20_000)}));
    assert_eq!(client.wait_for_result(&failed, SOON).body["status"], "error");
    let lost = wait_for("a warning", SOON, || {
        let log = home.read("logs/app.log");
        log.lines().find(|line| line.contains("spans were lost")).map(str::to_owned)
    });
    assert!(lost.contains("WARN") && lost.contains("refused"), "{lost}");
    stop(up);
    let errors = home.read("logs/errors.log");
    assert!(errors.contains(&format!("  trace_id={TRACE_ID}\n====")), "{errors}");
    let requests = home.read("logs/llm_requests.log");
    assert!(requests.contains(&task) && !requests.contains("trace"), "{requests}");
    let log = home.read("logs/app.log");
    let line = log.lines().find(|line| line.contains("completed in")).expect("a line of the end");
    let line: Json = serde_json::from_str(line).expect("JSON");
    assert_eq!((&line["trace_id"], &line["task_id"]), (&json!(TRACE_ID), &json!(task)));
}

#[test]
fn a_collector_that_hangs_disturbs_nothing() {
    let (home, port) = (Home::new(), free_port());
    let collector = Receiver::start(|_| ReceiverReply::Silence);
    let (port_text, endpoint) = (port.to_string(), collector.url(""));
    let settings = [
        ("PORT", port_text.as_str()),
        ("API_KEYS", KEY),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut up, true);
    let task = client.ask("How do I add a worker?");
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
    collector.wait_for(1, SOON);
    let began = Instant::now();
    let task = client.ask("How do I add a worker?");
    assert_eq!(client.wait_for_result(&task, SOON).body["status"], "completed");
    assert!(began.elapsed() < Duration::from_secs(4), "waited for the collector");
    let began = Instant::now();
    stop(up);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = home.read("logs/app.log");
    assert!(log.contains("spans were not sent within"), "{log}");
}
