//! Starts that must be refused: each exits with an error that says what is wrong, what is allowed
//! and what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::models::fixture;
use harness::process::{Home, KEY, Process};

/// Starts `qwen-queue` and returns its output after it has ended with an error.
fn refused(home: &Home, args: &[&str], settings: &[(&str, &str)]) -> String {
    let mut all = vec![("PORT", "0"), ("API_KEYS", KEY)];
    all.extend_from_slice(settings);
    let mut process = Process::start(home, "qwen-queue", args, &all);
    let status = process.wait(Duration::from_secs(30));
    let output = process.output();
    assert!(!status.success(), "it did not refuse to start:\n{output}");
    assert!(!output.contains("panicked"), "it panicked:\n{output}");
    output
}

fn refused_model(home: &Home, path: &Path) -> String {
    refused(home, &["up"], &[("MODEL_NAME", path.to_str().expect("UTF-8"))])
}

/// Writes a changed copy of a valid model file.
fn changed(home: &Home, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let bytes = fs::read(fixture("qwen3/qwen3-f16.gguf")).expect("the fixture");
    let path = home.path().join(name);
    fs::write(&path, change(bytes)).expect("a temporary file");
    path
}

/// Replaces the first occurrence of `from` by `to`, which has the same length.
fn replace(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at =
        bytes.windows(from.len()).position(|w| w == from).expect("the bytes are not in the file");
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn file_that_is_not_a_model_is_refused() {
    let home = Home::new();
    let missing = home.path().join("none.gguf");
    let said = refused_model(&home, &missing);
    assert!(said.contains("none.gguf"), "{said}");

    let foreign = changed(&home, "foreign.gguf", |_| b"PK\x03\x04 this is a zip".repeat(9).clone());
    let said = refused_model(&home, &foreign);
    assert!(said.contains("foreign.gguf") && said.contains("GGUF"), "{said}");

    let empty = changed(&home, "empty.gguf", |_| Vec::new());
    assert!(refused_model(&home, &empty).contains("empty.gguf"));
}

#[test]
fn truncated_or_damaged_model_is_refused() {
    let home = Home::new();
    let cut = changed(&home, "cut.gguf", |mut bytes| {
        bytes.truncate(bytes.len() / 2);
        bytes
    });
    let said = refused_model(&home, &cut);
    assert!(said.contains("cut.gguf") && said.contains("truncated"), "{said}");

    let corrupt = changed(&home, "corrupt.gguf", |mut bytes| {
        bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes()); // the number of metadata entries
        bytes
    });
    assert!(refused_model(&home, &corrupt).contains("corrupt.gguf"));
}

#[test]
fn model_of_an_unsupported_architecture_is_refused() {
    let home = Home::new();
    let llama = changed(&home, "llama.gguf", |bytes| replace(bytes, b"qwen3", b"llama"));
    let said = refused_model(&home, &llama);
    assert!(said.contains("llama") && said.contains("qwen3"), "{said}");
}

#[test]
fn model_of_an_unsupported_quantization_is_refused() {
    let home = Home::new();
    let nvfp4 = changed(&home, "nvfp4.gguf", |bytes| {
        // A tensor's type follows its name (u64 length, bytes), rank (u32) and dimensions (u64 each).
        let name = b"blk.0.attn_q.weight";
        let at = bytes.windows(name.len()).position(|w| w == name).expect("the tensor");
        let rank_at = at + name.len();
        let rank = u32::from_le_bytes(bytes[rank_at..rank_at + 4].try_into().expect("4 bytes"));
        let type_at = rank_at + 4 + 8 * rank as usize;
        let mut bytes = bytes;
        bytes[type_at..type_at + 4].copy_from_slice(&40_u32.to_le_bytes()); // NVFP4
        bytes
    });
    let said = refused_model(&home, &nvfp4);
    assert!(said.contains("NVFP4") && said.contains("Q4_K"), "{said}");
}

#[test]
fn unreachable_hub_is_reported_with_a_manual_path() {
    let home = Home::new();
    let closed = format!("http://127.0.0.1:{}", harness::free_port());
    let settings = [("MODEL_NAME", "Qwen/Qwen3-4B-GGUF:Q4_K_M"), ("HF_ENDPOINT", closed.as_str())];
    let said = refused(&home, &["up"], &settings);
    assert!(said.contains("Qwen/Qwen3-4B-GGUF") && said.contains(&closed), "{said}");
    assert!(
        said.contains("snapshots/manual"),
        "the message does not say where to put the file: {said}"
    );
}

#[test]
fn invalid_settings_are_refused() {
    let home = Home::new();
    let wrong = [("TASK_TIME_LIMIT", "soon"), ("MAX_ATTEMPTS", "0"), ("LOG_FORMAT", "xml")];
    let said = refused(&home, &["up"], &wrong);
    for name in ["TASK_TIME_LIMIT", "MAX_ATTEMPTS", "LOG_FORMAT"] {
        assert!(said.contains(name), "{name} is missing: {said}");
    }
    fs::write(home.path().join("x.yaml"), "prot: 1\n").expect("a file");
    let said = refused(&home, &["up", "--config", "x.yaml"], &[]);
    assert!(said.contains("prot"), "{said}");
}

#[test]
fn separate_processes_require_redis() {
    let home = Home::new();
    for command in ["gateway", "worker"] {
        let said = refused(&home, &[command], &[]);
        assert!(said.contains("REDIS_URL"), "{said}");
    }
}

#[test]
fn port_in_use_is_reported() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let said = refused(&home, &["up"], &[("PORT", &port)]);
    assert!(said.contains(&port), "{said}");
}

#[test]
fn missing_or_too_large_model_among_several_is_refused() {
    let home = Home::new();
    let good = fixture("qwen3/qwen3-f16.gguf");
    let good = good.to_str().expect("UTF-8");
    let missing = home.path().join("none.gguf");
    let both = format!("{good},{}", missing.display());
    assert!(refused(&home, &["up"], &[("MODEL_NAME", &both)]).contains("none.gguf"));

    let slow = harness::models::slow();
    let both = format!("{good},{}", slow.display());
    // Enough for the small model; too little for the other, even alone.
    let settings = [("MODEL_NAME", both.as_str()), ("MAX_MODEL_BYTES", "94371840")];
    let said = refused(&home, &["up"], &settings);
    for word in
        ["slow-model", "needs at least", "90 MiB are allowed", "MAX_MODEL_BYTES", "KV_TOKENS"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }

    let same = changed(&home, "qwen3-f16.gguf", |bytes| bytes);
    let both = format!("{good},{}", same.display());
    assert!(refused(&home, &["up"], &[("MODEL_NAME", &both)]).contains("rename a file"));
}
