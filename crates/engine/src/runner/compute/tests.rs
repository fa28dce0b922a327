use std::path::Path;

use tokio::sync::mpsc::unbounded_channel;

use super::super::stream::Stream;
use super::*;
use crate::api::{Input, Progress, Request};
use crate::gguf::GgufFile;
use crate::kv::{KvPool, KvType, PageAllocator};
use crate::model::Decoder;
use crate::sched::{CancelFlag, Limits};
use crate::text::{AnswerStart, Tokenizer};

mod steps;

#[test]
fn a_panic_fails_running_and_waiting_requests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3");
    let file = GgufFile::open(folder.join("qwen3-f32.gguf")).unwrap();
    let model = Decoder::load(&file).unwrap();
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    // A pool without layers makes the first step panic.
    let shape = crate::kv::KvShape { layers: 0, ..model.config().kv_shape(KvType::F32) };
    let limits = Limits { max_batch: 1, step_tokens: 64 };
    let gauges = Arc::new(Gauges::default());
    let (jobs, inbox) = std::sync::mpsc::channel();
    let mut receivers = Vec::new();
    let request = Request::greedy(Input::Tokens(vec![1]), 5);
    for id in 0..3 {
        let (progress, receiver) = unbounded_channel();
        let stream = Stream::new(&request, &[1], AnswerStart::AtFirstToken, &tokenizer, progress);
        let sink = Sink::Answer(Box::new(stream));
        let cancel = CancelFlag::default();
        let sequence = Sequence::new(SequenceId(id), vec![1], 5, cancel, None);
        gauges.in_flight.fetch_add(1, Ordering::Relaxed);
        assert!(jobs.send(Box::new(Job { sequence, sink })).is_ok());
        receivers.push(receiver);
    }
    let compute = Compute {
        backend: Backend::cpu(model, KvPool::new(shape, 4)),
        scheduler: Scheduler::new(limits, PageAllocator::new(4)),
        workspace: Workspace::default(),
        plan: StepPlan::default(),
        batch: ForwardBatch::default(),
        sinks: HashMap::new(),
        draws: Vec::new(),
        speculator: Speculator::default(),
        drafted_rows: Vec::new(),
        ends: tokenizer.ends().to_vec(),
        gauges: gauges.clone(),
        jobs: inbox,
    };
    compute.run();
    for mut receiver in receivers {
        let Some(Progress::Failed(GenerateError::Compute(problem))) = receiver.blocking_recv()
        else {
            panic!("no failure");
        };
        assert!(problem.contains("index out of bounds"), "{problem}");
    }
    assert!(gauges.stopped.load(Ordering::Relaxed));
    assert_eq!(gauges.in_flight.load(Ordering::Relaxed), 0);
}
