//! A warm engine's step allocates what it sends, and nothing else.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Arc, Mutex};

use hearth_llm::engine::*;

use super::hooked::HookedText;
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

/// Allocations of the engine's thread from step to step, while `sequences` requests decode.
fn allocations_of(sequences: usize, speculation: Speculation) -> Vec<u64> {
    let seen = Arc::new(Mutex::new(Vec::with_capacity(4096)));
    let hook = {
        let seen = Arc::clone(&seen);
        move |_: &hearth_llm::Batch<'_>| seen.lock().unwrap().push(ALLOCATIONS.get())
    };
    let model = HookedText::new(load("llama3", 1)).on_forward(hook);
    let config = EngineConfig {
        speculation,
        ..config()
    };
    let engine = start(Arc::new(model), config);
    let requests: Vec<GenerateRequest> = (0..sequences as u32)
        .map(|i| greedy(prompt(i, 12), 80))
        .collect();
    run_all(&engine, &requests);
    let seen = seen.lock().unwrap();
    seen.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_warm_step_allocates_what_it_sends() {
    for speculation in [Speculation::Off, Speculation::Always] {
        for sequences in [1, 8] {
            let mut steps = allocations_of(sequences, speculation);
            assert!(steps[0] > 0, "the counter counts");
            steps.drain(..steps.len().min(16));
            steps.sort_unstable();
            let median = steps[steps.len() / 2];
            // A token's text, twice as it passes the search for stop texts, and the list that it is sent in; with guesses
            // there may be several tokens.
            let most = match speculation {
                Speculation::Off => 3 * sequences as u64,
                _ => 9 * sequences as u64,
            };
            assert!(median <= most, "{median} for {sequences}, {speculation:?}");
        }
    }
}
