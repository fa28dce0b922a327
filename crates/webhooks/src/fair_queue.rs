//! Picks the next delivery to send. Tenants take turns, and each has a bounded number of tries in
//! progress, so a slow receiver delays only its own tenant's deliveries. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use protocol::{Embedding, Outcome, TenantId};
use queue::{Content, Delivery};

/// The most tries in progress at once.
pub(crate) const MAX_RUNNING: usize = 32;
/// The most tries of one tenant in progress at once.
pub(crate) const MAX_RUNNING_OF_TENANT: usize = 4;
/// The most deliveries of one tenant that wait here.
const MAX_WAITING_OF_TENANT: usize = 128;
/// The most bytes of results that wait here.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// The deliveries that this process has taken and not finished.
pub(crate) struct FairQueue {
    /// The time after it was taken in which a delivery may start. After that its lease may expire before the
    /// try is recorded, and another process may send it too.
    max_wait: Duration,
    /// The waiting deliveries by tenant, in the order of the tenants' turns. No inner queue is
    /// empty.
    waiting: VecDeque<(TenantId, VecDeque<Waiting>)>,
    waiting_bytes: usize,
    running: HashMap<TenantId, usize>,
}

struct Waiting {
    delivery: Delivery,
    /// The time from which it may no longer start.
    until: Instant,
}

impl FairQueue {
    /// Creates an empty queue.
    pub(crate) fn new(max_wait: Duration) -> Self {
        let (waiting, running) = (VecDeque::new(), HashMap::new());
        Self { max_wait, waiting, waiting_bytes: 0, running }
    }

    /// Adds a delivery that was taken at `taken`. Returns `false`, and drops it, if there is no
    /// room: it falls due again.
    pub(crate) fn push(&mut self, delivery: Delivery, taken: Instant) -> bool {
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
        queue.push_back(Waiting { delivery, until: taken + self.max_wait });
        true
    }

    /// Returns the next delivery to send, which counts as running until [`Self::ended`]. Drops the
    /// deliveries that it passes and that have waited longer than `max_wait`: they fall due again.
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

    /// Whether [`MAX_RUNNING`] tries are in progress.
    pub(crate) fn is_full(&self) -> bool {
        self.running.values().sum::<usize>() >= MAX_RUNNING
    }

    /// Records that a try of this tenant has ended.
    pub(crate) fn ended(&mut self, tenant: &TenantId) {
        if let Some(running) = self.running.get_mut(tenant) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(tenant);
            }
        }
    }
}

/// The bytes that a delivery holds, without its fields of bounded size.
fn size(delivery: &Delivery) -> usize {
    let end = match &delivery.content {
        Content::Task(end) => end,
        Content::Notice(body) => return body.len(),
    };
    match &end.outcome {
        Outcome::Completed(completion) => {
            let texts = completion.choices().map(|choice| choice.text.len());
            let vectors = completion.embeddings.iter().map(|Embedding(vector)| 4 * vector.len());
            texts.chain(vectors).sum()
        }
        Outcome::Failed(error) => error.message.len(),
        Outcome::Cancelled { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Timestamp, WebhookId};

    use super::*;

    const MAX_WAIT: Duration = Duration::from_secs(10);

    fn delivery(tenant: &str, text: &str) -> Delivery {
        Delivery {
            id: WebhookId::new(),
            tenant: TenantId::new(tenant),
            url: "https://example.org".into(),
            number: 1,
            since: Timestamp::from_millis(0),
            content: Content::Notice(text.to_owned()),
        }
    }

    fn tenants(queue: &mut FairQueue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.next(now)).map(|next| next.tenant.to_string()).collect()
    }

    #[test]
    fn tenants_take_turns_and_stay_within_their_limit() {
        let (mut queue, now) = (FairQueue::new(MAX_WAIT), Instant::now());
        for tenant in ["a", "a", "a", "a", "a", "a", "b", "c"] {
            assert!(queue.push(delivery(tenant, ""), now));
        }
        assert_eq!(tenants(&mut queue, now), ["a", "b", "c", "a", "a", "a"]);
        queue.ended(&TenantId::new("b"));
        assert_eq!(tenants(&mut queue, now), [""; 0], "b's end makes no room for a");
        queue.ended(&TenantId::new("a"));
        assert_eq!(tenants(&mut queue, now), ["a"]);
    }

    #[test]
    fn number_of_running_deliveries_is_bounded() {
        let (mut queue, now) = (FairQueue::new(MAX_WAIT), Instant::now());
        for tenant in 0..20 {
            for _ in 0..3 {
                assert!(queue.push(delivery(&format!("t{tenant}"), ""), now));
            }
        }
        assert_eq!(tenants(&mut queue, now).len(), MAX_RUNNING);
        assert!(queue.is_full());
    }

    #[test]
    fn a_delivery_that_waited_too_long_is_dropped() {
        let (mut queue, now) = (FairQueue::new(MAX_WAIT), Instant::now());
        queue.push(delivery("a", "12345"), now);
        queue.push(delivery("b", ""), now + Duration::from_secs(5));
        assert_eq!(tenants(&mut queue, now + MAX_WAIT), ["b"]);
        assert_eq!((queue.waiting_bytes, queue.waiting.len()), (0, 0));
    }

    #[test]
    fn waiting_deliveries_are_bounded_in_number_and_bytes() {
        let (mut queue, now) = (FairQueue::new(MAX_WAIT), Instant::now());
        let joined = (0..1_000).filter(|_| queue.push(delivery("a", ""), now)).count();
        assert_eq!(joined, MAX_WAITING_OF_TENANT);
        let large = "x".repeat(MAX_WAITING_BYTES / 4);
        let joined =
            (0..10).filter(|n| queue.push(delivery(&format!("t{n}"), &large), now)).count();
        assert_eq!(joined, 4);
        assert!(queue.push(delivery("z", ""), now));
    }
}
