//! The mixed load: clients in a closed loop, each with one request in flight, with prompts of
//! different lengths and answers of one length. A [`Contender`] answers; with the same seed, all
//! contenders get the same prompts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::spread::Spread;

/// Requests per client, unless `--requests` is given.
const REQUESTS_PER_CLIENT: usize = 4;

/// The requests of the mixed load.
#[derive(Debug, Clone, Args)]
pub(super) struct Load {
    /// Requests of all clients together [default: four per client].
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// Length of the shortest prompt in tokens; lengths are drawn uniformly.
    #[arg(long, default_value_t = 64, value_name = "TOKENS", value_parser = at_least_one)]
    shortest: usize,
    /// Length of the longest prompt in tokens.
    #[arg(long, default_value_t = 512, value_name = "TOKENS", value_parser = at_least_one)]
    longest: usize,
    /// Length of each answer in tokens.
    #[arg(long, default_value_t = 64, value_name = "TOKENS", value_parser = at_least_one)]
    pub(super) answer: usize,
    /// Seed of the prompts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Parses a count that must not be zero.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("allowed is 1 to 1000000".to_owned()),
    }
}

impl Load {
    /// Checks the lengths.
    ///
    /// # Errors
    /// If the shortest prompt is longer than the longest.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            self.shortest <= self.longest,
            "--shortest {} is more than --longest {}",
            self.shortest,
            self.longest
        );
        Ok(())
    }

    /// Sets the number of requests.
    pub(super) fn with_requests(self, requests: usize) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// Returns the most tokens of one request, prompt and answer together.
    pub(super) fn most_tokens(&self) -> usize {
        self.longest + self.answer
    }

    /// Returns the prompts of one round: texts of random digits, since Qwen's tokenizers make every
    /// digit a token. No two rounds have prompts with a common beginning that the prefix cache
    /// could find.
    fn prompts(&self, clients: usize, round: usize) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add((round as u64) << 32));
        let count = self.requests.unwrap_or(REQUESTS_PER_CLIENT * clients);
        let mut prompt = || {
            let tokens = random.random_range(self.shortest..=self.longest);
            (0..tokens).map(|_| char::from(random.random_range(b'0'..=b'9'))).collect()
        };
        (0..count).map(|_| prompt()).collect()
    }

    /// Runs one round with `clients` clients on `contender`.
    ///
    /// # Errors
    /// If a request fails, or a prompt was not read as one token per digit.
    pub(super) fn run(
        &self,
        contender: &dyn Contender,
        clients: usize,
        round: usize,
    ) -> Result<Figures> {
        let prompts = self.prompts(clients, round);
        let next = AtomicUsize::new(0);
        let totals = Mutex::new(Totals::default());
        let began = Instant::now();
        let client = || -> Result<()> {
            while let Some(prompt) = prompts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut timing = Timing::new();
                let answered = contender.answer(prompt, self.answer, &mut timing);
                let usage =
                    answered.inspect_err(|_| next.store(prompts.len(), Ordering::Relaxed))?;
                ensure!(
                    usage.prompt_tokens == prompt.len() + contender.added_tokens(),
                    "a prompt of {} digits was read as {} tokens: the mixed load needs a model whose \
                     tokenizer makes every digit a token, as Qwen's do",
                    prompt.len(),
                    usage.prompt_tokens
                );
                if let Ok(mut totals) = totals.lock() {
                    totals.add(timing, usage);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            clients.into_iter().try_for_each(|client| {
                client.join().map_err(|_| anyhow::anyhow!("a client of the load panicked"))?
            })
        })?;
        let took = began.elapsed();
        let totals = totals.into_inner().context("a client of the load panicked")?;
        totals.figures(clients, took)
    }
}

/// A system that answers prompts.
pub(super) trait Contender: Sync {
    /// Answers one prompt with exactly `tokens` tokens, if it can. Calls `timing.text_arrived` for
    /// every piece of text.
    ///
    /// # Errors
    /// If there is no complete answer.
    fn answer(&self, prompt: &str, tokens: usize, timing: &mut Timing) -> Result<Usage>;

    /// Returns the number of tokens that it adds to every prompt, as a chat template does.
    fn added_tokens(&self) -> usize {
        0
    }
}

/// The tokens of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Tokens of the prompt.
    pub(super) prompt_tokens: usize,
    /// Tokens of the answer.
    pub(super) completion_tokens: usize,
}

/// Measures the times of one answer.
#[derive(Debug)]
pub(super) struct Timing {
    began: Instant,
    first: Option<Duration>,
    latest: Instant,
    gaps: Vec<Duration>,
}

impl Timing {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { began: now, first: None, latest: now, gaps: Vec::new() }
    }

    /// Records that a piece of the answer has arrived.
    pub(super) fn text_arrived(&mut self) {
        let now = Instant::now();
        match self.first {
            None => self.first = Some(now - self.began),
            Some(_) => self.gaps.push(now - self.latest),
        }
        self.latest = now;
    }
}

/// The sums of all answers.
#[derive(Debug, Default)]
struct Totals {
    first: Vec<Duration>,
    gaps: Vec<Duration>,
    whole: Vec<Duration>,
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl Totals {
    fn add(&mut self, timing: Timing, usage: Usage) {
        self.first.extend(timing.first);
        self.gaps.extend(timing.gaps);
        self.whole.push(timing.began.elapsed());
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
    }

    fn figures(self, clients: usize, took: Duration) -> Result<Figures> {
        let rate = |tokens: usize| tokens as f64 / took.as_secs_f64();
        Ok(Figures {
            clients,
            requests: self.whole.len(),
            seconds: took.as_secs_f64(),
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            output_per_second: rate(self.completion_tokens),
            total_per_second: rate(self.prompt_tokens + self.completion_tokens),
            first: Spread::of(self.first),
            gap: Spread::of(self.gaps),
            whole: Spread::of(self.whole).context("there was no request")?,
        })
    }
}

/// The figures of one round.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Requests in flight.
    pub(super) clients: usize,
    /// Requests answered.
    pub(super) requests: usize,
    /// Seconds from the first request to the last answer.
    pub(super) seconds: f64,
    /// Tokens of all prompts.
    pub(super) prompt_tokens: usize,
    /// Tokens of all answers.
    pub(super) completion_tokens: usize,
    /// Tokens of answers per second.
    pub(super) output_per_second: f64,
    /// Tokens of prompts and answers per second.
    pub(super) total_per_second: f64,
    /// Time from request to first text (TTFT); `None` if no answer had text.
    pub(super) first: Option<Spread>,
    /// Time between successive pieces of text of an answer. A piece is usually one token; it is
    /// more where a token ends within a character or a server sends several together.
    pub(super) gap: Option<Spread>,
    /// Time from request to the end of the answer.
    pub(super) whole: Spread,
}

/// Returns the round with the median rate, or `None` if there are no rounds.
pub(super) fn median(mut rounds: Vec<Figures>) -> Option<Figures> {
    rounds.sort_by(|a, b| a.output_per_second.total_cmp(&b.output_per_second));
    (!rounds.is_empty()).then(|| rounds.swap_remove(rounds.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo {
        in_flight: AtomicUsize,
        most: AtomicUsize,
    }

    impl Contender for Echo {
        fn answer(&self, prompt: &str, tokens: usize, timing: &mut Timing) -> Result<Usage> {
            let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            for _ in 0..tokens {
                std::thread::sleep(Duration::from_millis(2));
                timing.text_arrived();
            }
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            ensure!(!prompt.starts_with("no"), "no");
            Ok(Usage { prompt_tokens: prompt.len(), completion_tokens: tokens })
        }
    }

    fn load() -> Load {
        Load { requests: Some(20), shortest: 5, longest: 9, answer: 3, seed: 7 }
    }

    #[test]
    fn prompts_are_digits_of_the_requested_lengths_and_differ_by_round() {
        let prompts = load().prompts(4, 0);
        assert_eq!(prompts, load().prompts(4, 0));
        assert_ne!(prompts, load().prompts(4, 1));
        assert_eq!(prompts.len(), 20);
        assert!(prompts.iter().all(|p| (5..=9).contains(&p.len())));
        assert!(prompts.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit())));
        for length in 5..=9 {
            assert!(prompts.iter().any(|prompt| prompt.len() == length), "none of {length}");
        }
    }

    #[test]
    fn every_request_is_answered_once_and_the_rates_are_summed() {
        let echo = Echo { in_flight: AtomicUsize::new(0), most: AtomicUsize::new(0) };
        let figures = load().run(&echo, 4, 0).unwrap();
        assert_eq!(echo.most.load(Ordering::SeqCst), 4);
        assert_eq!((figures.requests, figures.completion_tokens), (20, 60));
        assert_eq!(figures.prompt_tokens, load().prompts(4, 0).concat().len());
        assert!((figures.output_per_second * figures.seconds - 60.0).abs() < 1e-6);
        let (first, gap) = (figures.first.unwrap(), figures.gap.unwrap());
        assert_eq!((first.count, gap.count, figures.whole.count), (20, 40, 20));
        assert!(first.p50_ms >= 2.0 && gap.p50_ms >= 2.0 && figures.whole.p50_ms >= 6.0);
    }

    #[test]
    fn a_tokenizer_without_a_token_per_digit_is_refused() {
        struct Pairs;
        impl Contender for Pairs {
            fn answer(&self, prompt: &str, tokens: usize, _: &mut Timing) -> Result<Usage> {
                Ok(Usage { prompt_tokens: prompt.len() / 2, completion_tokens: tokens })
            }
        }
        let error = load().run(&Pairs, 2, 0).unwrap_err().to_string();
        assert!(error.contains("every digit"), "{error}");
    }
}
