//! Tricks with headers, URLs and addresses.

use harness::process::KEY;

use super::Target;

#[test]
fn tricks_with_headers_get_nobody_in() {
    let target = Target::start(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    assert_eq!(target.get_with(&format!("X-API-Key: {KEY}\r\n")).0, 200);
    assert_eq!(
        target.get_with(&format!("X-API-Key: {KEY}\r\nAuthorization: Bearer {KEY}\r\n")).0,
        200
    );
    let long = "k".repeat(200_000);
    let half = KEY.len() / 2;
    let tricks: &[(&str, String, &[u16])] = &[
        (
            "two keys, the right one first",
            format!("X-API-Key: {KEY}\r\nX-API-Key: wrong\r\n"),
            &[400],
        ),
        (
            "two keys, the right one last",
            format!("X-API-Key: wrong\r\nX-API-Key: {KEY}\r\n"),
            &[400],
        ),
        (
            "two kinds that differ",
            format!("X-API-Key: {KEY}\r\nAuthorization: Bearer wrong\r\n"),
            &[400],
        ),
        (
            "two authorizations",
            format!("Authorization: Bearer wrong\r\nAuthorization: Bearer {KEY}\r\n"),
            &[400],
        ),
        ("a list of keys", format!("X-API-Key: wrong, {KEY}\r\n"), &[401]),
        ("folded", format!("X-API-Key: {}\r\n {}\r\n", &KEY[..half], &KEY[half..]), &[400, 401]),
        (
            "folded onto another header",
            format!("X-Other: a\r\n\tX-API-Key: {KEY}\r\n"),
            &[400, 401],
        ),
        ("a space before the colon", format!("X-API-Key : {KEY}\r\n"), &[400, 401]),
        ("an underscore", format!("X_API_Key: {KEY}\r\n"), &[401]),
        ("oversize", format!("X-API-Key: {long}\r\n"), &[400, 401, 413, 431]),
        ("a NUL", format!("X-API-Key: {KEY}\0\r\n"), &[400, 401]),
        ("no bytes of ASCII", "X-API-Key: schlüssel\r\n".to_owned(), &[400, 401]),
        ("empty", "X-API-Key:\r\n".to_owned(), &[401]),
        ("basic", "Authorization: Basic dGVzdDp0ZXN0\r\n".to_owned(), &[401]),
        ("only the scheme", "Authorization: Bearer\r\n".to_owned(), &[401]),
        ("the key's start", format!("X-API-Key: {}\r\n", &KEY[..KEY.len() - 1]), &[401]),
        ("the key and more", format!("X-API-Key: {KEY}x\r\n"), &[401]),
        ("a cookie", format!("Cookie: X-API-Key={KEY}\r\n"), &[401]),
    ];
    for (n, (name, headers, expected)) in tricks.iter().enumerate() {
        let address = format!("198.51.100.{n}");
        let (status, reply) = target.get_with(&format!("X-Forwarded-For: {address}\r\n{headers}"));
        assert!(expected.contains(&status), "{name}: {status} {reply}");
        assert!(
            !reply.contains("\"object\": \"list\"") && !reply.contains("\"object\":\"list\""),
            "{name}"
        );
        // What is no HTTP is refused before anybody asks who sends it.
        if reply.contains("x-request-id") {
            target.audit_line(&[&format!("address={address} "), "result=refused"]);
        }
    }
    for (n, query) in ["api_key", "key", "token", "access_token", "API_KEY"].iter().enumerate() {
        let address = format!("192.0.2.{n}");
        let request = format!(
            "GET /v1/models?{query}={KEY} HTTP/1.1\r\nHost: q\r\nConnection: close\r\nX-Forwarded-For: {address}\r\n\r\n"
        );
        let (status, reply) = target.send(request.as_bytes());
        assert_eq!(status, 400, "{query}: {reply}");
        target.audit_line(&[&format!("address={address} "), "result=refused"]);
    }
    for log in ["app", "audit", "llm_requests", "errors"] {
        assert!(!target.home.read(&format!("logs/{log}.log")).contains(KEY), "a key in {log}.log");
    }
    assert!(!target.process.output().contains(KEY), "a key on the console");
}

#[test]
fn forged_address_neither_hides_a_client_nor_blocks_another() {
    let target = Target::start(&[]);
    let mut slowed = 0;
    for n in 0..40 {
        let headers = format!(
            "X-Forwarded-For: 203.0.113.{n}\r\nForwarded: for=203.0.113.{n}\r\nX-API-Key: wrong\r\n"
        );
        match target.get_with(&headers) {
            (401, _) => {}
            (429, reply) => {
                slowed += 1;
                assert!(reply.to_lowercase().contains("retry-after"), "{reply}");
            }
            (status, reply) => panic!("{status}: {reply}"),
        }
    }
    assert!(slowed >= 20, "only {slowed} of 40 failures were slowed down");
    // The right key is let in from the same address.
    assert_eq!(target.get_with(&format!("X-API-Key: {KEY}\r\n")).0, 200);
    let log = target.home.read("logs/audit.log");
    assert!(log.contains("address=127.0.0.1") && !log.contains("address=203.0.113."), "{log}");
}
