//! Whether a store is set up as the queue needs it.

/// What [`Broker::vet`](crate::Broker::vet) found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitness {
    /// What keeps the queue from working, each with what to do about it. Empty when it can work.
    pub obstacles: Vec<String>,
    /// What puts tasks at risk although the queue works, each with what to do about it.
    pub warnings: Vec<String>,
    /// How many bytes the store may hold, where that is limited and known.
    pub capacity: Option<u64>,
}

impl Fitness {
    /// With one obstacle.
    pub(crate) fn unfit(obstacle: impl Into<String>) -> Self {
        Self { obstacles: vec![obstacle.into()], ..Self::default() }
    }

    /// The same, each line beginning with what it is about.
    pub(crate) fn of(mut self, what: &str) -> Self {
        for line in self.obstacles.iter_mut().chain(&mut self.warnings) {
            line.insert_str(0, what);
        }
        self
    }

    /// Of two servers of one store.
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
