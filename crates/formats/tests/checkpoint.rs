//! Hugging Face folders under GGUF's names and keys. That models computed from them have the right logits is tested
//! where they are computed; here it is names, shapes, order of elements, keys, and what is refused.

use std::path::Path;

use hearth_formats::Checkpoint;
use hearth_formats::checkpoint::{MAX_SEQ_LENGTH_KEY, NORMALIZE_KEY, Source};
use serde_json::{Value as Json, json};

/// Tensors with their shapes; the elements count up from 0 in each.
type Tensors<'a> = &'a [(&'a str, &'a [usize])];

fn write_weights(dir: &Path, tensors: Tensors) {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape) in tensors {
        let begin = data.len();
        let elements: usize = shape.iter().product();
        (0..elements).for_each(|i| data.extend((i as f32).to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let header = Json::from(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    std::fs::write(dir.join("model.safetensors"), bytes).unwrap();
}

fn folder(config: &Json, tensors: Tensors) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    write_weights(dir.path(), tensors);
    dir
}

fn open(config: &Json, tensors: Tensors) -> hearth_formats::Result<Checkpoint> {
    Checkpoint::open(folder(config, tensors).path())
}

/// `config` with `changes` put in; null removes nothing but stands as null.
fn with(config: &Json, changes: Json) -> Json {
    let mut config = config.clone();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn llama() -> Json {
    json!({
        "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 12,
        "max_position_embeddings": 64, "num_attention_heads": 2, "num_hidden_layers": 1, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope_scaling": null, "tie_word_embeddings": false,
        "vocab_size": 10
    })
}

const LLAMA: Tensors = &[
    ("lm_head.weight", &[10, 8]),
    ("model.embed_tokens.weight", &[10, 8]),
    ("model.layers.0.input_layernorm.weight", &[8]),
    ("model.layers.0.mlp.down_proj.weight", &[8, 12]),
    ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
    ("model.layers.0.self_attn.q_proj.bias", &[8]),
    ("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
    ("model.layers.0.self_attn.rotary_emb.inv_freq", &[2]),
    ("model.norm.weight", &[8]),
];

#[test]
fn a_llama_folder_looks_like_gguf() {
    let dir = folder(&llama(), LLAMA);
    let c = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(c.source(), Source::HuggingFace);
    assert_eq!(c.folder(), Some(dir.path()));
    assert_eq!(c.architecture(), "llama");
    let names: Vec<&str> = c.tensor_names().collect();
    assert_eq!(
        names,
        [
            "token_embd.weight",
            "blk.0.attn_k.weight",
            "blk.0.attn_norm.weight",
            "blk.0.attn_q.bias",
            "blk.0.attn_q.weight",
            "blk.0.ffn_down.weight",
            "output.weight",
            "output_norm.weight",
        ]
    );
    let m = c.metadata();
    for (key, want) in [
        ("llama.block_count", 1),
        ("llama.context_length", 64),
        ("llama.embedding_length", 8),
        ("llama.feed_forward_length", 12),
        ("llama.attention.head_count", 2),
        ("llama.attention.head_count_kv", 1),
        ("llama.attention.key_length", 4),
        ("llama.rope.dimension_count", 4),
        ("llama.vocab_size", 10),
    ] {
        assert_eq!(m.require_u32(key).unwrap(), want, "{key}");
    }
    assert_eq!(m.require_f32("llama.rope.freq_base").unwrap(), 500_000.0);
    assert_eq!(
        m.require_f32("llama.attention.layer_norm_rms_epsilon")
            .unwrap(),
        1e-5
    );
    // Each head of 4 rows: 0, 1, 2, 3 become 0, 2, 1, 3; in bias as in weight.
    let rows = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
    assert_eq!(c.require("blk.0.attn_q.bias").unwrap().to_f32(), rows);
    let q = c.require("blk.0.attn_q.weight").unwrap();
    assert_eq!(q.shape, [8, 8]);
    let first: Vec<f32> = q.to_f32().into_iter().step_by(8).map(|v| v / 8.0).collect();
    assert_eq!(first, rows);
    let k: Vec<f32> = c.require("blk.0.attn_k.weight").unwrap().to_f32();
    assert_eq!(k[8], 16.0);
    assert!(c.tensor("absent").unwrap().is_none());
    let error = c.require("absent").unwrap_err().to_string();
    assert!(error.ends_with("tensor absent is missing"), "{error}");
    let elements = 80 + 80 + 8 + 96 + 32 + 8 + 64 + 8;
    assert_eq!((c.parameters(), c.weight_bytes()), (elements, 4 * elements));
}

#[test]
fn tied_embeddings_have_no_output() {
    let c = open(&with(&llama(), json!({"tie_word_embeddings": true})), LLAMA).unwrap();
    assert!(c.layout("output.weight").is_none());
}

#[test]
fn llama3_frequencies_equal_those_of_transformers() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rope.json");
    let fixture: Json = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let (theta, scaling) = (&case["rope_theta"], &case["rope_scaling"]);
        let mut parameters = scaling.clone();
        parameters["rope_theta"] = theta.clone();
        // The form of transformers 4, that of 5, and the older name of the type.
        let mut old = scaling.clone();
        old["type"] = old["rope_type"].take();
        let forms = [
            json!({"rope_theta": theta, "rope_scaling": scaling}),
            json!({"rope_theta": null, "rope_parameters": parameters}),
            json!({"rope_theta": theta, "rope_scaling": old}),
        ];
        let want: Vec<f32> = serde_json::from_value(case["frequencies"].clone()).unwrap();
        for form in forms {
            let config = with(&with(&llama(), form), json!({"head_dim": case["head_dim"]}));
            let c = open(&config, &[]).unwrap();
            assert!(c.metadata().get("llama.rope.scaling.type").is_none());
            let factors = c.require("rope_freqs.weight").unwrap().to_f32();
            assert_eq!(factors.len(), want.len());
            let theta = c.metadata().require_f32("llama.rope.freq_base").unwrap();
            for (i, factor) in factors.iter().enumerate() {
                let got = theta.powf(-(i as f32) / factors.len() as f32) / factor;
                let want = want[i];
                assert!((got / want - 1.0).abs() < 1e-5, "{i}: {got} is not {want}");
            }
            assert_eq!(c.parameters(), 0);
        }
    }
}

#[test]
fn scalings_are_translated_or_refused() {
    let scaled = |scaling: Json| open(&with(&llama(), json!({"rope_scaling": scaling})), &[]);
    let linear = scaled(json!({"rope_type": "linear", "factor": 2.0})).unwrap();
    let m = linear.metadata();
    assert_eq!(m.require_str("llama.rope.scaling.type").unwrap(), "linear");
    assert_eq!(m.require_f32("llama.rope.scaling.factor").unwrap(), 2.0);
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.0});
    let yarn = scaled(yarn).unwrap();
    let m = yarn.metadata();
    assert_eq!(
        m.require_u32("llama.rope.scaling.original_context_length")
            .unwrap(),
        32
    );
    let attention = m.require_f32("llama.rope.scaling.attn_factor").unwrap();
    assert!((attention * (0.1 * 4f32.ln() + 1.0) - 1.0).abs() < 1e-6);
    assert!(scaled(json!({"rope_type": "default"})).is_ok());
    for (scaling, problem) in [
        (
            json!({"rope_type": "dynamic", "factor": 2.0}),
            "RoPE scaling dynamic",
        ),
        (
            json!({"rope_type": "linear"}),
            "rope_scaling.factor: missing",
        ),
        (
            json!({"rope_type": "linear", "factor": -1.0}),
            "rope_scaling.factor: -1 is not positive",
        ),
        (
            json!({"rope_type": "linear", "factor": "2"}),
            "rope_scaling.factor: expected a number, found \"2\"",
        ),
        (
            json!({"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}),
            "rope_scaling.mscale",
        ),
        (json!("linear"), "rope_scaling: expected an object"),
    ] {
        let error = scaled(scaling).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn what_can_not_be_expressed_is_refused_by_name() {
    let extra: Tensors = &[("model.layers.0.self_attn.q_norm.weight", &[4])];
    let beyond: Tensors = &[("model.layers.1.input_layernorm.weight", &[8])];
    let ragged: Tensors = &[("model.layers.0.self_attn.q_proj.weight", &[6, 8])];
    for (config, tensors, problem) in [
        (
            json!({}),
            extra,
            "tensor model.layers.0.self_attn.q_norm.weight: the architecture llama has no such",
        ),
        (
            json!({}),
            beyond,
            "tensor model.layers.1.input_layernorm.weight: the architecture llama has no such",
        ),
        (json!({}), ragged, "6 rows do not divide into 2 heads"),
        (
            json!({"architectures": ["MambaForCausalLM"]}),
            LLAMA,
            "architecture MambaForCausalLM; supported: GPT2LMHeadModel",
        ),
        (
            json!({"quantization_config": {"quant_method": "awq"}}),
            LLAMA,
            "weights quantized by awq",
        ),
        (
            json!({"hidden_act": "relu"}),
            LLAMA,
            "hidden_act \"relu\"; supported: \"silu\"",
        ),
        (
            json!({"num_hidden_layers": null}),
            LLAMA,
            "num_hidden_layers: missing",
        ),
        (
            json!({"num_hidden_layers": 0}),
            LLAMA,
            "num_hidden_layers: must not be 0",
        ),
        (
            json!({"hidden_size": -8}),
            LLAMA,
            "hidden_size: expected an integer from 0 to 4294967295, found -8",
        ),
        (
            json!({"num_attention_heads": 3}),
            LLAMA,
            "hidden_size 8 does not divide into 3 heads",
        ),
        (
            json!({"num_key_value_heads": 3}),
            LLAMA,
            "2 heads do not divide among 3",
        ),
        (json!({"head_dim": 3}), LLAMA, "head_dim: 3 is not even"),
    ] {
        let error = open(&with(&llama(), config), tensors)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
    }
    let qwen = json!({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": true});
    let error = open(&with(&llama(), qwen), &[]).unwrap_err().to_string();
    assert!(error.contains("use_sliding_window true"), "{error}");
}

#[test]
fn other_files_are_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let problem = |path: &Path| Checkpoint::open(path).unwrap_err().to_string();
    assert!(problem(dir.path()).contains("a folder without config.json"));
    assert!(problem(&dir.path().join("absent.gguf")).contains("absent.gguf: No such file"));
    let weights = folder(&llama(), LLAMA);
    assert!(problem(&weights.path().join("model.safetensors")).contains("open the folder"));
    for (name, advice) in [
        ("pytorch_model.bin", "PyTorch"),
        ("x.gguf", "does not begin with GGUF"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, b"something else").unwrap();
        assert!(problem(&path).contains(advice), "{}", problem(&path));
    }
    let path = dir.path().join("empty.gguf");
    std::fs::write(&path, b"").unwrap();
    assert!(problem(&path).contains("does not begin with GGUF"));
    std::fs::write(dir.path().join("config.json"), "{\"architectures\": [").unwrap();
    assert!(problem(dir.path()).contains("config.json: line 1"));
}

#[test]
fn qwen_keeps_its_rows() {
    for (arch, norm) in [("qwen2", false), ("qwen3", true)] {
        let class = format!("Qwen{}ForCausalLM", &arch[4..]);
        let config = with(&llama(), json!({"architectures": [class], "head_dim": 4}));
        let mut tensors: Vec<(&str, &[usize])> = vec![
            // Embedding models have no prefix.
            ("layers.0.self_attn.q_proj.weight", &[8, 8]),
            ("layers.0.self_attn.q_proj.bias", &[8]),
        ];
        if norm {
            tensors.push(("layers.0.self_attn.k_norm.weight", &[4]));
        }
        let c = open(&config, &tensors).unwrap();
        assert_eq!(c.architecture(), arch);
        let bias = c.require("blk.0.attn_q.bias").unwrap().to_f32();
        assert_eq!(bias, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(c.layout("blk.0.attn_k_norm.weight").is_some(), norm);
        assert_eq!(
            c.metadata()
                .require_u32(&format!("{arch}.block_count"))
                .unwrap(),
            1
        );
    }
}

#[test]
fn gpt2_linear_layers_are_transposed() {
    let config = json!({
        "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new", "n_embd": 2, "n_head": 1,
        "n_layer": 1, "n_positions": 16, "vocab_size": 3, "layer_norm_epsilon": 1e-5
    });
    for prefix in ["", "transformer."] {
        let names = [
            "h.0.attn.c_attn.weight",
            "h.0.attn.c_attn.bias",
            "h.0.attn.bias",
            "wte.weight",
        ];
        let names = names.map(|n| format!("{prefix}{n}"));
        let tensors: [(&str, &[usize]); 5] = [
            (&names[0], &[2, 6]),
            (&names[1], &[6]),
            (&names[2], &[1, 1, 16, 16]),
            (&names[3], &[3, 2]),
            ("lm_head.weight", &[3, 2]),
        ];
        let c = open(&config, &tensors).unwrap();
        let names: Vec<&str> = c.tensor_names().collect();
        assert_eq!(
            names,
            [
                "token_embd.weight",
                "blk.0.attn_qkv.bias",
                "blk.0.attn_qkv.weight"
            ]
        );
        let qkv = c.require("blk.0.attn_qkv.weight").unwrap();
        assert_eq!(qkv.shape, [6, 2]);
        let want = [0.0, 6.0, 1.0, 7.0, 2.0, 8.0, 3.0, 9.0, 4.0, 10.0, 5.0, 11.0];
        assert_eq!(qkv.to_f32(), want);
        assert_eq!(
            c.metadata()
                .require_u32("gpt2.feed_forward_length")
                .unwrap(),
            8
        );
    }
}

fn bert() -> Json {
    json!({
        "architectures": ["BertModel"], "hidden_act": "gelu", "hidden_size": 4, "intermediate_size": 8,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
        "position_embedding_type": "absolute", "type_vocab_size": 2, "vocab_size": 10
    })
}

#[test]
fn bert_is_read_with_and_without_prefix() {
    for prefix in ["", "bert."] {
        let names = [
            "embeddings.LayerNorm.gamma",
            "embeddings.token_type_embeddings.weight",
            "encoder.layer.0.attention.output.LayerNorm.weight",
            "encoder.layer.0.output.dense.bias",
            "pooler.dense.weight",
        ];
        let names = names.map(|n| format!("{prefix}{n}"));
        let tensors: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[4][..])).collect();
        let c = open(&bert(), &tensors).unwrap();
        let names: Vec<&str> = c.tensor_names().collect();
        assert_eq!(
            names,
            [
                "token_embd_norm.weight",
                "token_types.weight",
                "blk.0.attn_output_norm.weight",
                "blk.0.ffn_down.bias",
            ]
        );
        assert_eq!(
            c.metadata().get_bool("bert.attention.causal").unwrap(),
            Some(false)
        );
        assert_eq!(c.metadata().get("bert.pooling_type"), None);
    }
}

#[test]
fn sentence_transformers_modules_become_keys() {
    let open_with = |modules: Json, pooling: Json| {
        let dir = folder(&bert(), &[]);
        std::fs::write(dir.path().join("modules.json"), modules.to_string()).unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        std::fs::write(
            dir.path().join("1_Pooling/config.json"),
            pooling.to_string(),
        )
        .unwrap();
        let limit = json!({"max_seq_length": 12}).to_string();
        std::fs::write(dir.path().join("sentence_bert_config.json"), limit).unwrap();
        Checkpoint::open(dir.path())
    };
    let module = |kind: &str, path: &str| json!({"path": path, "type": format!("sentence_transformers.models.{kind}")});
    let transformer = module("Transformer", "");
    let pooling = module("Pooling", "1_Pooling");
    for (config, want) in [
        (
            json!({"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}),
            1,
        ),
        (json!({"pooling_mode_cls_token": true}), 2),
        (json!({"pooling_mode_lasttoken": true}), 3),
        (json!({"pooling_mode": "mean"}), 1),
    ] {
        let modules = json!([transformer, pooling, module("Normalize", "2_Normalize")]);
        let c = open_with(modules, config.clone()).unwrap();
        let m = c.metadata();
        assert_eq!(m.require_u32("bert.pooling_type").unwrap(), want);
        assert_eq!(m.get_bool(NORMALIZE_KEY).unwrap(), Some(true));
        assert_eq!(m.get_u32(MAX_SEQ_LENGTH_KEY).unwrap(), Some(12));
        let c = open_with(json!([transformer, pooling]), config).unwrap();
        assert_eq!(c.metadata().get_bool(NORMALIZE_KEY).unwrap(), Some(false));
    }
    let mean = json!({"pooling_mode": "mean"});
    for (modules, config, problem) in [
        (
            json!([module("Dense", "2_Dense")]),
            mean.clone(),
            "the module \"sentence_transformers.models.Dense\"",
        ),
        (
            json!([module("Pooling", "../x")]),
            mean.clone(),
            "\"../x\" is no folder's name",
        ),
        (json!({}), mean, "not a JSON array"),
        (
            json!([pooling]),
            json!({"pooling_mode_max_tokens": true}),
            "pooling by max",
        ),
        (json!([pooling]), json!({}), "pooling by nothing"),
        (
            json!([pooling]),
            json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}),
            "pooling by cls and mean",
        ),
    ] {
        let error = open_with(modules, config).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
