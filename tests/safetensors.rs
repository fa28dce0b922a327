//! A folder of safetensors as a model: its answers are those of the same model as GGUF.

use harness::cli::Cli;
use harness::client::Client;
use harness::process::{Home, KEY, Process};
use harness::{free_port, models};

/// Starts `up` with this model. Returns its answer to a fixed prompt and the weight format that it
/// reports.
fn ask(model: &str, quantization: &str) -> (String, String) {
    let (home, port) = (Home::new(), free_port());
    let port_text = port.to_string();
    let settings = [
        ("PORT", port_text.as_str()),
        ("API_KEYS", KEY),
        ("MODEL_NAME", model),
        ("QUANTIZATION", quantization),
    ];
    let mut up = Process::start(&home, "qwen-queue", &["up"], &settings);
    let client = Client::new(port);
    client.wait_until_healthy(&mut up, true);
    let prompt = ["submit", "the lease ends", "--temperature", "0", "--max-tokens", "24", "--wait"];
    let answer = Cli::new(port).stdout(&prompt);
    let info = client.get("/");
    (answer, info.body["quantization"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn folder_gives_the_same_answer_as_its_gguf_file() {
    let folder = models::fixture("qwen3/hf");
    let folder = folder.to_str().expect("UTF-8");
    let file = models::fixture("qwen3/qwen3-f32.gguf");
    let (expected, _) = ask(file.to_str().expect("UTF-8"), "");
    assert!(!expected.is_empty());
    assert_eq!(ask(folder, "none"), (expected, "F32".to_owned()));
}

#[test]
fn a_folder_is_quantized_at_load() {
    let folder = models::fixture("wide/hf");
    for (quantization, format) in [("8bit", "Q8_0"), ("4bit", "Q4_K")] {
        let (answer, held) = ask(folder.to_str().expect("UTF-8"), quantization);
        assert!(!answer.is_empty(), "{quantization}");
        assert_eq!(held, format);
    }
}
