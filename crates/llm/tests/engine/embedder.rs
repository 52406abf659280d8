//! The embedder over a real encoder: batches, callers, faults, shutdown.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use hearth_formats::Checkpoint;
use hearth_kernels::{KernelError, Pool, Precision};
use hearth_llm::embedder::{Embedder, EmbedderConfig};
use hearth_llm::engine::{EngineError, Shutdown};
use hearth_llm::{EncoderModel, LoadOptions, Scratch, load_encoder};

use super::hooked::*;
use super::support::fixture;

fn encoder() -> Arc<dyn EncoderModel> {
    let checkpoint = Checkpoint::open(&fixture("bert-mean")).unwrap();
    let options = LoadOptions {
        precision: Precision::F32,
        ..LoadOptions::default()
    };
    load_encoder(&checkpoint, Arc::new(Pool::new(2)), options).unwrap()
}

fn start(model: impl EncoderModel + 'static, max_batch_tokens: usize) -> Embedder {
    let config = EmbedderConfig {
        max_batch_tokens,
        queue_limit: 8,
    };
    Embedder::start(Arc::new(model), config).unwrap()
}

/// As it is.
fn plain() -> HookedEncoder {
    HookedEncoder::new(encoder(), |_| Ok(Effect::Nothing))
}

/// Holds every batch, and tells the lengths of its inputs.
fn held() -> (HookedEncoder, Control, Receiver<Vec<usize>>) {
    let (turnstile, control) = turnstile();
    let (tell, told) = channel();
    let model = HookedEncoder::new(encoder(), move |inputs| {
        turnstile.pass();
        tell.send(inputs.iter().map(|input| input.len()).collect())
            .unwrap();
        Ok(Effect::Nothing)
    });
    (model, control, told)
}

/// Inputs of these lengths.
fn inputs(lengths: &[usize]) -> Vec<Vec<u32>> {
    let input = |len: usize| (0..len).map(|i| ((len * 31 + i * 7) % 60) as u32).collect();
    lengths.iter().map(|&len| input(len)).collect()
}

fn alone(inputs: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let model = encoder();
    let mut scratch = Scratch::default();
    let encode = |input: &Vec<u32>| model.encode(&[input], &mut scratch).unwrap();
    inputs.iter().map(encode).collect()
}

/// A request under way.
type Pending<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;
type Answer = Result<Vec<Vec<f32>>, EngineError>;

/// Submits a request; dropping it cancels it.
fn submit<'a>(
    embedder: &'a Embedder,
    inputs: &[Vec<u32>],
    deadline: Option<Instant>,
) -> Pending<'a> {
    let mut pending: Pending = Box::pin(embedder.embed(inputs.to_vec(), deadline));
    // The first poll submits it.
    let polled = pending
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Pending => pending,
        Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn finish(mut pending: Pending) -> Answer {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        let polled = pending.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(answer) = polled {
            return answer;
        }
        std::thread::park();
    }
}

#[test]
fn vectors_are_those_of_the_input_alone() {
    let embedder = start(plain(), 40);
    let requests = [
        inputs(&[3, 17, 30, 9]),
        inputs(&[5]),
        inputs(&[31, 2, 2, 8, 12, 1]),
    ];
    let pending: Vec<_> = requests
        .iter()
        .map(|r| submit(&embedder, r, None))
        .collect();
    for (pending, request) in pending.into_iter().zip(&requests) {
        assert_eq!(finish(pending).unwrap(), alone(request));
    }
    let stats = embedder.stats();
    assert_eq!((stats.inputs, stats.tokens, stats.waiting), (11, 120, 0));
    let blocking = embedder.blocking_embed(requests[1].clone(), None);
    assert_eq!(blocking.unwrap(), alone(&requests[1]));
}

#[test]
fn batches_take_from_all_requests_in_turn_within_their_budget() {
    let (model, control, batches) = held();
    let embedder = start(model, 20);
    let first = submit(&embedder, &inputs(&[1]), None);
    control.wait();
    let large = submit(&embedder, &inputs(&[8, 8, 8, 8]), None);
    let small = submit(&embedder, &inputs(&[4, 4]), None);
    let huge = submit(&embedder, &inputs(&[30]), None);
    drop(control);
    for pending in [first, large, small, huge] {
        finish(pending).unwrap();
    }
    drop(embedder);
    let batches: Vec<_> = batches.iter().collect();
    // The one that exceeds the budget is computed alone, when its turn comes.
    let expected: [&[usize]; 5] = [&[1], &[8, 4], &[30], &[8, 4, 8], &[8]];
    assert_eq!(batches, expected);
}

#[test]
fn a_caller_that_goes_away_is_not_computed_for() {
    let (model, control, batches) = held();
    let embedder = start(model, 100);
    let first = submit(&embedder, &inputs(&[1]), None);
    control.wait();
    let leaving = submit(&embedder, &inputs(&[7]), None);
    let staying = submit(&embedder, &inputs(&[9]), None);
    drop(leaving);
    drop(control);
    finish(first).unwrap();
    finish(staying).unwrap();
    assert_eq!(embedder.stats().cancelled, 1);
    drop(embedder);
    assert_eq!(batches.iter().collect::<Vec<_>>(), [[1], [9]]);
}

#[test]
fn a_deadline_fails_what_is_not_complete() {
    let (model, control, _batches) = held();
    let embedder = start(model, 100);
    let passed = submit(&embedder, &inputs(&[3]), Some(Instant::now()));
    assert_eq!(finish(passed), Err(EngineError::Deadline));
    let first = submit(&embedder, &inputs(&[1]), None);
    control.wait();
    let deadline = Instant::now() + Duration::from_millis(20);
    let hurried = submit(&embedder, &inputs(&[7]), Some(deadline));
    let patient = submit(&embedder, &inputs(&[9]), None);
    while Instant::now() < deadline {
        std::thread::yield_now();
    }
    drop(control);
    assert_eq!(finish(hurried), Err(EngineError::Deadline));
    finish(first).unwrap();
    finish(patient).unwrap();
}

#[test]
fn more_than_the_queue_holds_are_refused_until_a_place_is_free() {
    let (model, control, _batches) = held();
    let embedder = start(model, 100);
    let pending: Vec<_> = (0..8)
        .map(|_| submit(&embedder, &inputs(&[2]), None))
        .collect();
    let refused = finish(submit(&embedder, &inputs(&[2]), None));
    assert!(matches!(
        refused,
        Err(EngineError::QueueFull { limit: 8, .. })
    ));
    drop(control);
    for pending in pending {
        finish(pending).unwrap();
    }
    finish(submit(&embedder, &inputs(&[2]), None)).unwrap();
}

#[test]
fn bad_inputs_are_refused_at_the_door() {
    let embedder = start(plain(), 100);
    let context_length = embedder.context_length();
    let refused = |inputs: &[Vec<u32>]| finish(submit(&embedder, inputs, None)).unwrap_err();
    let invalid = |inputs: &[Vec<u32>]| match refused(inputs) {
        EngineError::InvalidParameter {
            param: "inputs",
            message,
        } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(invalid(&[]), "there is none");
    assert_eq!(invalid(&[vec![1], vec![]]), "input 1 has no tokens");
    assert!(invalid(&[vec![1, u32::MAX]]).contains("4294967295"));
    assert_eq!(
        refused(&[vec![1], vec![1; context_length + 1]]),
        EngineError::ContextLength {
            prompt_tokens: context_length + 1,
            max_tokens: 0,
            context_length,
        }
    );
    assert_eq!(embedder.stats().batches, 0);
}

#[test]
fn a_broken_vector_fails_its_own_request_alone() {
    let model = HookedEncoder::new(encoder(), |inputs| {
        let broken = inputs.iter().position(|input| input.len() == 13);
        Ok(broken.map_or(Effect::Nothing, Effect::Nan))
    });
    let embedder = start(model, 100);
    let healthy = inputs(&[4, 6]);
    let pending = [&healthy, &inputs(&[5, 13, 7]), &healthy].map(|r| submit(&embedder, r, None));
    let [first, broken, last] = pending.map(finish);
    assert_eq!(broken, Err(EngineError::NotFinite { position: 12 }));
    assert_eq!(first.unwrap(), alone(&healthy));
    assert_eq!(last.unwrap(), alone(&healthy));
    assert_eq!(embedder.health(), Ok(()));
}

#[test]
fn no_memory_for_a_batch_fails_those_in_it() {
    let mut batches = 0;
    let model = HookedEncoder::new(encoder(), move |_| {
        batches += 1;
        match batches {
            1 => Err(hearth_llm::Error::Kernel(KernelError::OutOfMemory {
                what: "activations".into(),
                bytes: 12345,
            })),
            _ => Ok(Effect::Nothing),
        }
    });
    let embedder = start(model, 100);
    let request = inputs(&[4]);
    match finish(submit(&embedder, &request, None)) {
        Err(EngineError::Compute { message }) => assert!(message.contains("12345"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        finish(submit(&embedder, &request, None)).unwrap(),
        alone(&request)
    );
}

#[test]
fn a_panic_is_told_to_all_who_are_served_wait_or_come_later() {
    let unhealthy = || EngineError::Unhealthy {
        message: "a broken encoder".into(),
    };
    // Many times, as the callers race with the thread's end.
    for _ in 0..50 {
        let (turnstile, control) = turnstile();
        let model = HookedEncoder::new(encoder(), move |_| {
            turnstile.pass();
            panic!("a broken encoder")
        });
        let embedder = start(model, 4);
        let first = submit(&embedder, &inputs(&[3]), None);
        control.wait();
        let rest: Vec<_> = (0..3)
            .map(|_| submit(&embedder, &inputs(&[3, 2]), None))
            .collect();
        std::thread::scope(|scope| {
            let late = scope.spawn(|| embedder.blocking_embed(inputs(&[1]), None));
            control.let_through();
            for pending in [first].into_iter().chain(rest) {
                assert_eq!(finish(pending), Err(unhealthy()));
            }
            assert_eq!(late.join().unwrap(), Err(unhealthy()));
        });
        assert_eq!(embedder.health(), Err(unhealthy()));
    }
}

#[test]
fn a_drain_answers_all_that_was_admitted_and_an_abort_none() {
    for how in [Shutdown::Drain, Shutdown::Abort] {
        let (model, control, batches) = held();
        let embedder = start(model, 6);
        let request = inputs(&[5, 4]);
        let pending: Vec<_> = (0..3).map(|_| submit(&embedder, &request, None)).collect();
        control.wait();
        std::thread::scope(|scope| {
            scope.spawn(|| embedder.shutdown(how));
            while embedder.health().is_ok() {
                std::thread::yield_now();
            }
            let refused = finish(submit(&embedder, &request, None));
            assert_eq!(refused, Err(EngineError::ShuttingDown));
            drop(control);
        });
        for pending in pending {
            match how {
                Shutdown::Drain => assert_eq!(finish(pending).unwrap(), alone(&request)),
                Shutdown::Abort => assert_eq!(finish(pending), Err(EngineError::ShuttingDown)),
            }
        }
        assert_eq!(embedder.stats().waiting, 0);
        drop(embedder);
        let batches = batches.iter().count();
        assert_eq!(batches, if how == Shutdown::Drain { 6 } else { 1 });
    }
}
