//! Routes for operators, which require `ADMIN_API_KEY` or a key with the scope `admin`: overview, tasks, schedule, keys, pause, drain,
//! metrics and dead letters.
//! Each change writes one line to `app.log`.

pub(crate) mod dead_letters;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod metrics;
pub(crate) mod overview;
pub(crate) mod pausing;
pub(crate) mod schedule;
pub(crate) mod tasks;
pub(crate) mod usage;
pub(crate) mod workers;

use actix_web::web::{self, ServiceConfig};

use crate::middleware::log;
use crate::route::{get, post, reads, resource};

/// Registers the routes.
pub(crate) fn configure(app: &mut ServiceConfig) {
    let log = log!("gateway.admin").with_client();
    app.service(get("/admin/overview", log, overview::overview))
        .service(get("/admin/history", log, history::history))
        .service(get("/metrics", log, metrics::metrics))
        .service(get("/admin/usage", log, usage::usage))
        .service(get("/admin/workers", log, workers::workers))
        .service(post("/admin/workers/{worker_id}/drain", log, workers::drain))
        .service(
            resource("/admin/keys", log, "GET, HEAD, POST")
                .route(web::route().guard(reads()).to(keys::list))
                .route(web::post().to(keys::create)),
        )
        .service(
            resource("/admin/keys/{id}", log, "GET, HEAD, PATCH, DELETE")
                .route(web::route().guard(reads()).to(keys::show))
                .route(web::patch().to(keys::change))
                .route(web::delete().to(keys::revoke)),
        )
        .service(post("/admin/keys/{id}/rotate", log, keys::rotate))
        .service(get("/admin/tasks", log, tasks::list))
        .service(post("/admin/tasks/cancel", log, tasks::cancel))
        .service(get("/admin/schedule", log, schedule::list))
        .service(post("/admin/schedule/{name}/run", log, schedule::run))
        .service(post("/admin/pause", log, pausing::pause))
        .service(post("/admin/resume", log, pausing::resume))
        .service(
            resource("/admin/dead-letters", log, "GET, HEAD, DELETE")
                .route(web::route().guard(reads()).to(dead_letters::list))
                .route(web::delete().to(dead_letters::purge)),
        )
        .service(
            resource("/admin/dead-letters/{task_id}", log, "GET, HEAD, DELETE")
                .route(web::route().guard(reads()).to(dead_letters::show))
                .route(web::delete().to(dead_letters::delete)),
        )
        .service(post("/admin/dead-letters/{task_id}/replay", log, dead_letters::replay));
}
