//! Notes when the steps of an attempt begin and end, for its trace.

use std::sync::OnceLock;
use std::time::Instant;

use service::traces::Step;

/// The times of an attempt's steps. Each is set once.
#[derive(Debug, Default)]
pub(super) struct Phases {
    /// The search in the result cache, if it found the answer.
    search: OnceLock<(Instant, Instant)>,
    encoding: OnceLock<(Instant, Instant)>,
    submitted: OnceLock<Instant>,
    first_text: OnceLock<Instant>,
    generated: OnceLock<Instant>,
}

impl Phases {
    /// Notes that the answer was found in the result cache, from `began` to now.
    pub(super) fn found(&self, began: Instant) {
        let _ = self.search.set((began, Instant::now()));
    }

    /// Notes that images were encoded, from `began` to now.
    pub(super) fn encoded(&self, began: Instant) {
        let _ = self.encoding.set((began, Instant::now()));
    }

    /// Notes that the engine has the prompt.
    pub(super) fn submitted(&self) {
        let _ = self.submitted.set(Instant::now());
    }

    /// Notes that text arrives. Only the first counts.
    pub(super) fn text(&self) {
        self.first_text.get_or_init(Instant::now);
    }

    /// Notes that no more is generated.
    pub(super) fn generated(&self) {
        let _ = self.generated.set(Instant::now());
    }

    /// Returns the steps of an attempt that began at `began`. The first text ends the prefill and begins the decode.
    pub(super) fn steps(&self, began: Instant) -> Vec<Step> {
        let step = |name, from: Instant, to: Instant| {
            let after = |at: Instant| at.saturating_duration_since(began);
            Step { name, from: after(from), to: after(to).max(after(from)) }
        };
        let whole = [("cache", &self.search), ("encode", &self.encoding)];
        let ended = |(name, times): (_, &OnceLock<(Instant, Instant)>)| {
            times.get().map(|(from, to)| step(name, *from, *to))
        };
        let mut steps: Vec<Step> = whole.into_iter().filter_map(ended).collect();
        if let (Some(submitted), Some(generated)) = (self.submitted.get(), self.generated.get()) {
            let first_text = self.first_text.get();
            steps.push(step("prefill", *submitted, *first_text.unwrap_or(generated)));
            steps.extend(first_text.map(|first| step("decode", *first, *generated)));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SPAN: Duration = Duration::from_millis(2);

    /// Returns the names of steps and the time that each took.
    fn named(steps: &[Step]) -> Vec<(&'static str, Duration)> {
        steps.iter().map(|step| (step.name, step.to - step.from)).collect()
    }

    #[test]
    fn steps_follow_each_other() {
        let began = Instant::now();
        let phases = Phases::default();
        assert_eq!(phases.steps(began), []);
        std::thread::sleep(SPAN);
        phases.encoded(began);
        phases.submitted();
        std::thread::sleep(SPAN);
        phases.text();
        std::thread::sleep(SPAN);
        phases.text();
        assert_eq!(named(&phases.steps(began)).len(), 1, "it is not known when the rest ends");
        phases.generated();
        let steps = phases.steps(began);
        let names: Vec<_> = named(&steps).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["encode", "prefill", "decode"]);
        assert!(named(&steps).iter().all(|(_, took)| *took >= SPAN), "{steps:?}");
        assert_eq!(steps[0].from, Duration::ZERO);
        assert_eq!(steps[1].to, steps[2].from);
    }

    #[test]
    fn an_answer_from_the_cache_has_one_step() {
        let began = Instant::now();
        let phases = Phases::default();
        std::thread::sleep(SPAN);
        phases.found(began);
        let steps = named(&phases.steps(began));
        assert!(matches!(steps[..], [("cache", took)] if took >= SPAN), "{steps:?}");
    }

    #[test]
    fn without_text_there_is_no_decode() {
        let began = Instant::now();
        let phases = Phases::default();
        phases.submitted();
        phases.generated();
        let names: Vec<_> = named(&phases.steps(began)).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["prefill"]);
    }
}
