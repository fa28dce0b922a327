//! The result of checking whether a store is configured as the queue needs it.

/// The findings of [`Broker::vet`](crate::Broker::vet).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitness {
    /// Settings that keep the queue from working, each with the remedy. Empty if it can work.
    pub obstacles: Vec<String>,
    /// Settings that put tasks at risk although the queue works, each with the remedy.
    pub warnings: Vec<String>,
    /// The number of bytes the store may hold, if that is limited and known.
    pub capacity: Option<u64>,
}

impl Fitness {
    /// Creates a result with one obstacle.
    pub(crate) fn unfit(obstacle: impl Into<String>) -> Self {
        Self { obstacles: vec![obstacle.into()], ..Self::default() }
    }

    /// Prefixes each line with its subject.
    pub(crate) fn of(mut self, what: &str) -> Self {
        for line in self.obstacles.iter_mut().chain(&mut self.warnings) {
            line.insert_str(0, what);
        }
        self
    }

    /// Merges the findings about two servers of one store.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.obstacles.extend(other.obstacles);
        self.warnings.extend(other.warnings);
        self.capacity = match (self.capacity, other.capacity) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self
    }
}
