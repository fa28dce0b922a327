//! Cuts a stream of text before the first stop string.

/// The result of adding a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emitted {
    /// Text that can be sent. More may follow.
    Text(String),
    /// The last text before a stop string, which is complete. Nothing follows.
    Stopped(String),
}

/// Searches a stream of text for stop strings, and holds back text that may be the start of one.
///
/// The text ends before the first stop string that is *complete*; if several end at the same byte, before
/// the longest. So the result does not depend on how the text is split into pieces.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// The end of the text, which is held back since it may be the start of a stop string.
    held: String,
    /// The stop string that ended the text.
    found: Option<String>,
}

/// One stop string and the length of its longest prefix that the text ends with (Knuth, Morris and Pratt 1977).
#[derive(Debug, Clone)]
struct Stop {
    text: String,
    /// For each length of a match: the next shorter prefix that the same text ends with.
    shorter: Vec<usize>,
    matched: usize,
}

impl Stop {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shorter = vec![0; bytes.len() + 1];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = shorter[matched];
            }
            if bytes[at] == bytes[matched] {
                matched += 1;
            }
            shorter[at + 1] = matched;
        }
        Self { text: text.to_owned(), shorter, matched: 0 }
    }

    /// Adds the next byte. Returns whether the text now ends with the whole stop string.
    fn step(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        while self.matched > 0 && bytes[self.matched] != byte {
            self.matched = self.shorter[self.matched];
        }
        if bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched == bytes.len()
    }
}

impl StopMatcher {
    /// Creates a matcher for these strings. Empty ones are ignored.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Self {
        let stops = stops.iter().map(AsRef::as_ref).filter(|stop: &&str| !stop.is_empty());
        Self { stops: stops.map(Stop::new).collect(), held: String::new(), found: None }
    }

    /// Adds the next piece of text. After a stop, further text is discarded.
    pub fn push(&mut self, text: &str) -> Emitted {
        if self.found.is_some() {
            return Emitted::Stopped(String::new());
        }
        let before = self.held.len();
        self.held.push_str(text);
        if self.stops.is_empty() {
            return Emitted::Text(std::mem::take(&mut self.held));
        }
        for (at, byte) in (before..).zip(text.bytes()) {
            let complete = |stop: &'_ mut Stop| stop.step(byte).then(|| stop.text.clone());
            let longest = self.stops.iter_mut().filter_map(complete).max_by_key(String::len);
            if let Some(stop) = longest {
                self.held.truncate(at + 1 - stop.len());
                self.found = Some(stop);
                return Emitted::Stopped(std::mem::take(&mut self.held));
            }
        }
        let partial = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - partial);
        Emitted::Text(std::mem::replace(&mut self.held, kept))
    }

    /// Returns the stop string that ended the text, if one did.
    pub fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Returns the text that is held back. Call it at the end of the stream, when no stop string can follow.
    pub fn take_held(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Cuts a whole text by definition: the text before the stop string, and the string if there is one.
    fn whole<'a>(text: &'a str, stops: &[&'a str]) -> (&'a str, Option<&'a str>) {
        for (end, _) in text.char_indices().skip(1).chain([(text.len(), ' ')]) {
            let found =
                stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(**stop));
            if let Some(longest) = found.max_by_key(|stop| stop.len()) {
                return (&text[..end - longest.len()], Some(longest));
            }
        }
        (text, None)
    }

    fn streamed(pieces: &[&str], stops: &[&str]) -> (String, Option<String>) {
        let mut matcher = StopMatcher::new(stops);
        let mut sent = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                Emitted::Text(text) => sent.push_str(&text),
                Emitted::Stopped(text) => {
                    return (sent + &text, matcher.found().map(str::to_owned));
                }
            }
        }
        assert_eq!(matcher.found(), None);
        (sent + &matcher.take_held(), None)
    }

    #[test]
    fn streamed_text_stops_where_the_whole_text_does() {
        let mut random = StdRng::seed_from_u64(3);
        let alphabet = ["a", "b", "é", "\n", "🦙", "<"];
        let word = |random: &mut StdRng, longest: usize| -> String {
            (0..random.random_range(0..=longest))
                .map(|_| alphabet[random.random_range(0..alphabet.len())])
                .collect()
        };
        let mut stops_met = 0;
        for _ in 0..20_000 {
            let stops: Vec<String> =
                (0..random.random_range(0..4)).map(|_| word(&mut random, 4)).collect();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<String> =
                (0..random.random_range(0..8)).map(|_| word(&mut random, 4)).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let text = pieces.concat();
            let (sent, stop) = streamed(&pieces, &stops);
            let streamed = (sent.as_str(), stop.as_deref());
            assert_eq!(streamed, whole(&text, &stops), "{pieces:?} {stops:?}");
            stops_met += usize::from(stop.is_some());
        }
        assert!(stops_met > 3_000, "{stops_met}");
    }

    #[test]
    fn text_is_emitted_once_it_cannot_begin_a_stop_string() {
        let mut matcher = StopMatcher::new(&["\n\n", "END"]);
        assert_eq!(matcher.push("one\n"), Emitted::Text("one".into()));
        assert_eq!(matcher.push("two E"), Emitted::Text("\ntwo ".into()));
        assert_eq!(matcher.push("N"), Emitted::Text(String::new()));
        assert_eq!(matcher.push("ND"), Emitted::Text("ENND".into()));
        assert_eq!(matcher.push("E"), Emitted::Text(String::new()));
        assert_eq!(matcher.push("ND and more"), Emitted::Stopped(String::new()));
        assert_eq!(matcher.push("END"), Emitted::Stopped(String::new()));
    }

    #[test]
    fn no_text_is_held_back_without_stop_strings() {
        let mut matcher = StopMatcher::new::<&str>(&[]);
        assert_eq!(matcher.push("any"), Emitted::Text("any".into()));
        assert_eq!(matcher.take_held(), "");
    }
}
