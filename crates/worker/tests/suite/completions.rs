//! Raw prompts, and what surrounds an answer.

use engine::gguf::GgufFile;
use engine::text::Tokenizer;
use protocol::{
    AnswerForm, Completion, ErrorType, EventBody, Message, Prompt, Role, Sampling, Task, TenantId,
    Tool,
};

use crate::rig::{Rig, fixture, slow};

const MODEL: &str = "qwen3/qwen3-q8_0.gguf";

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_of_tokens_is_answered_as_its_text() {
    let rig = Rig::start(MODEL, &[]).await;
    let text = "One, two,";
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(fixture(MODEL)).unwrap()).unwrap();
    let tokens = tokenizer.encode(text).unwrap();
    let by_text = rig.complete(&rig.task(Prompt::Raw(text.into()), 8)).await;
    let by_tokens = rig.complete(&rig.task(Prompt::Tokens(tokens), 8)).await;
    assert_eq!(
        (&by_tokens.first, by_tokens.usage.prompt_tokens),
        (&by_text.first, by_text.usage.prompt_tokens)
    );
    for invalid in [vec![], vec![1 << 30]] {
        let error = rig.fail(&rig.task(Prompt::Tokens(invalid), 8)).await;
        assert_eq!(error.error_type, ErrorType::InvalidRequest, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_string_that_ended_an_answer_is_named() {
    let rig = Rig::start(MODEL, &[]).await;
    let prompt = || Prompt::Raw("One, two,".into());
    let whole = rig.complete(&rig.task(prompt(), 8)).await.first;
    assert_eq!(whole.stop_sequence, None);
    let (at, stop) = whole.text.char_indices().nth(3).unwrap();
    let stops = vec!["absent".to_owned(), stop.to_string()];
    let cut = rig.complete(&Task { stop: stops, ..rig.task(prompt(), 8) }).await.first;
    let first = whole.text.find(stop).unwrap().min(at);
    assert_eq!((&*cut.text, cut.stop_sequence), (&whole.text[..first], Some(stop.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_message_of_the_assistant_is_continued_without_its_text() {
    let rig = Rig::start(MODEL, &[]).await;
    let begun = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, ";
    let messages = vec![Message::user("Count."), Message::new(Role::Assistant, begun)];
    let rendered = format!("<|im_start|>user\nCount.<|im_end|>\n<|im_start|>assistant\n{begun}");
    let raw = rig.complete(&rig.task(Prompt::Raw(rendered), 8)).await;
    let task = |prompt| Task { tenant: TenantId::new("another"), ..rig.task(prompt, 8) };
    let first = rig.complete(&task(Prompt::Continued(messages.clone()))).await;
    assert_eq!(first.first, raw.first);
    let usage = |done: &Completion| (done.usage.prompt_tokens, done.usage.completion_tokens);
    assert_eq!((usage(&first), first.usage.cached_tokens), (usage(&raw), 0));
    let again = rig.complete(&task(Prompt::Continued(messages.clone()))).await;
    assert_eq!(again.first, first.first);
    assert!(again.usage.cached_tokens > 0, "{:?}", again.usage);
    // A new turn has another prompt, of which only whole pages before the difference are shared.
    let turn = rig.complete(&task(Prompt::Chat(messages.clone()))).await;
    assert!(turn.usage.prompt_tokens > first.usage.prompt_tokens);
    let other = Task { tenant: TenantId::new("third"), ..task(Prompt::Chat(messages)) };
    assert_eq!(turn.first, rig.complete(&other).await.first, "as without the cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_precedes_each_answer() {
    let rig = Rig::start(MODEL, &[]).await;
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(fixture(MODEL)).unwrap()).unwrap();
    let text = "One, two,";
    for prompt in [Prompt::Raw(text.into()), Prompt::Tokens(tokenizer.encode(text).unwrap())] {
        let plain = Task { n: 2, ..rig.task(prompt, 8) };
        let form = AnswerForm { echo: true, ..AnswerForm::default() };
        let echoed = Task { id: protocol::TaskId::new(), form, ..plain.clone() };
        let (answer, id) = (rig.complete(&plain).await, rig.submit(&echoed).await);
        let protocol::Outcome::Completed(with_echo) = rig.outcome(id).await else { panic!() };
        let mut streamed = [String::new(), String::new()];
        for event in rig.events(id).await {
            if let EventBody::Token { chunk, .. } = event {
                streamed[usize::from(chunk.choice)].push_str(&chunk.text);
            }
        }
        for ((plain, echoed), streamed) in answer.choices().zip(with_echo.choices()).zip(&streamed)
        {
            assert_eq!(echoed.text, format!("{text}{}", plain.text));
            assert_eq!(*streamed, echoed.text);
        }
        assert_eq!(with_echo.usage.completion_tokens, answer.usage.completion_tokens);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_at_most_one_call_if_the_task_says_so() {
    let rig = Rig::start_with(slow(), &[]).await;
    let tokenizer = Tokenizer::from_gguf(&GgufFile::open(slow()).unwrap()).unwrap();
    // A model that writes hardly anything but the tags of calls.
    let tag = |text: &str| {
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokens.len(), 1, "{text}");
        (tokens[0], 30.0)
    };
    let sampling = Sampling {
        temperature: Some(1.0),
        logit_bias: [tag("<tool_call>"), tag("</tool_call>")].into(),
        ..Sampling::default()
    };
    let task = |one_call, seed| Task {
        sampling: Sampling { seed: Some(seed), ..sampling.clone() },
        form: AnswerForm {
            tools: vec![Tool::named("f")],
            split: true,
            one_call,
            ..AnswerForm::default()
        },
        ..rig.task(Prompt::user("Hello"), 24)
    };
    let mut most = 0;
    for seed in 0..8 {
        let free = rig.complete(&task(false, seed)).await.first;
        most = most.max(free.tool_calls.len());
        let limited = rig.complete(&task(true, seed)).await.first;
        assert!(limited.tool_calls.len() <= 1, "{limited:?}");
    }
    assert!(most > 1, "the model alone made {most} calls");
}
