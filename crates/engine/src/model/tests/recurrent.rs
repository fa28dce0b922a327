//! Hybrid models: what a sequence's recurrent state holds does not depend on chunks, on the batch, or on where it was
//! taken from.

use super::*;
use crate::kv::StatePlan;

/// A prompt of six pages and a few tokens, so that it exceeds every length that the kernels might treat apart.
fn hybrid_prompt() -> Vec<u32> {
    prompt_of(200)
}

/// Runs `check` with hybrid models on every machine.
fn on_every_machine(check: impl Fn(&mut Rig)) {
    let packs = Machine::all().len() > 1;
    for (name, packed) in [("qwen35-f32", false), ("qwen35-q8_0", packs), ("qwen35moe-q8_0", packs)]
    {
        let mut rig = Rig::new(name, &fixture(name), packed);
        // A state carries rounding errors of candle's products from token to token.
        rig.tolerance = 1e-3;
        let config = rig.model.config();
        let plan = StatePlan { sequences: 40, checkpoints: 20, interval: 1, bytes: 0 };
        let shape = config.state_shape(0..config.layers).unwrap();
        let kv_type = if packed { KvType::F16 } else { KvType::F32 };
        rig.pool = KvPool::new(config.kv_shape(kv_type), 400).with_states(shape, plan.slots());
        rig.pages = PageAllocator::new(400).with_states(plan);
        for machine in Machine::all() {
            rig.name = format!("{name} on {machine:?}");
            machine.run(|| check(&mut rig));
        }
    }
}

/// Computes `tokens` in chunks, and keeps the pages and states after each page for the tenant. Returns the logits and
/// the keys of the pages.
fn kept(
    rig: &mut Rig,
    tokens: &[u32],
    chunk: usize,
    tenant: &str,
) -> (Vec<Vec<f32>>, Vec<PageKey>) {
    let mut keys = Vec::new();
    let mut last = PageKey::root(tenant);
    for page in tokens.as_chunks::<PAGE_TOKENS>().0 {
        last = last.next(page);
        keys.push(last);
    }
    let mut table = rig.table(tokens.len());
    let mut rows = Vec::new();
    for (index, part) in tokens.chunks(chunk).enumerate() {
        let (start, end) = (index * chunk, index * chunk + part.len());
        for pages in start / PAGE_TOKENS + 1..=end / PAGE_TOKENS {
            table.save_state(pages, &keys[pages - 1]);
        }
        let mut batch = ForwardBatch::default();
        batch.push(SequenceRows::text(part, start, &table, Logits::All));
        rows.extend(rig.logits(&batch));
        table.publish_states(usize::MAX, |page| keys[page]);
    }
    (0..keys.len()).for_each(|page| table.keep(page, keys[page]));
    (rows, keys)
}

#[test]
fn chunked_prompts_match_whole_ones() {
    on_every_machine(|rig| {
        let tokens = hybrid_prompt();
        let table = rig.table(tokens.len());
        let whole = rig.logits_from(&tokens, 0, &table, usize::MAX);
        for chunk in [1, 3, 31, 32, 33, 63, 64, 65, 128, 199] {
            let table = rig.table(tokens.len());
            let chunked = rig.logits_from(&tokens, 0, &table, chunk);
            rig.assert_same(&chunked, &whole, &format!("chunks of {chunk}"));
        }
    });
}

#[test]
fn mixed_batches_match_single_sequences() {
    on_every_machine(|rig| {
        let tokens = hybrid_prompt();
        let parts = [(0, 1, 0), (0, 200, 199), (60, 67, 0), (0, 100, 33), (5, 70, 2), (20, 90, 69)];
        rig.assert_batched(&tokens, &parts);
    });
}

#[test]
fn sequences_that_continue_from_a_checkpoint_match_fresh_ones() {
    on_every_machine(|rig| {
        let tokens = hybrid_prompt();
        for (tenant, chunk) in [("a", usize::MAX), ("b", 1), ("c", 33)] {
            let tenant = format!("{tenant} of {}", rig.name);
            let (fresh, keys) = kept(rig, &tokens, chunk.min(tokens.len()), &tenant);
            for cached in 1..=keys.len() {
                // Two sequences continue from it at once, and leave it as it is.
                for rest in [usize::MAX, 7] {
                    let mut table = rig.pages.table();
                    assert_eq!(table.take_cached_with_state(&keys[..cached]), cached);
                    assert!(table.grow(tokens.len()));
                    let begin = cached * PAGE_TOKENS;
                    let first = &tokens[begin..(begin + rest.min(5)).min(tokens.len())];
                    let mut batch = ForwardBatch::default();
                    batch.push(SequenceRows::text(first, begin, &table, Logits::All));
                    let mut logits = rig.logits(&batch);
                    table.publish_states(0, |_| panic!("nothing was saved"));
                    logits.extend(rig.logits_from(&tokens, begin + first.len(), &table, rest));
                    let what = format!("{cached} pages of chunks of {chunk}, then {rest}");
                    rig.assert_same(&logits, &fresh[begin..], &what);
                }
            }
        }
    });
}

/// A sequence that was generated token by token is recomputed as a prompt, from its start or from a checkpoint.
#[test]
fn preempted_sequences_with_states_match_uninterrupted_ones() {
    on_every_machine(|rig| {
        let mut tokens = hybrid_prompt()[..50].to_vec();
        let table = rig.table(120);
        let undisturbed = rig.generate(&mut tokens, 120, &table);
        drop(table);
        let tenant = format!("preempted on {}", rig.name);
        let (recomputed, keys) = kept(rig, &tokens, tokens.len(), &tenant);
        rig.assert_same(&recomputed, &undisturbed, "computed again");
        let mut table = rig.pages.table();
        assert_eq!(table.take_cached_with_state(&keys), 3);
        assert!(table.grow(tokens.len()));
        let rest = rig.logits_from(&tokens, 96, &table, usize::MAX);
        rig.assert_same(&rest, &undisturbed[96..], "computed again from a checkpoint");
    });
}

#[test]
fn sequences_without_a_slot_are_refused() {
    let path = fixture("qwen35-q8_0");
    let mut rig = Rig::new("without states", &path, true);
    let table = rig.table(3);
    let mut batch = ForwardBatch::default();
    batch.push(SequenceRows::text(&[1, 2, 3], 0, &table, Logits::Last));
    let error = rig.model.forward(&batch, &mut rig.pool, &mut rig.workspace).unwrap_err();
    assert!(error.to_string().contains("recurrent state"), "{error}");
}
