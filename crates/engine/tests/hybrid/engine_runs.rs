//! Whole engines: reuse of states, preemption, and the memory plan.

use engine::{Engine, EngineOptions, Finished, Generation, ModelFile};

use crate::common::{Fixture, finished, fixtures, greedy};

fn options() -> EngineOptions {
    EngineOptions { device: engine::DeviceChoice::Cpu, ..EngineOptions::default() }
}

fn start(name: &str, options: &EngineOptions) -> Engine {
    let (family, _) = name.split_once('-').unwrap();
    let path = fixtures().join(family).join(name).with_extension("gguf");
    Engine::start(&ModelFile::Path(path), options).unwrap()
}

fn answer(engine: &Engine, tokens: &[u32], count: usize) -> (String, Finished) {
    finished(engine.submit(&greedy(tokens, count)).unwrap())
}

/// A prompt that repeats the fixture's longest.
fn long_prompt(len: usize) -> Vec<u32> {
    let fixture = Fixture::load("qwen35-f32");
    fixture.longest().tokens.iter().copied().cycle().take(len).collect()
}

#[test]
fn later_turns_and_equal_beginnings_compute_only_what_is_new() {
    for name in ["qwen35-q8_0", "qwen35moe-q8_0"] {
        let engine = start(name, &options());
        let fresh = |tokens: &[u32]| answer(&start(name, &options()), tokens, 20).0;
        let first = long_prompt(600);
        let (_, one) = answer(&engine, &first, 20);
        assert_eq!(one.cached_tokens, 0, "{name}");
        // The same prompt again: all but what follows the last page is found.
        let (text, again) = answer(&engine, &first, 20);
        assert_eq!(again.cached_tokens, 576, "{name}");
        assert_eq!(text, fresh(&first), "{name}: again");
        // The next turn of the conversation.
        let next = [first.as_slice(), &[7, 11, 13], &first[..100]].concat();
        let (text, turn) = answer(&engine, &next, 20);
        assert_eq!(turn.cached_tokens, 576, "{name}");
        assert_eq!(text, fresh(&next), "{name}: next turn");
        // Other prompts with the same beginning: the first finds the state at an interval, and leaves one where it
        // parts from the others, which the next one finds.
        for (last, cached) in [(1, 512), (2, 544)] {
            let other = [&first[..550], &[last; 40]].concat();
            let (text, found) = answer(&engine, &other, 20);
            assert_eq!(found.cached_tokens, cached, "{name}, {last}");
            assert_eq!(text, fresh(&other), "{name}, {last}");
        }
    }
}

#[test]
fn preempted_sequences_match_undisturbed_ones() {
    let name = "qwen35-q8_0";
    let prompts: Vec<Vec<u32>> = (0..4)
        .map(|n| long_prompt(64).iter().map(|token| (token + n * 17) % 500).collect())
        .collect();
    // No answer ends before its limit.
    let request = |prompt: &Vec<u32>| {
        let mut request = greedy(prompt, 320);
        request.sampling.logit_bias = [(503, -100.0), (505, -100.0)].into();
        request
    };
    let roomy = start(name, &options());
    let alone: Vec<String> =
        prompts.iter().map(|one| finished(roomy.submit(&request(one)).unwrap()).0).collect();
    assert_eq!(roomy.totals().preemptions, 0);
    // All are admitted with the first 256 tokens of their answers, but not all of them have room to the end.
    let kv_tokens = Some(4 * (64 + 256) + 64);
    let tight = start(name, &EngineOptions { kv_tokens, max_batch: 4, ..options() });
    let running: Vec<Generation> =
        prompts.iter().map(|one| tight.submit(&request(one)).unwrap()).collect();
    for (generation, text) in running.into_iter().zip(&alone) {
        let (found, end) = finished(generation);
        assert_eq!((&found, end.completion_tokens), (text, 320));
    }
    assert!(tight.totals().preemptions > 0);
}

#[test]
fn recurrent_states_are_counted_in_the_memory_plan() {
    let engine = start("qwen35-f32", &options());
    let plan = engine.memory();
    // Three layers of three rows of 160 channels and six heads of 16 · 16, for 8 sequences and 32 checkpoints.
    let state = 3 * (3 * 160 + 6 * 16 * 16) * 4;
    assert_eq!(plan.states, (8 + 32) * state);
    let sum = plan.weights + plan.keys_and_values + plan.states + plan.workspace + plan.rest;
    assert!(plan.total >= sum);
    assert!(plan.to_string().contains("MiB of recurrent states"), "{plan}");
}
