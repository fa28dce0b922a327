//! Tests the download of images, and that it reaches nothing that the caller must not reach.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::receiver::{Receiver, ReceiverReply};
use serde_json::{Value, json};
use service::settings::ImageDownload;

use crate::images::{bytes_of, chat_of, image_url, png, stored, task_of, tenant};
use crate::openai::CHAT;
use crate::rig::Rig;

fn rig(download: ImageDownload) -> Rig {
    Rig::with(move |options| options.images.download = download)
}

/// Returns a response with a file.
fn file(bytes: &[u8]) -> ReceiverReply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";
    let mut response = format!("{head}content-length: {}\r\n\r\n", bytes.len()).into_bytes();
    response.extend_from_slice(bytes);
    ReceiverReply::Bytes(response)
}

/// Returns the message of a refused chat with this URL.
fn refused(rig: &Rig, url: &str) -> String {
    let reply = rig.client().post(CHAT, &chat_of(&json!([image_url(url)])));
    assert_eq!(reply.status, 400, "{url}: {reply:?}");
    let error = &reply.json()["error"];
    assert_eq!(error["param"], "messages.0.content.0.image_url", "{url}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn urls_are_refused_unless_downloads_are_on() {
    let server = Receiver::kind();
    let rig = Rig::start();
    let message = refused(&rig, &server.url("/cat.png"));
    assert!(message.contains("IMAGE_DOWNLOAD=off") && message.contains("POST /blobs"), "{message}");
    let anthropic = json!({"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": server.url("/cat.png")}}]}]});
    let reply = rig.client().post("/v1/messages", &anthropic);
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.text.contains("messages.0.content.0.source.url: images are not downloaded"));
    assert!(server.heard().is_empty());
}

#[test]
fn an_image_is_downloaded_through_redirects() {
    let picture = png(40, 30);
    let bytes = picture.clone();
    let server = Receiver::start(move |nth| match nth {
        0 => ReceiverReply::Answer(302, "location: /second?x=1\r\n".into()),
        1 => ReceiverReply::Answer(307, "location: third#part\r\n".into()),
        _ => file(&bytes),
    });
    let rig = rig(ImageDownload::Private);
    let (claimed, reply) =
        task_of(&rig, CHAT, &chat_of(&json!([image_url(&server.url("/first"))])));
    assert_eq!(reply.status, 200, "{reply:?}");
    let blobs = claimed.task.prompt.image_blobs();
    assert_eq!(bytes_of(&rig, &claimed.task.tenant, blobs[0]), picture);
    let lines: Vec<String> = server.heard().into_iter().map(|heard| heard.line).collect();
    assert_eq!(lines, ["GET /first HTTP/1.1", "GET /second?x=1 HTTP/1.1", "GET /third HTTP/1.1"]);
}

#[test]
fn addresses_that_are_not_public_are_never_reached() {
    let server = Receiver::kind();
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let rig = rig(ImageDownload::Public);
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "a.localhost",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "0.0.0.0",
        "[fe80::1]",
        "[fd00::1]",
    ] {
        let began = Instant::now();
        let message = refused(&rig, &format!("http://{host}:{port}/cat.png"));
        assert!(message.contains("not public"), "{host}: {message}");
        assert!(began.elapsed() < Duration::from_secs(1), "{host}");
    }
    for (url, expected) in [
        (format!("http://user:password@example.org:{port}/"), "user name"),
        ("http://".to_owned(), "is no URL"),
    ] {
        assert!(refused(&rig, &url).contains(expected), "{url}");
    }
    assert!(server.heard().is_empty());
}

#[test]
fn redirects_are_checked_as_urls_are() {
    let rig = rig(ImageDownload::Private);
    for (location, expected) in [
        ("http://169.254.169.254/latest/meta-data/", "not public"),
        ("//0.0.0.0/", "not public"),
        ("http://user@example.org/", "user name"),
        ("file:///etc/passwd", "must begin with"),
        ("gopher://127.0.0.1:6379/_x", "must begin with"),
        ("/again", "redirects more than 5 times"),
    ] {
        let server = Receiver::start(move |_| {
            ReceiverReply::Answer(302, format!("location: {location}\r\n"))
        });
        let message = refused(&rig, &server.url("/"));
        assert!(message.contains(expected), "{location}: {message}");
    }
}

#[test]
fn downloads_are_bounded_and_checked_by_their_content() {
    let rig = Rig::with(|options| {
        options.images.download = ImageDownload::Private;
        options.images.max_bytes = 100_000;
    });
    let owner = tenant(&rig);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    type Manner = fn(usize) -> ReceiverReply;
    let manners: [(Manner, &str); 6] = [
        (|_| ReceiverReply::status(404), "returned status 404"),
        (|_| ReceiverReply::Endless, "more than 100000 bytes"),
        (|_| file(b"<html></html>"), "supported are PNG"),
        (|_| file(&png(40, 30)[..100]), "cannot be decoded"),
        (|_| ReceiverReply::Bytes(b"nonsense\r\n\r\n".to_vec()), "no complete HTTP response"),
        (
            |_| {
                ReceiverReply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort".to_vec())
            },
            "no complete HTTP response",
        ),
    ];
    for (manner, expected) in manners {
        let server = Receiver::start(manner);
        let message = refused(&rig, &server.url("/cat.png"));
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(server.written() < 10_000_000);
    }
    let message = refused(&rig, &format!("http://{closed}/cat.png"));
    assert!(message.contains("can't be reached"), "{message}");
    assert!(stored(&rig, &owner).is_empty());
}

#[test]
fn all_problems_of_several_images_are_reported() {
    let server = Receiver::start(|_| ReceiverReply::status(500));
    let rig = rig(ImageDownload::Private);
    let images: Value = (0..3).map(|_| json!(server.url("/x"))).collect();
    let reply = rig.client().post("/generate", &json!({"prompt": "x", "images": images}));
    assert_eq!(reply.status, 422, "{reply:?}");
    let problems = reply.json()["detail"].as_array().unwrap().clone();
    let places: Vec<&Value> = problems.iter().map(|problem| &problem["loc"]).collect();
    let place = |index: usize| json!(["body", "images", index]);
    assert_eq!(places, [&place(0), &place(1), &place(2)]);
}
