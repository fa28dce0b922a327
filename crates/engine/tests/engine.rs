//! Tests the engine's API on a tiny random model.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{Prompt, fixture, greedy, start};
use engine::{
    Engine, EngineOptions, Finished, GenerateError, Generation, Input, Message, ModelFile,
    Progress, Request, Sampling, StopReason,
};

/// Reads a generation to its end. Returns the whole text and the last item.
fn read(mut generation: Generation) -> (String, Progress) {
    let mut text = String::new();
    loop {
        match generation.next_blocking().expect("a generation has an end before None") {
            Progress::Text { text: part, .. } => {
                assert!(!part.is_empty());
                text.push_str(&part);
            }
            end => {
                assert_eq!(generation.next_blocking(), None);
                return (text, end);
            }
        }
    }
}

fn finished(generation: Generation) -> (String, Finished) {
    match read(generation) {
        (text, Progress::Finished(finished)) => (text, finished),
        (_, other) => panic!("{other:?}"),
    }
}

/// Returns the expected text and number of tokens: transformers' greedy tokens up to the end of the turn.
fn expected(engine: &Engine, prompt: &Prompt) -> (String, usize) {
    let ends = engine.tokenizer().ends();
    let tokens: Vec<u32> =
        prompt.greedy.iter().copied().take_while(|token| !ends.contains(token)).collect();
    (engine.tokenizer().decode(&tokens), tokens.len())
}

#[test]
fn answers_equal_transformers_and_report_the_stop_reason() {
    let engine = start(&EngineOptions::default());
    for prompt in &fixture().prompts {
        let (text, end) = finished(engine.submit(&greedy(&prompt.tokens, 64)).unwrap());
        let (expected_text, expected_len) = expected(&engine, prompt);
        assert_eq!(text, expected_text, "{}", prompt.name);
        assert_eq!(end.prompt_tokens, prompt.tokens.len());
        assert_eq!(end.completion_tokens, expected_len);
        let reason = if expected_len == 64 { StopReason::Length } else { StopReason::EndOfTurn };
        assert_eq!(end.reason, reason);
        assert!(end.prefill > Duration::ZERO);
    }
}

/// Runs more requests at once than the batch and the pages have room for, in small steps.
#[test]
fn answers_do_not_depend_on_batch_load() {
    let options = EngineOptions {
        max_batch: 4,
        kv_tokens: Some(512),
        step_tokens: 48,
        ..EngineOptions::default()
    };
    let engine = start(&options);
    let fixture = fixture();
    let running: Vec<(&Prompt, Generation)> = (0..5)
        .flat_map(|_| &fixture.prompts)
        .map(|prompt| (prompt, engine.submit(&greedy(&prompt.tokens, 64)).unwrap()))
        .collect();
    assert!(engine.load().waiting > 0);
    for (prompt, generation) in running {
        assert_eq!(finished(generation).0, expected(&engine, prompt).0, "{}", prompt.name);
    }
    let load = engine.load();
    assert_eq!((load.running, load.waiting, load.capacity, load.held_pages), (0, 0, 4, 0));
}

#[test]
fn a_seed_gives_the_same_answer_alone_and_in_a_batch() {
    let engine = start(&EngineOptions::default());
    let request = |seed| Request {
        sampling: Sampling {
            temperature: Some(1.5),
            top_p: Some(0.9),
            top_k: Some(50),
            seed,
            ..Sampling::default()
        },
        ..greedy(&fixture().prompts[1].tokens, 40)
    };
    let alone = finished(engine.submit(&request(Some(7))).unwrap()).0;
    let batch: Vec<Generation> = (0..5).map(|_| engine.submit(&request(None)).unwrap()).collect();
    assert_eq!(finished(engine.submit(&request(Some(7))).unwrap()).0, alone);
    let others: Vec<String> = batch.into_iter().map(|one| finished(one).0).collect();
    assert!(others.iter().any(|other| *other != alone));
}

#[test]
fn text_ends_before_the_first_stop_string() {
    let engine = start(&EngineOptions::default());
    let prompt = &fixture().prompts[3];
    let (whole, _) = expected(&engine, prompt);
    let chars: Vec<char> = whole.chars().collect();
    let stop: String = chars[3..5].iter().collect();
    let before = &whole[..whole.find(&stop).unwrap()];
    let request =
        Request { stop: vec!["absent".into(), stop.clone()], ..greedy(&prompt.tokens, 64) };
    let (text, end) = finished(engine.submit(&request).unwrap());
    assert_eq!((text.as_str(), end.reason), (before, StopReason::StopString));
    assert_eq!(end.stop, Some(stop));
}

#[test]
fn max_tokens_and_context_length_limit_the_answer() {
    let options = EngineOptions { context_limit: Some(20), ..EngineOptions::default() };
    let engine = start(&options);
    assert_eq!(engine.info().context_length, 20);
    let prompt = &fixture().prompts[1];
    let (_, end) = finished(engine.submit(&greedy(&prompt.tokens, 1)).unwrap());
    assert_eq!((end.reason, end.completion_tokens), (StopReason::Length, 1));
    let (_, end) = finished(engine.submit(&greedy(&prompt.tokens, 10_000)).unwrap());
    assert_eq!((end.reason, end.completion_tokens), (StopReason::Length, 13));
    let error = engine.submit(&greedy(&[1; 20], 1)).unwrap_err();
    let context = GenerateError::ContextLengthExceeded { prompt_tokens: 20, context_length: 20 };
    assert_eq!(error, context);
}

#[test]
fn cancelled_dropped_and_expired_generations_end_at_once() {
    let options = EngineOptions { max_batch: 2, ..EngineOptions::default() };
    let engine = start(&options);
    // A prompt whose answer does not end within 64 tokens.
    let fixture = fixture();
    let endless = fixture
        .prompts
        .iter()
        .find(|prompt| expected(&engine, prompt).1 == 64)
        .expect("a fixture whose answer does not end before the limit");
    let long = |deadline| Request { deadline, ..greedy(&endless.tokens, 800) };

    let mut generation = engine.submit(&long(None)).unwrap();
    assert!(matches!(generation.next_blocking(), Some(Progress::Text { .. })));
    generation.cancel_handle().cancel();
    let (_, end) = finished(generation);
    assert_eq!(end.reason, StopReason::Cancelled);
    assert!(end.completion_tokens < 800);

    // Less than the answer takes, on any machine.
    let deadline = Instant::now() + Duration::from_millis(4);
    let (_, end) = finished(engine.submit(&long(Some(deadline))).unwrap());
    assert_eq!(end.reason, StopReason::Deadline);
    let overdue = engine.submit(&long(Some(Instant::now()))).unwrap();
    assert_eq!(finished(overdue).1.completion_tokens, 0);

    drop((engine.submit(&long(None)).unwrap(), engine.submit(&long(None)).unwrap()));
    // Both slots are free long before 800 tokens could have been generated.
    let (_, end) = finished(engine.submit(&greedy(&endless.tokens, 2)).unwrap());
    assert_eq!(end.reason, StopReason::Length);
    assert_eq!((engine.load().running, engine.load().waiting), (0, 0));
}

#[test]
fn invalid_requests_are_refused_with_the_reason() {
    let engine = start(&EngineOptions::default());
    let base = greedy(&[1, 2], 4);
    let sampling = base.sampling.clone();
    let cases = [
        (Request { input: Input::Tokens(vec![]), ..base.clone() }, "the input is empty"),
        (Request { input: Input::Text(String::new()), ..base.clone() }, "the input is empty"),
        (Request { input: Input::Tokens(vec![1, 512]), ..base.clone() }, "token 512 is unknown"),
        (Request { max_tokens: 0, ..base.clone() }, "max_tokens is 0"),
        (
            Request {
                sampling: Sampling { temperature: Some(-1.0), ..sampling.clone() },
                ..base.clone()
            },
            "temperature is -1",
        ),
        (
            Request {
                sampling: Sampling { temperature: Some(f32::NAN), ..sampling.clone() },
                ..base.clone()
            },
            "temperature is NaN",
        ),
        (Request { sampling: Sampling { top_p: Some(0.0), ..sampling }, ..base }, "top_p is 0"),
    ];
    for (request, reason) in cases {
        match engine.submit(&request).unwrap_err() {
            GenerateError::InvalidRequest(text) => assert!(text.starts_with(reason), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn chat_messages_are_rendered_by_the_model_template() {
    let engine = start(&EngineOptions::default());
    let message = Message::user("Hello");
    let request = Request { input: Input::Chat(vec![message]), ..greedy(&[], 4) };
    let chat = engine.submit(&request).unwrap();
    let spelled_out = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
    let request = Request { input: Input::Text(spelled_out.into()), ..request };
    let text = engine.submit(&request).unwrap();
    assert!(chat.prompt_tokens() > 8);
    assert_eq!(chat.prompt_tokens(), text.prompt_tokens());
    assert_eq!(finished(chat).0, finished(text).0);
}

#[tokio::test]
async fn generations_can_be_awaited_in_async_code() {
    let engine = start(&EngineOptions::default());
    let prompt = &fixture().prompts[2];
    let mut generation = engine.submit(&greedy(&prompt.tokens, 64)).unwrap();
    let mut text = String::new();
    while let Some(progress) = generation.next().await {
        if let Progress::Text { text: part, .. } = progress {
            text.push_str(&part);
        }
    }
    assert_eq!(text, expected(&engine, prompt).0);
}

#[test]
fn a_stopped_engine_reports_that_it_stopped() {
    let engine = start(&EngineOptions::default());
    let other = engine.clone();
    let generation = engine.submit(&greedy(&fixture().prompts[3].tokens, 800)).unwrap();
    engine.shutdown();
    let (_, end) = read(generation);
    // The generation may have finished before the shutdown.
    let stopped = Progress::Failed(GenerateError::Stopped);
    assert!(end == stopped || matches!(end, Progress::Finished(_)), "{end:?}");
    assert!(!other.is_running());
    assert_eq!(other.submit(&greedy(&[1], 1)).unwrap_err(), GenerateError::Stopped);
    other.shutdown();
}

#[test]
fn an_idle_engine_uses_no_cpu() {
    let engine = start(&EngineOptions::default());
    finished(engine.submit(&greedy(&[1, 2, 3], 4)).unwrap());
    std::thread::sleep(Duration::from_millis(50));
    let used = || -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = used();
    std::thread::sleep(Duration::from_millis(500));
    // Clock ticks of 10 ms, summed over all threads.
    assert!(used() - before <= 5, "{} ticks in half a second", used() - before);
}

#[test]
fn kv_pools_larger_than_memory_are_refused() {
    let options = EngineOptions { kv_tokens: Some(1 << 36), ..EngineOptions::default() };
    let error = Engine::start(&ModelFile::Path(fixture().path()), &options).unwrap_err();
    assert!(error.to_string().contains("set kv_tokens lower"), "{error}");
}

#[test]
fn load_errors_name_the_file_and_the_problem() {
    let error = |path: &std::path::Path| {
        Engine::start(&ModelFile::Path(path.to_owned()), &EngineOptions::default())
            .unwrap_err()
            .to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture().path()).unwrap();
    let changed = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = error(&path);
        assert!(error.contains(name), "{error}");
        error
    };
    assert!(error(&folder.path().join("absent.gguf")).contains("absent.gguf"));
    assert!(changed("cut.gguf", &whole[..whole.len() / 2]).contains("truncated"));
    assert!(changed("zip.gguf", b"PK\x03\x04").contains("no GGUF file"));
    let replaced = |from: &[u8], to: &[u8]| {
        let mut bytes = whole.clone();
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(from.len()).position(|part| part == from) {
            bytes[at + found..at + found + from.len()].copy_from_slice(to);
            at += found + from.len();
        }
        bytes
    };
    let foreign = changed("foreign.gguf", &replaced(b"qwen3", b"gemma"));
    assert!(
        foreign.contains("\"gemma\"") && foreign.contains("qwen2, qwen2moe, qwen3, qwen3moe"),
        "{foreign}"
    );
    let missing = changed("missing.gguf", &replaced(b"blk.1.ffn_up", b"blk.1.ffn_xx"));
    assert!(missing.contains("\"blk.1.ffn_up.weight\" is missing"), "{missing}");
    let keyless = changed("keyless.gguf", &replaced(b"qwen3.block_count", b"qwen3.block_xxxxx"));
    assert!(keyless.contains("\"qwen3.block_count\" is missing"), "{keyless}");
}
