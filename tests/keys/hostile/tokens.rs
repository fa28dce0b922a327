//! Forged JSON Web Tokens.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Target;
use super::signing::{Keys, encode, hs_long, hs256, signed_part};

const SECRET: &str = "a secret of the tests, which has 32 bytes or more";

fn seconds(from_now: i64) -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time") + from_now
}

/// Returns good claims with changes; a null removes a claim.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "alice", "aud": "qwen", "iss": "https://idp.example", "exp": seconds(600), "scope": "submit",
    });
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => _ = claims.as_object_mut().expect("an object").remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn no_forged_token_gets_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = Keys(folder.path());
    let (rsa, ec) = (keys.make_rsa("rsa"), keys.make_ec("ec"));
    let (_, _) = (keys.make_rsa("stranger-rsa"), keys.make_ec("stranger-ec"));
    let jwks = json!({"keys": [rsa, ec]}).to_string();
    let file = folder.path().join("jwks.json");
    fs::write(&file, &jwks).expect("a file");
    let target = Target::start(&[
        ("JWT_SECRET", SECRET),
        ("JWT_JWKS_FILE", file.to_str().expect("UTF-8")),
        ("JWT_AUDIENCE", "qwen"),
        ("JWT_ISSUER", "https://idp.example"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let plain = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let named = |alg: &str, kid: &str| json!({"alg": alg, "typ": "JWT", "kid": kid});
    let (hs, secret, good) = (plain("HS256"), SECRET.as_bytes(), claims(json!({})));
    let good_token = hs256(&hs, &good, secret);
    let rs_token = keys.sign("rsa", &named("RS256", "rsa"), &good);
    let es_token = keys.sign("ec", &named("ES256", "ec"), &good);
    for token in [&good_token, &rs_token, &es_token] {
        let (status, reply) = target.get_with(&format!("Authorization: Bearer {token}\r\n"));
        assert_eq!(status, 200, "a good token is refused: {reply}");
    }

    let mut forged: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| forged.push((name.to_owned(), token));
    // No signature, or one that the token's header calls none.
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        add(&format!("alg {alg:?}"), format!("{}.", signed_part(&plain(alg), &good)));
    }
    add("alg none, signed", hs256(&plain("none"), &good, secret));
    add("no alg", hs256(&json!({"typ": "JWT"}), &good, secret));
    add("no signature", format!("{}.", signed_part(&hs, &good)));
    // The wrong key.
    add("wrong secret", hs256(&hs, &good, b"another secret of the tests, long enough"));
    add("empty secret", hs256(&hs, &good, b""));
    add("secret and a line end", hs256(&hs, &good, format!("{SECRET}\n").as_bytes()));
    add("an API key as secret", hs256(&hs, &good, harness::process::KEY.as_bytes()));
    add("stranger's RSA key", keys.sign("stranger-rsa", &named("RS256", "rsa"), &good));
    add("stranger's EC key", keys.sign("stranger-ec", &named("ES256", "ec"), &good));
    // Public keys taken for secrets, and keys of the wrong kind.
    for (name, key) in [("rsa", keys.public_pem("rsa")), ("ec", keys.public_pem("ec"))] {
        add(&format!("PEM of {name} as secret"), hs256(&named("HS256", name), &good, &key));
    }
    add("JWKS as secret", hs256(&named("HS256", "rsa"), &good, jwks.as_bytes()));
    let modulus = rsa["n"].as_str().expect("a modulus");
    add("modulus as secret", hs256(&named("HS256", "rsa"), &good, modulus.as_bytes()));
    add("RS256 with the secret", hs256(&named("RS256", "rsa"), &good, secret));
    add("RS256 by the EC key", keys.sign("ec", &named("RS256", "ec"), &good));
    add("ES256 by the RSA key", keys.sign("rsa", &named("ES256", "rsa"), &good));
    add("RSA's name, EC's key", keys.sign("ec", &named("ES256", "rsa"), &good));
    for alg in ["HS384", "HS512"] {
        add(alg, hs_long(alg, &good, secret));
    }
    for alg in ["RS384", "PS256", "ES384", "EdDSA"] {
        add(alg, keys.sign("rsa", &named(alg, "rsa"), &good));
    }
    for kid in ["nobody", "../../../../dev/null", "rsa' OR '1'='1", ""] {
        add(&format!("kid {kid:?}"), keys.sign("stranger-rsa", &named("RS256", kid), &good));
    }
    // Keys that the token brings itself.
    let own = json!({"alg": "RS256", "jwk": keys.make_rsa("own"), "kid": "own"});
    add("its own jwk", keys.sign("own", &own, &good));
    let url =
        json!({"alg": "RS256", "jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/x"});
    add("its own jku", keys.sign("own", &url, &good));
    add(
        "unknown crit",
        hs256(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &good, b"x"),
    );
    // Times.
    for (name, changes) in [
        ("expired", json!({"exp": seconds(-120)})),
        ("expired long ago", json!({"exp": 1})),
        ("no exp", json!({"exp": null})),
        ("exp a text", json!({"exp": "tomorrow"})),
        ("exp negative", json!({"exp": -5})),
        ("not yet valid", json!({"nbf": seconds(3600)})),
        ("other audience", json!({"aud": "other"})),
        ("no audience", json!({"aud": null})),
        ("other audiences", json!({"aud": ["a", "b"]})),
        ("other issuer", json!({"iss": "https://evil.example"})),
        ("no issuer", json!({"iss": null})),
        ("no sub", json!({"sub": null})),
        ("empty sub", json!({"sub": ""})),
        ("sub a number", json!({"sub": 7})),
        ("sub a list", json!({"sub": ["alice"]})),
        ("scope of no name we know", json!({"scope": "root everything"})),
        ("huge claims", json!({"x": "y".repeat(20_000)})),
    ] {
        add(name, hs256(&hs, &claims(changes), secret));
    }
    // Damage.
    let (part, signature) = good_token.rsplit_once('.').expect("three parts");
    let (head, _) = part.split_once('.').expect("two parts");
    let other = encode(claims(json!({"sub": "bob"})).to_string());
    add("another's claims", format!("{head}.{other}.{signature}"));
    add("signature cut", good_token[..good_token.len() - 3].to_owned());
    add("signature of another", format!("{part}.{}", rs_token.rsplit('.').next().expect("one")));
    add("four parts", format!("{good_token}.x"));
    add("two parts", part.to_owned());
    add("only dots", "..".to_owned());
    add("no JSON", format!("{}.{}.{signature}", encode("no"), encode("json")));
    add("a nest of lists", format!("{head}.{}.{signature}", encode("[".repeat(4_000))));
    add("padding", good_token.replace('.', "==."));

    assert!(forged.len() >= 50, "{}", forged.len());
    for (n, (name, token)) in forged.iter().enumerate() {
        // Each from an address of its own, so that none is slowed down for the others.
        let address = format!("203.0.113.{n}");
        let headers = format!("X-Forwarded-For: {address}\r\nAuthorization: Bearer {token}\r\n");
        let (status, reply) = target.get_with(&headers);
        let expected: &[u16] = match name.as_str() {
            "scope of no name we know" => &[401, 403],
            _ => &[401],
        };
        assert!(expected.contains(&status), "{name}: {status} {reply}");
        assert!(!reply.contains("\"object\""), "{name}: {reply}");
        let line = target.audit_line(&[&format!("address={address} "), "result=refused"]);
        assert!(!line.contains(&token[..token.len().min(40)]), "a token in the log: {line}");
    }
    println!("{} forged tokens, none got in, each has its line", forged.len());
    for token in [&good_token, &rs_token, &es_token] {
        assert_eq!(target.get_with(&format!("Authorization: Bearer {token}\r\n")).0, 200);
    }
    drop(target.process);
}
