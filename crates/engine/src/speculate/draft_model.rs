//! Drafts by a smaller model of the same vocabulary.

use std::collections::HashMap;
use std::time::Instant;

use candle_core as candle;

use super::{DraftKind, Drafter};
use crate::batch::{ForwardBatch, Logits, SequenceRows};
use crate::kernels::likeliest::likeliest;
use crate::kv::{BlockTable, KvPool, KvType, PAGE_TOKENS, PageAllocator};
use crate::model::{Decoder, Workspace};
use crate::sched::SequenceId;
use crate::text::Tokenizer;
use crate::{Checkpoint, LoadError};

/// The most tokens whose keys and values it keeps, of all sequences together. Sequences that find no room get no
/// drafts of it.
const KV_TOKENS: usize = 8_192;
/// The most tokens that it computes in one step of the engine to catch up with a sequence, so that a long prompt does
/// not hold up other answers.
const CATCH_UP: usize = 256;
/// How far a measured time moves the expected one.
const PACE: f64 = 0.1;

/// A smaller model that drafts the tokens it finds likeliest. Its rounding and its mistakes change no answer.
#[derive(Debug)]
pub(crate) struct DraftModel {
    model: Decoder,
    pool: KvPool,
    pages: PageAllocator,
    workspace: Workspace,
    batch: ForwardBatch,
    sequences: HashMap<SequenceId, Followed>,
    /// The tokens that the larger model has.
    vocabulary: usize,
    /// The expected time of a drafted token, in seconds.
    seconds: f64,
}

/// A sequence that it follows.
#[derive(Debug)]
struct Followed {
    pages: BlockTable,
    /// The tokens whose keys and values are in the pages. The last of them may be drafted ones that were rejected.
    computed: Vec<u32>,
    /// The number of the first of them that are the sequence's.
    known: usize,
}

impl DraftModel {
    /// Loads a model for drafts of another one.
    ///
    /// # Errors
    /// If it is damaged or not supported, generates no text, has recurrent layers, or another vocabulary than `tokenizer`.
    pub(crate) fn load(
        file: &Checkpoint,
        of: &Checkpoint,
        tokenizer: &Tokenizer,
    ) -> Result<Self, LoadError> {
        let config = check(file, of, tokenizer)?;
        let model = Decoder::load(file)?;
        let pages = pages(config.context_length);
        let mut this = Self {
            pool: KvPool::new(config.kv_shape(KvType::F16), pages),
            pages: PageAllocator::new(pages),
            workspace: Workspace::default(),
            batch: ForwardBatch::default(),
            sequences: HashMap::new(),
            vocabulary: tokenizer.vocabulary().len(),
            seconds: 0.0,
            model,
        };
        let failed = |error: candle::Error| LoadError::Compute {
            file: file.label().to_owned(),
            problem: error.to_string(),
        };
        this.model.warm_up().map_err(failed)?;
        // Measures its time: at first it is slower than later.
        for tokens in [4, 16] {
            let (mut draft, id) = (Vec::new(), SequenceId(0));
            this.can_draft(id, &[0]);
            this.draft(id, &[0], tokens, &mut draft);
            this.forget(id);
        }
        Ok(this)
    }

    /// Returns the memory that [`load`](Self::load) will use, in bytes, beside the files' pages.
    ///
    /// # Errors
    /// As [`load`](Self::load), as far as the files' headers say.
    pub(crate) fn bytes(
        file: &Checkpoint,
        of: &Checkpoint,
        tokenizer: &Tokenizer,
    ) -> Result<usize, LoadError> {
        let config = check(file, of, tokenizer)?;
        let shape = config.kv_shape(KvType::F16);
        let kv = pages(config.context_length) * PAGE_TOKENS * shape.bytes_per_token();
        Ok(file.weight_bytes() + kv + Workspace::bytes(&config, CATCH_UP, 1))
    }

    /// Returns the bytes of its keys and values, which are in use once sequences fill them.
    pub(crate) fn kv_bytes(&self) -> usize {
        self.pool.pages() * PAGE_TOKENS * self.pool.shape().bytes_per_token()
    }

    /// Computes tokens of a sequence behind those in its pages, and returns the likeliest next token.
    fn forward(&mut self, id: SequenceId, tokens: &[u32]) -> Option<u32> {
        let Self { model, pool, workspace, batch, sequences, .. } = self;
        let followed = sequences.get_mut(&id)?;
        let start = followed.computed.len();
        if !followed.pages.grow(start + tokens.len()) {
            return None;
        }
        batch.clear();
        batch.push(SequenceRows::text(tokens, start, &followed.pages, Logits::Last));
        let next = match model.forward(batch, pool, workspace) {
            Ok(logits) => likeliest(logits),
            Err(error) => {
                tracing::warn!("a draft failed: {error}");
                None
            }
        };
        followed.computed.extend_from_slice(tokens);
        next.map(|token| token as u32).filter(|token| (*token as usize) < self.vocabulary)
    }

    /// Computes the sequence's tokens that are missing before the last one. Returns whether none is missing.
    fn catch_up(&mut self, id: SequenceId, tokens: &[u32]) -> bool {
        let Some(followed) = self.sequences.get_mut(&id) else { return false };
        let missing = &tokens[followed.computed.len()..tokens.len() - 1];
        let part = &missing[..missing.len().min(CATCH_UP)];
        let is_last = part.len() == missing.len();
        if !part.is_empty() {
            // Without a likeliest token it found no room, or cannot compute.
            let before = followed.computed.len();
            self.forward(id, part);
            let Some(followed) = self.sequences.get_mut(&id) else { return false };
            if followed.computed.len() == before {
                return false;
            }
            followed.known = followed.computed.len();
        }
        is_last
    }
}

impl Drafter for DraftModel {
    fn kind(&self) -> DraftKind {
        DraftKind::Model
    }

    fn can_draft(&mut self, id: SequenceId, tokens: &[u32]) -> bool {
        let embedded = self.model.config().vocab;
        let fits = tokens.len() < self.pages.total_pages() * PAGE_TOKENS
            && tokens.len() < self.model.config().context_length;
        if !fits {
            self.sequences.remove(&id);
            return false;
        }
        let followed = self.sequences.entry(id).or_insert_with(|| Followed {
            pages: self.pages.table(),
            computed: Vec::new(),
            known: 0,
        });
        let new = followed.computed[followed.known..].iter().zip(&tokens[followed.known..]);
        followed.known += new.take_while(|(a, b)| a == b).count();
        followed.known = followed.known.min(tokens.len() - 1);
        followed.computed.truncate(followed.known);
        tokens[followed.known..].iter().all(|token| (*token as usize) < embedded)
    }

    fn draft(&mut self, id: SequenceId, tokens: &[u32], count: usize, draft: &mut Vec<u32>) {
        if !self.catch_up(id, tokens) {
            return;
        }
        let began = Instant::now();
        let mut last = tokens[tokens.len() - 1];
        for drafted in 0..count {
            let Some(next) = self.forward(id, &[last]) else { break };
            if drafted == 0
                && let Some(followed) = self.sequences.get_mut(&id)
            {
                followed.known = followed.computed.len();
            }
            draft.push(next);
            last = next;
        }
        let seconds = began.elapsed().as_secs_f64() / count.max(1) as f64;
        let pace = if self.seconds > 0.0 { PACE } else { 1.0 };
        self.seconds += pace * (seconds - self.seconds);
    }

    fn seconds_per_token(&self) -> f64 {
        self.seconds
    }

    fn forget(&mut self, id: SequenceId) {
        self.sequences.remove(&id);
    }
}

/// Returns the number of pages of its keys and values.
fn pages(context_length: usize) -> usize {
    KV_TOKENS.min(2 * context_length).div_ceil(PAGE_TOKENS)
}

/// Checks that a model can draft for another one.
fn check(
    file: &Checkpoint,
    of: &Checkpoint,
    tokenizer: &Tokenizer,
) -> Result<crate::model::ModelConfig, LoadError> {
    let refuse = |problem: String| {
        Err(LoadError::InvalidOption(format!(
            "the model {} cannot draft for {}: {problem}; choose a smaller model of the same family",
            file.label(),
            of.label()
        )))
    };
    let config = file.config()?;
    if config.pooling.is_some() {
        return refuse("it is an embedding model".to_owned());
    }
    if config.state_shape(0..config.layers).is_some() {
        return refuse("it has recurrent layers, whose states cannot be rolled back".to_owned());
    }
    let own = file.tokenizer()?;
    match own.vocabulary().difference(tokenizer.vocabulary()) {
        Some(difference) => refuse(format!("it has another vocabulary: {difference}")),
        None => Ok(config),
    }
}
