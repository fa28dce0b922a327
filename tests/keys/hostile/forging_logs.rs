//! Text of users that would forge a line or a field of a log.

use harness::client::Client;
use harness::process::{ADMIN_KEY, KEY};
use serde_json::json;

use super::Target;

/// Ends a line and begins another, in the forms that logs have.
const LINE: &str = "x\r\n[2001-01-01 00:00:00] act=forged actor=root address=10.0.0.1 object=all result=ok\u{2028}\u{85}";
/// Ends a quoted value and adds a field.
const FIELD: &str = "x\" result=forged \\\" act=forged status=success";

/// Returns a line without its quoted values.
fn outside_quotes(line: &str) -> String {
    let (mut outside, mut quoted, mut escaped) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted => outside.push(c),
            _ => {}
        }
    }
    outside
}

#[test]
fn no_field_of_a_request_forges_a_log() {
    let target = Target::start(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    let (client, admin) = (Client::new(target.port), Client::with_key(target.port, ADMIN_KEY));
    for text in [LINE, FIELD] {
        client.post("/generate", &json!({"prompt": text, "user_id": text, "model": text}));
        client
            .post("/generate", &json!({"prompt": "a", "user_id": text, "metadata": {text: text}}));
        client.post(
            "/v1/chat/completions",
            &json!({"model": text, "messages": [{"role": text, "content": text}]}),
        );
        client.post("/v1/batches", &json!({"input_file_id": text, "endpoint": text}));
        admin.post("/admin/keys", &json!({"name": text, "owner": text, "metadata": {text: text}}));
        admin.post("/admin/keys", &json!({"name": text, "metadata": {text: text}}));
        admin.post("/admin/keys", &json!({text: text}));
        let escaped =
            text.replace(' ', "%20").replace('\r', "%0d").replace('\n', "%0a").replace('"', "%22");
        let escaped: String = escaped.chars().filter(char::is_ascii).collect();
        for path in ["/status/", "/admin/keys/", "/v1/models/", "/admin/models/"] {
            for method in ["GET", "DELETE", "POST"] {
                for key in [KEY, ADMIN_KEY, "wrong"] {
                    target.send(
                        format!("{method} {path}{escaped} HTTP/1.1\r\nHost: q\r\nConnection: close\r\nX-API-Key: {key}\r\nContent-Length: 0\r\n\r\n").as_bytes(),
                    );
                }
            }
        }
        let one_line = text.replace(['\r', '\n'], "\t");
        for header in [
            "User-Agent",
            "X-Request-Id",
            "X-Forwarded-For",
            "Forwarded",
            "Referer",
            "X-API-Key",
            "Authorization",
            "Idempotency-Key",
            "Origin",
        ] {
            target.get_with(&format!("{header}: {one_line}\r\n"));
            target.get_with(&format!("X-API-Key: {KEY}\r\n{header}: {one_line}\r\n"));
        }
    }
    target.audit_line(&["result=refused"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut lines = 0;
    for log in ["app", "audit", "llm_requests"] {
        for line in target.home.read(&format!("logs/{log}.log")).lines() {
            lines += 1;
            assert!(!line.starts_with("[2001-"), "{log}.log has a forged line: {line}");
            assert!(!line.contains('\u{2028}') && !line.contains('\u{85}'), "{log}.log: {line:?}");
            let outside = outside_quotes(line);
            assert!(
                !outside.contains("act=forged") || log == "app",
                "{log}.log has a forged field: {line}"
            );
            if log == "audit" {
                assert!(line.starts_with("[20"), "no line of the format: {line}");
                assert_eq!(
                    outside.matches(" act=").count() + outside.matches("]act=").count(),
                    1,
                    "{line}"
                );
                assert_eq!(outside.matches(" result=").count(), 1, "{line}");
                assert!(!outside.contains("result=forged"), "{line}");
            }
        }
    }
    assert!(lines > 40, "{lines} lines");
}
