//! Collects warnings. The same trouble of many items is one warning with their number.

/// The most items that are read of one answer.
pub(super) const MAX_ITEMS: usize = 10_000;
/// The most characters of the answer that a warning quotes.
const MAX_QUOTED: usize = 80;

/// A trouble that many items may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Coordinates outside of the image.
    Clamped,
    /// Left and right, or top and bottom, in the wrong order.
    Swapped,
    /// No coordinates where some are expected.
    NoShape,
    /// Coordinates that are not numbers.
    Unreadable,
    /// The index of an image that there is not.
    NoPicture,
    /// Something that is not an object with coordinates.
    NotAnItem,
    /// Items beyond [`MAX_ITEMS`].
    TooMany,
    /// An event that ends before it starts.
    EndsEarly,
    /// An event without a time.
    NoTime,
    /// A call that is not readable.
    NotACall,
}

impl Trouble {
    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Clamped => (
                "reaches beyond the image and was clamped to it",
                "reach beyond the image and were clamped to it",
            ),
            Self::Swapped => (
                "had its corners in the wrong order, which were swapped",
                "had their corners in the wrong order, which were swapped",
            ),
            Self::NoShape => ("has no coordinates", "have no coordinates"),
            Self::Unreadable => {
                ("has coordinates that can't be read", "have coordinates that can't be read")
            }
            Self::NoPicture => (
                "names an image that the prompt does not have",
                "name images that the prompt does not have",
            ),
            Self::NotAnItem => (
                "was left out because it is no object with coordinates",
                "were left out because they are no objects with coordinates",
            ),
            Self::TooMany => (
                "was left out because an answer may have 10,000",
                "were left out because an answer may have 10,000",
            ),
            Self::EndsEarly => (
                "ended before it started; the times were swapped",
                "ended before they started; the times were swapped",
            ),
            Self::NoTime => ("has no time that can be read", "have no time that can be read"),
            Self::NotACall => (
                "was left out because it is no call of a function",
                "were left out because they are no calls of functions",
            ),
        }
    }

    /// Returns whether the items are in the structured answer, so that an index says which one is meant.
    const fn is_of_kept(self) -> bool {
        !matches!(self, Self::NotAnItem | Self::TooMany | Self::NotACall)
    }
}

/// The warnings of an answer.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    texts: Vec<String>,
    counts: Vec<(Trouble, usize, usize)>,
}

impl Warnings {
    /// Adds a warning unless it is there.
    pub(super) fn add(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.texts.len() < 50 && !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    /// Counts a trouble of the item with this index.
    pub(super) fn count(&mut self, trouble: Trouble, index: usize) {
        match self.counts.iter_mut().find(|(other, ..)| *other == trouble) {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((trouble, index, 1)),
        }
    }

    /// Leaves out what exceeds [`MAX_ITEMS`], and says how many.
    pub(super) fn bound<T>(&mut self, list: &mut Vec<T>) {
        for index in MAX_ITEMS..list.len() {
            self.count(Trouble::TooMany, index);
        }
        list.truncate(MAX_ITEMS);
    }

    /// Returns all of them.
    pub(super) fn into_texts(self) -> Vec<String> {
        let counted = self.counts.into_iter().map(|(trouble, first, count)| {
            let (one, several) = trouble.text();
            match (count, trouble.is_of_kept()) {
                (1, true) => format!("item {first} {one}"),
                (1, false) => format!("1 item {one}"),
                (_, true) => format!("{count} items {several}; the first is item {first}"),
                (_, false) => format!("{count} items {several}"),
            }
        });
        self.texts.into_iter().chain(counted).collect()
    }
}

/// Returns the beginning of a text in quotes, for a warning.
pub(super) fn quoted(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{:?} and more", &text[..end]),
        None => format!("{text:?}"),
    }
}
