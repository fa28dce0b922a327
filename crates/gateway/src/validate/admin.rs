//! Validates the requests of the admin routes.

use protocol::{ModelId, Timestamp};
use queue::{DeadLetterPage, Purge};
use serde_json::Value;

use super::fields::Fields;
use super::{FieldError, echo};

/// Page size if the request sets none.
pub(crate) const DEFAULT_PAGE: usize = 50;
/// Maximum page size. Each dead letter may contain a prompt of the maximum size.
pub(crate) const MAX_PAGE: usize = 100;
/// Maximum length of a model name.
const MAX_MODEL_NAME: usize = 1024;

/// Reads the model name from a body of `POST /admin/pause` or `/admin/resume`.
pub(crate) fn parse_model_field(body: &Value) -> Result<ModelId, Vec<FieldError>> {
    let mut fields = Fields::new(body, &["model"])?;
    let value = fields.required("model", "the name of a model");
    let model = value.and_then(|_| fields.short_text("model", MAX_MODEL_NAME));
    fields.finish(model.map(ModelId::new))
}

/// Reads the filter and the page of a listing of dead letters.
pub(crate) fn page(
    model: Option<String>,
    before: Option<&str>,
    limit: Option<&str>,
) -> Result<DeadLetterPage, Vec<FieldError>> {
    let mut problems = Vec::new();
    let mut number = |name: &str, given: Option<&str>, allowed: &str| {
        let digits = given?;
        let number = digits.parse::<u64>().ok();
        if number.is_none() {
            let message = format!("must be {allowed}, got '{}'", echo(digits));
            problems.push(FieldError::new(["query".into(), name.into()], "int_parsing", message));
        }
        number
    };
    let before = number("before", before, "milliseconds since 1970, as in `next_before`");
    let asked = number("limit", limit, "a whole number from 1 to 100");
    let limit = asked.map_or(DEFAULT_PAGE, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if !(1..=MAX_PAGE).contains(&limit) {
        let kind = if limit == 0 { "greater_than_equal" } else { "less_than_equal" };
        let message = format!("must be from 1 to {MAX_PAGE}, got {limit}");
        problems.push(FieldError::new(["query".into(), "limit".into()], kind, message));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let model = model.map(ModelId::new);
    Ok(DeadLetterPage { model, before: before.map(Timestamp::from_millis), limit })
}

/// Reads which dead letters to delete. Deleting all must be requested explicitly, so that a
/// forgotten parameter does not delete them.
pub(crate) fn purge(model: Option<String>, all: Option<&str>) -> Result<Purge, FieldError> {
    let problem = |name: &str, kind, message: &str| {
        Err(FieldError::new(["query".into(), name.into()], kind, message))
    };
    match (model, all) {
        (Some(model), None | Some("false")) => Ok(Purge::Model(ModelId::new(model))),
        (None, Some("true")) => Ok(Purge::All),
        (Some(_), Some("true")) => {
            problem("all", "value_error", "say either a model or all, not both")
        }
        (_, Some(other)) if other != "false" => {
            problem("all", "bool_parsing", &format!("must be true or false, got '{}'", echo(other)))
        }
        _ => problem("model", "missing", "say which to delete: ?model=NAME, or ?all=true for all"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn model_field_is_a_required_string() {
        assert_eq!(parse_model_field(&json!({"model": "demo"})).unwrap().as_str(), "demo");
        for (body, kind) in [
            (json!({}), "missing"),
            (json!({"model": null}), "missing"),
            (json!({"model": 1}), "string_type"),
            (json!({"model": "demo", "x": 1}), "extra_forbidden"),
            (json!([]), "dict_type"),
        ] {
            let problems = parse_model_field(&body).unwrap_err();
            assert_eq!((problems.len(), problems[0].kind), (1, kind), "{body}");
        }
    }

    #[test]
    fn page_parameters_are_bounded() {
        let found = page(None, None, None).unwrap();
        assert_eq!((found.limit, found.before), (DEFAULT_PAGE, None));
        let found = page(Some("demo".into()), Some("1763739045123"), Some("100")).unwrap();
        assert_eq!(found.before, Some(Timestamp::from_millis(1_763_739_045_123)));
        assert_eq!((found.model, found.limit), (Some(ModelId::new("demo")), 100));
        for (before, limit, problems) in [
            (None, Some("0"), 1),
            (None, Some("101"), 1),
            (None, Some("-1"), 1),
            (Some("yesterday"), Some("many"), 2),
        ] {
            assert_eq!(
                page(None, before, limit).unwrap_err().len(),
                problems,
                "{before:?} {limit:?}"
            );
        }
    }

    #[test]
    fn purge_requires_a_model_or_all() {
        let model = || Some("demo".to_owned());
        assert_eq!(purge(None, Some("true")).unwrap(), Purge::All);
        assert_eq!(purge(model(), None).unwrap(), Purge::Model(ModelId::new("demo")));
        assert_eq!(purge(model(), Some("false")).unwrap(), Purge::Model(ModelId::new("demo")));
        for (model, all, kind) in [
            (None, None, "missing"),
            (None, Some("false"), "missing"),
            (None, Some("yes"), "bool_parsing"),
            (None, Some(""), "bool_parsing"),
            (model(), Some("true"), "value_error"),
        ] {
            assert_eq!(purge(model, all).unwrap_err().kind, kind, "{all:?}");
        }
    }
}
