//! Routes for operators, which require `ADMIN_API_KEY`: overview, pause, drain and dead letters.
//! Each change writes one line to `app.log`.

pub(crate) mod dead_letters;
pub(crate) mod overview;
pub(crate) mod pausing;
pub(crate) mod workers;

use actix_web::web::{self, ServiceConfig};

use super::{get, post, reads, refuse_method};

/// Registers the routes.
pub(crate) fn configure(app: &mut ServiceConfig) {
    app.service(get("/admin/overview", overview::overview))
        .service(get("/admin/workers", workers::workers))
        .service(post("/admin/workers/{worker_id}/drain", workers::drain))
        .service(post("/admin/pause", pausing::pause))
        .service(post("/admin/resume", pausing::resume))
        .service(
            web::resource("/admin/dead-letters")
                .route(web::route().guard(reads()).to(dead_letters::list))
                .route(web::delete().to(dead_letters::purge))
                .default_service(web::to(|| refuse_method("GET, HEAD, DELETE"))),
        )
        .service(
            web::resource("/admin/dead-letters/{task_id}")
                .route(web::route().guard(reads()).to(dead_letters::show))
                .route(web::delete().to(dead_letters::delete))
                .default_service(web::to(|| refuse_method("GET, HEAD, DELETE"))),
        )
        .service(post("/admin/dead-letters/{task_id}/replay", dead_letters::replay));
}
