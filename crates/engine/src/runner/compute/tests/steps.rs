//! Runs steps on the test's own thread, and checks what each frees and allocates.

use std::path::PathBuf;
use std::sync::mpsc::Sender;

use allocation_counter::measure;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::super::stream::Stream;
use super::super::*;
use crate::api::{Input, Progress, Request};
use crate::gguf::GgufFile;
use crate::kv::{KvPool, KvType, PAGE_TOKENS, PageAllocator};
use crate::lora::{AdapterId, AdapterSource, Adapters};
use crate::model::Decoder;
use crate::sched::{CancelFlag, Limits};
use crate::synth::{SynthOptions, SynthQuant, SynthShape, synthesize};
use crate::text::{AnswerStart, StopMatcher, Tokenizer};

/// A compute thread's state without the thread.
struct Rig {
    compute: Compute,
    tokenizer: Tokenizer,
    pages: PageAllocator,
    jobs: Sender<Box<Job>>,
    readers: Vec<UnboundedReceiver<Progress>>,
    /// The number of adapters; sequences alternate among them and the base.
    adapters: usize,
}

impl Rig {
    fn new(path: PathBuf, max_batch: usize, pages: usize) -> Self {
        let file = GgufFile::open(path).unwrap();
        let model = Decoder::load(&file).unwrap();
        let tokenizer = Tokenizer::from_gguf(&file).unwrap();
        let shape = model.config().kv_shape(KvType::F16);
        let allocator = PageAllocator::new(pages);
        let (jobs, inbox) = std::sync::mpsc::channel();
        let compute = Compute {
            backend: Backend::cpu(model, KvPool::new(shape, pages)),
            scheduler: Scheduler::new(Limits { max_batch, step_tokens: 4_096 }, allocator.clone()),
            workspace: Workspace::default(),
            plan: StepPlan::default(),
            batch: ForwardBatch::default(),
            sinks: HashMap::new(),
            draws: Vec::new(),
            speculator: Speculator::default(),
            drafted_rows: Vec::new(),
            ends: vec![], // no answer ends by itself
            gauges: Arc::default(),
            jobs: inbox,
        };
        Self { compute, tokenizer, pages: allocator, jobs, readers: Vec::new(), adapters: 0 }
    }

    /// Returns the rig with the step size and batch size set.
    fn stepping(mut self, step_tokens: usize, max_batch: usize) -> Self {
        let limits = Limits { max_batch, step_tokens };
        self.compute.scheduler = Scheduler::new(limits, self.pages.clone());
        self
    }

    /// Runs rounds until each of the sequences has its first token; returns their number.
    fn rounds_to_first_tokens(&mut self, ids: std::ops::Range<u64>, prompt: usize) -> usize {
        let begun = |rig: &Self| {
            let scheduler = &rig.compute.scheduler;
            let sequence = |id| scheduler.sequence(SequenceId(id));
            ids.clone().all(|id| sequence(id).is_some_and(|one| one.tokens().len() > prompt))
        };
        let mut rounds = 0;
        while !begun(self) {
            self.rounds(1);
            rounds += 1;
            assert!(rounds < 1_000, "they starve");
        }
        rounds
    }

    /// Returns the rig with the adapters of the qwen3 fixtures.
    fn adapted(mut self) -> Self {
        let source = |kind: &str| AdapterSource { name: kind.to_owned(), folder: fixture(kind) };
        let sources = [source("broad"), source("narrow")];
        let adapters = Adapters::load(&sources, self.compute.backend.config()).unwrap();
        self.adapters = adapters.len();
        self.compute.backend = self.compute.backend.with_adapters(adapters);
        self
    }

    /// Submits a prompt of `prompt` tokens that shares no prefix with another.
    fn submit(&mut self, id: u64, prompt: usize, cancel: &CancelFlag) {
        let (progress, reader) = unbounded_channel();
        let tokens = vec![id as u32; prompt];
        let request = Request::greedy(Input::Tokens(tokens.clone()), 500);
        let stream =
            Stream::new(&request, &tokens, AnswerStart::AtFirstToken, &self.tokenizer, progress);
        let adapter = (id as usize % (self.adapters + 1)).checked_sub(1).map(AdapterId::new);
        let sequence =
            Sequence::new(SequenceId(id), tokens, 500, cancel.clone(), None).with_adapter(adapter);
        self.compute.gauges.in_flight.fetch_add(1, Ordering::Relaxed);
        let sink = Sink::Answer(Box::new(stream));
        assert!(self.jobs.send(Box::new(Job { sequence, sink })).is_ok());
        self.readers.push(reader);
    }

    /// Returns the tokens of a running sequence.
    fn tokens(&self, id: u64) -> &[u32] {
        self.compute.scheduler.sequence(SequenceId(id)).unwrap().tokens()
    }

    fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            assert!(self.compute.take_jobs());
            self.compute.round().unwrap();
        }
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3").join(name)
}

#[test]
fn cancelling_fifty_of_a_hundred_frees_their_pages_within_one_step() {
    let mut rig = Rig::new(fixture("qwen3-q8_0.gguf"), 100, 1_000);
    let (all, half) = (CancelFlag::default(), CancelFlag::default());
    for id in 0..100 {
        rig.submit(id, PAGE_TOKENS + 1, if id % 2 == 0 { &half } else { &all });
    }
    rig.rounds(10);
    let gauges = rig.compute.gauges.clone();
    assert_eq!(gauges.running.load(Ordering::Relaxed), 100);
    assert_eq!(rig.pages.free_pages(), 1_000 - 200);
    let steps = gauges.steps.load(Ordering::Relaxed);
    half.cancel();
    rig.rounds(1);
    assert_eq!(gauges.steps.load(Ordering::Relaxed), steps + 1);
    assert_eq!(gauges.running.load(Ordering::Relaxed), 50);
    assert_eq!(gauges.in_flight.load(Ordering::Relaxed), 50);
    assert_eq!(rig.pages.free_pages(), 1_000 - 100);
    // The cancelled ones ended in that step, and the others got their tokens.
    for (id, reader) in rig.readers.iter_mut().enumerate() {
        let mut heard = std::iter::from_fn(|| reader.try_recv().ok());
        let ended = heard.any(|progress| matches!(progress, Progress::Finished(_)));
        assert_eq!(ended, id % 2 == 0);
    }
    assert_eq!(rig.tokens(1).len(), PAGE_TOKENS + 1 + 11);
    all.cancel();
    rig.rounds(1);
    assert_eq!(rig.pages.free_pages(), 1_000);
}

/// A prompt of 2 tokens beside one of 16,000, then 14 more of them, which decode beside it.
#[test]
fn short_prompts_beside_a_long_one_start_within_three_steps() {
    const LONG: usize = 16_000;
    let mut rig = Rig::new(fixture("qwen3-q8_0.gguf"), 16, 1_000).stepping(512, 16);
    let cancel = CancelFlag::default();
    rig.submit(0, LONG, &cancel);
    rig.rounds(5);
    let mut rounds = 5;
    for shorts in [1..2, 2..16] {
        shorts.clone().for_each(|id| rig.submit(id, 2, &cancel));
        let waited = rig.rounds_to_first_tokens(shorts.clone(), 2);
        assert!(waited <= 3, "the short prompts {shorts:?} waited for {waited} steps");
        assert_eq!(rig.tokens(0).len(), LONG, "the long one is not done");
        rounds += waited;
    }
    rounds += rig.rounds_to_first_tokens(0..1, LONG);
    // All of them advanced in every step since.
    assert!(rig.tokens(15).len() > 20);
    let alone = LONG.div_ceil(512);
    assert!(rounds as f64 <= 1.1 * alone as f64, "{rounds} steps instead of {alone}");
}

/// Only emitted text allocates: the text of a token, which its reader gets, and a block of the channel for
/// every 32 of them; apart from that only a few lists that double as answers grow, and keys of full
/// pages.
#[test]
fn decode_steps_allocate_only_the_text() {
    const SEQUENCES: u64 = 16;
    const ROUNDS: usize = 2 * PAGE_TOKENS;
    let folder = tempfile::tempdir().unwrap();
    let q4_k_m = folder.path().join("q4_k_m.gguf");
    let (shape, quant) = (SynthShape::smallest(), SynthQuant::Q4KM);
    synthesize(&SynthOptions { shape, quant, seed: 3, output: q4_k_m.clone() }, |_, _| ()).unwrap();
    let (q8_0, q4_0) = (fixture("qwen3-q8_0.gguf"), fixture("qwen3-q4_0.gguf"));
    for (path, adapted) in [(q8_0.clone(), false), (q8_0, true), (q4_0, false), (q4_k_m, false)] {
        let name = format!("{}, adapted: {adapted}", path.display());
        let mut rig = Rig::new(path, SEQUENCES as usize, 400);
        if adapted {
            rig = rig.adapted();
        }
        for id in 0..SEQUENCES {
            rig.submit(id, 40, &CancelFlag::default());
        }
        rig.rounds(40); // everybody decodes, and what grows to the size of a step has grown
        let before = rig.tokens(0).len();
        let all = measure(|| rig.rounds(ROUNDS)).count_total;
        // Greedy and without other options: no row of logits was copied to the host.
        let batch = &rig.compute.batch;
        assert_eq!((batch.logit_rows.len(), batch.argmax_rows.len()), (0, SEQUENCES as usize));

        // The allocations for the same text alone.
        let mut text = 0;
        for id in 0..SEQUENCES {
            let (mut detokenizer, tokens) = (rig.tokenizer.detokenizer(), rig.tokens(id));
            assert_eq!(tokens.len(), before + ROUNDS);
            let mut stops = StopMatcher::new::<&str>(&[]);
            for (place, token) in tokens.iter().enumerate().skip(40) {
                let mut push = || {
                    let text = detokenizer.push(*token);
                    if !text.is_empty() {
                        stops.push(&text);
                    }
                };
                let cost = measure(&mut push).count_total;
                text += if place < before { 0 } else { cost };
            }
        }
        let rest = all - text;
        println!("{name}: {ROUNDS} steps of {SEQUENCES}: {text} for text, {rest} beside it");
        // Per sequence: two channel blocks started, and a third in the middle; two pages named, in a list;
        // the lists of its tokens, pages and keys doubled once each.
        assert!(rest <= SEQUENCES * (3 + 2 * 2 + 3), "{name}: {rest} allocations beside the text");
    }
}
