//! Bounds the names of models that become labels.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The value of labels that stands for everything beyond a bound.
pub const OTHER: &str = "other";
/// Maximum number of models with series of their own. Each has some tens of series.
const MAX_MODELS: usize = 32;

static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Returns the label of a model that is served or configured: its name, or [`OTHER`] if as many other models as are
/// allowed have series already.
pub fn model(name: &str) -> &str {
    // No operation can leave the set inconsistent, so a poisoned lock is usable.
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.get_or_insert_default();
    if seen.contains(name) {
        return name;
    }
    if seen.len() == MAX_MODELS {
        return OTHER;
    }
    seen.insert(name.to_owned());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_models_with_labels_is_bounded() {
        let names: Vec<String> = (0..1000).map(|index| format!("model-{index}")).collect();
        let labels: HashSet<&str> = names.iter().map(|name| model(name)).collect();
        assert!(labels.len() <= MAX_MODELS + 1, "{labels:?}");
        assert_eq!(model("model-0"), "model-0", "a model keeps its label");
        assert_eq!(model("model-999"), OTHER);
    }
}
