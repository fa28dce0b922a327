//! Tests that the web UI's files are served as the UI needs them.

use crate::rig::Rig;

#[test]
fn the_page_and_its_files_are_served_under_a_strict_policy() {
    let rig = Rig::start();
    let client = rig.client_with(None);
    for (path, content_type) in [
        ("/ui/", "text/html; charset=utf-8"),
        ("/ui/index.html", "text/html; charset=utf-8"),
        ("/ui/app.js", "text/javascript; charset=utf-8"),
        ("/ui/app.css", "text/css; charset=utf-8"),
        ("/ui/icon.svg", "image/svg+xml"),
    ] {
        let reply = client.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(content_type)));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert!(!reply.text.is_empty(), "{path}");
    }
    // Scripts and styles in the page itself would be refused by the policy.
    let page = client.get("/ui/").text;
    assert!(!page.contains("<style") && !page.contains(" style="), "{page}");
    assert!(page.matches("<script").count() == page.matches(" src=").count(), "{page}");
    for path in ["/ui/nothing.js", "/ui/../Cargo.toml", "/ui/%2e%2e/lib.rs", "/ui//etc/passwd"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn the_address_without_a_slash_leads_to_the_page() {
    let reply = Rig::start().client_with(None).get("/ui");
    // Relative, so that it holds behind a proxy that puts a path before it.
    assert_eq!((reply.status, reply.header("location")), (308, Some("ui/")));
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let rig = Rig::start();
    let first = rig.client_with(None).get("/ui/app.js");
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let etag = first.header("etag").unwrap();
    let again = rig.client_with(None).with("if-none-match", etag).get("/ui/app.js");
    assert_eq!((again.status, &*again.text), (304, ""));
    let other = rig.client_with(None).with("if-none-match", "\"other\"").get("/ui/app.js");
    assert_eq!((other.status, other.text), (200, first.text));
}
