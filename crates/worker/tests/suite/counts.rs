//! Tasks that count the tokens of a prompt.

use chat::{Message, Role, Tool, ToolChoice};
use protocol::{AnswerForm, Completion, Constraint, ErrorType, Prompt, Task, TaskId, TaskKind};

use crate::rig::Rig;

const MODEL: &str = "qwen3/qwen3-q8_0.gguf";

/// Returns the task that counts what `task` reads.
fn count_of(task: &Task) -> Task {
    Task { id: TaskId::new(), kind: TaskKind::Count, ..task.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_is_the_usage_of_the_same_generation() {
    let rig = Rig::start(MODEL, &[]).await;
    let user = || Message::user("How are you?");
    let plain = Prompt::Chat(vec![user()]);
    let continued = Prompt::Continued(vec![user(), Message::new(Role::Assistant, "I am ")]);
    let with_system = Prompt::Chat(vec![Message::new(Role::System, "Be brief."), user()]);
    let tools = || AnswerForm {
        tools: vec![Tool::named("weather"), Tool::named("time")],
        split: true,
        ..AnswerForm::default()
    };
    let called = AnswerForm { tool_choice: ToolChoice::Required, ..tools() };
    let thinking = |enable| AnswerForm { enable_thinking: Some(enable), ..AnswerForm::default() };
    let json = AnswerForm { constraint: Some(Constraint::JsonObject), ..AnswerForm::default() };
    let mut counts = Vec::new();
    for (prompt, form) in [
        (plain.clone(), AnswerForm::default()),
        (with_system, AnswerForm::default()),
        (plain.clone(), tools()),
        (plain.clone(), called),
        (plain.clone(), thinking(true)),
        (plain.clone(), thinking(false)),
        (plain, json),
        (continued, AnswerForm::default()),
        (Prompt::Raw("How are you?".into()), AnswerForm::default()),
        (Prompt::Tokens(vec![1, 2, 3]), AnswerForm::default()),
    ] {
        let task = Task { form, n: 2, ..rig.task(prompt, 1) };
        let counted = rig.complete(&count_of(&task)).await;
        let generated = rig.complete(&task).await.usage;
        assert!(generated.completion_tokens > 0);
        assert_eq!(counted.usage.prompt_tokens, generated.prompt_tokens, "{task:?}");
        let usage = counted.usage;
        assert_eq!(counted, Completion { usage, ..Completion::default() }, "nothing is generated");
        assert_eq!((usage.completion_tokens, usage.cached_tokens), (0, 0));
        counts.push(usage.prompt_tokens);
    }
    let [plain, with_system, with_tools, _, thinks, thinks_not, ..] = counts[..] else { panic!() };
    assert!(plain < with_system && with_system < with_tools, "{counts:?}");
    assert!(thinks < thinks_not, "the template closes an empty thought: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_longer_than_the_context_are_counted() {
    let rig = Rig::start(MODEL, &[]).await;
    let task = rig.task(Prompt::Tokens(vec![1; 100_000]), 1);
    assert_eq!(rig.fail(&task).await.error_type, ErrorType::ContextLengthExceeded);
    assert_eq!(rig.complete(&count_of(&task)).await.usage.prompt_tokens, 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_generation_refuses_a_count_refuses() {
    let rig = Rig::start(MODEL, &[]).await;
    for prompt in [Prompt::Raw(String::new()), Prompt::Tokens(vec![1 << 30])] {
        let task = rig.task(prompt, 1);
        assert_eq!(rig.fail(&task).await.message, rig.fail(&count_of(&task)).await.message);
    }
    let embedding = Rig::start("embedding/embedding.gguf", &[]).await;
    let error = embedding.fail(&count_of(&embedding.task(Prompt::user("a"), 1))).await;
    assert_eq!(error.param.as_deref(), Some("model"), "{error:?}");
}
