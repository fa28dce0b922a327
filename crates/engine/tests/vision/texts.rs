//! Text models with images and videos against transformers in float32.

use engine::batch::{ForwardBatch, Logits, SequenceRows};
use engine::gguf::GgufFile;
use engine::injected::{Injected, InjectedRows};
use engine::kv::{BlockTable, KvPool, KvType, PageAllocator, StatePlan};
use engine::model::{Decoder, Workspace};
use engine::vision::positions::offsets;
use engine::vision::tower::TowerWorkspace;
use engine::vision::{Grid, Patches, Precision, Tower};
use serde_json::Value;

use super::towers::TOWERS;
use super::whole::Whole;
use super::{distance, folder, noise, number, numbers};

/// The format of a model's files.
#[derive(Debug, Clone, Copy)]
enum Format {
    /// The text model in GGUF, the tower in safetensors.
    Gguf,
    /// The whole model in a folder of safetensors, unquantized.
    Safetensors,
}

const FORMATS: [Format; 2] = [Format::Gguf, Format::Safetensors];
/// The last tokens of each prompt whose logits are stored.
const STORED: usize = 8;

/// Returns all models in all formats.
fn every_format() -> impl Iterator<Item = (&'static str, Format)> {
    TOWERS.into_iter().flat_map(|name| FORMATS.map(|format| (name, format)))
}

struct Bench {
    tower: Tower,
    model: Decoder,
    pool: KvPool,
    pages: PageAllocator,
    workspace: Workspace,
    prompts: Vec<Value>,
    /// `[prompts][STORED][vocab]`
    logits: Vec<Vec<f32>>,
}

impl Bench {
    fn new(name: &'static str, format: Format) -> Self {
        let folder = folder().join(name);
        let (model, tower) = match format {
            Format::Gguf => {
                let file = GgufFile::open(folder.join("text.gguf")).unwrap();
                (Decoder::load(&file), Tower::load(&folder, Precision::Full))
            }
            Format::Safetensors => {
                let whole = Whole::of(name);
                (Decoder::load(whole.open()), Tower::load(whole.path(), Precision::Full))
            }
        };
        let (model, tower) = (model.unwrap(), tower.unwrap());
        let text = std::fs::read_to_string(folder.join("text.json")).unwrap();
        let logits = std::fs::read(folder.join("logits.f32")).unwrap();
        let logits = logits.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let config = model.config();
        let mut pool = KvPool::new(config.kv_shape(KvType::F32), 64);
        let mut pages = PageAllocator::new(64);
        if let Some(states) = config.state_shape(0..config.layers) {
            let plan = StatePlan { sequences: 4, checkpoints: 4, interval: 1, bytes: 0 };
            pool = pool.with_states(states, plan.slots());
            pages = pages.with_states(plan);
        }
        Self {
            tower,
            pool,
            pages,
            workspace: Workspace::default(),
            prompts: serde_json::from_str(&text).unwrap(),
            logits: logits
                .collect::<Vec<f32>>()
                .chunks(STORED * model.config().vocab)
                .map(<[f32]>::to_vec)
                .collect(),
            model,
        }
    }

    /// Encodes the images and videos of a prompt.
    fn injected(&self, prompt: &Value) -> Injected {
        let spans = prompt["spans"].as_array().unwrap().iter().enumerate();
        let rows = spans.map(|(index, span)| {
            let [time, height, width] = numbers(&span[2])[..] else { panic!("{span}") };
            let grid = Grid { time, height, width };
            let values = noise(grid.patches() * self.tower.spec().patch_len(), 100 + index as u64);
            let mut workspace = TowerWorkspace::default();
            let encoded = self.tower.encode(&Patches { grid, values }, &mut workspace).unwrap();
            InjectedRows {
                start: number(&span[0]),
                positions: offsets(grid, 2, 1.0),
                values: encoded.rows.into(),
                added: encoded.deepstack.concat().into(),
                hash: [index as u8; 32],
            }
        });
        let config = self.model.config();
        let tokens = prompt["tokens"].as_array().unwrap().len();
        Injected::new(rows.collect(), tokens, config.hidden, config.deepstack_layers).unwrap()
    }

    fn tokens(prompt: &Value) -> Vec<u32> {
        numbers(&prompt["tokens"]).into_iter().map(|token| token as u32).collect()
    }

    /// Returns the logits of some tokens, which follow `start` computed ones. `[tokens * vocab]`
    fn logits(
        &mut self,
        tokens: &[u32],
        start: usize,
        table: &BlockTable,
        injected: &Injected,
    ) -> Vec<f32> {
        let mut batch = ForwardBatch::default();
        let text = SequenceRows::text(tokens, start, table, Logits::All);
        batch.push(SequenceRows { injected, ..text });
        self.model.forward(&batch, &mut self.pool, &mut self.workspace).unwrap().to_vec()
    }
}

#[test]
fn logits_equal_transformers_with_images_and_videos_in_chunks_of_any_size() {
    for (name, format) in every_format() {
        let mut bench = Bench::new(name, format);
        assert_eq!(bench.prompts.len(), 5);
        for (place, prompt) in bench.prompts.clone().iter().enumerate() {
            let (tokens, injected) = (Bench::tokens(prompt), bench.injected(prompt));
            for chunk in [tokens.len(), 7, 1] {
                let table = bench.pages.reserve(tokens.len()).unwrap();
                let mut all = Vec::new();
                for (index, part) in tokens.chunks(chunk).enumerate() {
                    all.extend(bench.logits(part, index * chunk, &table, &injected));
                }
                let expected = &bench.logits[place];
                let off = distance(&all[all.len() - expected.len()..], expected);
                println!("{name} {format:?} {} by {chunk}: off by {off}", prompt["name"]);
                assert!(
                    off <= 1e-3,
                    "{name} {format:?} {} by {chunk}: off by {off}",
                    prompt["name"]
                );
            }
        }
    }
}

#[test]
fn forty_eight_greedy_tokens_equal_transformers() {
    for (name, format) in every_format() {
        let mut bench = Bench::new(name, format);
        let vocab = bench.model.config().vocab;
        for prompt in bench.prompts.clone() {
            let (tokens, injected) = (Bench::tokens(&prompt), bench.injected(&prompt));
            let greedy = numbers(&prompt["greedy"]);
            assert!(greedy.len() >= 48);
            let table = bench.pages.reserve(tokens.len() + greedy.len()).unwrap();
            let mut logits = bench.logits(&tokens, 0, &table, &injected);
            let mut answer = Vec::new();
            while answer.len() < greedy.len() {
                let last = &logits[logits.len() - vocab..];
                let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
                let start = tokens.len() + answer.len();
                answer.push(best);
                logits = bench.logits(&[best as u32], start, &table, &injected);
            }
            assert_eq!(answer, greedy, "{name} {format:?} {}", prompt["name"]);
        }
    }
}

/// Each of these mistakes would be seen in the logits.
#[test]
fn wrong_positions_and_missing_deepstack_change_the_logits() {
    for name in TOWERS {
        let mut bench = Bench::new(name, Format::Gguf);
        let (prompt, expected) = (bench.prompts[1].clone(), bench.logits[1].clone());
        let tokens = Bench::tokens(&prompt);
        let config = bench.model.config().clone();
        let span = &prompt["spans"][0];
        let [time, height, width] = numbers(&span[2])[..] else { panic!("{span}") };
        let grid = Grid { time, height, width };
        let values = noise(grid.patches() * bench.tower.spec().patch_len(), 100);
        let encoded =
            bench.tower.encode(&Patches { grid, values }, &mut TowerWorkspace::default()).unwrap();
        let right = InjectedRows {
            start: number(&span[0]),
            positions: offsets(grid, 2, 1.0),
            values: encoded.rows.into(),
            added: encoded.deepstack.concat().into(),
            hash: [0; 32],
        };
        let swapped = right.positions.iter().map(|[t, h, w]| [*t, *w, *h]).collect();
        let plain = InjectedRows::consecutive_positions(right.positions.len());
        let without = vec![0.0; right.added.len()];
        let mut wrong = vec![
            InjectedRows { positions: swapped, ..right.clone() },
            InjectedRows { positions: plain, ..right.clone() },
        ];
        if !without.is_empty() {
            wrong.push(InjectedRows { added: without.into(), ..right });
        }
        for rows in wrong {
            let layers = config.deepstack_layers;
            let injected = Injected::new(vec![rows], tokens.len(), config.hidden, layers).unwrap();
            let table = bench.pages.reserve(tokens.len()).unwrap();
            let all = bench.logits(&tokens, 0, &table, &injected);
            let off = distance(&all[all.len() - expected.len()..], &expected);
            assert!(off > 0.02, "{name}: a mistake moves the logits by {off} only");
        }
    }
}
