//! The order of value heads. Adapters have that of transformers; GGUF files of Qwen3.5 have another one.

use super::{Delta, Projection};
use crate::architecture::{DeltaNet, HeadOrder};

/// Re-orders the value heads of an adapter's matrices for a projection to the order of the model.
pub(super) fn reorder(delta: &mut Delta, projection: Projection, config: &DeltaNet) {
    if config.order == HeadOrder::Grouped || config.per_key_head() == 1 {
        return;
    }
    let rank = delta.rank;
    let (matrix, first, dim) = match projection {
        Projection::DeltaQkv => (&mut delta.b, 2 * config.keys(), config.value_dim),
        Projection::DeltaGate => (&mut delta.b, 0, config.value_dim),
        Projection::DeltaBeta | Projection::DeltaAlpha => (&mut delta.b, 0, 1),
        Projection::DeltaOutput => (&mut delta.a, 0, config.value_dim),
        _ => return,
    };
    let row_len = matrix.len() / rank;
    for row in matrix.chunks_exact_mut(row_len) {
        let grouped = row[first..].to_vec();
        for (place, head) in row[first..].chunks_exact_mut(dim).enumerate() {
            let (of_key, key) = (place / config.key_heads, place % config.key_heads);
            let source = (key * config.per_key_head() + of_key) * dim;
            head.copy_from_slice(&grouped[source..source + dim]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_heads_are_tiled_for_gguf_files_only() {
        let config = DeltaNet {
            attention_interval: 4,
            kernel: 4,
            key_heads: 2,
            value_heads: 6,
            key_dim: 1,
            value_dim: 2,
            order: HeadOrder::Tiled,
            fused_gates: false,
        };
        let delta = |len: usize| {
            let numbers: Vec<f32> = (0..len).map(|n| n as f32).collect();
            Delta { rank: 1, scale: 1.0, a: numbers.clone(), b: numbers }
        };
        // Heads 0, 1, 2 are of the first key head, 3, 4, 5 of the second.
        let mut heads = delta(6);
        reorder(&mut heads, Projection::DeltaBeta, &config);
        assert_eq!(heads.b, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(heads.a, delta(6).a);
        let mut qkv = delta(4 + 12);
        reorder(&mut qkv, Projection::DeltaQkv, &config);
        assert_eq!(qkv.b[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 11.0]);
        let mut output = delta(12);
        reorder(&mut output, Projection::DeltaOutput, &config);
        assert_eq!(output.a[..4], [0.0, 1.0, 6.0, 7.0]);
        assert_eq!(output.b, delta(12).b);
        for (projection, order) in
            [(Projection::Up, HeadOrder::Tiled), (Projection::DeltaGate, HeadOrder::Grouped)]
        {
            let mut same = delta(12);
            reorder(&mut same, projection, &DeltaNet { order, ..config });
            assert_eq!(same, delta(12));
        }
    }
}
