//! Rows that replace embeddings.

use super::*;
use crate::Checkpoint;
use crate::architecture::Part;
use crate::injected::{Injected, InjectedRows};
use crate::weights::Weights;

/// Embeddings are replaced in the second page.
const REPLACED: std::ops::Range<usize> = 40..60;

/// A prompt that ends in the third page.
fn short_prompt() -> Vec<u32> {
    prompt()[..70].to_vec()
}

/// Reads the embeddings of `tokens` from a rig's file. `[tokens, hidden]`
fn embeddings(rig: &Rig, tokens: &[u32]) -> Vec<f32> {
    let checkpoint = Checkpoint::from(&GgufFile::open(&rig.path).unwrap());
    let config = rig.model.config();
    let weights = Weights::of_part(&checkpoint, &Part::whole(config));
    let embedding = weights.embedding("token_embd", config.vocab, config.hidden).unwrap();
    let mut rows = vec![0.0; tokens.len() * config.hidden];
    embedding.rows(tokens, &mut rows).unwrap();
    rows
}

fn inject(rig: &Rig, tokens: usize, values: Vec<f32>, positions: Vec<[u32; 3]>) -> Injected {
    let rows = InjectedRows {
        start: REPLACED.start,
        positions,
        values: values.into(),
        added: [].into(),
        hash: [1; 32],
    };
    Injected::new(vec![rows], tokens, rig.model.config().hidden, 0).unwrap()
}

/// Returns the logits of a prompt with injected rows, computed in chunks of `chunk`.
fn logits_with(rig: &mut Rig, tokens: &[u32], injected: &Injected, chunk: usize) -> Vec<Vec<f32>> {
    let table = rig.table(tokens.len());
    let mut rows = Vec::new();
    for (index, part) in tokens.chunks(chunk).enumerate() {
        let mut batch = ForwardBatch::default();
        let text = SequenceRows::text(part, index * chunk, &table, Logits::All);
        batch.push(SequenceRows { injected, ..text });
        rows.extend(rig.logits(&batch));
    }
    rows
}

fn bits(rows: &[Vec<f32>]) -> Vec<u32> {
    rows.iter().flatten().map(|number| number.to_bits()).collect()
}

/// The prompt with placeholders for the replaced tokens.
fn placeholders(tokens: &[u32]) -> Vec<u32> {
    let mut tokens = tokens.to_vec();
    tokens[REPLACED].fill(0);
    tokens
}

#[test]
fn injected_embeddings_give_the_logits_of_their_tokens() {
    on_every_machine(|rig| {
        let tokens = short_prompt();
        let table = rig.table(tokens.len());
        let text = rig.logits_from(&tokens, 0, &table, usize::MAX);
        let rows = embeddings(rig, &tokens[REPLACED]);
        let positions = InjectedRows::consecutive_positions(REPLACED.len());
        let injected = inject(rig, tokens.len(), rows, positions);
        let whole = logits_with(rig, &placeholders(&tokens), &injected, usize::MAX);
        assert_eq!(bits(&whole), bits(&text), "{}", rig.name);
        let chunked = logits_with(rig, &placeholders(&tokens), &injected, 50);
        rig.assert_same(&chunked, &text, "chunks of 50");
    });
}

#[test]
fn other_injected_rows_or_positions_give_other_logits() {
    on_every_machine(|rig| {
        let tokens = placeholders(&short_prompt());
        let rows = embeddings(rig, &short_prompt()[REPLACED]);
        let positions = InjectedRows::consecutive_positions(REPLACED.len());
        let mut logits = |rows: &[f32], positions: &[[u32; 3]]| {
            let injected = inject(rig, tokens.len(), rows.to_vec(), positions.to_vec());
            logits_with(rig, &tokens, &injected, usize::MAX)
        };
        let expected = logits(&rows, &positions);
        let mut other = rows.clone();
        other[rows.len() - 1] += 0.5;
        let changed = logits(&other, &positions);
        let last = REPLACED.end - 1;
        assert_eq!(bits(&changed[..last]), bits(&expected[..last]), "before the changed row");
        for token in [last, tokens.len() - 1] {
            assert_ne!(bits(&changed[token..=token]), bits(&expected[token..=token]));
        }
        // A model without M-RoPE uses the positions in time only.
        let moved = |axis: usize| {
            let mut positions = positions.clone();
            positions[10][axis] = 3;
            positions
        };
        assert_ne!(bits(&logits(&rows, &moved(0))), bits(&expected));
        assert_eq!(bits(&logits(&rows, &moved(1))), bits(&expected));
    });
}

#[test]
fn batched_logits_with_injected_rows_match_single_sequence_logits() {
    on_every_machine(|rig| {
        let (text, tokens) = (short_prompt(), placeholders(&short_prompt()));
        let rows: Vec<f32> = embeddings(rig, &text[REPLACED]).iter().map(|x| x * 1.5).collect();
        // An image of 4 × 5.
        let positions = (0..20).map(|n| [n / 5, n / 5, n % 5]).collect();
        let injected = inject(rig, tokens.len(), rows, positions);
        let table = rig.table(text.len());
        let mut single = rig.logits_from(&text[..60], 0, &table, usize::MAX);
        let with_rows = logits_with(rig, &tokens, &injected, usize::MAX);
        single.extend_from_slice(&with_rows[50..]);
        single.extend(rig.logits_from(&text[..20], 0, &rig.table(20), usize::MAX));

        let tables = [60, tokens.len(), 20].map(|tokens| rig.table(tokens));
        let mut before = ForwardBatch::default();
        let start = SequenceRows::text(&tokens[..50], 0, &tables[1], Logits::None);
        before.push(SequenceRows { injected: &injected, ..start });
        rig.logits(&before);
        let mut batch = ForwardBatch::default();
        batch.push(SequenceRows::text(&text[..60], 0, &tables[0], Logits::All));
        let rest = SequenceRows::text(&tokens[50..], 50, &tables[1], Logits::All);
        batch.push(SequenceRows { injected: &injected, ..rest });
        batch.push(SequenceRows::text(&text[..20], 0, &tables[2], Logits::All));
        let together = rig.logits(&batch);
        rig.assert_same(&together, &single, "a batch with an image");
    });
}

/// What DeepStack adds after the first two layers: `[2, rows, hidden]`.
fn added(rig: &Rig, scale: f32) -> Vec<f32> {
    let count = 2 * REPLACED.len() * rig.model.config().hidden;
    (0..count).map(|n| scale * ((n * 37 % 101) as f32 / 50.0 - 1.0)).collect()
}

#[test]
fn what_is_added_after_layers_does_not_depend_on_chunks() {
    on_every_machine(|rig| {
        let tokens = placeholders(&short_prompt());
        let values = embeddings(rig, &short_prompt()[REPLACED]);
        let mut logits = |scale: f32, chunk: usize| {
            let rows = InjectedRows {
                start: REPLACED.start,
                positions: InjectedRows::consecutive_positions(REPLACED.len()),
                values: values.clone().into(),
                added: added(rig, scale).into(),
                hash: [1; 32],
            };
            let hidden = rig.model.config().hidden;
            let injected = Injected::new(vec![rows], tokens.len(), hidden, 2).unwrap();
            logits_with(rig, &tokens, &injected, chunk)
        };
        let (nothing, whole) = (logits(0.0, usize::MAX), logits(1.0, usize::MAX));
        let before = REPLACED.start;
        assert_eq!(bits(&nothing[..before]), bits(&whole[..before]));
        for token in [REPLACED.start, REPLACED.end - 1, tokens.len() - 1] {
            assert_ne!(bits(&nothing[token..=token]), bits(&whole[token..=token]));
        }
        let chunked = [50, 33, 1].map(|chunk| logits(1.0, chunk));
        for chunked in chunked {
            rig.assert_same(&chunked, &whole, "rows that are added in chunks");
        }
        let text = logits_with(rig, &short_prompt(), &Injected::default(), usize::MAX);
        assert_eq!(bits(&nothing), bits(&text), "zeros change nothing");
    });
}
