//! `GET /admin/usage`: what owners, keys and models used.

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::TenantId;

use crate::extract::Operator;
use crate::operators::{Group, UsageReply};
use crate::refusal::Refusal;
use crate::route::query_value;
use crate::schemas::{AdminErrors, InvalidReply};
use crate::state::State;
use crate::usage::Asked;

/// Report the use
///
/// Sums the tasks that ended, each once, by owner, key, model and day (UTC).
#[utoipa::path(
    get,
    path = "/admin/usage",
    tag = "admin",
    security(("admin_key" = []), ("admin_bearer" = [])),
    params(
        ("from" = Option<String>, Query, example = "2025-11-01", description = "The first day; by default the 30th to the last."),
        ("to" = Option<String>, Query, example = "2025-11-30", description = "The last day; by default today. At most 400 days are allowed."),
        ("group_by" = Option<String>, Query, example = "owner,day", description = "Some of `owner`, `key`, `model` and `day`, separated by commas. The default is `owner`."),
        ("owner" = Option<String>, Query, description = "Reports the use of this owner alone."),
    ),
    responses(
        (status = 200, description = "The report.", body = UsageReply),
        (status = 422, description = "The query is invalid.", body = InvalidReply),
        AdminErrors,
    )
)]
pub(crate) async fn usage(
    _: Operator,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Refusal> {
    let owner = query_value(&request, "owner").filter(|owner| !owner.is_empty());
    let asked = Asked::read(&request, owner.map(TenantId::new), Group::Owner)?;
    let rows = state.ask(state.broker.usage(&asked.query)).await?;
    Ok(HttpResponse::Ok().json(asked.report(&rows)))
}
