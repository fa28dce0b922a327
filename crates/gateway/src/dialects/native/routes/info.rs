//! `GET /`: describes the service.

use actix_web::{HttpResponse, web};
use protocol::WorkerReport;
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::State;

/// What this service is and where it computes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InfoReply {
    /// Always `qwen-queue`.
    #[schema(example = "qwen-queue")]
    name: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// The model that answers when a request names none.
    #[schema(example = "Qwen/Qwen3-4B-GGUF:Q4_K_M")]
    model: String,
    /// Where live workers compute it (`cpu`, `cuda:0`, …); null while there are none.
    #[schema(example = "cuda:0")]
    device: Option<String>,
    /// Its weights' format there; null while no worker is alive.
    #[schema(example = "Q4_K_M")]
    quantization: Option<String>,
    /// Where to go next.
    links: Links,
}

/// Paths to go on from.
#[derive(Debug, Serialize, ToSchema)]
struct Links {
    /// The web UI.
    ui: &'static str,
    /// The API, to read and try.
    docs: &'static str,
    /// The API, for programs.
    openapi: &'static str,
    /// How the service is.
    health: &'static str,
    /// Where prompts go.
    generate: &'static str,
}

/// Describe the service
#[utoipa::path(
    get,
    path = "/",
    tag = "service",
    security(()),
    responses((status = 200, description = "The name, the version and the default model.", body = InfoReply))
)]
pub(crate) async fn info(state: web::Data<State>) -> HttpResponse {
    let model = &state.options.default_model;
    // An unavailable queue is reported by /health, not here.
    let workers = state.registry.workers().await.unwrap_or_default();
    let serves_model = |worker: &&WorkerReport| worker.serves().any(|served| served == model);
    let serving: Vec<&WorkerReport> = workers.iter().filter(serves_model).collect();
    HttpResponse::Ok().json(InfoReply {
        name: "qwen-queue",
        version: env!("CARGO_PKG_VERSION"),
        model: model.to_string(),
        device: listed(serving.iter().map(|worker| worker.device.as_str())),
        quantization: listed(serving.iter().filter_map(|worker| worker.quantization_of(model))),
        links: Links {
            ui: "/ui/",
            docs: "/docs",
            openapi: "/openapi.json",
            health: "/health",
            generate: "/generate",
        },
    })
}

/// Joins the distinct names in order; returns `None` if there are none.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}
