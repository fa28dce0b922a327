//! The request of an entry as an order: checked when the file is read, and made anew for each run.

use protocol::{ModelId, Timestamp, VisionFamily};
use queue::PeriodicStep;
use serde_json::Value;

use crate::options::Options;
use crate::order::Order;
use crate::refusal::Refusal;
use crate::skill_requests;
use crate::state::State;
use crate::timetable::{Entry, shown};
use crate::validate::{FieldError, Loc, generate, named_model, skill_request};

/// The name of the metadata that has the entry's name.
const NAME: &str = "schedule";
/// The name of the metadata that has the occurrence, or [`MANUAL`].
const OCCURRENCE: &str = "occurrence";
/// The occurrence of a run that an operator asked for.
const MANUAL: &str = "manual";

/// Checks the request of an entry. Whether a worker serves its model is found out when it is submitted.
///
/// # Errors
/// If it is invalid: all problems, with their paths within the entry.
pub(super) fn check(
    request: &Value,
    skill: Option<&str>,
    options: &Options,
    family: VisionFamily,
) -> Result<(), Vec<FieldError>> {
    let mut problems = Vec::new();
    let mut wrong = |loc: Vec<Loc>, kind, message: String| {
        problems.push(FieldError { loc, kind, message });
    };
    let within = |names: &[&str]| {
        ["body", "request"].iter().chain(names).map(|name| (*name).into()).collect()
    };
    if request.get("run_at").is_some() {
        let message =
            "a periodic task has no fixed time: use cron, or delay_s for a pause after it";
        wrong(within(&["run_at"]), "extra_forbidden", message.to_owned());
    }
    for name in [NAME, OCCURRENCE] {
        if request.get("metadata").is_some_and(|metadata| metadata.get(name).is_some()) {
            let message = "this entry is set for each task".to_owned();
            wrong(within(&["metadata", name]), "extra_forbidden", message);
        }
    }
    let models: Vec<ModelId> = named_model(request).map(ModelId::new).into_iter().collect();
    let limits = options.limits(&models);
    let checked = match skill {
        None => generate(request, &limits),
        Some(name) => match options.skills.find(name) {
            Some(skill) => skill_request(request, Vec::new(), &limits, &skill, family),
            None => {
                let message = skill_requests::unknown(options, name);
                wrong(vec!["body".into(), "skill".into()], "enum", message);
                return Err(problems);
            }
        },
    };
    if let Err(found) = checked {
        // A path of the request is one within the entry.
        problems.extend(found.into_iter().map(|mut problem| {
            problem.loc.insert(1.min(problem.loc.len()), "request".into());
            problem
        }));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Returns the order of a run. `occurrence` is `None` for one that an operator asked for.
///
/// # Errors
/// If the request is not valid now: no worker serves its model, its skill is gone, or the queue is unavailable.
pub(super) async fn order(
    state: &State,
    entry: &Entry,
    occurrence: Option<Timestamp>,
    step: PeriodicStep,
) -> Result<Order, Refusal> {
    let request = &entry.request;
    let mut order = match &entry.skill {
        None => {
            let models = state.other_models(named_model(request)).await?;
            generate(request, &state.options.limits(&models)).map_err(Refusal::invalid)?
        }
        Some(name) => {
            let skill = skill_requests::find(state, name)?;
            skill_requests::read(state, &skill, request, Vec::new()).await?
        }
    };
    let metadata = &mut order.queueing.metadata;
    metadata.insert(NAME.to_owned(), entry.name.clone());
    metadata.insert(OCCURRENCE.to_owned(), occurrence.map_or_else(|| MANUAL.to_owned(), shown));
    order.queueing.step = Some(Box::new(step));
    Ok(order)
}
