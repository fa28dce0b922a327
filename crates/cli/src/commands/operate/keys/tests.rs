//! The requests that the commands send, and what they print, against a socket.

use clap::Parser;
use serde_json::json;

use super::*;
use crate::client::fake::{Request, plain, server};

#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    keys: Keys,
}

/// Runs a command against a gateway with these answers. Returns its result, standard output, standard error and the
/// requests.
fn run(line: &[&str], answers: &[Value]) -> (Result<()>, String, String, Vec<Request>) {
    let answers = answers.iter().map(|answer| plain("200 OK", &answer.to_string())).collect();
    let (url, asked) = server(answers);
    let line = [&["keys"], line, &["--url", &url, "--admin-key", "operator"]].concat();
    let mut output = Output::kept();
    let result = super::run(&Command::try_parse_from(line).unwrap().keys, &mut output);
    let (text, notes) = output.into_texts();
    (result, text, notes, asked.join().unwrap())
}

fn key(id: &str) -> Value {
    json!({
        "id": id, "prefix": "qq-Ab12", "name": "ci\u{1b}", "owner": "acme", "scopes": ["submit", "read"],
        "models": ["demo"], "requests_per_minute": 60, "max_in_flight": 5, "highest_lane": "normal",
        "expires_at": 1_763_739_045_000_u64, "blocked": false, "created_at": 1_763_739_000_000_u64,
        "last_used_at": null, "metadata": {"team": "a"}, "news": "of a later version",
    })
}

fn with_text(id: &str) -> Value {
    let mut key = key(id);
    key["key"] = json!("qq-Ab12-secret");
    key
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn an_added_key_is_printed_alone_with_advice_beside_it() {
    let line = ["add", "ci", "--owner", "acme", "--scope", "submit,read", "--model", "demo"];
    let options = [
        "--model",
        "other",
        "--requests-per-minute",
        "60",
        "--tokens-per-day",
        "1_000_000",
        "--tokens-per-minute",
        "none",
        "--highest-lane",
        "normal",
        "--expires-at",
        "2027-01-01",
        "--metadata",
        "team=a",
        "--metadata",
        "use=x=y",
    ];
    let (result, text, notes, asked) = run(&[&line[..], &options].concat(), &[with_text("key_1")]);
    result.unwrap();
    assert_eq!(text, "qq-Ab12-secret\n");
    assert!(
        notes.starts_with("key_1 'ci\\u001b' of acme is created.\nStore its text now"),
        "{notes}"
    );
    assert!(asked[0].head.starts_with("post /admin/keys "), "{}", asked[0].head);
    assert!(asked[0].head.contains("\nx-api-key: operator"), "{}", asked[0].head);
    assert_eq!(
        body(&asked[0]),
        json!({
            "name": "ci", "owner": "acme", "scopes": ["submit", "read"], "models": ["demo", "other"],
            "requests_per_minute": 60, "tokens_per_day": 1_000_000, "highest_lane": "normal",
            "expires_at": 1_798_761_600_000_u64, "metadata": {"team": "a", "use": "x=y"},
        })
    );
    let (result, text, _, asked) = run(&["add", "plain", "--json"], &[with_text("key_1")]);
    result.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), with_text("key_1"));
    assert_eq!(body(&asked[0]), json!({"name": "plain"}));
}

#[test]
fn keys_are_listed_page_by_page() {
    let pages = [
        json!({"keys": [key("key_1"), key("key_2")], "next": "key_2"}),
        json!({"keys": [key("key_3")], "next": null}),
    ];
    let (result, text, _, asked) = run(&["list", "--owner", "acme"], &pages);
    result.unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[3],
        "key_3  ci\\u001b  acme   expired  submit, read  never            2025-11-21 15:30:45  60 requests/min, 5 in flight"
    );
    assert!(asked[0].head.starts_with("get /admin/keys?limit=100&owner=acme "), "{asked:?}");
    let next = "get /admin/keys?limit=100&owner=acme&after=key_2 ";
    assert!(asked[1].head.starts_with(next), "{asked:?}");
    let (_, text, _, asked) = run(&["list", "-n", "2", "--json"], &pages[..1]);
    let printed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(printed["keys"].as_array().unwrap().len(), 2);
    assert!(asked[0].head.starts_with("get /admin/keys?limit=2 "), "{asked:?}");
    let (_, text, ..) = run(&["list"], &[json!({"keys": [], "next": null})]);
    assert!(text.starts_with("no managed keys"), "{text}");
}

#[test]
fn a_key_is_shown_with_all_its_fields() {
    let (result, text, _, asked) = run(&["show", "key_1"], &[key("key_1")]);
    result.unwrap();
    assert!(asked[0].head.starts_with("get /admin/keys/key_1 "), "{asked:?}");
    assert_eq!(
        text,
        "key           key_1\n\
         name          ci\\u001b\n\
         text          qq-Ab12…\n\
         owner         acme\n\
         state         expired\n\
         scopes        submit, read\n\
         models        demo\n\
         highest lane  normal\n\
         limits        60 requests/min\n              5 in flight\n\
         created       2025-11-21 15:30:00 UTC\n\
         expires       2025-11-21 15:30:45 UTC\n\
         last used     never\n\
         metadata      team=a\n"
    );
}

#[test]
fn an_update_sends_only_what_is_to_change() {
    for (line, expected) in [
        (&["--block"][..], json!({"blocked": true})),
        (&["--unblock", "--name", "new"], json!({"blocked": false, "name": "new"})),
        (
            &["--requests-per-minute", "none", "--expires-at", "none", "--max-in-flight", "7"],
            json!({"requests_per_minute": null, "expires_at": null, "max_in_flight": 7}),
        ),
        (&["--all-models", "--no-metadata"], json!({"models": [], "metadata": {}})),
        (&["--scope", "read", "--scope", "admin"], json!({"scopes": ["read", "admin"]})),
    ] {
        let (result, text, _, asked) = run(&[&["update", "key_1"], line].concat(), &[key("key_1")]);
        result.unwrap();
        assert!(asked[0].head.starts_with("patch /admin/keys/key_1 "), "{asked:?}");
        assert_eq!(body(&asked[0]), expected);
        assert!(text.starts_with("key           key_1\n"), "{text}");
    }
    let (result, ..) = run(&["update", "key_1"], &[]);
    assert!(result.unwrap_err().to_string().starts_with("nothing to change"));
    for wrong in [
        &["--block", "--unblock"][..],
        &["--all-models", "--model", "demo"],
        &["--no-metadata", "--metadata", "a=b"],
        &["--expires-in", "1d", "--expires-at", "none"],
        &["--scope", "write"],
        &["--max-in-flight", "0"],
        &["--owner", "other"],
    ] {
        let line = [&["keys", "update", "key_1"], wrong].concat();
        assert!(Command::try_parse_from(line).is_err(), "{wrong:?}");
    }
}

#[test]
fn rotating_and_revoking_need_a_confirmation() {
    let (result, text, notes, asked) = run(&["rotate", "key_1", "--yes"], &[with_text("key_1")]);
    result.unwrap();
    assert_eq!(text, "qq-Ab12-secret\n");
    assert!(notes.contains("the old one is refused from now on"), "{notes}");
    assert!(asked[0].head.starts_with("post /admin/keys/key_1/rotate "), "{asked:?}");
    let gone = json!({"id": "key_1", "revoked": true});
    let (result, text, _, asked) = run(&["revoke", "key_1", "-y"], std::slice::from_ref(&gone));
    result.unwrap();
    assert_eq!(text, "key_1 is revoked\n");
    assert!(asked[0].head.starts_with("delete /admin/keys/key_1 "), "{asked:?}");
    let (_, text, ..) = run(&["revoke", "key_1", "-y", "--json"], std::slice::from_ref(&gone));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), gone);
    // Tests have no terminal to answer at.
    for (verb, question) in [("rotate", "Replace its text?"), ("revoke", "Revoke it for good?")] {
        let (result, _, _, asked) = run(&[verb, "key_1"], &[key("key_1")]);
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("key_1 'ci\\u001b' (qq-Ab12…) of acme: "), "{error}");
        assert!(error.contains(question) && error.contains("confirm with --yes"), "{error}");
        assert!(asked[0].head.starts_with("get /admin/keys/key_1 "), "{asked:?}");
    }
}
