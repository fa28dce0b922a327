//! Tests `/blobs`.

use serde_json::json;

use crate::images::{bytes_of, png, task_of};
use crate::rig::{OTHER_KEY, Rig};

#[test]
fn a_blob_is_stored_once_and_used_many_times() {
    let rig = Rig::start();
    let picture = png(40, 30);
    let client = rig.client().with("content-type", "application/octet-stream");
    let reply = client.send("POST", "/blobs?expires_in_s=7200", Some(&picture));
    assert_eq!(reply.status, 201, "{reply:?}");
    let record = reply.json();
    let id = record["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), Some(&*format!("/blobs/{id}")));
    assert_eq!(
        (&record["size"], &record["media_type"]),
        (&json!(picture.len()), &json!("image/png"))
    );
    assert!(record["expires_at"].as_str().unwrap().ends_with('Z'), "{record}");
    assert_eq!(rig.client().get(&format!("/blobs/{id}")).json(), record);
    for _ in 0..2 {
        let (claimed, _) = task_of(&rig, "/generate", &json!({"prompt": "x", "images": [id]}));
        assert_eq!(claimed.task.prompt.image_blobs(), [&id]);
        assert_eq!(bytes_of(&rig, &claimed.task.tenant, &id), picture);
    }
    // Files and blobs are the same.
    let file = format!("file-{}", id.replace('-', ""));
    assert_eq!(rig.client().get(&format!("/v1/files/{file}")).json()["bytes"], picture.len());

    let other = rig.client_with(Some(OTHER_KEY));
    for method in ["GET", "DELETE"] {
        let reply = other.send(method, &format!("/blobs/{id}"), None);
        assert_eq!(reply.status, 404, "{reply:?}");
        assert!(reply.text.contains("belongs to another key"), "{reply:?}");
    }
    let reply = rig.client().send("DELETE", &format!("/blobs/{id}"), None);
    assert_eq!((reply.status, reply.json()), (200, json!({"id": id, "deleted": true})));
    assert_eq!(rig.client().get(&format!("/blobs/{id}")).status, 404);
    let reply = rig.client().post("/generate", &json!({"prompt": "x", "images": [id]}));
    assert!(reply.problem()["msg"].as_str().unwrap().contains("there is no file or blob"));
}

#[test]
fn a_form_is_an_upload_too() {
    let rig = Rig::start();
    let mut form = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
                     Content-Type: text/plain\r\n\r\n"
        .to_vec();
    form.extend(png(10, 10));
    form.extend(b"\r\n--x--\r\n");
    let client = rig.client().with("content-type", "multipart/form-data; boundary=x");
    let reply = client.send("POST", "/blobs", Some(&form));
    assert_eq!(reply.status, 201, "{reply:?}");
    let record = reply.json();
    assert_eq!(
        (&record["size"], &record["media_type"]),
        (&json!(png(10, 10).len()), &json!("image/png"))
    );
}

#[test]
fn bad_uploads_are_refused() {
    let rig = Rig::start();
    let client = rig.client().with("content-type", "image/png");
    for seconds in ["1", "x", "99999999"] {
        let reply = client.send("POST", &format!("/blobs?expires_in_s={seconds}"), Some(b"x"));
        assert_eq!(reply.problem()["loc"], json!(["query", "expires_in_s"]), "{seconds}");
    }
    let reply = client.send("POST", "/blobs", Some(b""));
    assert!(reply.problem()["msg"].as_str().unwrap().contains("empty"), "{reply:?}");
    assert_eq!(rig.client().get("/blobs/nonsense").status, 404);
    assert_eq!(rig.client_with(None).send("POST", "/blobs", Some(b"x")).status, 401);
}
