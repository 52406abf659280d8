//! What activations, and keys and values, of 8 bits cost the built-in model on text that it was not trained on.

use std::path::Path;
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{KvDType, Pool, Precision};
use hearth_llm::tokenizer::Tokenizer;
use hearth_llm::{LoadOptions, load_text, perplexity};

#[test]
fn eight_bits_cost_less_than_half_a_percent_of_perplexity() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checkpoint = Checkpoint::open(&root.join("models/ember.gguf")).expect("the built-in model");
    let text = std::fs::read_to_string(root.join("training/heldout.txt")).expect("a text");
    let tokenizer = Tokenizer::open(&checkpoint).expect("a tokenizer");
    let mut tokens = tokenizer.encode_prompt(&text).expect("tokens");
    // Some windows tell as much as all, and portable code takes its time.
    tokens.truncate(1536);
    let measure = |precision, kv| {
        let options = LoadOptions {
            precision,
            ..LoadOptions::default()
        };
        let model = load_text(&checkpoint, Arc::new(Pool::new(2)), options).expect("a model");
        let found = perplexity(&*model, &tokens, 512, kv).expect("memory");
        found.expect("a text of several tokens").value
    };
    let exact = measure(Precision::F32, KvDType::F32);
    assert!(exact > 1.0 && exact < 100.0, "{exact}");
    for (precision, kv) in [
        (Precision::F32, KvDType::F16),
        (Precision::Int8, KvDType::F16),
        (Precision::F32, KvDType::Q16),
        (Precision::Int8, KvDType::Q16),
        (Precision::F32, KvDType::Q8_0),
        (Precision::Int8, KvDType::Q8_0),
    ] {
        let found = measure(precision, kv);
        let change = found / exact - 1.0;
        println!("{precision:?}, {kv}: {found:.4}, {:+.3} %", 100.0 * change);
        assert!(
            change.abs() < 0.005,
            "{precision:?}, {kv}: {found}, exact {exact}"
        );
    }
}
