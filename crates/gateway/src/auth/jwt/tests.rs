use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use protocol::Scope;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{hmac, rsa};
use serde_json::json;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW_S * 1000)
}

/// Signs claims with a header, by the given function.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signed = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{signed}")
}

fn hs256(key: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

fn shared(claims: &Value) -> String {
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims, hs256(SECRET.as_bytes()))
}

fn options() -> JwtOptions {
    JwtOptions { secret: Some(SECRET.into()), leeway_s: 30, ..JwtOptions::default() }
}

fn jwt(options: &JwtOptions) -> Jwt {
    Jwt::new(options).unwrap().unwrap()
}

fn reason(result: Result<Access, Denied>) -> &'static str {
    match result {
        Err(Denied::Token(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ada", "exp": NOW_S + 60});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[test]
fn a_signed_token_opens_its_subjects_tasks() {
    let jwt = jwt(&options());
    let access = jwt.verify(&shared(&claims(json!({}))), now()).unwrap();
    assert_eq!((access.owner.as_str(), access.key.as_str()), ("ada", "jwt"));
    assert!(access.has(Scope::Submit) && access.has(Scope::Read) && !access.has(Scope::Admin));
    assert_eq!(access.expires_at, Some(Timestamp::from_millis((NOW_S + 90) * 1000)));
    for scopes in [
        json!({"scope": "openid read admin"}),
        json!({"scopes": ["read", "admin", "x"]}),
        json!({"scp": ["read", "admin"]}),
    ] {
        let access = jwt.verify(&shared(&claims(scopes)), now()).unwrap();
        assert!(!access.has(Scope::Submit) && access.has(Scope::Read) && access.has(Scope::Admin));
    }
    let none = jwt.verify(&shared(&claims(json!({"scope": ""}))), now()).unwrap();
    assert!(none.scopes.is_empty(), "an empty claim grants nothing");
    let models = jwt.verify(&shared(&claims(json!({"models": ["a", "b"]}))), now()).unwrap();
    assert_eq!(models.models.len(), 2);
}

#[test]
fn subjects_that_look_like_other_owners_are_hashed() {
    let jwt = jwt(&options());
    let owner = |sub: &str| {
        let access = jwt.verify(&shared(&claims(json!({"sub": sub}))), now()).unwrap();
        access.owner.as_str().to_owned()
    };
    assert_eq!(owner("a.b_c@d-e"), "a.b_c@d-e");
    for sub in ["key-0123", "key_1", "env_1", "jwt-1", "a b", "ä", "auth0|1", &"x".repeat(65)] {
        let owner = owner(sub);
        assert!(owner.starts_with("jwt-") && owner.len() == 20 && owner != sub, "{sub}: {owner}");
    }
    for claim in [json!({"sub": ""}), json!({"sub": null}), json!({"sub": 7})] {
        let refused = jwt.verify(&shared(&claims(claim)), now());
        assert_eq!(reason(refused), "it has no subject (sub)");
    }
}

#[test]
fn times_are_checked_with_the_leeway() {
    let jwt = jwt(&options());
    let check = |more: Value| jwt.verify(&shared(&claims(more)), now());
    assert!(check(json!({"exp": NOW_S - 29})).is_ok());
    assert!(check(json!({"exp": (NOW_S + 1) as f64 + 0.5})).is_ok());
    assert_eq!(reason(check(json!({"exp": NOW_S - 30}))), "it has expired (exp)");
    assert_eq!(reason(check(json!({"exp": null}))), "it has no expiry (exp)");
    for exp in [json!("2030"), json!(-1), json!([])] {
        assert_eq!(reason(check(json!({"exp": exp}))), "its expiry (exp) is not a number");
    }
    assert!(check(json!({"nbf": NOW_S + 30})).is_ok());
    assert_eq!(reason(check(json!({"nbf": NOW_S + 31}))), "it is not valid yet (nbf)");
    assert_eq!(reason(check(json!({"nbf": "now"}))), "its start (nbf) is not a number");
}

#[test]
fn malformed_claims_and_texts_are_refused() {
    let jwt = jwt(&options());
    for models in [json!([]), json!("a"), json!([1])] {
        let refused = jwt.verify(&shared(&claims(json!({"models": models}))), now());
        assert!(reason(refused).starts_with("its models"), "{models}");
    }
    let good = shared(&claims(json!({})));
    for bad in ["a.b.c", "..", "a.b", &good[..good.len() - 4], &format!("{good}.x")] {
        assert!(matches!(jwt.verify(bad, now()), Err(Denied::Token(_))), "{bad}");
    }
    let crit = json!({"alg": "HS256", "crit": ["exp"]});
    let crit = token(&crit, &claims(json!({})), hs256(SECRET.as_bytes()));
    assert!(jwt.verify(&crit, now()).is_err());
}

#[test]
fn audience_and_issuer_are_required_if_configured() {
    let options =
        JwtOptions { audience: Some("qq".into()), issuer: Some("https://i".into()), ..options() };
    let jwt = jwt(&options);
    let check = |more: Value| jwt.verify(&shared(&claims(more)), now());
    assert!(check(json!({"aud": "qq", "iss": "https://i"})).is_ok());
    assert!(check(json!({"aud": ["x", "qq"], "iss": "https://i"})).is_ok());
    for (more, expected) in [
        (json!({"iss": "https://i"}), "it has no audience (aud)"),
        (json!({"aud": "qq"}), "it has no issuer (iss)"),
        (json!({"aud": "x", "iss": "https://i"}), "it is for another audience (aud)"),
        (json!({"aud": "qq", "iss": "x"}), "it has another issuer (iss)"),
    ] {
        assert_eq!(reason(check(more)), expected);
    }
    let any = super::tests::jwt(&super::tests::options());
    assert!(any.verify(&shared(&claims(json!({"aud": "x", "iss": "y"}))), now()).is_ok());
}

fn rsa_key() -> RsaKeyPair {
    let text: String = include_str!("test_rsa_key.b64").split_whitespace().collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap()
}

fn rsa_jwk(key: &RsaKeyPair, id: &str) -> Value {
    let public = rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
    json!({"kty": "RSA", "kid": id, "use": "sig", "n": BASE64.encode(public.n), "e": BASE64.encode(public.e)})
}

fn rs256(key: &RsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| {
        let mut signed = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signed).unwrap();
        signed
    }
}

fn ec_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
    EcdsaKeyPair::from_pkcs8(alg, document.as_ref(), &random).unwrap()
}

fn ec_jwk(key: &EcdsaKeyPair, id: &str) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "x": BASE64.encode(x), "y": BASE64.encode(y)})
}

fn es256(key: &EcdsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn of_set(keys: Vec<Value>) -> JwtOptions {
    JwtOptions { jwks: Some(json!({ "keys": keys }).to_string()), ..JwtOptions::default() }
}

#[test]
fn public_keys_verify_their_own_algorithm_only() {
    let (rsa, ec, other) = (rsa_key(), ec_key(), ec_key());
    let set = of_set(vec![rsa_jwk(&rsa, "r"), ec_jwk(&ec, "e"), ec_jwk(&other, "o")]);
    let jwt = jwt(&set);
    let claims = claims(json!({}));
    let rs = |header: Value| jwt.verify(&token(&header, &claims, rs256(&rsa)), now());
    let es = |header: Value| jwt.verify(&token(&header, &claims, es256(&ec)), now());
    assert!(rs(json!({"alg": "RS256", "kid": "r"})).is_ok());
    assert!(rs(json!({"alg": "RS256"})).is_ok(), "the only one of its algorithm");
    assert!(es(json!({"alg": "ES256", "kid": "e"})).is_ok());
    assert_eq!(reason(es(json!({"alg": "ES256"}))), "its header must name the key (kid)");
    assert_eq!(reason(es(json!({"alg": "ES256", "kid": "o"}))), "its signature is wrong");
    for header in [
        json!({"alg": "RS256", "kid": "e"}),
        json!({"alg": "ES256", "kid": "r"}),
        json!({"alg": "RS512", "kid": "r"}),
        json!({"alg": "PS256", "kid": "r"}),
        json!({"alg": "ES256", "kid": "x"}),
    ] {
        let refused = reason(rs(header.clone()));
        assert_eq!(refused, "no key for its algorithm and name (alg, kid)", "{header}");
    }
    // Neither the public key as a secret, nor no signature.
    let modulus = rsa::PublicKeyComponents::<Vec<u8>>::from(rsa.public()).n;
    for key in [modulus.as_slice(), set.jwks.as_ref().unwrap().as_bytes()] {
        let forged = token(&json!({"alg": "HS256", "kid": "r"}), &claims, hs256(key));
        assert!(matches!(jwt.verify(&forged, now()), Err(Denied::Token(_))));
    }
    let unsigned = token(&json!({"alg": "none"}), &claims, |_| Vec::new());
    assert!(matches!(jwt.verify(&unsigned, now()), Err(Denied::Token(_))));
    let both = JwtOptions { secret: Some(SECRET.into()), ..set };
    let both = super::tests::jwt(&both);
    assert!(both.verify(&shared(&claims), now()).is_ok());
    assert!(both.verify(&token(&json!({"alg": "RS256"}), &claims, rs256(&rsa)), now()).is_ok());
}

#[test]
fn unusable_keys_stop_the_start() {
    let refused = |options: &JwtOptions| Jwt::new(options).unwrap_err().to_string();
    let short = JwtOptions { secret: Some("short".into()), ..JwtOptions::default() };
    assert!(refused(&short).contains("5 bytes"));
    let text = |text: &str| JwtOptions { jwks: Some(text.into()), ..JwtOptions::default() };
    assert!(refused(&text("[]")).contains("not a JWK set"));
    assert!(refused(&text(r#"{"keys": []}"#)).contains("no key for RS256"));
    let mut weak = rsa_jwk(&rsa_key(), "r");
    weak["n"] = json!(BASE64.encode([0xff; 128]));
    assert!(refused(&of_set(vec![weak])).contains("no key for RS256"));
    let shared = json!({"kty": "oct", "k": BASE64.encode(SECRET)});
    assert!(
        refused(&of_set(vec![shared])).contains("no key for RS256"),
        "a secret is no public key"
    );
    assert!(Jwt::new(&JwtOptions::default()).unwrap().is_none());
}
