//! The part of a model's layers that one device computes.

use std::ops::Range;

use super::ModelConfig;
use crate::layout::{KvShape, KvType};

/// A range of a model's layers: all of them, or those that one of several devices computes. The first part
/// includes the embedding, the last part the head. The residual stream is copied from each part to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Not empty.
    layers: Range<usize>,
    /// The number of layers of the whole model.
    of: usize,
}

impl Part {
    /// Returns the part with all layers.
    pub(crate) fn whole(config: &ModelConfig) -> Self {
        Self { layers: 0..config.layers, of: config.layers }
    }

    /// Returns consecutive parts with `sizes` layers, which together are the model. Sizes of 0 are left out.
    pub(crate) fn from_sizes(sizes: &[usize]) -> Vec<Self> {
        let of = sizes.iter().sum();
        let mut start = 0;
        let mut part = |size: &usize| {
            let layers = start..start + size;
            start = layers.end;
            (!layers.is_empty()).then_some(Self { layers, of })
        };
        sizes.iter().filter_map(&mut part).collect()
    }

    /// Returns the indices of its layers in the model.
    pub(crate) fn layers(&self) -> Range<usize> {
        self.layers.clone()
    }

    /// Returns the number of its layers.
    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    /// Returns the number of layers of the whole model.
    pub(crate) fn of(&self) -> usize {
        self.of
    }

    /// Whether it includes the embedding.
    pub(crate) fn is_first(&self) -> bool {
        self.layers.start == 0
    }

    /// Whether it includes the last norm and the head.
    pub(crate) fn is_last(&self) -> bool {
        self.layers.end == self.of
    }

    /// Returns the shape of its layers' keys and values.
    pub(crate) fn kv_shape(&self, config: &ModelConfig, kv_type: KvType) -> KvShape {
        KvShape { layers: config.attention_layers(self.layers()), ..config.kv_shape(kv_type) }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} layers", self.len(), self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_consecutive_layers() {
        let parts = Part::from_sizes(&[3, 0, 1, 2]);
        let layers: Vec<_> = parts.iter().map(Part::layers).collect();
        assert_eq!(layers, [0..3, 3..4, 4..6]);
        assert_eq!(parts.iter().map(Part::is_first).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(parts.iter().map(Part::is_last).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(parts[0].to_string(), "3 of 6 layers");
    }
}
