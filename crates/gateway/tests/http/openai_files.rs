//! Tests `/v1/files`.

use std::sync::{Arc, Mutex};

use queue::{BlobLimits, BlobStore, Broker};
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::openai::chat;
use crate::rig::{OTHER_KEY, Rig};

pub(crate) const FILES: &str = "/v1/files";
const BOUNDARY: &str = "the-boundary";

/// A part of a form: a field, or a file with its name.
pub(crate) enum Part<'a> {
    Field(&'a str, &'a str),
    File(&'a str, &'a [u8]),
}

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let (head, content) = match part {
            Part::Field(name, value) => (format!("name=\"{name}\"\r\n"), value.as_bytes()),
            Part::File(name, content) => {
                let head =
                    format!("name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n");
                (head, *content)
            }
        };
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn send(client: &Client, body: &[u8]) -> Reply {
    let form = format!("multipart/form-data; boundary={BOUNDARY}");
    client.clone().with("content-type", &form).send("POST", FILES, Some(body))
}

/// Uploads a form.
pub(crate) fn upload(client: &Client, parts: &[Part<'_>]) -> Reply {
    send(client, &form(parts))
}

/// Uploads a file and returns its id.
pub(crate) fn uploaded(client: &Client, purpose: &str, content: &[u8]) -> String {
    let parts = [Part::Field("purpose", purpose), Part::File("requests.jsonl", content)];
    let reply = upload(client, &parts);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn content_of(client: &Client, id: &str) -> Reply {
    client.get(&format!("{FILES}/{id}/content"))
}

#[test]
fn a_file_comes_and_goes_whichever_field_comes_first() {
    let rig = Rig::start();
    let client = rig.client();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let (purpose, file) =
        (Part::Field("purpose", "user_data"), Part::File("/folder/\u{e4}.txt", &content));
    let seconds = Part::Field("expires_after[seconds]", "3600");
    let anchor = Part::Field("expires_after[anchor]", "created_at");
    for parts in [[&purpose, &seconds, &anchor, &file], [&file, &anchor, &seconds, &purpose]] {
        let parts: Vec<Part<'_>> = parts
            .into_iter()
            .map(|part| match part {
                Part::Field(name, value) => Part::Field(name, value),
                Part::File(name, content) => Part::File(name, content),
            })
            .collect();
        let reply = upload(&client, &parts);
        assert_eq!(reply.status, 200, "{reply:?}");
        let mut record = reply.json();
        let id = record["id"].as_str().unwrap().to_owned();
        let created_at = record["created_at"].as_u64().unwrap();
        assert!(id.starts_with("file-") && created_at > 1_700_000_000, "{record}");
        assert_eq!(client.get(&format!("{FILES}/{id}")).json(), record);
        record["id"].take();
        record["created_at"].take();
        let expected = json!({
            "id": null, "object": "file", "bytes": 3_000_000, "created_at": null,
            "expires_at": created_at + 3600, "filename": "\u{e4}.txt", "purpose": "user_data",
            "status": "processed", "status_details": null,
        });
        assert_eq!(record, expected);

        let read = content_of(&client, &id);
        assert_eq!(read.status, 200);
        assert!(read.text.as_bytes() == content, "the content differs");
        assert_eq!(read.header("content-type"), Some("text/plain"));
        assert_eq!(read.header("content-length"), Some("3000000"));
        let disposition = read.header("content-disposition");
        assert_eq!(disposition, Some("attachment; filename*=UTF-8''%C3%A4.txt"));

        let stranger = rig.client_with(Some(OTHER_KEY));
        let (path, content) = (format!("{FILES}/{id}"), format!("{FILES}/{id}/content"));
        let calls = [("GET", &path), ("GET", &content), ("DELETE", &path)];
        for (method, path) in calls {
            assert_eq!(stranger.send(method, path, None).status, 404);
        }
        let deleted = client.send("DELETE", &path, None).json();
        assert_eq!(deleted, json!({"id": id, "object": "file", "deleted": true}));
        for (method, path) in calls {
            let reply = client.send(method, path, None);
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("not_found")));
        }
    }
}

#[test]
fn files_are_listed_in_pages_without_what_the_server_stores_itself() {
    let rig = Rig::start();
    let client = rig.client();
    assert_eq!(
        client.get(FILES).json(),
        json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false})
    );
    let stored = chat(json!({"input": "x", "background": true}));
    assert_eq!(client.post("/v1/responses", &stored).status, 200);
    let ids: Vec<String> = ["batch", "vision", "batch", "evals"]
        .into_iter()
        .map(|purpose| uploaded(&client, purpose, purpose.as_bytes()))
        .collect();
    let list = |query: &str| {
        let page = client.get(&format!("{FILES}{query}")).json();
        let listed = page["data"].as_array().unwrap();
        let place = |file: &Value| ids.iter().position(|id| *id == file["id"]).unwrap();
        let places: Vec<usize> = listed.iter().map(place).collect();
        (places, page["has_more"].as_bool().unwrap())
    };
    assert_eq!(list(""), (vec![3, 2, 1, 0], false));
    assert_eq!(list("?order=asc&limit=3"), (vec![0, 1, 2], true));
    assert_eq!(list(&format!("?order=asc&after={}", ids[1])), (vec![2, 3], false));
    assert_eq!(list("?purpose=batch"), (vec![2, 0], false));
    assert_eq!(list("?purpose=.response"), (vec![], false));
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=batch_1", "after"),
    ] {
        let reply = client.get(&format!("{FILES}?{query}"));
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (400, &json!(param)),
            "{query}"
        );
    }
    let stranger = rig.client_with(Some(OTHER_KEY)).get(FILES).json();
    assert_eq!(stranger["data"], json!([]));
    assert_eq!(rig.client_with(None).get(FILES).status, 401);
}

#[test]
fn uploads_that_are_no_files_are_refused_by_field_and_leave_nothing() {
    let rig = Rig::start();
    let client = rig.client();
    let (purpose, file) = (|| Part::Field("purpose", "batch"), || Part::File("a", b"x"));
    let long = "x".repeat(5000);
    for (parts, param) in [
        (vec![file()], "purpose"),
        (vec![purpose()], "file"),
        (vec![], "file"),
        (vec![Part::Field("purpose", "batch_output"), file()], "purpose"),
        (vec![file(), Part::Field("purpose", ".response")], "purpose"),
        (vec![purpose(), file(), file()], "file"),
        (vec![Part::Field("purpose", &long), file()], "purpose"),
        (
            vec![purpose(), file(), Part::Field("expires_after[seconds]", "7200")],
            "expires_after.anchor",
        ),
    ] {
        let reply = upload(&client, &parts);
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (400, &json!(param)),
            "{reply:?}"
        );
    }
    let whole = form(&[purpose(), file()]);
    let cut = send(&client, &whole[..whole.len() - 20]);
    assert_eq!(cut.status, 400, "{cut:?}");
    let reply = client.post(FILES, &json!({"purpose": "batch", "file": "x"}));
    assert_eq!(reply.status, 415, "{reply:?}");
    assert_eq!(client.get(FILES).json()["data"], json!([]));
}

#[test]
fn sizes_are_bounded_by_file_and_by_tenant() {
    let kept: Arc<Mutex<Option<Arc<dyn Broker>>>> = Arc::default();
    let seen = Arc::clone(&kept);
    let wrap = move |broker: Arc<dyn Broker>| {
        *seen.lock().unwrap() = Some(Arc::clone(&broker));
        broker
    };
    let rig = Rig::on(wrap, |options| {
        let broker = kept.lock().unwrap().take().unwrap();
        let limits = BlobLimits { max_bytes: 1000, tenant_bytes: 1500, ..BlobLimits::default() };
        options.blobs = Some(BlobStore::new(broker, limits));
    });
    let client = rig.client();
    let put = |bytes: usize| {
        upload(&client, &[Part::Field("purpose", "batch"), Part::File("a", &vec![b'x'; bytes])])
    };
    let larger = put(1001);
    assert_eq!(larger.status, 400, "more than a form of the largest file has: {larger:?}");
    let far_larger = put(1_000_000);
    assert_eq!(far_larger.status, 413, "{far_larger:?}");
    assert!(far_larger.text.contains("at most 1000 bytes"), "{far_larger:?}");
    assert_eq!(put(1000).status, 200);
    let full = put(600);
    assert_eq!((full.status, &full.json()["error"]["param"]), (400, &json!("file")), "{full:?}");
    assert!(full.text.contains("1000 are stored") && full.text.contains("delete some"), "{full:?}");
    let id = client.get(FILES).json()["first_id"].as_str().unwrap().to_owned();
    client.send("DELETE", &format!("{FILES}/{id}"), None);
    assert_eq!(put(600).status, 200, "deleting makes room");
}
