//! A warm decode loop allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use hearth_formats::Checkpoint;
use hearth_kernels::{AttentionSpan, DType, KvDType, Pool, Precision};
use hearth_llm::{Batch, LoadOptions, Scratch, TextModel, load_text};

use super::support::*;

thread_local! {
    /// Allocations of this thread since it began.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is no heap memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from `alloc` and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Decodes three sequences step by step and returns the allocations of the steps after the first two.
fn allocations_of(model: &Arc<dyn TextModel>, kv: KvDType) -> u64 {
    let mut cache = model.new_cache(6, 32, kv).expect("a cache");
    let (mut scratch, mut hidden, mut logits) = (Scratch::default(), Vec::new(), Vec::new());
    let mut warm = 0;
    for position in 0..40 {
        if position == 2 {
            warm = ALLOCATIONS.get();
        }
        let position = position as u32;
        let block = |sequence: u32| 2 * sequence + position / 32;
        let tables = [[0, 1], [2, 3], [4, 5]];
        let spans = [0, 1, 2].map(|i| AttentionSpan {
            rows: i..i + 1,
            first_position: position as usize,
            block_table: &tables[i],
        });
        let batch = Batch {
            tokens: &[3, 4, 5],
            positions: &[position; 3],
            slots: &[0, 1, 2].map(|s| block(s) * 32 + position % 32),
            spans: &spans,
            outputs: &[0, 1, 2],
        };
        model.forward(&batch, &mut cache, &mut scratch, &mut hidden);
        model.logits(&hidden, &mut scratch, &mut logits);
    }
    assert!(warm > 0, "the first steps allocate, so the counter counts");
    ALLOCATIONS.get() - warm
}

#[test]
fn a_warm_decode_loop_allocates_nothing() {
    for name in ["gpt2", "llama3", "qwen2", "qwen3"] {
        for kv in [KvDType::F16, KvDType::F32] {
            assert_eq!(allocations_of(&load(name, 1), kv), 0, "{name} {kv:?}");
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    for dtype in [
        DType::BF16,
        DType::Q8_0,
        DType::Q4_0,
        DType::Q4_K,
        DType::Q6_K,
    ] {
        let path = dir.path().join(format!("{dtype}.gguf"));
        write_wide_llama(&path, dtype);
        let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
        for precision in [Precision::F32, Precision::Int8] {
            let pool = Arc::new(Pool::new(1));
            let model = load_text(
                &checkpoint,
                pool,
                LoadOptions {
                    precision,
                    quantize: None,
                },
            )
            .expect("a model");
            let allocations = allocations_of(&model, KvDType::F16);
            assert_eq!(allocations, 0, "wide llama {dtype} {precision:?}");
        }
    }
}
