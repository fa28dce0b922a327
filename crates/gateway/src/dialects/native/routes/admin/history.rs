//! `GET /admin/history`: the queues over the last hours.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::extract::Operator;
use crate::operators::HistoryReply;
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::schemas::{AdminErrors, InvalidReply};
use crate::state::State;
use crate::validate::{FieldError, echo};

/// The longest time, in minutes, for which samples are kept.
const MAX_MINUTES: u64 = 360;
const DEFAULT_MINUTES: u64 = 60;

/// Get the queues over the last hours
///
/// Returns at most 360 points, as this gateway has seen them since it started.
#[utoipa::path(
    get,
    path = "/admin/history",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(("minutes" = Option<u64>, Query, minimum = 1, maximum = 360, example = 60, description = "The last minutes to return; by default 60.")),
    responses(
        (status = 200, description = "The points.", body = HistoryReply),
        (status = 422, description = "The query is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn history(
    _: Operator,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let minutes = match query_value(&request, "minutes").filter(|value| !value.is_empty()) {
        None => DEFAULT_MINUTES,
        Some(value) => {
            value.parse().ok().filter(|minutes| (1..=MAX_MINUTES).contains(minutes)).ok_or_else(
                || {
                    let message = format!(
                        "must be a whole number from 1 to {MAX_MINUTES}, got '{}'",
                        echo(&value)
                    );
                    Refusal::invalid(vec![FieldError::new(
                        ["query".into(), "minutes".into()],
                        "int_parsing",
                        message,
                    )])
                },
            )?
        }
    };
    Ok(HttpResponse::Ok().json(state.history.reply(minutes)))
}
