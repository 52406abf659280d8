//! Which tensor gets which type.
//!
//! The rules of llama.cpp's `llama-quantize` without an importance matrix (`llama_tensor_get_type` in
//! `src/llama-quant.cpp`), for models without experts.

use hearth_formats::TensorLayout;
use hearth_kernels::DType;

use super::Target;

/// What the rules need to know about the model.
#[derive(Debug, Clone)]
pub(super) struct ModelShape {
    /// The number of blocks.
    pub(super) num_layers: usize,
    pub(super) num_heads: usize,
    pub(super) num_kv_heads: usize,
    /// False where the output matrix is the token embeddings.
    pub(super) has_output: bool,
    /// How many tensors hold values of attention: `attn_v` or `attn_qkv`.
    pub(super) num_attn_v: usize,
}

/// The type that a tensor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) dtype: DType,
    /// True where the rows did not divide into blocks of the type that the rules name.
    pub(super) fallback: bool,
}

/// Gives types to tensors in the order of layers; keeps count of those that are treated by their place.
pub(super) struct TypeRules {
    target: Target,
    model: ModelShape,
    next_attn_v: usize,
    next_ffn_down: usize,
}

impl TypeRules {
    pub(super) fn new(target: Target, model: ModelShape) -> TypeRules {
        TypeRules {
            target,
            model,
            next_attn_v: 0,
            next_ffn_down: 0,
        }
    }

    /// The type for the next tensor.
    pub(super) fn next(&mut self, tensor: &TensorLayout) -> Choice {
        let row = tensor.shape.last().copied().unwrap_or(0);
        let target = self.target.dtype();
        let wanted = match is_converted(tensor) {
            false => DType::F32,
            true if !target.is_quantized() => target,
            true => self.wanted(&tensor.name, target, row),
        };
        let dtype = fitting(wanted, row);
        Choice {
            dtype,
            fallback: dtype != wanted,
        }
    }

    fn wanted(&mut self, name: &str, dtype: DType, row: usize) -> DType {
        use Target::*;
        let target = self.target;
        let is_embedding = name == "token_embd.weight";
        if name == "output.weight" || (is_embedding && !self.model.has_output) {
            return match dtype {
                _ if !row.is_multiple_of(dtype.block_len()) => DType::Q8_0,
                DType::Q8_0 => DType::Q8_0,
                _ => DType::Q6_K,
            };
        }
        if name.contains("attn_v.weight") {
            let (i, n) = (self.next_attn_v, self.model.num_attn_v);
            self.next_attn_v += 1;
            let grouped = self.model.num_heads / self.model.num_kv_heads.max(1);
            let dtype = match target {
                Q2_K if grouped >= 4 => DType::Q4_K,
                Q2_K => DType::Q3_K,
                Q3_K_M if i < 2 => DType::Q5_K,
                Q3_K_M => DType::Q4_K,
                Q3_K_L => DType::Q5_K,
                Q4_K_M | Q5_K_M if deserves_more_bits(i, n) => DType::Q6_K,
                Q4_K_S if i < 4 => DType::Q5_K,
                _ => dtype,
            };
            // In models of 80 layers (70B) eight heads share the values, so better ones cost next to nothing.
            return match dtype {
                DType::Q3_K | DType::Q4_K if self.model.num_layers == 80 && grouped > 1 => {
                    DType::Q5_K
                }
                other => other,
            };
        }
        if name.contains("ffn_down") {
            let (i, n) = (self.next_ffn_down, self.model.num_layers);
            self.next_ffn_down += 1;
            return match target {
                Q2_K => DType::Q3_K,
                Q3_K_M if i < n / 16 => DType::Q5_K,
                Q3_K_M => DType::Q4_K,
                Q3_K_L => DType::Q5_K,
                Q4_K_M | Q5_K_M if deserves_more_bits(i, n) => DType::Q6_K,
                Q4_K_S if i < n / 8 => DType::Q5_K,
                _ => dtype,
            };
        }
        if name.contains("attn_output.weight") {
            return match target {
                Q2_K => DType::Q3_K,
                Q3_K_M => DType::Q4_K,
                Q3_K_L => DType::Q5_K,
                _ => dtype,
            };
        }
        if name.contains("attn_qkv.weight") {
            return match target {
                Q3_K_M | Q3_K_L => DType::Q4_K,
                Q4_K_M => DType::Q5_K,
                Q5_K_M => DType::Q6_K,
                _ => dtype,
            };
        }
        dtype
    }
}

/// True for the matrices that get the target's type. Vectors, norms and small tables stay F32.
pub(super) fn is_converted(tensor: &TensorLayout) -> bool {
    let name = tensor.name.as_str();
    let dimensions = tensor.shape.iter().skip_while(|d| **d == 1).count();
    name.ends_with("weight")
        && dimensions >= 2
        && !name.ends_with("_norm.weight")
        && !matches!(name, "position_embd.weight" | "token_types.weight")
        && !name.contains("ffn_gate_inp")
}

/// True for the first and last eighth of layers and every third between.
fn deserves_more_bits(i: usize, n: usize) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

/// The type itself, or where rows do not divide into its blocks one that fits them.
fn fitting(wanted: DType, row: usize) -> DType {
    if row.is_multiple_of(wanted.block_len()) {
        return wanted;
    }
    let smaller = match wanted {
        DType::Q2_K | DType::Q3_K => DType::Q4_0,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        _ => DType::F16,
    };
    match row.is_multiple_of(smaller.block_len()) {
        true => smaller,
        false => DType::F16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(num_layers: usize) -> ModelShape {
        ModelShape {
            num_layers,
            num_heads: 32,
            num_kv_heads: 4,
            has_output: true,
            num_attn_v: num_layers,
        }
    }

    fn one(target: Target, name: &str, shape: &[usize]) -> DType {
        let tensor = TensorLayout {
            name: name.to_owned(),
            dtype: DType::F16,
            shape: shape.to_vec(),
        };
        TypeRules::new(target, model(32)).next(&tensor).dtype
    }

    #[test]
    fn vectors_and_small_tables_stay_f32() {
        for (name, shape) in [
            ("blk.0.attn_norm.weight", vec![256]),
            ("blk.0.attn_q_norm.weight", vec![2, 64]),
            ("blk.0.attn_q.bias", vec![256]),
            ("position_embd.weight", vec![1024, 256]),
            ("token_types.weight", vec![2, 256]),
        ] {
            assert_eq!(one(Target::Q4_0, name, &shape), DType::F32, "{name}");
            assert_eq!(one(Target::F16, name, &shape), DType::F32, "{name}");
        }
    }

    #[test]
    fn the_output_gets_more_bits() {
        assert_eq!(one(Target::Q4_0, "output.weight", &[8, 256]), DType::Q6_K);
        assert_eq!(one(Target::Q8_0, "output.weight", &[8, 256]), DType::Q8_0);
        assert_eq!(
            one(Target::Q4_0, "token_embd.weight", &[8, 256]),
            DType::Q4_0
        );
        let mut tied = model(32);
        tied.has_output = false;
        let embeddings = TensorLayout {
            name: "token_embd.weight".into(),
            dtype: DType::F16,
            shape: vec![8, 256],
        };
        let dtype = TypeRules::new(Target::Q4_0, tied).next(&embeddings).dtype;
        assert_eq!(dtype, DType::Q6_K);
    }

    #[test]
    fn ragged_rows_fall_back() {
        let q = "blk.0.attn_q.weight";
        assert_eq!(one(Target::Q6_K, q, &[8, 288]), DType::Q8_0);
        assert_eq!(one(Target::Q4_K_S, q, &[8, 288]), DType::Q5_0);
        assert_eq!(one(Target::Q5_K_S, q, &[8, 288]), DType::Q5_1);
        assert_eq!(one(Target::Q2_K, q, &[8, 288]), DType::Q4_0);
        assert_eq!(one(Target::Q4_0, q, &[8, 48]), DType::F16);
        assert_eq!(one(Target::Q4_K_M, q, &[8, 48]), DType::F16);
        assert_eq!(one(Target::Q4_0, "output.weight", &[8, 288]), DType::Q8_0);
        assert_eq!(one(Target::Q4_0, "output.weight", &[8, 48]), DType::F16);
    }

    #[test]
    fn mixes_spend_bits_by_layer() {
        let mut rules = TypeRules::new(Target::Q4_K_M, model(16));
        let types: Vec<DType> = (0..16)
            .map(|i| {
                let tensor = TensorLayout {
                    name: format!("blk.{i}.ffn_down.weight"),
                    dtype: DType::F16,
                    shape: vec![256, 256],
                };
                rules.next(&tensor).dtype
            })
            .collect();
        let more: Vec<usize> = (0..16).filter(|&i| types[i] == DType::Q6_K).collect();
        assert_eq!(more, [0, 1, 4, 7, 10, 13, 14, 15]);
        assert!(types.iter().all(|t| matches!(t, DType::Q4_K | DType::Q6_K)));
    }
}
