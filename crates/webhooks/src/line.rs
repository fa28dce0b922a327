//! Whose delivery is next. Tenants take turns, and each has few tries under way at once, so a receiver
//! that lets us wait delays nobody else's. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use protocol::{Outcome, TenantId};
use queue::Delivery;

/// How many tries are under way at once.
pub(crate) const MAX_RUNNING: usize = 32;
/// How many of them are one tenant's.
pub(crate) const MAX_RUNNING_OF_TENANT: usize = 4;
/// How many of a tenant's deliveries wait here.
const MAX_WAITING_OF_TENANT: usize = 128;
/// How many bytes of results wait here.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// The deliveries that this process has taken.
pub(crate) struct Line {
    /// How long after it was taken a delivery may begin; then somebody else may have it any moment.
    patience: Duration,
    /// Who waits, in the order of their turns; none has an empty queue.
    waiting: VecDeque<(TenantId, VecDeque<Waiting>)>,
    waiting_bytes: usize,
    running: HashMap<TenantId, usize>,
}

struct Waiting {
    delivery: Delivery,
    until: Instant,
}

impl Line {
    /// An empty one.
    pub(crate) fn new(patience: Duration) -> Self {
        let (waiting, running) = (VecDeque::new(), HashMap::new());
        Self { patience, waiting, waiting_bytes: 0, running }
    }

    /// Lets a delivery that was taken at `taken` wait for its turn. Answers whether it may: one for
    /// which there is no room is left alone, and falls due again.
    pub(crate) fn join(&mut self, delivery: Delivery, taken: Instant) -> bool {
        let size = size(&delivery);
        if self.waiting_bytes + size > MAX_WAITING_BYTES {
            return false;
        }
        let found = self.waiting.iter().position(|(tenant, _)| *tenant == delivery.tenant);
        let at = found.unwrap_or_else(|| {
            self.waiting.push_back((delivery.tenant.clone(), VecDeque::new()));
            self.waiting.len() - 1
        });
        let queue = &mut self.waiting[at].1;
        if queue.len() >= MAX_WAITING_OF_TENANT {
            return false;
        }
        self.waiting_bytes += size;
        queue.push_back(Waiting { delivery, until: taken + self.patience });
        true
    }

    /// The next delivery to try; it counts as running until [`Self::ended`]. Those that have waited
    /// too long are forgotten on the way, and fall due again.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Delivery> {
        if self.running.values().sum::<usize>() >= MAX_RUNNING {
            return None;
        }
        for _ in 0..self.waiting.len() {
            let (tenant, mut queue) = self.waiting.pop_front()?;
            while let Some(late) = queue.pop_front_if(|waiting| waiting.until <= now) {
                self.waiting_bytes -= size(&late.delivery);
            }
            let running = self.running.get(&tenant).copied().unwrap_or_default();
            let next = (running < MAX_RUNNING_OF_TENANT).then(|| queue.pop_front()).flatten();
            if !queue.is_empty() {
                self.waiting.push_back((tenant.clone(), queue));
            }
            if let Some(Waiting { delivery, .. }) = next {
                self.waiting_bytes -= size(&delivery);
                *self.running.entry(tenant).or_default() += 1;
                return Some(delivery);
            }
        }
        None
    }

    /// Whether all that may run at once do.
    pub(crate) fn is_full(&self) -> bool {
        self.running.values().sum::<usize>() >= MAX_RUNNING
    }

    /// A try of this tenant's is over.
    pub(crate) fn ended(&mut self, tenant: &TenantId) {
        if let Some(running) = self.running.get_mut(tenant) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(tenant);
            }
        }
    }
}

/// What a delivery holds in memory, but for what is bounded anyway.
fn size(delivery: &Delivery) -> usize {
    match &delivery.outcome {
        Outcome::Completed(completion) => completion.text.len(),
        Outcome::Failed(error) => error.message.len(),
        Outcome::Cancelled => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{Completion, FinishReason, TaskId, Timestamp, Usage};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn delivery(tenant: &str, text: &str) -> Delivery {
        Delivery {
            task_id: TaskId::new(),
            tenant: TenantId::new(tenant),
            url: "https://example.org".into(),
            number: 1,
            outcome: Outcome::Completed(Completion {
                text: text.into(),
                reasoning: None,
                tool_calls: vec![],
                finish_reason: FinishReason::Stop,
                usage: Usage::default(),
                logprobs: None,
                sampling_defaults: Default::default(),
            }),
            metadata: BTreeMap::new(),
            submitted_at: Timestamp::from_millis(0),
            started_at: None,
            finished_at: Timestamp::from_millis(0),
        }
    }

    fn tenants(line: &mut Line, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| line.next(now)).map(|next| next.tenant.to_string()).collect()
    }

    #[test]
    fn tenants_take_turns_and_none_has_more_than_its_share() {
        let (mut line, now) = (Line::new(PATIENCE), Instant::now());
        for tenant in ["a", "a", "a", "a", "a", "a", "b", "c"] {
            assert!(line.join(delivery(tenant, ""), now));
        }
        assert_eq!(tenants(&mut line, now), ["a", "b", "c", "a", "a", "a"]);
        line.ended(&TenantId::new("b"));
        assert_eq!(tenants(&mut line, now), [""; 0], "b's end makes no room for a");
        line.ended(&TenantId::new("a"));
        assert_eq!(tenants(&mut line, now), ["a"]);
    }

    #[test]
    fn no_more_run_than_may() {
        let (mut line, now) = (Line::new(PATIENCE), Instant::now());
        for tenant in 0..20 {
            for _ in 0..3 {
                assert!(line.join(delivery(&format!("t{tenant}"), ""), now));
            }
        }
        assert_eq!(tenants(&mut line, now).len(), MAX_RUNNING);
        assert!(line.is_full());
    }

    #[test]
    fn who_waits_too_long_is_left_to_fall_due_again() {
        let (mut line, now) = (Line::new(PATIENCE), Instant::now());
        line.join(delivery("a", "12345"), now);
        line.join(delivery("b", ""), now + Duration::from_secs(5));
        assert_eq!(tenants(&mut line, now + PATIENCE), ["b"]);
        assert_eq!((line.waiting_bytes, line.waiting.len()), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_bytes() {
        let (mut line, now) = (Line::new(PATIENCE), Instant::now());
        let joined = (0..1_000).filter(|_| line.join(delivery("a", ""), now)).count();
        assert_eq!(joined, MAX_WAITING_OF_TENANT);
        let large = "x".repeat(MAX_WAITING_BYTES / 4);
        let joined = (0..10).filter(|n| line.join(delivery(&format!("t{n}"), &large), now)).count();
        assert_eq!(joined, 4);
        assert!(line.join(delivery("z", ""), now));
    }
}
