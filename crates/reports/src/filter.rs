//! Selects lines by time, model and owner.

use crate::line::{Line, Text};

/// Which lines count. The default takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Lines from this time on, in seconds since 1970.
    pub since: Option<i64>,
    /// Lines before this time.
    pub until: Option<i64>,
    /// Lines of this model.
    pub model: Option<String>,
    /// Lines of this owner of API keys.
    pub owner: Option<String>,
}

impl Filter {
    #[inline]
    pub(crate) fn takes(&self, line: &Line<'_>) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
            && is(line.model, &self.model)
            && is(line.owner, &self.owner)
    }
}

#[inline]
fn is(value: Option<Text<'_>>, wanted: &Option<String>) -> bool {
    wanted
        .as_ref()
        .is_none_or(|wanted| value.is_some_and(|value| *value.bytes() == *wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::line;

    #[test]
    fn lines_are_selected_by_time_model_and_owner() {
        let text =
            b"[2025-11-21 15:30:45] task_id=a status=cancelled model=demo owner=\"o\\u0031\"";
        let line = line::parse(text, &mut Clock::default()).unwrap();
        let takes = |filter: Filter| filter.takes(&line);
        let all = Filter::default();
        assert!(takes(all.clone()));
        assert!(takes(Filter { since: Some(line.at), until: Some(line.at + 1), ..all.clone() }));
        assert!(!takes(Filter { since: Some(line.at + 1), ..all.clone() }));
        assert!(!takes(Filter { until: Some(line.at), ..all.clone() }));
        assert!(takes(Filter {
            model: Some("demo".into()),
            owner: Some("o1".into()),
            ..all.clone()
        }));
        assert!(!takes(Filter { model: Some("dem".into()), ..all.clone() }));
        assert!(!takes(Filter { owner: Some("o\\u0031".into()), ..all }));
    }
}
