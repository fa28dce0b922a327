//! Requests whose prompts skills write: finds the skill and the family of the model. `validate::skill` checks the rest.

use std::sync::Arc;

use protocol::ModelId;
use serde_json::{Map, Value};
use skills::Skill;

use crate::options::Options;
use crate::order::Order;
use crate::refusal::Refusal;
use crate::state::State;
use crate::validate::form::Picture;
use crate::validate::{
    FieldError, Loc, SkillRequest, apply_skill, echo, named_model, skill_request,
};

/// Validates the request of a skill's own route, with the images of its form.
///
/// # Errors
/// If something is invalid, or the queue is unavailable.
pub(crate) async fn read(
    state: &State,
    skill: &Skill,
    body: &Value,
    pictures: Vec<Picture>,
) -> Result<Order, Refusal> {
    let named = named_model(body);
    let other_models = state.other_models(named).await?;
    let model = named.map_or_else(|| state.options.default_model.clone(), ModelId::new);
    let family = state.registry.family(&model).await?;
    let limits = state.options.limits(&other_models);
    skill_request(body, pictures, &limits, skill, family).map_err(Refusal::invalid)
}

/// Lets the skill of this name rewrite a conversation that another API's request has. `at` is the path to the values
/// of its fields, `sets_length` whether the request sets the length of the answer.
///
/// # Errors
/// If there is no such skill, something is invalid, or the queue is unavailable.
pub(crate) async fn rewrite(
    state: &State,
    order: &mut Order,
    (name, values): (&str, &Map<String, Value>),
    at: &[Loc],
    sets_length: bool,
) -> Result<(), Refusal> {
    let skill = state.options.skills.find(name).ok_or_else(|| {
        let problem =
            FieldError { loc: at.to_vec(), kind: "enum", message: unknown(&state.options, name) };
        Refusal::invalid(vec![problem])
    })?;
    let family = state.registry.family(&order.model).await?;
    let max_new_tokens = state.options.max_new_tokens;
    let request = SkillRequest { skill: &skill, values, at, family, sets_length, max_new_tokens };
    apply_skill(order, &request).map_err(Refusal::invalid)
}

/// Returns the skill of this name.
///
/// # Errors
/// If there is none.
pub(crate) fn find(state: &State, name: &str) -> Result<Arc<Skill>, Refusal> {
    let found = state.options.skills.find(name);
    found.ok_or_else(|| Refusal::not_found("skill", unknown(&state.options, name)))
}

/// Returns the message for a skill that does not exist.
pub(crate) fn unknown(options: &Options, name: &str) -> String {
    let all = options.skills.all();
    let names: Vec<&str> = all.iter().map(|skill| skill.name.as_str()).collect();
    format!("there is no skill '{}'. Available: {}", echo(name), names.join(", "))
}
