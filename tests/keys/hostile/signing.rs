//! Signs JSON Web Tokens, rightly and wrongly.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// Returns the part of a token that is signed.
pub(super) fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

/// Returns a token signed with HMAC-SHA256.
pub(super) fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = signed_part(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    mac.update(part.as_bytes());
    format!("{part}.{}", encode(mac.finalize().into_bytes()))
}

/// Returns one signed with HMAC-SHA384 or HMAC-SHA512, by its header's `alg`.
pub(super) fn hs_long(alg: &str, claims: &Value, secret: &[u8]) -> String {
    let part = signed_part(&json!({"alg": alg, "typ": "JWT"}), claims);
    let signature = if alg == "HS384" {
        let mut mac = Hmac::<Sha384>::new_from_slice(secret).expect("any length");
        mac.update(part.as_bytes());
        encode(mac.finalize().into_bytes())
    } else {
        let mut mac = Hmac::<Sha512>::new_from_slice(secret).expect("any length");
        mac.update(part.as_bytes());
        encode(mac.finalize().into_bytes())
    };
    format!("{part}.{signature}")
}

/// Private keys in a folder, made by `openssl`.
pub(super) struct Keys<'a>(pub(super) &'a Path);

impl Keys<'_> {
    fn openssl(&self, words: &[&str]) -> Vec<u8> {
        let done =
            Command::new("openssl").args(words).current_dir(self.0).output().expect("openssl");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    /// Makes an RSA key, returns its entry of a JWKS.
    pub(super) fn make_rsa(&self, name: &str) -> Value {
        self.openssl(&["genrsa", "-out", name, "2048"]);
        let modulus = self.openssl(&["rsa", "-in", name, "-noout", "-modulus"]);
        let modulus = String::from_utf8(modulus).expect("text");
        let hex = modulus.trim().strip_prefix("Modulus=").expect("a modulus").to_owned();
        let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": encode(bytes), "e": "AQAB",
        })
    }

    /// Makes a key on P-256, returns its entry of a JWKS.
    pub(super) fn make_ec(&self, name: &str) -> Value {
        self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name]);
        let der = self.openssl(&["ec", "-in", name, "-pubout", "-outform", "DER"]);
        let point = &der[der.len() - 64..];
        let (x, y) = point.split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": name,
            "x": encode(x), "y": encode(y),
        })
    }

    /// Returns the public key in PEM.
    pub(super) fn public_pem(&self, name: &str) -> Vec<u8> {
        self.openssl(&["pkey", "-in", name, "-pubout"])
    }

    /// Returns a token signed by a key, on P-256 if its name ends with `ec`.
    pub(super) fn sign(&self, name: &str, header: &Value, claims: &Value) -> String {
        let part = signed_part(header, claims);
        fs::write(self.0.join("part"), &part).expect("a file");
        let signature = self.openssl(&["dgst", "-sha256", "-sign", name, "part"]);
        let signature = if name.ends_with("ec") { concatenated(&signature) } else { signature };
        format!("{part}.{}", encode(signature))
    }
}

/// Returns `r` and `s` of a DER signature on P-256, 32 bytes each, as JWS has them (RFC 7518, 3.4).
fn concatenated(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        bytes.resize(bytes.len() + 32 - number.len(), 0);
        bytes.extend_from_slice(number);
        rest = &rest[2 + length..];
    }
    bytes
}
