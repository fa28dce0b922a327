//! Tasks with images: their answers are those of the engine alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chat::{Message, Role};
use protocol::{ErrorType, Outcome, Prompt, Task, TaskKind};

use queue::UsageQuery;

use crate::library::{Library, PIXELS, asking, noise, picture, seeing, store};
use crate::rig::{Rig, fixture};
use crate::tower;

const PLACE: &str = "<|vision_start|><|image_pad|><|vision_end|>";
const TENANT: &str = "tenant";

async fn start(name: &str) -> Rig {
    let (model, projector) = seeing(name);
    Rig::start_with(model, &[("MMPROJ", projector.to_str().unwrap())]).await
}

fn with_images(rig: &Rig, prompt: Prompt, max_tokens: u32) -> Task {
    Task { pixels: PIXELS, max_attempts: 3, ..rig.task(prompt, max_tokens) }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_images_equal_the_librarys() {
    for name in ["qwen2vl", "qwen3vl"] {
        let rig = start(name).await;
        let library = Library::start(name);
        let (one, other) = (picture("wide.png"), picture("photo.jpg"));
        let a = store(&rig.broker, TENANT, &one).await;
        let b = store(&rig.broker, TENANT, &other).await;
        let later = vec![
            Message::user("Hello"),
            Message::new(Role::Assistant, "Hi"),
            asking("and |?", &[&b]),
        ];
        let raw = |images: &[&str]| Prompt::RawImages {
            text: format!("x{PLACE}y{PLACE}z"),
            images: images.iter().map(|&image| image.to_owned()).collect(),
        };
        let (mut answers, mut used) = (Vec::new(), 0);
        for (prompt, images) in [
            (Prompt::Chat(vec![asking("|What?", &[&a])]), vec![&*one]),
            (Prompt::Chat(vec![asking("|What?", &[&b])]), vec![&*other]),
            (Prompt::Chat(vec![asking("|What?|", &[&a, &b])]), vec![&*one, &*other]),
            (Prompt::Chat(vec![asking("|What?|", &[&b, &a])]), vec![&*other, &*one]),
            (Prompt::Chat(vec![asking("|||", &[&a, &a, &a])]), vec![&*one, &*one, &*one]),
            (Prompt::Chat(later), vec![&*other]),
            (raw(&[&a, &b]), vec![&*one, &*other]),
            (raw(&[&b, &a]), vec![&*other, &*one]),
        ] {
            let (text, prompt_tokens) = library.answer(&prompt, &images, 16);
            let task = with_images(&rig, prompt, 16);
            let completion = rig.complete(&task).await;
            assert_eq!(completion.first.text, text, "{name}");
            assert_eq!(completion.usage.prompt_tokens, prompt_tokens);
            used += 2 * images.len() as u64;
            let count = Task { kind: TaskKind::Count, ..with_images(&rig, task.prompt, 1) };
            assert_eq!(rig.complete(&count).await.usage.prompt_tokens, prompt_tokens);
            answers.push(text);
        }
        answers.sort();
        answers.dedup();
        assert!(answers.len() > 4, "{answers:?}");
        let all = UsageQuery { from: "2000-01-01".into(), to: "2999-12-31".into(), owner: None };
        let rows = rig.broker.usage(&all).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.counts.images).sum::<u64>(), used, "{rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_images_fail_their_task_at_once() {
    let rig = start("qwen3vl").await;
    let image = picture("wide.png");
    let mine = store(&rig.broker, TENANT, &image).await;
    let others = store(&rig.broker, "somebody else", &image).await;
    let broken = store(&rig.broker, TENANT, &image[..image.len() / 2]).await;
    let narrow = store(&rig.broker, TENANT, b"no image at all").await;
    let gone = protocol::BlobId::new().to_string();
    let chat = |name: &str| Prompt::Chat(vec![asking("|", &[name])]);
    let raw = Prompt::RawImages { text: "no place".into(), images: vec![mine.clone()] };
    for (prompt, problem) in [
        (
            chat(&gone),
            format!("image 1 of the prompt: the blob {gone} does not exist or has expired"),
        ),
        (chat(&others), format!("the blob {others} does not exist")),
        (chat("x"), "'x' is not the id of a blob".to_owned()),
        (chat(&broken), "image 1 of the prompt: ".to_owned()),
        (chat(&narrow), "image 1 of the prompt: ".to_owned()),
        (Prompt::Chat(vec![asking("||", &[&mine, &gone])]), "image 2 of the prompt".to_owned()),
        (raw, "0 tokens for images".to_owned()),
    ] {
        let task = with_images(&rig, prompt, 4);
        let error = rig.fail(&task).await;
        assert_eq!(error.error_type, ErrorType::InvalidRequest, "{error:?}");
        assert!(error.message.contains(&problem), "{error:?}");
        let snapshot = rig.broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(snapshot.attempt.get(), 1, "{error:?}");
    }
    // The model's own bounds leave no room in this context.
    let large = Task { pixels: Default::default(), ..with_images(&rig, chat(&mine), 4) };
    assert_eq!(rig.fail(&large).await.error_type, ErrorType::ContextLengthExceeded);

    let blind = Rig::start_with(fixture("qwen3/qwen3-f32.gguf"), &[]).await;
    let error = blind.fail(&with_images(&blind, chat(&gone), 4)).await;
    assert_eq!(error.error_type, ErrorType::InvalidRequest);
    let model = blind.task(Prompt::default(), 1).model;
    assert!(error.message.contains(&format!("the model {model} takes no images")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_at_once_if_it_is_cancelled_or_late_while_its_image_is_encoded() {
    let tower = tower::slow();
    let (model, _) = seeing("qwen3vl");
    let rig = Rig::start_with(
        model,
        &[("MMPROJ", tower.path().to_str().unwrap()), ("LEASE_SECONDS", "2")],
    )
    .await;
    let image = async |seed| store(&rig.broker, TENANT, &noise(seed)).await;
    let asking = |name: &str| {
        let prompt = Prompt::Chat(vec![asking("|", &[name])]);
        Task { pixels: tower::PIXELS, ..with_images(&rig, prompt, 4) }
    };
    let began = Instant::now();
    let first = rig.submit(&asking(&image(1).await)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = rig.submit(&Task { time_limit_s: 1, ..asking(&image(2).await) }).await;
    let cancelled = rig.submit(&asking(&image(3).await)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Text is answered meanwhile.
    rig.complete(&rig.task(Prompt::Raw("Hello".into()), 4)).await;
    let text_after = began.elapsed();
    rig.broker.cancel(cancelled).await.unwrap();
    let asked = Instant::now();
    assert!(matches!(rig.outcome(cancelled).await, Outcome::Cancelled { .. }));
    let cancelled_in = asked.elapsed();
    let Outcome::Failed(error) = rig.outcome(late).await else { panic!("not late") };
    assert_eq!(error.error_type, ErrorType::TimeLimitExceeded);
    assert!(error.message.contains("reading its 1 images"), "{error:?}");
    let late_after = began.elapsed();
    let Outcome::Completed(_) = rig.outcome(first).await else { panic!("not completed") };
    let encoded_after = began.elapsed();
    println!(
        "encoded after {encoded_after:?}; text answered after {text_after:?}, late after {late_after:?}, \
         cancelled in {cancelled_in:?}"
    );
    assert!(encoded_after > Duration::from_secs(2), "the tower is too fast: {encoded_after:?}");
    assert!(text_after < encoded_after && late_after < encoded_after);
    assert!(cancelled_in < Duration::from_secs(1), "{cancelled_in:?}");
    let snapshot = rig.broker.snapshot(first).await.unwrap().unwrap();
    assert_eq!(snapshot.attempt.get(), 1, "its lease was renewed");
    // Neither of the others is encoded after it.
    let next = Instant::now();
    rig.complete(&asking(&image(1).await)).await;
    assert!(next.elapsed() < Duration::from_secs(2), "found: {:?}", next.elapsed());
}

#[test]
fn answers_go_on_while_an_image_is_encoded() {
    let tower = tower::slow();
    let library = Library::start_with("qwen3vl", tower.path());
    let alone = library.gaps(|| true);
    let (done, library) = (AtomicBool::new(false), &library);
    let (encode, beside) = std::thread::scope(|scope| {
        let encoding = scope.spawn(|| {
            let took = library.encode(&noise(1), tower::PIXELS);
            done.store(true, Ordering::Relaxed);
            took
        });
        let gaps = library.gaps(|| done.load(Ordering::Relaxed));
        (encoding.join().unwrap(), gaps)
    });
    let at = |gaps: &[Duration], part: f64| gaps[((gaps.len() - 1) as f64 * part) as usize];
    for (name, gaps) in [("alone", &alone), ("beside the image", &beside)] {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|part| at(gaps, part));
        println!("{name}: {} gaps, p50 {half:?}, p99 {most:?}, longest {all:?}", gaps.len());
    }
    println!("encoded in {encode:?}");
    assert!(encode > Duration::from_secs(1), "the tower is too fast: {encode:?}");
    assert!(at(&beside, 0.99) < Duration::from_millis(250), "{:?}", at(&beside, 0.99));
    assert!(at(&beside, 1.0) < encode / 2, "the answers stopped for {:?}", at(&beside, 1.0));
}
