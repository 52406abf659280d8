//! Inputs that arrive together, run together.
//!
//! A thread of its own runs the network. It takes the piece that is first by priority and arrival, and with it as many
//! others of the same shapes as a batch has room for, or of other lengths where sequences are filled up; where there is room left it
//! waits for more, but not past the first one's delay. Pieces whose callers have gone, or whose deadlines have passed, are not run.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hearth_graph::runtime::{HostTensor, Network, join, split};
use hearth_llm::engine::Shutdown;
use tokio::sync::oneshot;

use super::padding::Padding;
use super::planned::{Planned, shapes};
use crate::Error;
use crate::figures::NetworkFigures;

/// Sequences are filled up by half as much as they have themselves, at most: beyond, what is saved by running them together
/// goes into what fills them up.
fn is_worthwhile(filled_up: usize, elements: usize) -> bool {
    2 * filled_up <= 3 * elements
}

/// How pieces become batches.
#[derive(Debug, Clone)]
pub(super) struct Batching {
    /// The network's first dimension counts inputs, so that pieces can run together.
    pub is_batched: bool,
    /// Most inputs of a batch.
    pub most: usize,
    /// How long a piece waits for others.
    pub delay: Duration,
    /// Numbers of inputs that run at once where there are so many.
    pub preferred: Vec<usize>,
    /// How sequences of different lengths run together, where they can.
    pub padding: Option<Padding>,
}

/// What runs as one: a tensor for each of the network's inputs.
pub(super) struct Piece {
    pub tensors: Vec<HostTensor>,
    /// Inputs that it has: the first dimension of each tensor, where the network counts inputs and the piece does not run
    /// alone.
    pub rows: usize,
    /// It runs by itself.
    pub alone: bool,
    /// 0 to 10, higher is run first.
    pub priority: u8,
    pub deadline: Option<Instant>,
    /// The request that it is of: a number of its own.
    pub request: u64,
}

/// What a piece gave.
#[derive(Debug, PartialEq)]
pub(super) struct Ran {
    /// A tensor for each output.
    pub outputs: Vec<HostTensor>,
    /// Inputs that ran with it, its own included.
    pub batch: usize,
    /// Whether some of them were of other requests.
    pub shared: bool,
    /// Whether it was filled up to the length of others.
    pub padded: bool,
}

type Answer = Result<Ran, Error>;

/// How many rows each run of a batch had, and how long it took.
type Runs = Vec<(usize, Duration)>;

struct Waiting {
    piece: Piece,
    since: Instant,
    tell: oneshot::Sender<Answer>,
}

/// A network with the thread that runs it, and the one that plans it.
pub(super) struct Batcher {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    figures: Mutex<NetworkFigures>,
    /// The numbers of inputs that there are plans for, where each has one of its own.
    planned: Option<Planned>,
}

#[derive(Default)]
struct State {
    /// Those of a higher priority first, and of one priority in the order of arrival.
    waiting: VecDeque<Waiting>,
    /// The thread waits for a change.
    sleeps: bool,
    ending: bool,
    /// The thread has ended, as told or by a panic.
    ended: bool,
}

impl Batcher {
    /// Starts the threads. `numbers` are those of inputs that are planned for, the first of which is; none where all are run
    /// alike.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(
        network: Arc<dyn Network>,
        batching: Batching,
        numbers: Vec<usize>,
    ) -> std::io::Result<Batcher> {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            figures: Mutex::default(),
            planned: (!numbers.is_empty()).then(Planned::new),
        });
        let planner = Planner {
            network: Arc::clone(&network),
            numbers: numbers.into_iter().skip(1).collect(),
            queue: Arc::clone(&queue),
        };
        let worker = Worker {
            network,
            batching,
            queue: Arc::clone(&queue),
        };
        let thread = std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || worker.run())?;
        let batcher = Batcher {
            queue,
            threads: Mutex::new(vec![thread]),
        };
        if !planner.numbers.is_empty() {
            let thread = std::thread::Builder::new()
                .name("network-plans".to_owned())
                .spawn(move || planner.run())?;
            batcher.threads().push(thread);
        }
        Ok(batcher)
    }

    /// Queues the pieces of a request; an answer comes for each, in any order. A dropped receiver takes its piece back,
    /// unless it runs already.
    pub fn submit(&self, pieces: Vec<Piece>) -> Result<Vec<oneshot::Receiver<Answer>>, Error> {
        let since = Instant::now();
        let mut state = self.queue.lock();
        if state.ending || state.ended {
            return Err(Error::ShuttingDown);
        }
        let mut answers = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let (tell, told) = oneshot::channel();
            answers.push(told);
            state.push(Waiting { piece, since, tell });
        }
        let sleeps = state.sleeps;
        drop(state);
        if sleeps {
            self.queue.changed.notify_one();
        }
        Ok(answers)
    }

    /// What was counted so far.
    pub fn figures(&self) -> NetworkFigures {
        let waiting = self.queue.lock().waiting.len();
        NetworkFigures {
            waiting_requests: waiting,
            ..self.queue.figures().clone()
        }
    }

    /// Whether the thread is there.
    pub fn is_running(&self) -> bool {
        !self.queue.lock().ended
    }

    /// Takes no more samples, runs those that are there or not, and waits for the thread to end.
    pub fn shutdown(&self, how: Shutdown) {
        let mut state = self.queue.lock();
        state.ending = true;
        if how == Shutdown::Abort {
            for waiting in state.waiting.drain(..) {
                // Whoever has gone need not be told.
                let _ = waiting.tell.send(Err(Error::ShuttingDown));
            }
        }
        drop(state);
        self.queue.changed.notify_one();
        for thread in std::mem::take(&mut *self.threads()) {
            // A panic was told to those who waited.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Abort);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> MutexGuard<'_, NetworkFigures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, `patience` at most.
    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.sleeps = true;
        let mut state = match patience {
            None => {
                let changed = self.changed.wait(state);
                changed.unwrap_or_else(PoisonError::into_inner)
            }
            Some(patience) => {
                let changed = self.changed.wait_timeout(state, patience);
                changed.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.sleeps = false;
        state
    }
}

impl Piece {
    /// Whether it may run with another as they are.
    fn is_like(&self, other: &Piece) -> bool {
        let mut tensors = self.tensors.iter().zip(&other.tensors);
        tensors.all(|(a, b)| a.shape().get(1..) == b.shape().get(1..))
    }

    /// The length of its sequences.
    fn length(&self) -> usize {
        Padding::length(&self.tensors).unwrap_or(0)
    }
}

/// The sequences of a batch, as far as it is chosen.
struct Sequences {
    rows: usize,
    longest: usize,
    /// Elements of all of them, not filled up.
    elements: usize,
}

impl Sequences {
    fn of(piece: &Piece) -> Sequences {
        Sequences {
            rows: piece.rows,
            longest: piece.length(),
            elements: piece.rows * piece.length(),
        }
    }

    /// Those with one piece more; `None` where too much would be filled up.
    fn with(&self, piece: &Piece) -> Option<Sequences> {
        let more = Sequences {
            rows: self.rows + piece.rows,
            longest: self.longest.max(piece.length()),
            elements: self.elements + piece.rows * piece.length(),
        };
        is_worthwhile(more.rows * more.longest, more.elements).then_some(more)
    }
}

impl Waiting {
    /// Whether it is still to be run; if not, it is told why.
    fn is_wanted(&self, now: Instant) -> bool {
        let deadline = self.piece.deadline;
        !self.tell.is_closed() && deadline.is_none_or(|deadline| deadline > now)
    }

    fn turn_away(self) {
        // Whoever has gone need not be told.
        let _ = self.tell.send(Err(Error::Deadline));
    }
}

/// The pieces that run next.
struct Choice {
    /// Their places, in order.
    places: Vec<usize>,
    /// Whether no more would be taken if they came.
    is_full: bool,
}

impl State {
    /// Queues a piece behind those of its priority.
    fn push(&mut self, waiting: Waiting) {
        let priority = waiting.piece.priority;
        let goes_before = |other: &Waiting| other.piece.priority >= priority;
        let place = self.waiting.partition_point(goes_before);
        self.waiting.insert(place, waiting);
    }

    /// What runs next; `None` where nobody waits.
    fn choose(&mut self, batching: &Batching, now: Instant) -> Option<Choice> {
        let is_unwanted = |waiting: &Waiting| !waiting.is_wanted(now);
        while self.waiting.front().is_some_and(is_unwanted) {
            if let Some(late) = self.waiting.pop_front() {
                late.turn_away();
            }
        }
        let first = self.waiting.front().map(|waiting| &waiting.piece)?;
        let mut choice = Choice {
            places: vec![0],
            is_full: first.alone || !batching.is_batched,
        };
        let mut room = batching.most.saturating_sub(first.rows);
        let mut rows = first.rows;
        // So many of the places are a number of inputs that runs at once.
        let mut preferred = usize::from(batching.preferred.contains(&rows));
        let mut sequences = Sequences::of(first);
        for (at, waiting) in self.waiting.iter().enumerate().skip(1) {
            if choice.is_full || room == 0 {
                break;
            }
            let piece = &waiting.piece;
            if piece.alone || !waiting.is_wanted(now) {
                continue;
            }
            let with = match &batching.padding {
                Some(_) => sequences.with(piece),
                None => piece.is_like(first).then(|| Sequences::of(first)),
            };
            let Some(with) = with else {
                continue;
            };
            match room.checked_sub(piece.rows) {
                Some(left) => {
                    room = left;
                    rows += piece.rows;
                    sequences = with;
                    choice.places.push(at);
                    if batching.preferred.contains(&rows) {
                        preferred = choice.places.len();
                    }
                }
                // Those behind are not to overtake it again and again.
                None => choice.is_full = true,
            }
        }
        choice.is_full |= room == 0;
        if !choice.is_full && preferred > 0 {
            choice.places.truncate(preferred);
            choice.is_full = true;
        }
        Some(choice)
    }

    /// Takes out those at the given places, which go up.
    fn take(&mut self, places: &[usize]) -> Vec<Waiting> {
        // From the back, so that the places before stay what they are.
        let taken = places
            .iter()
            .rev()
            .filter_map(|&at| self.waiting.remove(at));
        let mut taken: Vec<Waiting> = taken.collect();
        taken.reverse();
        taken
    }
}

/// Makes plans while requests are run by those that there are.
struct Planner {
    network: Arc<dyn Network>,
    /// The numbers of inputs that are still to be planned for.
    numbers: Vec<usize>,
    queue: Arc<Queue>,
}

impl Planner {
    fn run(self) {
        for number in self.numbers {
            if self.queue.lock().ending {
                return;
            }
            let Some(shapes) = shapes(self.network.inputs(), number) else {
                return;
            };
            match (self.network.plan(&shapes), &self.queue.planned) {
                (Ok(()), Some(planned)) => planned.add(number),
                (Ok(()), None) => {}
                (Err(error), _) => {
                    tracing::info!(number, %error, "there is no plan for so many inputs");
                }
            }
        }
    }
}

struct Worker {
    network: Arc<dyn Network>,
    batching: Batching,
    queue: Arc<Queue>,
}

/// Tells those who wait, and will, that the thread has ended, however it came to that.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.waiting.clear();
    }
}

impl Worker {
    fn run(self) {
        let _end = End(&self.queue);
        while let Some(batch) = self.next() {
            self.compute(batch);
        }
    }

    /// Waits for the next batch; `None` when there will be none.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.queue.lock();
        loop {
            let now = Instant::now();
            let choice = state.choose(&self.batching, now);
            let Some((choice, first)) = choice.zip(state.waiting.front()) else {
                if state.ending {
                    return None;
                }
                state = self.queue.sleep(state, None);
                continue;
            };
            let patience = (first.since + self.batching.delay).saturating_duration_since(now);
            if choice.is_full || patience.is_zero() || state.ending {
                let batch = state.take(&choice.places);
                drop(state);
                let waited = batch.iter().map(|waiting| now - waiting.since);
                self.queue.figures().began(batch.len(), waited.sum());
                return Some(batch);
            }
            state = self.queue.sleep(state, Some(patience));
        }
    }

    /// Runs a batch and tells each what came of it. Where several fail together, each is tried alone: one may have failed
    /// the others.
    fn compute(&self, batch: Vec<Waiting>) {
        let pieces: Vec<&Piece> = batch.iter().map(|waiting| &waiting.piece).collect();
        let answers: Vec<Answer> = match self.run_together(&pieces) {
            Ok(outputs) => {
                let request = pieces[0].request;
                let shared = pieces.iter().any(|piece| piece.request != request);
                let batch = pieces.iter().map(|piece| piece.rows).sum();
                let longest = pieces.iter().map(|piece| piece.length()).max();
                let is_padded = |piece: &Piece| {
                    self.batching.padding.is_some() && Some(piece.length()) != longest
                };
                let ran = outputs
                    .into_iter()
                    .zip(&pieces)
                    .map(|(outputs, piece)| Ran {
                        outputs,
                        batch,
                        shared,
                        padded: is_padded(piece),
                    });
                ran.map(Ok).collect()
            }
            Err(error) if pieces.len() == 1 => vec![Err(error)],
            Err(_) => {
                let alone = pieces.iter().map(|piece| {
                    let mut outputs = self.run_together(&[piece])?;
                    Ok(Ran {
                        outputs: outputs.pop().unwrap_or_default(),
                        batch: piece.rows,
                        shared: false,
                        padded: false,
                    })
                });
                alone.collect()
            }
        };
        for (waiting, answer) in batch.into_iter().zip(answers) {
            // Whoever has gone need not be told.
            let _ = waiting.tell.send(answer);
        }
    }

    /// The inputs of pieces as one, their sequences filled up to the longest.
    fn joined(&self, pieces: &[&Piece]) -> Option<Vec<HostTensor>> {
        let longest = pieces.iter().map(|piece| piece.length()).max()?;
        let filled = pieces.iter().map(|piece| match &self.batching.padding {
            Some(padding) => padding.lengthened(&piece.tensors, longest),
            None => Some(piece.tensors.clone()),
        });
        let filled: Vec<Vec<HostTensor>> = filled.collect::<Option<_>>()?;
        let inputs = (0..self.network.inputs().len()).map(|input| {
            let parts = filled.iter().map(|tensors| tensors.get(input));
            join(&parts.collect::<Option<Vec<_>>>()?)
        });
        inputs.collect()
    }

    /// What each of the pieces gives, computed as one.
    fn run_together(&self, pieces: &[&Piece]) -> Result<Vec<Vec<HostTensor>>, Error> {
        let odd = |what: &str| Error::Internal {
            message: format!("the network's {what} do not count inputs in their first dimension"),
        };
        let rows: Vec<usize> = pieces.iter().map(|piece| piece.rows).collect();
        let began = Instant::now();
        let joined: Vec<HostTensor>;
        let tensors = match pieces {
            [piece] => &piece.tensors,
            _ => {
                joined = self.joined(pieces).ok_or_else(|| odd("inputs"))?;
                &joined
            }
        };
        let prepared = Instant::now();
        let (outputs, runs) = self.run_rows(tensors, rows.iter().sum())?;
        let ran = Instant::now();
        let each = match pieces {
            [piece] if piece.alone || !self.batching.is_batched => vec![outputs],
            _ => {
                let mut each = vec![Vec::with_capacity(outputs.len()); pieces.len()];
                for (place, output) in outputs.into_iter().enumerate() {
                    let parts = split(&output, &rows).ok_or_else(|| odd("outputs"))?;
                    for ((piece, own), part) in pieces.iter().zip(&mut each).zip(parts) {
                        let part = match &self.batching.padding {
                            Some(padding) => padding.shortened(place, &part, piece.length()),
                            None => Some(part),
                        };
                        own.push(part.ok_or_else(|| odd("outputs"))?);
                    }
                }
                each
            }
        };
        let mut around = [prepared - began, ran.elapsed()];
        let mut figures = self.queue.figures();
        for (rows, time) in runs {
            let [join, split] = std::mem::take(&mut around);
            figures.ran(rows, [join, time, split]);
        }
        drop(figures);
        Ok(each)
    }

    /// Runs the network on so many rows, in as many runs as there are plans for; tells how many rows each run had, and how long
    /// it took.
    fn run_rows(
        &self,
        tensors: &[HostTensor],
        rows: usize,
    ) -> Result<(Vec<HostTensor>, Runs), Error> {
        let run = |tensors: &[HostTensor]| -> Result<(Vec<HostTensor>, Duration), Error> {
            let began = Instant::now();
            let outputs = self.network.run(tensors).map_err(failed)?;
            Ok((outputs, began.elapsed()))
        };
        let whole = |planned: &Planned| planned.next(rows) == rows;
        let Some(planned) = self
            .queue
            .planned
            .as_ref()
            .filter(|planned| !whole(planned))
        else {
            let (outputs, time) = run(tensors)?;
            return Ok((outputs, vec![(rows, time)]));
        };
        let odd = || Error::Internal {
            message: "the network's tensors do not count inputs in their first dimension"
                .to_owned(),
        };
        let (mut parts, mut runs) = (Vec::new(), Runs::new());
        let mut start = 0;
        while start < rows {
            let end = start + planned.next(rows - start);
            let slices = tensors.iter().map(|tensor| tensor.slice_rows(start..end));
            let slices: Option<Vec<HostTensor>> = slices.collect();
            let (outputs, time) = run(&slices.ok_or_else(odd)?)?;
            parts.push(outputs);
            runs.push((end - start, time));
            start = end;
        }
        let outputs = (0..self.network.outputs().len()).map(|output| {
            let parts = parts.iter().map(|part: &Vec<HostTensor>| part.get(output));
            join(&parts.collect::<Option<Vec<_>>>()?)
        });
        let outputs: Option<Vec<HostTensor>> = outputs.collect();
        Ok((outputs.ok_or_else(odd)?, runs))
    }
}

/// An engine fails at a piece.
fn failed(error: hearth_graph::Error) -> Error {
    let message = error.to_string();
    match error {
        hearth_graph::Error::Input { .. } => Error::invalid("inputs", message),
        _ => Error::Internal { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use hearth_graph::onnx::{DataType, Dim, ValueInfo};
    use hearth_graph::runtime::Engine;

    /// Doubles its input, once the test says so; refuses what begins with a negative number.
    struct Doubler {
        info: Vec<ValueInfo>,
        began: Sender<usize>,
        go: Mutex<Receiver<()>>,
    }

    impl Network for Doubler {
        fn inputs(&self) -> &[ValueInfo] {
            &self.info
        }

        fn outputs(&self) -> &[ValueInfo] {
            &self.info
        }

        fn run(&self, inputs: &[HostTensor]) -> hearth_graph::Result<Vec<HostTensor>> {
            let input = &inputs[0];
            self.began.send(input.shape()[0]).unwrap();
            self.go.lock().unwrap().recv().unwrap();
            let values = input.to_f64();
            if values.iter().any(|x| *x < 0.0) {
                return Err(hearth_graph::Error::Runtime {
                    runtime: "doubler",
                    problem: "negative".into(),
                });
            }
            let doubled: Vec<f32> = values.iter().map(|x| (2.0 * x) as f32).collect();
            Ok(vec![
                HostTensor::from_f32(input.shape().to_vec(), &doubled).unwrap(),
            ])
        }

        fn engine(&self) -> Engine {
            Engine::Tract
        }
    }

    struct Bench {
        batcher: Batcher,
        began: Receiver<usize>,
        go: Sender<()>,
    }

    impl Bench {
        fn new(most: usize, delay: Duration) -> Bench {
            Bench::preferring(most, delay, Vec::new())
        }

        fn preferring(most: usize, delay: Duration, preferred: Vec<usize>) -> Bench {
            let (began, begins) = channel();
            let (go, may_go) = channel();
            let network = Doubler {
                info: vec![ValueInfo {
                    name: "x".into(),
                    dtype: DataType::Float,
                    dims: vec![Dim::Symbol("n".into()), Dim::Unknown],
                }],
                began,
                go: Mutex::new(may_go),
            };
            let batching = Batching {
                is_batched: true,
                most,
                delay,
                preferred,
                padding: None,
            };
            Bench {
                batcher: Batcher::start(Arc::new(network), batching, Vec::new()).unwrap(),
                began: begins,
                go,
            }
        }

        fn submit(&self, pieces: Vec<Piece>) -> Vec<oneshot::Receiver<Answer>> {
            self.batcher.submit(pieces).unwrap()
        }

        /// Lets the next run happen, and tells how many rows it has.
        fn step(&self) -> usize {
            let count = self.began.recv().unwrap();
            self.go.send(()).unwrap();
            count
        }
    }

    /// A piece of one row.
    fn sample(request: u64, values: &[f32]) -> Piece {
        rows(request, 1, values)
    }

    fn rows(request: u64, rows: usize, values: &[f32]) -> Piece {
        let shape = vec![rows, values.len() / rows];
        Piece {
            tensors: vec![HostTensor::from_f32(shape, values).unwrap()],
            rows,
            alone: false,
            priority: 5,
            deadline: None,
            request,
        }
    }

    fn numbers(answer: oneshot::Receiver<Answer>) -> (Vec<f64>, usize, bool) {
        let ran = answer.blocking_recv().expect("an answer").expect("it ran");
        (ran.outputs[0].to_f64(), ran.batch, ran.shared)
    }

    /// Gives what it takes; plans are made when the test says so.
    struct Planning {
        info: Vec<ValueInfo>,
        seen: Mutex<Vec<usize>>,
        go: Mutex<Receiver<()>>,
    }

    impl Network for Planning {
        fn inputs(&self) -> &[ValueInfo] {
            &self.info
        }

        fn outputs(&self) -> &[ValueInfo] {
            &self.info
        }

        fn run(&self, inputs: &[HostTensor]) -> hearth_graph::Result<Vec<HostTensor>> {
            self.seen.lock().unwrap().push(inputs[0].shape()[0]);
            Ok(inputs.to_vec())
        }

        fn engine(&self) -> Engine {
            Engine::Tract
        }

        fn plan(&self, shapes: &[Vec<usize>]) -> hearth_graph::Result<()> {
            assert_eq!(shapes[0][1..], [1]);
            // A test that is over plans no more.
            let _ = self.go.lock().unwrap().recv();
            Ok(())
        }
    }

    #[test]
    fn what_is_not_planned_yet_runs_by_what_is() {
        let (go, may_go) = channel();
        let network = Arc::new(Planning {
            info: vec![ValueInfo {
                name: "x".into(),
                dtype: DataType::Float,
                dims: vec![Dim::Symbol("n".into()), Dim::Fixed(1)],
            }],
            seen: Mutex::default(),
            go: Mutex::new(may_go),
        });
        let batching = Batching {
            is_batched: true,
            most: 8,
            delay: Duration::ZERO,
            preferred: Vec::new(),
            padding: None,
        };
        let numbers = vec![1, 2, 4];
        let batcher = Batcher::start(network.clone(), batching, numbers).unwrap();
        let ask = |count: usize| {
            let values: Vec<f32> = (0..count).map(|x| x as f32).collect();
            let answers = batcher.submit(vec![rows(1, count, &values)]).unwrap();
            let answer = answers.into_iter().next().unwrap();
            let ran = answer.blocking_recv().unwrap().unwrap();
            assert_eq!(
                (ran.batch, ran.outputs[0].shape()),
                (count, &[count, 1][..])
            );
            let expected: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
            assert_eq!(ran.outputs[0].to_f64(), expected);
            std::mem::take(&mut *network.seen.lock().unwrap())
        };
        assert_eq!(ask(3), [1, 1, 1]);
        let planned = |number: usize| {
            let planned = batcher.queue.planned.as_ref().unwrap();
            while planned.next(number) != number {
                std::thread::yield_now();
            }
        };
        go.send(()).unwrap();
        planned(2);
        assert_eq!(ask(7), [2, 2, 2, 1]);
        go.send(()).unwrap();
        planned(4);
        assert_eq!(ask(7), [4, 2, 1]);
        assert_eq!(batcher.figures().sizes[&1].count, 5);
        drop(go);
        batcher.shutdown(Shutdown::Drain);
    }

    #[test]
    fn a_preferred_number_of_inputs_runs_at_once() {
        let bench = Bench::preferring(8, Duration::from_secs(3600), vec![2, 4]);
        let first = bench.submit(vec![sample(1, &[1.0]), sample(1, &[2.0])]);
        assert_eq!(bench.began.recv(), Ok(2));
        // Five: the largest such number of them, and one that waits for others.
        let more: Vec<Piece> = (0..5).map(|_| sample(2, &[3.0])).collect();
        let mut answers = bench.submit(more);
        bench.go.send(()).unwrap();
        assert_eq!(bench.step(), 4);
        answers.extend(bench.submit(vec![sample(3, &[4.0])]));
        assert_eq!(bench.step(), 2);
        let sizes: Vec<usize> = { first.into_iter().chain(answers) }
            .map(|answer| numbers(answer).1)
            .collect();
        assert_eq!(sizes, [2, 2, 4, 4, 4, 4, 2, 2]);
    }

    #[test]
    fn what_arrives_during_a_run_runs_together() {
        let bench = Bench::new(3, Duration::ZERO);
        let first = bench.submit(vec![sample(1, &[1.0])]);
        assert_eq!(bench.began.recv(), Ok(1));
        // Four of one shape, of which three fit a batch, and one of another.
        let mut others = bench.submit(vec![sample(2, &[2.0]), sample(2, &[3.0])]);
        others.extend(bench.submit(vec![sample(3, &[9.0, 9.0])]));
        others.extend(bench.submit(vec![sample(4, &[4.0]), sample(4, &[5.0])]));
        bench.go.send(()).unwrap();
        assert_eq!([bench.step(), bench.step(), bench.step()], [3, 1, 1]);
        assert_eq!(
            first.into_iter().map(numbers).collect::<Vec<_>>(),
            [(vec![2.0], 1, false)]
        );
        let others: Vec<_> = others.into_iter().map(numbers).collect();
        assert_eq!(
            others,
            [
                (vec![4.0], 3, true),
                (vec![6.0], 3, true),
                (vec![18.0, 18.0], 1, false),
                (vec![8.0], 3, true),
                (vec![10.0], 1, false),
            ]
        );
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let bench = Bench::new(2, Duration::from_secs(3600));
        let answers = bench.submit(vec![sample(1, &[1.0]), sample(1, &[2.0])]);
        assert_eq!(bench.step(), 2);
        for answer in answers {
            assert_eq!((numbers(answer).1), 2);
        }
        // One alone waits for others until the end; then it runs as it is.
        let last = bench.submit(vec![sample(2, &[3.0])]);
        bench.go.send(()).unwrap();
        bench.batcher.shutdown(Shutdown::Drain);
        assert_eq!(
            last.into_iter().map(numbers).next(),
            Some((vec![6.0], 1, false))
        );
        assert!(matches!(
            bench.batcher.submit(vec![]),
            Err(Error::ShuttingDown)
        ));
    }

    #[test]
    fn pieces_of_several_rows_fill_a_batch() {
        let bench = Bench::new(4, Duration::from_secs(3600));
        // The third has no room with the first two, and the fourth does not overtake it.
        let answers = bench.submit(vec![
            rows(1, 2, &[1.0, 2.0]),
            sample(2, &[3.0]),
            rows(3, 3, &[4.0, 5.0, 6.0]),
            sample(4, &[7.0]),
        ]);
        assert_eq!([bench.step(), bench.step()], [3, 4]);
        let answers: Vec<_> = answers.into_iter().map(numbers).collect();
        assert_eq!(
            answers,
            [
                (vec![2.0, 4.0], 3, true),
                (vec![6.0], 3, true),
                (vec![8.0, 10.0, 12.0], 4, true),
                (vec![14.0], 4, true),
            ]
        );
        let figures = bench.batcher.figures();
        assert_eq!(
            (figures.inputs, figures.batches, figures.waiting_requests),
            (7, 2, 0)
        );
        let counts: Vec<(usize, u64)> = figures
            .sizes
            .iter()
            .map(|(size, runs)| (*size, runs.count))
            .collect();
        assert_eq!(counts, [(3, 1), (4, 1)]);
        assert_eq!(figures.queued, 4);
    }

    #[test]
    fn one_that_fails_does_not_fail_the_others() {
        let bench = Bench::new(3, Duration::from_secs(3600));
        let answers = bench.submit(vec![
            sample(1, &[1.0]),
            sample(2, &[-1.0]),
            sample(3, &[3.0]),
        ]);
        assert_eq!(
            [bench.step(), bench.step(), bench.step(), bench.step()],
            [3, 1, 1, 1]
        );
        let mut answers = answers.into_iter();
        assert_eq!(numbers(answers.next().unwrap()), (vec![2.0], 1, false));
        let failed = answers.next().unwrap().blocking_recv().unwrap();
        assert!(matches!(failed, Err(Error::Internal { message }) if message.contains("negative")));
        assert_eq!(numbers(answers.next().unwrap()), (vec![6.0], 1, false));
    }

    #[test]
    fn the_first_by_priority_and_no_one_who_has_gone_or_is_late() {
        let bench = Bench::new(1, Duration::ZERO);
        let busy = bench.submit(vec![sample(1, &[1.0])]);
        assert_eq!(bench.began.recv(), Ok(1));
        let low = bench.submit(vec![sample(2, &[2.0])]);
        let high = bench.submit(vec![Piece {
            priority: 9,
            ..sample(3, &[3.0, 3.0])
        }]);
        drop(bench.submit(vec![sample(4, &[4.0])]));
        let late = Piece {
            deadline: Some(Instant::now()),
            ..sample(5, &[5.0])
        };
        let late = bench.submit(vec![late]);
        bench.go.send(()).unwrap();
        // The high one, then the low one; nothing else runs.
        assert_eq!([bench.step(), bench.step()], [1, 1]);
        let late = late.into_iter().next().unwrap().blocking_recv().unwrap();
        assert_eq!(late, Err(Error::Deadline));
        for answer in busy.into_iter().chain(high).chain(low) {
            numbers(answer);
        }
        bench.batcher.shutdown(Shutdown::Drain);
        assert!(bench.began.try_recv().is_err());
    }

    #[test]
    fn some_run_alone() {
        let bench = Bench::new(4, Duration::from_secs(3600));
        let alone = |request| Piece {
            alone: true,
            ..sample(request, &[1.0])
        };
        let answers = bench.submit(vec![alone(1), alone(1)]);
        assert_eq!([bench.step(), bench.step()], [1, 1]);
        for answer in answers {
            assert_eq!(numbers(answer), (vec![2.0], 1, false));
        }
    }

    #[test]
    fn an_end_at_once_is_told() {
        let bench = Bench::new(4, Duration::from_secs(3600));
        let waits = bench.submit(vec![sample(1, &[1.0])]);
        bench.batcher.shutdown(Shutdown::Abort);
        for answer in waits {
            assert_eq!(answer.blocking_recv().unwrap(), Err(Error::ShuttingDown));
        }
        assert!(!bench.batcher.is_running());
    }
}
