//! Reports of use: reads the query, and sums the rows of the store.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use protocol::{Day, KeyId, TenantId, Timestamp, UsageCounts, UsageRow};
use queue::{NO_KEY, UsageQuery};

use crate::auth::key_of;
use crate::operators::{Group, UsageAmounts, UsageReply, UsageSum};
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::validate::{FieldError, echo};

/// Maximum number of days of a report.
const MAX_DAYS: u32 = 400;
/// The number of days of a report that names none.
const DAYS: u32 = 30;

/// A requested report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Selects the rows of the store.
    pub(crate) query: UsageQuery,
    groups: Vec<Group>,
}

impl Asked {
    /// Reads `from`, `to` and `group_by` from a query. The last 30 days by default.
    ///
    /// # Errors
    /// If a value is invalid, or more than 400 days are asked for.
    pub(crate) fn read(
        request: &HttpRequest,
        owner: Option<TenantId>,
        default: Group,
    ) -> Result<Self, Refusal> {
        let given = |name: &str| query_value(request, name).filter(|value| !value.is_empty());
        let texts = (given("from"), given("to"), given("group_by"));
        Self::parse(texts, owner, default, Timestamp::now().day()).map_err(Refusal::invalid)
    }

    fn parse(
        (from, to, group_by): (Option<String>, Option<String>, Option<String>),
        owner: Option<TenantId>,
        default: Group,
        today: Day,
    ) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        let mut problem = |name: &str, message: String| {
            problems.push(FieldError::new(["query".into(), name.into()], "value_error", message));
        };
        let mut day = |name: &str, given: Option<String>| {
            let given = given?;
            let day = given.parse::<Day>().ok();
            if day.is_none() {
                problem(
                    name,
                    format!("must be a day (UTC) such as 2025-11-21, is '{}'", echo(&given)),
                );
            }
            day
        };
        let to = day("to", to).unwrap_or(today);
        let from = day("from", from).unwrap_or(to.before(DAYS - 1));
        let days = (to.number() + 1).saturating_sub(from.number());
        if days < 1 {
            problem("from", format!("the first day {from} is after the last day {to}"));
        } else if days > MAX_DAYS {
            problem(
                "from",
                format!("at most {MAX_DAYS} days are allowed, {from} to {to} are {days}"),
            );
        }
        let mut groups = Vec::new();
        for name in group_by.iter().flat_map(|names| names.split(',')).map(str::trim) {
            match Group::ALL.into_iter().find(|group| group.as_str() == name) {
                Some(group) if !groups.contains(&group) => groups.push(group),
                Some(_) => {}
                None => problem(
                    "group_by",
                    format!("must be some of owner, key, model and day, has '{}'", echo(name)),
                ),
            }
        }
        if groups.is_empty() {
            groups.push(default);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let query = UsageQuery { from: from.to_string(), to: to.to_string(), owner };
        Ok(Self { query, groups })
    }

    /// Sums the rows of the store.
    pub(crate) fn report(self, rows: &[UsageRow]) -> UsageReply {
        let by = |group| self.groups.contains(&group);
        let mut sums: BTreeMap<[Option<&str>; 4], UsageCounts> = BTreeMap::new();
        let mut total = UsageCounts::default();
        let keys: Vec<Option<KeyId>> = rows.iter().map(unnamed_key).collect();
        for (row, key) in rows.iter().zip(&keys) {
            let of = |group, text| by(group).then_some(text);
            let group = [
                of(Group::Day, &*row.day),
                of(Group::Owner, row.owner.as_str()),
                of(Group::Key, key.as_ref().unwrap_or(&row.key).as_str()),
                of(Group::Model, row.model.as_str()),
            ];
            sums.entry(group).or_default().add(&row.counts);
            total.add(&row.counts);
        }
        let rows = sums.into_iter().map(|([day, owner, key, model], counts)| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            UsageSum {
                owner: text(owner),
                key: text(key),
                model: text(model),
                day: text(day),
                counts: counts.into(),
            }
        });
        UsageReply {
            rows: rows.collect(),
            total: total.into(),
            from: self.query.from,
            to: self.query.to,
            group_by: self.groups,
        }
    }
}

/// Returns the key of a row whose tasks named none: that of `API_KEYS` whose owner has them.
fn unnamed_key(row: &UsageRow) -> Option<KeyId> {
    (row.key.as_str() == NO_KEY).then(|| key_of(&row.owner)).flatten()
}

impl From<UsageCounts> for UsageAmounts {
    fn from(counts: UsageCounts) -> Self {
        Self {
            requests: counts.requests,
            errors: counts.errors,
            cancelled: counts.cancelled,
            prompt_tokens: counts.prompt_tokens,
            cached_tokens: counts.cached_tokens,
            completion_tokens: counts.completion_tokens,
            images: counts.images,
            wait_s: counts.wait_ms as f64 / 1e3,
            compute_s: counts.compute_ms as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ModelId;
    use serde_json::json;

    use super::*;

    fn asked(from: &str, to: &str, group_by: &str) -> Result<Asked, Vec<FieldError>> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let texts = (some(from), some(to), some(group_by));
        Asked::parse(texts, None, Group::Day, "2025-11-21".parse().unwrap())
    }

    #[test]
    fn thirty_days_are_reported_by_default_and_at_most_400() {
        let query = |from: &str, to: &str| {
            let query = asked(from, to, "").unwrap().query;
            format!("{} {}", query.from, query.to)
        };
        assert_eq!(query("", ""), "2025-10-23 2025-11-21");
        assert_eq!(query("", "2025-01-30"), "2025-01-01 2025-01-30");
        assert_eq!(query("2025-11-21", ""), "2025-11-21 2025-11-21");
        assert_eq!(query("2024-10-18", ""), "2024-10-18 2025-11-21");
        for (from, to, group_by, field) in [
            ("2024-10-17", "", "", "from"),
            ("2025-11-22", "", "", "from"),
            ("21.11.2025", "", "", "from"),
            ("", "2025-02-30", "", "to"),
            ("", "tomorrow", "", "to"),
            ("", "", "day,hour", "group_by"),
        ] {
            let problems = asked(from, to, group_by).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].param().as_deref(), Some(field), "{problems:?}");
        }
    }

    #[test]
    fn rows_are_summed_by_the_groups() {
        let row = |day: &str, owner: &str, model: &str, requests: u64| UsageRow {
            day: day.to_owned(),
            owner: TenantId::new(owner),
            key: KeyId::from_text("key_1"),
            model: ModelId::new(model),
            counts: UsageCounts { requests, wait_ms: 1_500, ..UsageCounts::default() },
        };
        let rows = [
            row("2025-11-20", "b", "x", 1),
            row("2025-11-20", "a", "y", 2),
            row("2025-11-21", "a", "x", 4),
        ];
        let report = |group_by: &str| json!(asked("", "", group_by).unwrap().report(&rows));
        let by_owner = report("owner");
        let sums: Vec<_> = by_owner["rows"].as_array().unwrap().iter().collect();
        assert_eq!(sums.len(), 2);
        assert_eq!((&sums[0]["owner"], &sums[0]["requests"]), (&json!("a"), &json!(6)));
        assert_eq!((&sums[0]["wait_s"], sums[0].get("day")), (&json!(3.0), None));
        assert_eq!(by_owner["total"]["requests"], 7);
        assert_eq!(by_owner["group_by"], json!(["owner"]));
        assert_eq!(report("owner,key,model,day")["rows"].as_array().unwrap().len(), 3);
        assert_eq!(report("model")["rows"][0]["model"], "x");
        assert_eq!(report("day")["rows"][1]["day"], "2025-11-21");
    }

    #[test]
    fn tasks_without_a_key_count_for_the_configured_key_of_their_owner() {
        let row = |owner: &str| UsageRow {
            day: "2025-11-21".to_owned(),
            owner: TenantId::new(owner),
            key: KeyId::from_text(NO_KEY),
            model: ModelId::new("x"),
            counts: UsageCounts::default(),
        };
        let rows = [row("key-a7937b64b8caa58f"), row("acme")];
        let report = json!(asked("", "", "key").unwrap().report(&rows));
        assert_eq!(report["rows"][0]["key"], "env_a7937b64b8caa58f");
        assert_eq!(report["rows"][1]["key"], "none");
    }
}
