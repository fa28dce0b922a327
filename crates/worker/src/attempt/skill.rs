//! Reads an answer as the task's skill says, and draws what it marks. Whatever goes wrong, the task completes with its
//! text, and a warning.

use chat::FinishReason;
use protocol::{Completion, Outcome, SkillAnswer, SkillUse, VisionFamily, VisualKind};
use skills::marks::{Mark, Picture};
use skills::read::{Answer, Reading, read};

use super::verdict::Verdict;
use super::{Attempt, End};
use crate::annotate::Drawings;
use crate::translate;

/// Reads the first answer of `completion`. `pictures` are the sizes of the prompt's images and videos.
pub(super) async fn run(
    attempt: &Attempt<'_>,
    pictures: &[Picture],
    mut completion: Completion,
) -> (Verdict, End) {
    let Attempt { worker, claimed, .. } = *attempt;
    let task = &claimed.task;
    let Some(skill) = &task.skill else {
        return (Verdict::Finish(Outcome::Completed(completion)), End::Settled);
    };
    let kinds = task.prompt.visuals().into_iter().map(|(kind, _)| kind);
    let pictures: Vec<_> = kinds.zip(pictures.iter().copied()).collect();
    let mut answer = SkillAnswer { name: skill.name.clone(), ..SkillAnswer::default() };
    let mut drawings = Drawings::new(worker.blobs.clone(), task);
    let work = async {
        let marks = read_answer(attempt, skill, &pictures, &completion, &mut answer).await;
        if skill.draw && !marks.is_empty() {
            let problems = drawings.add(&worker.visuals, task, marks).await;
            answer.warnings.extend(problems);
        }
    };
    let is_late = tokio::select! {
        () = work => false,
        () = tokio::time::sleep_until(attempt.deadline.into()) => true,
        () = attempt.cancel.cancelled() => {
            let cancelled = Outcome::Cancelled { usage: completion.usage };
            return (Verdict::Finish(cancelled), End::Settled);
        }
        withdrawn = attempt.withdrawn() => return withdrawn,
    };
    answer.annotated_images = drawings.keep();
    if is_late {
        let limit = task.time_limit_s;
        answer.warnings.push(format!(
            "the time limit of {limit} s ended before the answer was read and drawn"
        ));
    }
    completion.skill = Some(answer);
    (Verdict::Finish(Outcome::Completed(completion)), End::Settled)
}

/// Reads the answer by the skill's command, if it has one that succeeds, or by the built-in parser. Returns the marks.
async fn read_answer(
    attempt: &Attempt<'_>,
    skill: &SkillUse,
    pictures: &[(VisualKind, Picture)],
    completion: &Completion,
    answer: &mut SkillAnswer,
) -> Vec<Mark> {
    let Attempt { worker, engine, claimed, .. } = *attempt;
    let family = engine.vision_family().map(translate::family);
    let choice = &completion.first;
    let is_cut = choice.finish_reason == FinishReason::Length;
    if let Some(name) = &skill.command {
        let told = Answer { text: &choice.text, calls: &choice.tool_calls, is_cut };
        match worker.commands.read(name, &told, skill, family, pictures).await {
            Ok(reading) => return took(answer, reading),
            Err(problem) => {
                let problem = format!("the command '{name}' did not read the answer: {problem}");
                tracing::warn!(
                    target: "worker.attempt", task_id = %claimed.task.id,
                    "{}; it is read without it", problem.escape_debug()
                );
                answer.warnings.push(problem);
            }
        }
    }
    // Parsing may take long, so it must not block the threads that renew leases.
    let (skill, choice) = (skill.clone(), choice.clone());
    let pictures: Vec<Picture> = pictures.iter().map(|(_, picture)| *picture).collect();
    let reading = tokio::task::spawn_blocking(move || {
        let told = Answer { text: &choice.text, calls: &choice.tool_calls, is_cut };
        // Models that don't see write coordinates, if at all, as the newest do.
        read(&told, &skill, family.unwrap_or(VisionFamily::Qwen3Vl), &pictures)
    });
    match reading.await {
        Ok(reading) => took(answer, reading),
        Err(error) => {
            tracing::error!(
                target: "worker.attempt", task_id = %claimed.task.id, "the parser failed: {error}"
            );
            answer.warnings.push("the parser of the answer failed".to_owned());
            Vec::new()
        }
    }
}

fn took(answer: &mut SkillAnswer, reading: Reading) -> Vec<Mark> {
    answer.structured = reading.structured;
    answer.warnings.extend(reading.warnings);
    reading.marks
}
