//! Lists the tensors of a synthetic model with their formats, as the architecture describes its layers.

use candle_core::quantized::GgmlDType;

use super::SynthQuant;
use super::quant::Role;
use crate::architecture::{
    AttentionSpec, DeltaSpec, ExpertsSpec, GatedMlpSpec, GatesSpec, LayerSpec, MatrixSpec,
    MixerSpec, MlpSpec, ModelConfig, VectorSpec,
};
use crate::gguf::TensorSpec;

/// Returns every tensor of a model: first matrices, then vectors. If it is `tied`, the embedding is the head.
pub(super) fn tensors(config: &ModelConfig, tied: bool, quant: SynthQuant) -> Vec<TensorSpec> {
    let ModelConfig { layers, hidden, vocab, .. } = *config;
    let mut list = List { quant, matrices: Vec::new(), vectors: Vec::new() };
    let embedding = if tied { Role::Head } else { Role::Plain };
    list.matrix(&MatrixSpec::new("token_embd", vocab, hidden), embedding);
    if !tied {
        list.matrix(&MatrixSpec::new("output", vocab, hidden), Role::Head);
    }
    list.vector(&config.output_norm());
    for layer in 0..layers {
        list.layer(&config.layer(layer), Role::Sensitive(layer, layers));
    }
    list.matrices.extend(list.vectors);
    list.matrices
}

struct List {
    quant: SynthQuant,
    matrices: Vec<TensorSpec>,
    vectors: Vec<TensorSpec>,
}

impl List {
    fn matrix(&mut self, spec: &MatrixSpec, role: Role) {
        self.stacked(&[], spec, role);
    }

    /// Adds matrices of one shape in one tensor, as many as `outer` says.
    fn stacked(&mut self, outer: &[usize], spec: &MatrixSpec, role: Role) {
        let MatrixSpec { name, outputs, inputs, .. } = spec;
        let shape = [outer, &[*outputs, *inputs]].concat();
        let dtype = self.quant.dtype(role, *inputs).into();
        self.matrices.push(TensorSpec { name: format!("{name}.weight"), shape, dtype });
    }

    fn vector(&mut self, VectorSpec { name, len, .. }: &VectorSpec) {
        self.numbers(name.clone(), *len);
    }

    fn numbers(&mut self, name: String, len: usize) {
        self.vectors.push(TensorSpec { name, shape: vec![len], dtype: GgmlDType::F32.into() });
    }

    fn layer(
        &mut self,
        LayerSpec { mixer_norm, mixer, mlp_norm, mlp }: &LayerSpec,
        sensitive: Role,
    ) {
        self.vector(mixer_norm);
        self.vector(mlp_norm);
        match mixer {
            MixerSpec::Attention(attention) => self.attention(attention, sensitive),
            MixerSpec::Delta(delta) => self.delta(delta),
        }
        match mlp {
            MlpSpec::Dense(mlp) => self.gated_mlp(&[], mlp, sensitive),
            MlpSpec::Experts(experts) => self.experts(experts, sensitive),
        }
    }

    fn attention(&mut self, spec: &AttentionSpec, sensitive: Role) {
        let AttentionSpec { q, k, v, output, q_norm, k_norm, .. } = spec;
        for (matrix, role) in
            [(q, Role::Plain), (k, Role::Plain), (v, sensitive), (output, Role::Plain)]
        {
            self.matrix(matrix, role);
        }
        q_norm.iter().chain(k_norm).for_each(|norm| self.vector(norm));
        for matrix in [q, k, v].into_iter().filter(|matrix| matrix.bias) {
            self.numbers(format!("{}.bias", matrix.name), matrix.outputs);
        }
    }

    fn delta(&mut self, spec: &DeltaSpec) {
        let DeltaSpec { qkv, gate, gates, conv, decay, decay_bias, norm, output, .. } = spec;
        self.matrix(qkv, Role::Fused);
        self.matrix(gate, Role::Plain);
        match gates {
            GatesSpec::Fused(both) => self.matrix(both, Role::Plain),
            GatesSpec::Apart { beta, alpha } => {
                self.matrix(beta, Role::Plain);
                self.matrix(alpha, Role::Plain);
            }
        }
        self.matrix(conv, Role::Exact);
        self.matrix(output, Role::Plain);
        [decay, decay_bias, norm].into_iter().for_each(|vector| self.vector(vector));
    }

    fn gated_mlp(&mut self, outer: &[usize], spec: &GatedMlpSpec, sensitive: Role) {
        self.stacked(outer, &spec.gate, Role::Plain);
        self.stacked(outer, &spec.up, Role::Plain);
        self.stacked(outer, &spec.down, sensitive);
    }

    fn experts(&mut self, spec: &ExpertsSpec, sensitive: Role) {
        let ExpertsSpec { config, router, each, shared } = spec;
        self.gated_mlp(&[config.count], each, sensitive);
        if let Some((mlp, gate)) = shared {
            self.gated_mlp(&[], mlp, sensitive);
            self.numbers(format!("{}.weight", gate.name), gate.inputs);
        }
        self.matrix(router, Role::Exact);
    }
}
