//! Reads what the lists of several routes have in common: the page that a query asks for.

use actix_web::HttpRequest;
use queue::BlobOrder;

use crate::refusal::Refusal;
use crate::route::query_value;
use crate::validate::{FieldError, echo};

/// Reads the maximum number of entries.
pub(super) fn limit(request: &HttpRequest, default: usize, most: usize) -> Result<usize, Refusal> {
    let Some(given) = query_value(request, "limit") else { return Ok(default) };
    let limit = usize::try_from(number(&given, "limit")?).unwrap_or(usize::MAX);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    let message = format!("must be an integer from 1 to {most}, is {limit}");
    Err(invalid("query", "limit", "value_error", message))
}

/// Reads the order, the newest first by default.
pub(super) fn order(request: &HttpRequest) -> Result<BlobOrder, Refusal> {
    match query_value(request, "order").as_deref() {
        None | Some("desc") => Ok(BlobOrder::Newest),
        Some("asc") => Ok(BlobOrder::Oldest),
        Some(other) => {
            let message = format!("must be asc or desc, is '{}'", echo(other));
            Err(invalid("query", "order", "enum", message))
        }
    }
}

/// Reads the id behind which the page begins. `read` reads its text.
pub(super) fn after<T>(
    request: &HttpRequest,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let Some(given) = query_value(request, "after").filter(|after| !after.is_empty()) else {
        return Ok(None);
    };
    read(&given).map(Some).ok_or_else(|| {
        let message = format!("'{}' is no id of this list", echo(&given));
        invalid("query", "after", "value_error", message)
    })
}

/// Reads an integer.
pub(super) fn number(given: &str, name: &str) -> Result<u64, Refusal> {
    given.parse().map_err(|_| {
        let message = format!("expected an integer, 0 or more, got '{}'", echo(given));
        invalid("query", name, "int_parsing", message)
    })
}

/// Refuses a value of the request.
pub(super) fn invalid(
    place: &str,
    name: &str,
    kind: &'static str,
    message: impl Into<String>,
) -> Refusal {
    Refusal::invalid(vec![FieldError::new([place.into(), name.into()], kind, message.into())])
}
